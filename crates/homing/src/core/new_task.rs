//! Tasks and jobs to be: checked, and their instants fixed.

use std::time::Duration;

use serde::{Deserialize, Serialize};

use crate::core::id::{JobId, TaskId};
use crate::core::state::Backoff;
use crate::core::time::Time;

/// A task's options that a call may set and its worker obeys; `None` is the kind's default.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Policy {
    /// Retries in a row.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub retries: Option<u32>,
    /// Pauses between them.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub backoff: Option<Backoff>,
    /// Attempts in all.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub max_attempts: Option<u32>,
    /// The longest stretch from claim to park or end.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub timeout: Option<Duration>,
    /// After how much of a stretch the body is told.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub soft_timeout: Option<Duration>,
    /// Whether it is in a growing set, to which it may add.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    pub grows: bool,
}

/// What roots and children have in common when they are born.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NewTask {
    /// The kind.
    pub kind: String,
    /// Arguments: a canonical JSON object.
    pub arguments: String,
    /// The hash of kind-independent canonical arguments, compared on replay.
    pub hash: [u8; 16],
    /// The queue.
    pub queue: String,
    /// Higher goes first.
    pub priority: i16,
    /// When it may start; `None` is at once.
    pub due: Option<Time>,
    /// Fails if it has not started by then.
    pub expires: Option<Time>,
    /// Fails if it has not ended by then.
    pub deadline: Option<Time>,
    /// What its worker obeys.
    pub policy: Policy,
    /// Words to filter by.
    pub tags: Vec<String>,
}

/// A job to be.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NewJob {
    /// Its id.
    pub id: JobId,
    /// Its root.
    pub task: NewTask,
    /// What people read.
    pub title: Option<String>,
    /// Unique among open jobs.
    pub key: Option<String>,
    /// The task that detached it.
    pub origin: Option<TaskId>,
}
