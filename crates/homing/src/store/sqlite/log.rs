//! A job's log: lines are written once, whatever is replayed, and capped per task.

use rusqlite::params;

use super::fault::Result;
use super::tx::Tx;
use crate::core::id::TaskId;
use crate::store::LogLine;

/// The number follows the last one of the job: there is one writer, so nobody takes the same.
const WRITE: &str = "INSERT OR IGNORE INTO logs (job, number, task, \"key\", time, level, message)
  SELECT ?1, coalesce(max(number), 0) + 1, ?2, ?3, ?4, ?5, ?6 FROM logs WHERE job = ?1";

impl Tx<'_> {
    /// Whether it is new.
    pub(super) fn insert_line(&self, task: TaskId, line: &LogLine) -> Result<bool> {
        let LogLine { key, time, level, message } = line;
        let written = self.sql(WRITE)?.execute(params![
            task.job,
            task.local,
            key,
            time,
            *level as i64,
            message
        ])?;
        Ok(written == 1)
    }

    /// Keeps the identity of a line beyond the limit. Whether it is new: neither written nor counted before.
    pub(super) fn insert_unsaid(&self, task: TaskId, key: &str) -> Result<bool> {
        let said: bool = self
            .sql(
                "SELECT EXISTS (SELECT 1 FROM logs WHERE job = ?1 AND task = ?2 AND \"key\" = ?3)",
            )?
            .query_row(params![task.job, task.local, key], |row| row.get(0))?;
        if said {
            return Ok(false);
        }
        let mut count =
            self.sql("INSERT OR IGNORE INTO unsaid (job, task, \"key\") VALUES (?1, ?2, ?3)")?;
        Ok(count.execute(params![task.job, task.local, key])? == 1)
    }
}
