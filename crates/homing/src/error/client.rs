//! What the client's verbs may say: opening, submitting, waiting for outcomes, starting workers.

use super::{Failure, Invalid, Misuse};
use crate::core::id::{JobId, TaskId};
use crate::store;

/// Why a job was not submitted. Nothing was changed.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum SubmitError {
    /// The input is refused.
    #[error(transparent)]
    Invalid(#[from] Invalid),
    /// The id belongs to another call.
    #[error(
        "the id {id} belongs to a job of another kind or with other arguments: choose another id, or prune that job"
    )]
    Conflict {
        /// The id.
        id: JobId,
    },
    /// No worker has ever registered the kind.
    #[error("no worker has ever registered the kind `{kind}`: {known}")]
    UnknownKind {
        /// The kind.
        kind: String,
        /// What is known instead.
        known: String,
    },
    /// The body called it.
    #[error(transparent)]
    Misuse(#[from] Misuse),
    /// The store failed.
    #[error(transparent)]
    Store(#[from] store::Error),
}

/// Why a job was not retried. Nothing was changed.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum RetryError {
    /// The job has not ended: what fails in it is retried by itself.
    #[error("the job {id} has not ended: what fails in it is retried by itself")]
    Open {
        /// The job.
        id: JobId,
    },
    /// The job has not ended, and a task of it stands still.
    #[error(
        "the job {id} stands still, and goes on by itself once a worker's code fits its record: `why` says what differs. Where the arguments of a task are wrong, put others in their place with `Homing::amend`, or `retry TASK --args JSON`"
    )]
    Stalled {
        /// The job.
        id: JobId,
    },
    /// The root has succeeded, whatever failed below it: its body has borne that, and nothing would take
    /// up what ran again.
    #[error(
        "the job {id} has succeeded, and its root bore what failed below it: submit what is missing anew"
    )]
    Succeeded {
        /// The job.
        id: JobId,
    },
    /// Another open job holds the key by now.
    #[error(
        "the key of the job {id} is held by the open job {holder}: wait for that one to end or cancel it, then retry"
    )]
    KeyTaken {
        /// The job.
        id: JobId,
        /// The job that holds the key.
        holder: JobId,
    },
    /// The job is being removed.
    #[error("the job {id} is being removed: there is nothing left to retry")]
    Removing {
        /// The job.
        id: JobId,
    },
    /// The store failed, or does not know the id.
    #[error(transparent)]
    Store(#[from] store::Error),
}

/// Why the arguments of a task were not changed. Nothing was changed.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum AmendError {
    /// The task does not stand still.
    #[error(
        "the task {id} does not stand still: what runs, waits or is tried again keeps its arguments. While it is being tried it does not stand still either: then ask again"
    )]
    NotStalled {
        /// The task.
        id: TaskId,
    },
    /// The task has ended.
    #[error("the task {id} has ended: submit what is missing anew")]
    Ended {
        /// The task.
        id: TaskId,
    },
    /// The arguments are refused.
    #[error(transparent)]
    Refused(#[from] SubmitError),
    /// The store failed, or does not know the task.
    #[error(transparent)]
    Store(#[from] store::Error),
}

/// Why a job was not removed.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum RemoveError {
    /// The job has not ended. Nothing was removed.
    #[error("the job {id} has not ended: wait for its end or cancel it, then remove it")]
    Open {
        /// The job.
        id: JobId,
    },
    /// The store failed, or does not know the id. A part may have been removed.
    #[error(transparent)]
    Store(#[from] store::Error),
}

/// What waiting for a job's outcome may bring instead of its value.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum OutcomeError {
    /// The root failed or was cancelled.
    #[error(transparent)]
    Failed(Box<Failure>),
    /// The value is not of the type asked for.
    #[error("the value of job {id} does not decode: {reason}")]
    Undecodable {
        /// The job.
        id: JobId,
        /// What the decoder said.
        reason: String,
    },
    /// The body called it.
    #[error(transparent)]
    Misuse(#[from] Misuse),
    /// The store failed, or does not know the id.
    #[error(transparent)]
    Store(#[from] store::Error),
}

impl OutcomeError {
    /// The root's failure, if that is what it is.
    pub fn failure(&self) -> Option<&Failure> {
        if let Self::Failed(failure) = self { Some(failure) } else { None }
    }
}

/// Why a worker did not start.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum StartError {
    /// Two functions have the same kind.
    #[error("the kind `{kind}` is registered twice: give one of them `#[task(kind = \"…\")]`")]
    DoubledKind {
        /// The kind.
        kind: String,
    },
    /// A task wants a state that the worker was not given.
    #[error("the task `{kind}` wants `State<{state}>`: give it to the worker with `.state(…)`")]
    MissingState {
        /// The task.
        kind: String,
        /// The type.
        state: &'static str,
    },
    /// The runtime's time is paused (`#[tokio::test(start_paused = true)]`, `tokio::time::pause`), and the store's
    /// clock does not go with it: the worker would look for work without a pause, and due times would not come.
    #[error(
        "tokio's time is paused here, and the store's clock does not go with it: in a test open the store in memory with `Clock::Simulated(SimulatedClock::starting_now())` of the feature `testing`, or do not pause the time and turn a `Clock::Manual`"
    )]
    PausedTime,
    /// No task was registered.
    #[error("the worker has no task: add `.register(my_task)` before `.start()`")]
    NoTask,
    /// A name or number is refused.
    #[error(transparent)]
    Invalid(#[from] Invalid),
    /// The store failed.
    #[error(transparent)]
    Store(#[from] store::Error),
}
