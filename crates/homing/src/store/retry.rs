//! What a job's retry takes back, and what it says of that.
//!
//! A failed task goes back to the moment before its body was first told of a loss: its [`Cause`] says what
//! of the record, of the children and of their ends came after that moment. The worker, which knows what
//! the body was told, writes it with the failure; a store only carries it out.

use serde::{Deserialize, Serialize};

use crate::core::id::{JobId, Local, TaskId};

/// What a retry takes back of a task that failed by its own body. A task that was ended otherwise (by
/// somebody, a deadline, a crash) has none: it goes on where it was.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Cause {
    /// The wait that told of the loss, and those that were open beside it: what is recorded at these places
    /// and below them goes.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub places: Vec<String>,
    /// What is recorded under this number or a higher one goes.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub since: Option<u64>,
    /// The sets that were spawned into since then, and how many children each had: the others go, with
    /// everything below them.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub grown: Vec<(Local, u32)>,
    /// Only the lost children of these sets that ended after a number, and not with one of the others, are
    /// reopened; none: those of all sets.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub only: Vec<(Local, u64, Vec<u64>)>,
    /// Lost children that the body had been told of before: they stay as they are.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub given: Vec<Local>,
    /// Aborts of the body's own since then: a set, one child of it or all with a lower number. What they
    /// cancelled is reopened.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub aborted: Vec<(Local, Option<Local>, u32)>,
    /// Aborts of the body's own before then. A child that fell before they reached it was of no more use to the body: it stays
    /// as it is.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub aborted_before: Vec<(Local, Option<Local>, u32)>,
    /// Waits whose signals brought values that the body does not take: they are not sent again.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub bad_signals: Vec<String>,
}

impl Cause {
    /// Whether the signal that answered a wait is sent again once the answer is taken back.
    pub(crate) fn sends_again(&self, place: &str) -> bool {
        !self.bad_signals.iter().any(|bad| bad == place)
    }
}

/// What became of a retry, or would.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Retry {
    /// The job is open again.
    Done(Retried),
    /// The job has not ended.
    Open,
    /// The root has succeeded.
    Succeeded,
    /// Another open job holds its key.
    Held(JobId),
    /// The job is being removed.
    Removing,
}

/// What a retry has reopened, or would.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
#[non_exhaustive]
pub struct Retried {
    /// How many tasks run again or go on, the root among them.
    pub reopened: u64,
    /// The first of them by their ids, the root foremost; at most [`limits::RETRIED`](crate::limits::RETRIED).
    pub tasks: Vec<TaskId>,
    /// Entries that were taken out of their records, because they came after a loss: steps, answers and the
    /// like.
    pub taken_back: u64,
    /// Tasks that are gone, because they were spawned after a loss. The bodies spawn them again where they come
    /// to them again.
    pub removed: u64,
}

impl Retried {
    pub(crate) fn of(mut tasks: Vec<TaskId>, taken_back: u64, removed: u64) -> Self {
        let reopened = tasks.len() as u64;
        tasks.sort_unstable();
        tasks.truncate(crate::limits::RETRIED);
        Self { reopened, tasks, taken_back, removed }
    }
}
