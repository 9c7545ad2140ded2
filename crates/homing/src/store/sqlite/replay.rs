//! What replays page through.

use rusqlite::{OptionalExtension, Row, params};

use super::children::{BEHIND_PLACE, Cursor, numbered, placed};
use super::columns::{above, count, limit, maybe_text, text};
use super::fault::{Fault, Result};
use super::tx::{Tx, set_counts};
use crate::core::id::{Local, TaskId};
use crate::store::columns::{entry, set};
use crate::store::read::{PageBytes, Recorded};
use crate::store::{Child, Entry, SetRow};

const RECORD: &str = concat!(
    "SELECT ",
    entry_columns!(),
    " FROM records WHERE job = ?1 AND task = ?2 AND seq > ?3 ORDER BY seq LIMIT ?4"
);

by_name! {
    /// A child without its place in its set and how it ended.
    called_columns called_at {
        kind,
        hash,
        state,
    }
}

by_name! {
    columns at {
        number,
        local,
        end = "\"end\"",
        cancelled_by,
        outcome,
        called = called_columns!(),
    }
}

/// In the order in which the children ended, which is the order in which a body is given them.
pub(super) const ENDS: &str = concat!(
    "SELECT ",
    columns!(),
    " FROM tasks INDEXED BY ends WHERE job = ?1 AND \"set\" = ?2 AND \"end\" > ?3
  ORDER BY \"end\" LIMIT ?4"
);

const CHILD: &str = concat!(
    "SELECT ",
    columns!(),
    " FROM tasks WHERE job = ?1 AND local = ?2 AND number IS NOT NULL"
);

const SETS: &str = concat!(
    "SELECT ",
    set_columns!(),
    " FROM sets WHERE job = ?1 AND task = ?2 AND (?3 IS NULL OR \"set\" > ?3)
      ORDER BY \"set\" LIMIT ?4"
);

impl Tx<'_> {
    pub(super) fn record(
        &self,
        task: TaskId,
        after: u64,
        rows: usize,
    ) -> Result<Vec<(u64, String, Entry)>> {
        Ok(self.history(task, after, rows)?.into_iter().map(Recorded::timeless).collect())
    }

    pub(super) fn history(&self, task: TaskId, after: u64, rows: usize) -> Result<Vec<Recorded>> {
        let mut read = self.sql(RECORD)?;
        let mut found = read.query(params![task.job, task.local, above(after), limit(rows)])?;
        let (mut entries, mut bytes) = (Vec::new(), PageBytes::default());
        while let Some(row) = found.next()? {
            let seq = count(row, entry::seq)?;
            let stored = row.get_ref(entry::entry)?.as_bytes().unwrap_or_default();
            if !bytes.take(stored.len()) {
                break;
            }
            let entry = serde_json::from_slice(stored);
            let whose = || format!("entry {seq} of the record of task {task}");
            let entry = entry.map_err(|error| Fault::from(error).of(whose))?;
            let (place, time) = (text(row, entry::place)?, row.get(entry::time)?);
            entries.push(Recorded { seq, place, entry, time });
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
        let sql = (numbered!(called_columns!()), placed!(called_columns!()));
        let page = self.merged((task, set), (from, rows), sql, |place, row| {
            called(place, row, BEHIND_PLACE)
        })?;
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
            let outcome = row.get_ref(at::outcome)?.as_bytes_or_null().unwrap_or_default();
            if !bytes.take(outcome.map_or(0, <[u8]>::len)) {
                break;
            }
            ends.push(child(row)?);
        }
        Ok(ends)
    }

    pub(super) fn child(&self, id: TaskId) -> Result<Option<Child>> {
        let mut read = self.sql(CHILD)?;
        Ok(read.query_row(params![id.job, id.local], child).optional()?)
    }

    pub(super) fn sets_of(
        &self,
        task: TaskId,
        after: Option<Local>,
        rows: usize,
    ) -> Result<Vec<SetRow>> {
        let mut read = self.sql(SETS)?;
        let found = read.query_map(params![task.job, task.local, after, limit(rows)], |row| {
            Ok(SetRow { set: row.get(set::set)?, counts: set_counts(row, set::counts)? })
        })?;
        Ok(found.collect::<rusqlite::Result<_>>()?)
    }
}

/// A child without how it ended, whose columns begin with the one called `first`.
fn called(place: Cursor, row: &Row<'_>, first: usize) -> rusqlite::Result<Child> {
    Ok(Child {
        number: place.number,
        local: place.local,
        kind: text(row, first + called_at::kind)?,
        hash: row.get(first + called_at::hash)?,
        state: row.get(first + called_at::state)?,
        end: None,
        cancelled_by: None,
        outcome: None,
    })
}

fn child(row: &Row<'_>) -> rusqlite::Result<Child> {
    let place = Cursor { number: row.get(at::number)?, local: row.get(at::local)? };
    Ok(Child {
        end: row.get::<_, Option<i64>>(at::end)?.map(|end| end as u64),
        cancelled_by: row.get(at::cancelled_by)?,
        outcome: maybe_text(row, at::outcome)?,
        ..called(place, row, at::called)?
    })
}
