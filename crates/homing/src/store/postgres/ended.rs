//! How tasks ended: rows that are written once.

use std::sync::OnceLock;

use crate::core::fingerprint::Fingerprint;
use crate::core::id::Local;
use crate::core::state::State;
use crate::core::time::Time;
use crate::store::CancelledBy;
use crate::store::postgres::link::pipeline::{Statement, arrays, values};
use crate::store::postgres::link::table::table;
use crate::store::postgres::transaction::task::Task;

/// A task that ends in this transaction.
#[derive(Debug, Clone)]
pub(super) struct Ended {
    pub(super) task: Task,
    pub(super) end: Option<u64>,
    pub(super) by: Option<CancelledBy>,
    pub(super) cause: Option<String>,
    pub(super) fingerprint: Option<Fingerprint>,
    pub(super) outcome: String,
}

impl Ended {
    /// Whether there is nothing to say of it that few tasks have.
    fn is_plain(&self) -> bool {
        let Self { task, by, cause, fingerprint, .. } = self;
        let fallen_root = task.set.is_none() && task.state != State::Succeeded;
        let counts = [task.failures, task.crashes, task.lines, task.stalls];
        let instants = [task.expires, task.deadline];
        counts == [0; 4]
            && instants == [None; 2]
            && task.dropped == 0
            && task.progress.is_none()
            && task.reason.is_none()
            && by.is_none()
            && cause.is_none()
            && fingerprint.is_none()
            && !fallen_root
    }
}

/// Measured: 2 µs of the server's time for each task, beside 4 µs for the row in `ended`. A task that stays in its bundle
/// until it ends has no row in `open`, and costs the second alone.
const CLOSE: &str = "DELETE FROM homing.open AS o
  USING unnest($1::uuid[], $2::uuid[]) AS e (job, local)
  WHERE o.job = e.job AND o.local = e.local";

/// Removes the moving rows of tasks that end.
pub(super) fn close<'e>(ended: &[&Ended]) -> Statement<'e> {
    Statement::new(CLOSE, arrays!(ended, e => e.task.id.job, e.task.id.local))
}

/// Writes how tasks ended.
pub(super) fn end(ended: &[Ended], now: Time) -> Statement<'_> {
    static PLAIN: OnceLock<String> = OnceLock::new();
    static FULL: OnceLock<String> = OnceLock::new();
    let mut rows = table!(ended, e =>
        job: uuid = e.task.id.job,
        local: uuid = e.task.id.local,
        set: uuid = e.task.set,
        end: bigint = e.end.map(|end| end as i64),
        state: smallint = e.task.state,
        attempt: integer = e.task.attempt as i32,
        due: bigint = e.task.due,
        started: bigint = e.task.started,
        outcome: text = e.outcome.as_str(),
    );
    if ended.iter().all(|e| e.task.set.is_none()) {
        rows.lack::<Local>("set");
        rows.lack::<i64>("end");
    }
    if ended.iter().all(Ended::is_plain) {
        let plain = rows.statement(&PLAIN, |e| {
            let (names, values, rows, now) = (e.names(), e.of("e"), e.rows("e"), e.next());
            format!(
                "INSERT INTO homing.ended ({names}, failures, crashes, lines, stalls, dropped, ended)
                 SELECT {values}, 0, 0, 0, 0, 0, ${now}::bigint FROM {rows}"
            )
        });
        return plain.with(values![now]);
    }
    let more = table!(ended, e =>
        cancelled_by: smallint = e.by,
        failures: integer = e.task.failures as i32,
        crashes: integer = e.task.crashes as i32,
        lines: integer = e.task.lines as i32,
        stalls: integer = e.task.stalls as i32,
        expires: bigint = e.task.expires,
        deadline: bigint = e.task.deadline,
        dropped: bigint = e.task.dropped as i64,
        progress_done: bigint = e.task.progress.map(|(done, _)| done as i64),
        progress_total: bigint = e.task.progress.map(|(_, total)| total as i64),
        reason: text = e.task.reason.as_deref(),
        cause: text = e.cause.as_deref(),
        fingerprint: uuid = e.fingerprint,
    );
    let full = rows.and(more).statement(&FULL, |e| {
        let (names, values, rows, now) = (e.names(), e.of("e"), e.rows("e"), e.next());
        format!(
            "INSERT INTO homing.ended ({names}, ended, created) SELECT {values}, ${now}::bigint,
               CASE WHEN e.\"set\" IS NULL AND e.state >= 4 THEN (SELECT t.created
                 FROM homing.tasks AS t WHERE t.job = e.job AND t.local = e.local) END
             FROM {rows}"
        )
    });
    full.with(values![now])
}
