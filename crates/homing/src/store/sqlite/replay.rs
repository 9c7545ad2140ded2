//! What replays page through.

use rusqlite::{OptionalExtension, Row, params};

use super::children::{numbered, placed};
use super::columns::{above, count, limit, text};
use super::fault::{Fault, Result};
use super::tx::{Tx, set_counts};
use crate::id::{Local, TaskId};
use crate::store::{Child, Entry, SetRow};

pub(super) const ENDS: &str =
    "SELECT number, local, kind, hash, state, \"end\", cancelled_by, outcome
  FROM tasks INDEXED BY ends WHERE job = ?1 AND \"set\" = ?2 AND \"end\" > ?3
  ORDER BY \"end\" LIMIT ?4";

impl Tx<'_> {
    pub(super) fn record(
        &self,
        task: TaskId,
        after: u64,
        rows: usize,
    ) -> Result<Vec<(u64, String, Entry)>> {
        let mut read = self.sql(
            "SELECT seq, place, entry FROM records
             WHERE job = ?1 AND task = ?2 AND seq > ?3 ORDER BY seq LIMIT ?4",
        )?;
        let mut found = read.query(params![task.job, task.local, above(after), limit(rows)])?;
        let mut entries = Vec::new();
        while let Some(row) = found.next()? {
            let seq = count(row, 0)?;
            let entry = serde_json::from_slice(row.get_ref(2)?.as_bytes().unwrap_or_default());
            let whose = || format!("entry {seq} of the record of task {task}");
            let entry = entry.map_err(|error| Fault::from(error).of(whose))?;
            entries.push((seq, text(row, 1)?, entry));
        }
        Ok(entries)
    }

    pub(super) fn children(
        &self,
        task: TaskId,
        set: Local,
        from: u32,
        rows: usize,
    ) -> Result<Vec<Child>> {
        let sql = (
            numbered!("kind, hash, state, \"end\", cancelled_by, outcome"),
            placed!("kind, hash, state, \"end\", cancelled_by, outcome"),
        );
        let page = self.merged((task, set), (from, rows), sql, child)?;
        Ok(page.into_iter().map(|(_, child)| child).collect())
    }

    pub(super) fn ends(
        &self,
        task: TaskId,
        set: Local,
        after: u64,
        rows: usize,
    ) -> Result<Vec<Child>> {
        let mut read = self.sql(ENDS)?;
        let found = read.query_map(params![task.job, set, above(after), limit(rows)], child)?;
        Ok(found.collect::<rusqlite::Result<_>>()?)
    }

    pub(super) fn child(&self, id: TaskId) -> Result<Option<Child>> {
        let mut read = self.sql(
            "SELECT number, local, kind, hash, state, \"end\", cancelled_by, outcome FROM tasks
             WHERE job = ?1 AND local = ?2 AND number IS NOT NULL",
        )?;
        Ok(read.query_row(params![id.job, id.local], child).optional()?)
    }

    pub(super) fn sets_of(
        &self,
        task: TaskId,
        after: Option<Local>,
        rows: usize,
    ) -> Result<Vec<SetRow>> {
        let mut read = self.sql(
            "SELECT \"set\", spawned, succeeded, failed, cancelled, aborted, last_end FROM sets
             WHERE job = ?1 AND task = ?2 AND (?3 IS NULL OR \"set\" > ?3) ORDER BY \"set\" LIMIT ?4",
        )?;
        let found = read.query_map(params![task.job, task.local, after, limit(rows)], |row| {
            Ok(SetRow { set: row.get(0)?, counts: set_counts(row, 1)? })
        })?;
        Ok(found.collect::<rusqlite::Result<_>>()?)
    }
}

fn child(row: &Row<'_>) -> rusqlite::Result<Child> {
    Ok(Child {
        number: row.get(0)?,
        local: row.get(1)?,
        kind: row.get(2)?,
        hash: row.get(3)?,
        state: row.get(4)?,
        end: row.get::<_, Option<i64>>(5)?.map(|end| end as u64),
        cancelled_by: row.get(6)?,
        outcome: row.get(7)?,
    })
}
