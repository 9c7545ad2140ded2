//! How tasks ended: rows that are written once.

use crate::core::id::Local;
use crate::core::time::Time;
use crate::store::CancelledBy;
use crate::store::postgres::link::pipeline::{Statement, arrays, values};
use crate::store::postgres::transaction::task::Task;

/// A task that ends in this transaction.
#[derive(Debug, Clone)]
pub(super) struct Ended {
    pub(super) task: Task,
    pub(super) end: Option<u64>,
    pub(super) by: Option<CancelledBy>,
    pub(super) cause: Option<String>,
    pub(super) outcome: String,
}

impl Ended {
    /// Whether there is nothing to say of it that few tasks have.
    fn is_plain(&self) -> bool {
        let Self { task, by, cause, .. } = self;
        let counts = [task.failures, task.crashes, task.lines, task.stalls];
        let instants = [task.expires, task.deadline];
        counts == [0; 4]
            && instants == [None; 2]
            && task.dropped == 0
            && task.progress.is_none()
            && task.reason.is_none()
            && by.is_none()
            && cause.is_none()
    }
}

const CLOSE: &str = "DELETE FROM homing.open AS o
  USING unnest($1::uuid[], $2::uuid[]) AS e (job, local)
  WHERE o.job = e.job AND o.local = e.local";

/// Removes the moving rows of tasks that end.
pub(super) fn close<'e>(ended: &[&Ended]) -> Statement<'e> {
    Statement::new(CLOSE, arrays!(ended, e => e.task.id.job, e.task.id.local))
}

const END_PLAIN: &str = "INSERT INTO homing.ended (job, local, \"set\", \"end\", state, attempt, due, started,
    outcome, ended, failures, crashes, lines, stalls, dropped)
  SELECT e.*, $10::bigint, 0, 0, 0, 0, 0 FROM unnest($1::uuid[], $2::uuid[], $3::uuid[], $4::bigint[],
    $5::smallint[], $6::integer[], $7::bigint[], $8::bigint[], $9::text[]) AS e";

const END: &str = "INSERT INTO homing.ended (job, local, \"set\", \"end\", state, attempt, due, started,
    outcome, ended, cancelled_by, failures, crashes, lines, stalls, expires, deadline, dropped,
    progress_done, progress_total, reason, cause)
  SELECT e.job, e.local, e.\"set\", e.\"end\", e.state, e.attempt, e.due, e.started, e.outcome, $10::bigint,
    e.cancelled_by, e.failures, e.crashes, e.lines, e.stalls, e.expires, e.deadline, e.dropped,
    e.progress_done, e.progress_total, e.reason, e.cause
  FROM unnest($1::uuid[], $2::uuid[], $3::uuid[], $4::bigint[], $5::smallint[], $6::integer[],
    $7::bigint[], $8::bigint[], $9::text[], $11::smallint[], $12::integer[], $13::integer[],
    $14::integer[], $15::integer[], $16::bigint[], $17::bigint[], $18::bigint[], $19::bigint[],
    $20::bigint[], $21::text[], $22::text[])
    AS e (job, local, \"set\", \"end\", state, attempt, due, started, outcome, cancelled_by, failures,
      crashes, lines, stalls, expires, deadline, dropped, progress_done, progress_total, reason, cause)";

/// Writes how tasks ended.
pub(super) fn end(ended: &[Ended], now: Time) -> Statement<'_> {
    let mut values = arrays!(ended, e =>
        e.task.id.job, e.task.id.local, e.task.set, e.end.map(|end| end as i64), e.task.state,
        e.task.attempt as i32, e.task.due, e.task.started, e.outcome.as_str()
    );
    if ended.iter().all(|e| e.task.set.is_none()) {
        values[2] = Box::new(Vec::<Option<Local>>::new());
        values[3] = Box::new(Vec::<Option<i64>>::new());
    }
    values.extend(values![now]);
    if ended.iter().all(Ended::is_plain) {
        return Statement::new(END_PLAIN, values);
    }
    values.extend(arrays!(ended, e =>
        e.by, e.task.failures as i32, e.task.crashes as i32, e.task.lines as i32,
        e.task.stalls as i32, e.task.expires, e.task.deadline, e.task.dropped as i64,
        e.task.progress.map(|(done, _)| done as i64),
        e.task.progress.map(|(_, total)| total as i64), e.task.reason.as_deref(), e.cause.as_deref()
    ));
    Statement::new(END, values)
}
