//! `prune`: finished jobs go for good.
//!
//! A transaction removes a bounded number of rows, so a large job takes several. Its root goes last: until
//! then the job is still there, with its counts, and its id is not free.

use rusqlite::{OptionalExtension, params};

use super::columns::limit;
use super::fault::Result;
use super::tx::Tx;
use crate::core::id::{JobId, Local};
use crate::core::time::Time;
use crate::limits;
use crate::store::{Pruned, Removed};

/// Roots that ended long ago, in the order of the index. A job that is being cancelled waits: a cascade would come to
/// children that are gone.
pub(super) const OLD: &str = "SELECT job, created FROM tasks INDEXED BY settled
  WHERE parent IS NULL AND ended IS NOT NULL AND ended < ?1
    AND NOT EXISTS (SELECT 1 FROM cascades WHERE cascades.job = tasks.job)
  ORDER BY ended, job LIMIT ?2";

/// Removes rows of a job, at most `?2`; whole-job deletes of tables with few rows follow.
const SOME: [&str; 5] = [
    "DELETE FROM failures WHERE job = ?1 AND local IN
       (SELECT local FROM failures WHERE job = ?1 LIMIT ?2)",
    "DELETE FROM tasks WHERE job = ?1 AND local IN
       (SELECT local FROM tasks WHERE job = ?1 AND parent IS NOT NULL LIMIT ?2)",
    "DELETE FROM logs WHERE job = ?1 AND number IN
       (SELECT number FROM logs WHERE job = ?1 LIMIT ?2)",
    "DELETE FROM records WHERE job = ?1 AND (task, seq) IN
       (SELECT task, seq FROM records WHERE job = ?1 LIMIT ?2)",
    "DELETE FROM unsaid WHERE job = ?1 AND (task, \"key\") IN
       (SELECT task, \"key\" FROM unsaid WHERE job = ?1 LIMIT ?2)",
];

/// Seconds in which jobs of a kind were created and of which none is left.
const SECONDS: &str = "DELETE FROM kinds_by_second WHERE kind = ?1 AND second IN
  (SELECT second FROM kinds_by_second WHERE kind = ?1 AND second < ?2 ORDER BY second LIMIT ?3)";

/// What has few rows goes with the root.
const REST: [&str; 3] = [
    "DELETE FROM sets WHERE job = ?1",
    "DELETE FROM signals WHERE job = ?1",
    "DELETE FROM tasks WHERE job = ?1",
];

impl Tx<'_> {
    pub(super) fn prune(&mut self, before: Time) -> Result<Pruned> {
        let mut find = self.sql(OLD)?;
        let rows = find.query_map(params![before, limit(limits::PRUNE_JOBS + 1)], |row| {
            Ok((row.get(0)?, row.get(1)?))
        })?;
        let mut old: Vec<(JobId, Time)> = rows.collect::<rusqlite::Result<_>>()?;
        let mut pruned = Pruned { jobs: 0, more: old.len() > limits::PRUNE_JOBS };
        old.truncate(limits::PRUNE_JOBS);
        let mut left = limits::PRUNE_ROWS;
        for (job, created) in old {
            if !self.remove_rows(job, created, &mut left)? {
                pruned.more = true;
                break;
            }
            pruned.jobs += 1;
        }
        if pruned.jobs > 0 && !pruned.more {
            self.remove_seconds(left)?;
        }
        Ok(pruned)
    }

    /// Removes what says that jobs of a kind were created in seconds before the oldest job that is left.
    fn remove_seconds(&self, mut left: usize) -> Result<()> {
        let mut oldest = self.sql("SELECT coalesce(min(created), ?1) / 1000000 FROM jobs")?;
        let oldest: i64 = oldest.query_row([self.now], |row| row.get(0))?;
        let mut next = self.sql("SELECT min(kind) FROM kinds_by_second WHERE kind > ?1")?;
        let mut kind = String::new();
        while left > 0 {
            let Some(after) = next.query_row([&kind], |row| row.get(0))? else { break };
            kind = after;
            let removed = self.sql(SECONDS)?.execute(params![kind, oldest, limit(left)])?;
            left = left.saturating_sub(removed);
        }
        Ok(())
    }

    /// `None` if the job is unknown.
    pub(super) fn remove(&mut self, job: JobId) -> Result<Option<Removed>> {
        let mut find =
            self.sql("SELECT created, ended FROM tasks WHERE job = ?1 AND local = ?2")?;
        let root: Option<(Time, Option<Time>)> = find
            .query_row(params![job, Local::ROOT], |row| Ok((row.get(0)?, row.get(1)?)))
            .optional()?;
        let Some((created, ended)) = root else { return Ok(None) };
        if ended.is_none() {
            return Ok(Some(Removed::Open));
        }
        let mut settling = self.sql("SELECT EXISTS (SELECT 1 FROM cascades WHERE job = ?1)")?;
        if settling.query_row([job], |row| row.get(0))? && self.cascade()? {
            return Ok(Some(Removed::More));
        }
        self.write_counts()?;
        let gone = self.remove_rows(job, created, &mut { limits::PRUNE_ROWS })?;
        Ok(Some(if gone { Removed::Gone } else { Removed::More }))
    }

    /// Removes a job, or as much of it as may still go. Whether it is gone.
    fn remove_rows(&self, job: JobId, created: Time, left: &mut usize) -> Result<bool> {
        for sql in SOME {
            if *left > 0 {
                let removed = self.sql(sql)?.execute(params![job, limit(*left)])?;
                *left = left.saturating_sub(removed);
            }
            if *left == 0 {
                let mut mark =
                    self.sql("UPDATE jobs SET pruning = 1 WHERE created = ?1 AND id = ?2")?;
                mark.execute(params![created, job])?;
                return Ok(false);
            }
        }
        for sql in REST {
            self.sql(sql)?.execute([job])?;
        }
        self.sql("DELETE FROM jobs WHERE created = ?1 AND id = ?2")?
            .execute(params![created, job])?;
        Ok(true)
    }
}
