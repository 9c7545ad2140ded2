//! Dissolving: members get rows of their own, because somebody speaks of them one by one.

use tokio_postgres::Row;

use super::members;
use crate::core::id::{JobId, Local, TaskId, WorkerId};
use crate::store::postgres::hints::scan_starts::{Level, Ready};
use crate::store::postgres::link::fault::Result;
use crate::store::postgres::link::pipeline::{Statement, arrays, values};
use crate::store::postgres::transaction::columns::{limit, task_id};

/// Gives the tasks of bundles, those that are told, rows of their own. Says what there is to claim of them:
/// whoever came by meanwhile has passed over it.
macro_rules! dissolve {
    ($which:literal) => {
        concat!(
            "WITH held AS MATERIALIZED (SELECT b.job, b.local FROM homing.bundles AS b ",
            $which,
            " FOR UPDATE OF b),
    b AS (DELETE FROM homing.bundles AS b USING held AS h WHERE b.job = h.job AND b.local = h.local
      RETURNING b.*),
    opened AS (INSERT INTO homing.open (job, local, parent, \"set\", depth, state, priority, attempt,
        failures, crashes, stalls, lines, due, claim, worker, started, dropped, signalled, queue, kind)
      SELECT m.job, m.local, b.parent, b.\"set\", b.depth, (b.worker IS NOT NULL)::integer, b.priority, 1,
        0, 0, 0, 0, b.due, b.claim, b.worker, b.started, 0, false, b.queue, b.kind
      FROM b ",
            members!(),
            ")
  SELECT queue, kind, priority, due, job, local, worker IS NULL FROM b"
        )
    };
}

/// Those that tasks are in: the text for a caller's own connection, too.
pub(in crate::store::postgres) const NAMED: &str = dissolve!(
    "JOIN (SELECT DISTINCT CASE WHEN t.parent IS NULL THEN t.bundle ELSE t.job END AS job,
          CASE WHEN t.parent IS NULL THEN t.local ELSE t.bundle END AS local
        FROM unnest($1::uuid[], $2::uuid[]) AS n (job, local) JOIN homing.tasks AS t USING (job, local)
        WHERE t.bundle IS NOT NULL) AS n USING (job, local)
      ORDER BY b.job, b.local"
);

/// Those that a worker has claimed.
const HELD: &str = dissolve!("WHERE b.worker = $1 ORDER BY b.job, b.local");

/// Those of a task's children, or of one of its sets.
const BELOW: &str = dissolve!(
    "WHERE b.job = $1 AND b.parent = $2 AND ($3::uuid IS NULL OR b.\"set\" = $3)
      ORDER BY b.job, b.local LIMIT $4"
);

/// Those that bear the keys of jobs' roots, which may come into being again.
const ROOTS: &str = dissolve!(
    "WHERE b.job = ANY ($1::uuid[]) AND b.local = '00000000-0000-0000-0000-000000000000'
      ORDER BY b.job, b.local"
);

pub(in crate::store::postgres) fn named<'e>(tasks: &[TaskId]) -> Statement<'e> {
    Statement::new(NAMED, arrays!(tasks, task => task.job, task.local))
}

pub(in crate::store::postgres) fn held<'e>(worker: WorkerId) -> Statement<'e> {
    Statement::new(HELD, values![worker])
}

pub(in crate::store::postgres) fn below<'e>(
    task: TaskId,
    set: Option<Local>,
    most: usize,
) -> Statement<'e> {
    Statement::new(BELOW, values![task.job, task.local, set, limit(most)])
}

pub(in crate::store::postgres) fn roots<'e>(jobs: &[JobId]) -> Statement<'e> {
    Statement::new(ROOTS, values![jobs.to_vec()])
}

/// What there is to claim of dissolved bundles.
pub(in crate::store::postgres) fn claimable(rows: &[Row]) -> Result<Ready> {
    let mut ready = Ready::default();
    for row in rows {
        if row.try_get(6)? {
            let (queue, kind) = (row.try_get(0)?, row.try_get(1)?);
            let level = Level { queue, kind, priority: row.try_get(2)? };
            let id = task_id(row, 4)?;
            ready.at(level, (row.try_get(3)?, id.job, id.local));
        }
    }
    Ok(ready)
}
