//! What a program's own log is told of its tasks: the span around each body, and the `tracing` events.
//!
//! Levels, messages and fields are those of the table in `docs/guides/operating.md`, and stay as they are:
//! alerts hang on them. An event tells of what is recorded, so it is said after the commit, and once by the
//! process that brought it about. Nothing here decides anything.

use std::time::Duration;

use tracing::Span;

use crate::clock::Clock;
use crate::core::failure::Failure;
use crate::core::id::{TaskId, WorkerId};
use crate::store::{Claimed, End, Event};

/// The target of everything that concerns tasks.
macro_rules! target {
    () => {
        "homing"
    };
}

/// The span around a body. Of the highest level, so that no filter on levels takes the task away from
/// what its body says; it is no event and writes no line by itself.
pub(crate) fn span(claimed: &Claimed) -> Span {
    let Claimed { task, kind, attempt, queue, .. } = claimed;
    tracing::error_span!(
        target: target!(), parent: None, "task",
        id = %task, kind, attempt, job = %task.job, queue
    )
}

/// A stretch has ended, and the store has recorded how.
pub(crate) fn ended(id: TaskId, kind: &str, attempt: u32, event: &Event, clock: &Clock) {
    match event {
        Event::End(End::Succeeded(_)) => {
            tracing::debug!(target: target!(), %id, kind, attempt, "the task succeeded");
        }
        Event::End(End::Failed { failure, .. }) => failed(failure),
        Event::Retry { failure, due } => {
            let (error, retry_in) = (failure.told(), due.since(clock.now()));
            let reason = failure.reason.name();
            tracing::warn!(
                target: target!(), %id, kind, attempt, reason, error, ?retry_in,
                "the attempt failed and the task is tried again"
            );
        }
        Event::Stall { reason, due } => {
            stands_still(id, Some((kind, attempt)), reason, due.since(clock.now()));
        }
        Event::HandBack => {
            tracing::debug!(target: target!(), %id, kind, attempt, "the task was handed back");
        }
        Event::Begin
        | Event::Record { .. }
        | Event::Spawn(_)
        | Event::Add(_)
        | Event::Detach(_)
        | Event::Signal(_)
        | Event::Abort(_)
        | Event::Log(_)
        | Event::Progress { .. }
        | Event::Park { .. } => {}
    }
}

/// A task has failed for good.
pub(crate) fn failed(failure: &Failure) {
    let Failure { id, kind, attempt, reason, .. } = failure;
    let (error, reason) = (failure.told(), reason.name());
    tracing::error!(target: target!(), %id, kind, attempt, reason, error, "the task failed");
}

/// A task stands still. Its kind and attempt are absent where its row cannot be read.
pub(crate) fn stands_still(
    id: TaskId,
    known: Option<(&str, u32)>,
    error: &str,
    retry_in: Duration,
) {
    let (kind, attempt) = known.unzip();
    tracing::warn!(
        target: target!(), %id, kind, attempt, error, ?retry_in, "the task stands still"
    );
}

/// Tasks wait on a queue that no living worker serves.
pub(crate) fn no_worker(queue: &str, kind: &str) {
    tracing::warn!(
        target: target!(), queue, kind, "no living worker serves the queue, and tasks wait on it"
    );
}

/// Tasks wait that are of a kind which no living worker of their queue has registered.
pub(crate) fn no_kind(queue: &str, kind: &str) {
    tracing::warn!(
        target: target!(), queue, kind,
        "no living worker of the queue has registered the kind, and tasks of it wait"
    );
}

/// The runtime's time was paused once the worker ran.
pub(crate) fn paused_time(error: &dyn std::fmt::Display) {
    tracing::warn!(target: target!(), %error, "the worker spins");
}

/// What a worker said of a task is of no use: another has it, or it has ended.
pub(crate) fn too_late(id: TaskId, kind: &str, attempt: u32) {
    tracing::debug!(
        target: target!(), %id, kind, attempt, "the task is another's by now: nothing is recorded"
    );
}

/// Somebody has cancelled a task.
pub(crate) fn cancelled(id: TaskId, text: Option<&str>) {
    let error = text.unwrap_or(crate::core::state::cancelled_text(crate::store::CancelledBy::User));
    tracing::info!(target: target!(), %id, error, "the task was cancelled");
}

/// Somebody has given a task that stood still other arguments.
pub(crate) fn amended(id: TaskId) {
    tracing::info!(target: target!(), %id, "the task was given other arguments");
}

/// A body that runs here is told that its task has ended from outside.
pub(crate) fn body_cancelled(id: TaskId) {
    tracing::debug!(target: target!(), %id, "the task has ended from outside and its body is stopped");
}

/// What upkeep did to a task: said after the commit.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Swept {
    /// The worker that held it is gone: others may take it over, if it has not failed of that.
    TakenBack {
        /// The task.
        id: TaskId,
        /// Its kind.
        kind: String,
        /// The attempt that is resumed.
        attempt: u32,
        /// How many workers it has lost in a row.
        crashes: u32,
        /// The worker.
        worker: Option<WorkerId>,
    },
    /// It failed: of a crash too many, or because its time was over.
    Failed(Failure),
}

impl Swept {
    pub(crate) fn say(self) {
        match self {
            Self::TakenBack { id, kind, attempt, crashes, worker } => {
                let worker = worker.map(tracing::field::display);
                tracing::warn!(
                    target: target!(), %id, kind, attempt, crashes, worker,
                    "the task's worker is gone and the task is taken back"
                );
            }
            Self::Failed(failure) => failed(&failure),
        }
    }
}
