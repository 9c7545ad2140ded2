//! What replays page through.

use rusqlite::{OptionalExtension, Row, params};

use super::children::{numbered, placed};
use super::columns::{above, count, limit, maybe_text, text};
use super::fault::{Fault, Result};
use super::tx::{Tx, set_counts};
use crate::core::id::{Local, TaskId};
use crate::store::read::PageBytes;
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
        let (mut entries, mut bytes) = (Vec::new(), PageBytes::default());
        while let Some(row) = found.next()? {
            let seq = count(row, 0)?;
            let entry = row.get_ref(2)?.as_bytes().unwrap_or_default();
            if !bytes.take(entry.len()) {
                break;
            }
            let entry = serde_json::from_slice(entry);
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
        let sql = (numbered!("kind, hash, state"), placed!("kind, hash, state"));
        let page = self.merged((task, set), (from, rows), sql, called)?;
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
        let mut found = read.query(params![task.job, set, above(after), limit(rows)])?;
        let (mut ends, mut bytes) = (Vec::new(), PageBytes::default());
        while let Some(row) = found.next()? {
            let outcome = row.get_ref(7)?.as_bytes_or_null().unwrap_or_default();
            if !bytes.take(outcome.map_or(0, <[u8]>::len)) {
                break;
            }
            ends.push(child(row)?);
        }
        Ok(ends)
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
            "SELECT \"set\", spawned, succeeded, failed, cancelled, aborted, last_end, added,
               last_added
             FROM sets
             WHERE job = ?1 AND task = ?2 AND (?3 IS NULL OR \"set\" > ?3) ORDER BY \"set\" LIMIT ?4",
        )?;
        let found = read.query_map(params![task.job, task.local, after, limit(rows)], |row| {
            Ok(SetRow { set: row.get(0)?, counts: set_counts(row, 1)? })
        })?;
        Ok(found.collect::<rusqlite::Result<_>>()?)
    }
}

/// A child without how it ended.
fn called(row: &Row<'_>) -> rusqlite::Result<Child> {
    Ok(Child {
        number: row.get(0)?,
        local: row.get(1)?,
        kind: text(row, 2)?,
        hash: row.get(3)?,
        state: row.get(4)?,
        end: None,
        cancelled_by: None,
        outcome: None,
    })
}

fn child(row: &Row<'_>) -> rusqlite::Result<Child> {
    Ok(Child {
        end: row.get::<_, Option<i64>>(5)?.map(|end| end as u64),
        cancelled_by: row.get(6)?,
        outcome: maybe_text(row, 7)?,
        ..called(row)?
    })
}
