//! What replays page through.

use tokio_postgres::Row;

use super::Shared;
use crate::core::id::{Local, TaskId};
use crate::core::wait::SetCounts;
use crate::limits::PAGE_BYTES;
use crate::store::columns::{entry, set};
use crate::store::postgres::link::fault::{Fault, Result};
use crate::store::postgres::link::pipeline::values;
use crate::store::postgres::transaction::bundle::{bundled_state, in_bundle};
use crate::store::postgres::transaction::columns::{Hash, above, count, limit, maybe, set_counts};
use crate::store::read::Recorded;
use crate::store::{Child, Entry, SetRow};

/// A page ends with the row that fills it. The sizes of values are known without reading them.
const RECORD: &str = concat!(
    "SELECT ",
    entry_columns!(),
    " FROM (
    SELECT r.*, sum(octet_length(entry)) OVER (ORDER BY seq ROWS UNBOUNDED PRECEDING)
      - octet_length(entry) AS before
    FROM (SELECT seq, place, entry, time FROM homing.records
      WHERE job = $1 AND task = $2 AND seq > $3 ORDER BY seq LIMIT $4) AS r) AS r
  WHERE before < $5 ORDER BY seq"
);

by_name! {
    /// A child without how it ended.
    called_columns called_at {
        number = "t.number",
        local = "t.local",
        kind = "t.kind",
        hash = "t.hash",
        state = concat!("coalesce(o.state, e.state, ", bundled_state!(), ")"),
    }
}

by_name! {
    columns at {
        end = "e.\"end\"",
        cancelled_by = "e.cancelled_by",
        outcome = "e.outcome",
        called = called_columns!(),
    }
}

/// Numbered children are a range of the key; those with a place of their own are found through a small
/// index.
const CHILDREN: &str = concat!(
    "SELECT ",
    called_columns!(),
    " FROM (
    (SELECT * FROM homing.tasks WHERE job = $1 AND local BETWEEN $3 AND $4 AND NOT placed
      ORDER BY local LIMIT $6)
    UNION ALL
    (SELECT * FROM homing.tasks WHERE job = $1 AND \"set\" = $2 AND placed AND number >= $5
      ORDER BY number, local LIMIT $6)) AS t
    LEFT JOIN homing.open AS o USING (job, local) LEFT JOIN homing.ended AS e USING (job, local)
    LEFT JOIN homing.bundles AS b ON ",
    in_bundle!(),
    " ORDER BY t.number, t.local LIMIT $6"
);

by_name! {
    ended_columns ended {
        end = "\"end\"",
        cancelled_by,
        outcome,
        number,
        local,
        kind,
        hash,
        state,
    }
}

/// [`child`] reads both lists.
const _: () = {
    assert!(ended::end == at::end && ended::cancelled_by == at::cancelled_by);
    assert!(ended::outcome == at::outcome && ended::number == at::called + called_at::number);
    assert!(ended::local == at::called + called_at::local);
    assert!(ended::kind == at::called + called_at::kind);
    assert!(ended::hash == at::called + called_at::hash);
    assert!(ended::state == at::called + called_at::state);
};

/// As [`RECORD`].
pub(super) const ENDS: &str = concat!(
    "SELECT ",
    ended_columns!(),
    " FROM (
    SELECT p.*, sum(octet_length(outcome)) OVER (ORDER BY \"end\" ROWS UNBOUNDED PRECEDING)
      - octet_length(outcome) AS before
    FROM (SELECT t.number, t.local, t.kind, t.hash, e.state, e.\"end\", e.cancelled_by, e.outcome
      FROM homing.ended AS e JOIN homing.tasks AS t USING (job, local)
      WHERE e.job = $1 AND e.\"set\" = $2 AND e.\"end\" > $3 ORDER BY e.\"end\" LIMIT $4) AS p) AS p
  WHERE before < $5 ORDER BY \"end\""
);

/// Also of a child in a bundle, which has no row in `open`.
const CHILD: &str = concat!(
    "SELECT ",
    columns!(),
    " FROM homing.tasks AS t
    LEFT JOIN homing.open AS o USING (job, local) LEFT JOIN homing.ended AS e USING (job, local)
    LEFT JOIN homing.bundles AS b ON ",
    in_bundle!(),
    " WHERE t.job = $1 AND t.local = $2 AND t.number IS NOT NULL"
);

/// By the key, page by page: a body may have any number of sets.
const SETS: &str = concat!(
    "SELECT ",
    set_columns!(),
    " FROM homing.sets WHERE job = $1 AND task = $2 AND ($3::uuid IS NULL OR \"set\" > $3)
  ORDER BY \"set\" LIMIT $4"
);

const SET: &str = concat!(
    "SELECT ",
    set_counts_columns!(),
    " FROM homing.sets WHERE job = $1 AND task = $2 AND \"set\" = $3"
);

impl Shared {
    pub(super) async fn record(
        &self,
        task: TaskId,
        after: u64,
        rows: usize,
    ) -> Result<Vec<(u64, String, Entry)>> {
        Ok(self.history(task, after, rows).await?.into_iter().map(Recorded::timeless).collect())
    }

    pub(super) async fn history(
        &self,
        task: TaskId,
        after: u64,
        rows: usize,
    ) -> Result<Vec<Recorded>> {
        let values = values![task.job, task.local, above(after), limit(rows), limit(PAGE_BYTES)];
        let mut entries = Vec::new();
        for row in self.read(RECORD, values).await? {
            let seq = count(&row, entry::seq)?;
            let entry = serde_json::from_str(row.try_get(entry::entry)?).map_err(|error| {
                Fault::Other(format!(
                    "entry {seq} of the record of task {task} does not decode: {error}"
                ))
            })?;
            let (place, time) = (row.try_get(entry::place)?, row.try_get(entry::time)?);
            entries.push(Recorded { seq, place, entry, time });
        }
        Ok(entries)
    }

    pub(super) async fn children(
        &self,
        task: TaskId,
        set: Local,
        from: u32,
        rows: usize,
    ) -> Result<Vec<Child>> {
        let (first, last) = (set.numbered(from), set.numbered(u32::MAX));
        let values = values![task.job, set, first, last, i64::from(from), limit(rows)];
        self.read(CHILDREN, values).await?.iter().map(|row| called(row, 0)).collect()
    }

    pub(super) async fn ends(
        &self,
        task: TaskId,
        set: Local,
        after: u64,
        rows: usize,
    ) -> Result<Vec<Child>> {
        let values = values![task.job, set, above(after), limit(rows), limit(PAGE_BYTES)];
        self.read(ENDS, values).await?.iter().map(child).collect()
    }

    pub(super) async fn child(&self, id: TaskId) -> Result<Option<Child>> {
        let rows = self.read(CHILD, values![id.job, id.local]).await?;
        rows.first().map(child).transpose()
    }

    pub(super) async fn set_counts(&self, task: TaskId, set: Local) -> Result<SetCounts> {
        let rows = self.read(SET, values![task.job, task.local, set]).await?;
        rows.first().map_or(Ok(SetCounts::default()), |row| set_counts(row, 0))
    }

    pub(super) async fn sets_of(
        &self,
        task: TaskId,
        after: Option<Local>,
        rows: usize,
    ) -> Result<Vec<SetRow>> {
        let rows = self.read(SETS, values![task.job, task.local, after, limit(rows)]).await?;
        let row = |row: &Row| {
            let counts = set_counts(row, set::counts)?;
            Ok(SetRow { set: row.try_get(set::set)?, counts })
        };
        rows.iter().map(row).collect()
    }
}

/// A child without how it ended, whose columns begin with the one called `first`.
fn called(row: &Row, first: usize) -> Result<Child> {
    Ok(Child {
        number: row.try_get::<_, i64>(first + called_at::number)? as u32,
        local: row.try_get(first + called_at::local)?,
        kind: row.try_get(first + called_at::kind)?,
        hash: row.try_get::<_, Hash>(first + called_at::hash)?.0,
        state: row.try_get(first + called_at::state)?,
        end: None,
        cancelled_by: None,
        outcome: None,
    })
}

fn child(row: &Row) -> Result<Child> {
    Ok(Child {
        end: maybe(row, at::end)?,
        cancelled_by: row.try_get(at::cancelled_by)?,
        outcome: row.try_get(at::outcome)?,
        ..called(row, at::called)?
    })
}
