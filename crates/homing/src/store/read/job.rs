//! A job as people see it, and its status.

use serde::{Deserialize, Serialize};

use super::Counts;
use crate::core::failure::Failure;
use crate::core::id::{JobId, TaskId};
use crate::core::state::State;
use crate::core::time::{Time, rfc3339};

/// The status of a job.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Status {
    /// The root has not ended, and no task of the job stands still.
    InProgress,
    /// The root has not ended, and a task of the job stands still: what its code does, or a value that is
    /// stored, does not fit its record. It is tried again from time to time, and goes on by itself once a
    /// worker runs code that fits; see [`Because::Drift`](crate::Because::Drift).
    Stalled,
    /// The root succeeded, and so did everything below it.
    Completed,
    /// The root succeeded, a descendant failed.
    CompletedWithErrors,
    /// The root failed.
    Failed,
    /// The root was cancelled.
    Cancelled,
}

impl Status {
    /// Every status.
    pub const ALL: [Self; 6] = [
        Self::InProgress,
        Self::Stalled,
        Self::Completed,
        Self::CompletedWithErrors,
        Self::Failed,
        Self::Cancelled,
    ];

    /// The status that follows from the root's state, whether a descendant failed and whether a task
    /// stands still.
    pub fn of(root: State, errors: bool, stalled: bool) -> Self {
        match root {
            State::Pending | State::Running | State::Waiting if stalled => Self::Stalled,
            State::Pending | State::Running | State::Waiting => Self::InProgress,
            State::Succeeded if errors => Self::CompletedWithErrors,
            State::Succeeded => Self::Completed,
            State::Failed => Self::Failed,
            State::Cancelled => Self::Cancelled,
        }
    }

    /// Whether the job has ended.
    pub fn is_ended(self) -> bool {
        !matches!(self, Self::InProgress | Self::Stalled)
    }

    /// The words for the status.
    pub fn name(self) -> &'static str {
        match self {
            Self::InProgress => "in progress",
            Self::Stalled => "stalled",
            Self::Completed => "completed",
            Self::CompletedWithErrors => "completed with errors",
            Self::Failed => "failed",
            Self::Cancelled => "cancelled",
        }
    }
}

impl std::fmt::Display for Status {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.pad(self.name())
    }
}

/// A job as people see it.
#[derive(Debug, Clone, PartialEq, Serialize)]
#[non_exhaustive]
pub struct JobView {
    /// Its id.
    pub id: JobId,
    /// The root's kind.
    pub kind: String,
    /// What its submitter called it.
    pub title: Option<String>,
    /// Its unique key.
    pub key: Option<String>,
    /// Words to filter by.
    pub tags: Vec<String>,
    /// The root's queue.
    pub queue: String,
    /// Where it stands.
    pub status: Status,
    /// 0 to 100: what the root's body told, or ended tasks over spawned ones; of a job that failed or was
    /// cancelled, how far it came. Without a word of the root's, a task that has told its own progress
    /// (`homing::progress`) counts by that share while it runs or waits: all that run, and of those that wait a
    /// thousand, so that a wide job is read as quickly as a narrow one.
    pub progress: f64,
    /// Whether the root's body told how much there is to do (`homing::progress`).
    pub told: bool,
    /// Its tasks by state.
    pub counts: Counts,
    /// The task that detached it.
    pub origin: Option<TaskId>,
    /// When it was submitted.
    #[serde(serialize_with = "rfc3339")]
    pub created: Time,
    /// When its root was first claimed.
    #[serde(serialize_with = "rfc3339")]
    pub started: Option<Time>,
    /// When its root ended.
    #[serde(serialize_with = "rfc3339")]
    pub ended: Option<Time>,
    /// Why the root failed.
    pub failure: Option<Failure>,
}

impl JobView {
    /// The progress, unless nobody knows how much there is to do: a job that is still open may find more, and
    /// the share of what it has found so far would only mislead. [`counts`](Self::counts) say what there is.
    pub fn percent(&self) -> Option<f64> {
        (self.told || self.status.is_ended()).then_some(self.progress)
    }
}
