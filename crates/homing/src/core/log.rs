//! The log of a job: its lines and their levels.

use serde::{Deserialize, Serialize};

use crate::core::id::{TaskId, digest};
use crate::core::time::{Time, rfc3339};

/// How important a line is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Level {
    /// For the author of the task.
    Debug = 1,
    /// For whoever watches the job. What `log!` writes.
    Info = 2,
    /// Something is off, the task goes on.
    Warn = 3,
    /// Something failed.
    Error = 4,
}

impl Level {
    /// The level of a stored code; unknown codes are `Error`, so that nothing is hidden.
    pub(crate) fn from_code(code: i64) -> Self {
        match code {
            1 => Self::Debug,
            2 => Self::Info,
            3 => Self::Warn,
            _ => Self::Error,
        }
    }
}

impl std::fmt::Display for Level {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.pad(match self {
            Self::Debug => "debug",
            Self::Info => "info",
            Self::Warn => "warn",
            Self::Error => "error",
        })
    }
}

/// A line of a job's log.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Line {
    /// Its number in the job, growing in the order of commits.
    pub number: u64,
    /// When it was said.
    #[serde(serialize_with = "rfc3339")]
    pub time: Time,
    /// How important it is.
    pub level: Level,
    /// The task that said it.
    pub task: TaskId,
    /// What was said.
    pub message: String,
}

/// How the identities of lines begin that tell of failed attempts and standstills; no key of a body's line
/// does. The lines of a task are in the order of its attempts by their keys.
pub(crate) const ATTEMPT: &str = "\u{2}";

/// The identity of the line that tells of an attempt's failure, or that it stands still for a reason. A
/// task that is tried again and again stands still for the same reason, which is written once.
pub(crate) fn attempt_key(attempt: u32, stall: Option<&str>) -> String {
    match stall {
        None => format!("{ATTEMPT}{attempt:08x}"),
        Some(reason) => {
            let hash = u128::from_be_bytes(digest(&[reason.as_bytes()]));
            format!("{ATTEMPT}{attempt:08x}!{hash:032x}")
        }
    }
}
