//! A task as people see it.

use serde::Serialize;

use crate::core::drift::Drift;
use crate::core::failure::Failure;
use crate::core::id::{Local, TaskId, WorkerId};
use crate::core::state::State;
use crate::core::time::{Time, rfc3339};
use crate::core::wait::{SetCounts, Wait};

/// A task as people see it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[non_exhaustive]
pub struct TaskView {
    /// Its id.
    pub id: TaskId,
    /// Its parent; a root has none.
    pub parent: Option<TaskId>,
    /// Its set and number in it; a root has none.
    #[serde(skip)]
    pub set: Option<(Local, u32)>,
    /// Its kind.
    pub kind: String,
    /// Its arguments, as JSON.
    pub arguments: String,
    /// Its queue.
    pub queue: String,
    /// Higher goes first.
    pub priority: i16,
    /// Its state.
    pub state: State,
    /// The attempt it is at, 1-based.
    pub attempt: u32,
    /// Failures in a row.
    pub failures: u32,
    /// Worker deaths in a row.
    pub crashes: u32,
    /// Stops by drift in a row.
    pub stalls: u32,
    /// When it may start or go on.
    #[serde(serialize_with = "rfc3339")]
    pub due: Time,
    /// Fails if it has not started by then.
    #[serde(serialize_with = "rfc3339")]
    pub expires: Option<Time>,
    /// Fails if it has not ended by then.
    #[serde(serialize_with = "rfc3339")]
    pub deadline: Option<Time>,
    /// When it was spawned.
    #[serde(serialize_with = "rfc3339")]
    pub created: Time,
    /// When it was first claimed.
    #[serde(serialize_with = "rfc3339")]
    pub started: Option<Time>,
    /// When it ended.
    #[serde(serialize_with = "rfc3339")]
    pub ended: Option<Time>,
    /// The worker that holds it.
    pub worker: Option<WorkerId>,
    /// What it waits for while it is parked.
    pub waits: Vec<Wait>,
    /// Why it stands still or was tried again: the last failure or drift.
    pub reason: Option<String>,
    /// Its value as JSON, once succeeded.
    pub value: Option<String>,
    /// Its failure, once failed or cancelled.
    pub failure: Option<Failure>,
    /// What `progress` last told.
    pub progress: Option<(u64, u64)>,
    /// Its own tags; every task of a job has the root's besides.
    pub tags: Vec<String>,
    /// Its children, counted.
    pub children: ChildCounts,
}

impl TaskView {
    /// How its body differs from its record, while it stands still for that: [`reason`](Self::reason) as data.
    pub fn drift(&self) -> Option<Drift> {
        let reason = self.reason.as_deref().filter(|_| self.stalls > 0)?;
        Drift::of(reason)
    }
}

/// How many children a task has, and how they ended. Kept by the store, not counted on reading.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize)]
#[non_exhaustive]
pub struct ChildCounts {
    /// Ever spawned.
    pub spawned: u64,
    /// Ended with a value.
    pub succeeded: u64,
    /// Ended with an error.
    pub failed: u64,
    /// Ended from outside, by the parent or by others.
    pub cancelled: u64,
}

impl ChildCounts {
    /// Those that have ended.
    pub fn ended(&self) -> u64 {
        self.succeeded + self.failed + self.cancelled
    }

    /// Those that have not.
    pub fn open(&self) -> u64 {
        self.spawned.saturating_sub(self.ended())
    }

    pub(crate) fn add(&mut self, set: &SetCounts) {
        self.spawned += set.spawned;
        self.succeeded += set.succeeded;
        self.failed += set.failed;
        self.cancelled += set.cancelled + set.aborted;
    }
}
