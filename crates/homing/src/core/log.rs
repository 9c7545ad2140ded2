//! The log of a job: its lines and their levels.

use serde::{Deserialize, Serialize};

use crate::core::failure::{Failure, Reason, bounded};
use crate::core::id::{TaskId, Token, digest};
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

/// A line of a job's log.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LogLine {
    /// Its identity within the task: a line that exists is not written again.
    pub key: String,
    /// When it was said.
    pub time: Time,
    /// How important it is.
    pub level: Level,
    /// What was said.
    pub message: String,
}

/// How the identities of lines begin that tell of failed attempts, crashes, ends from outside and standstills;
/// no key of a body's line does.
pub(crate) const ATTEMPT: &str = "\u{2}";

/// What a line tells of that no body has said: its identity follows from it.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Event<'e> {
    /// A claim came to nothing: the body failed, or its worker died. Either happens to a claim once.
    Claim(Token),
    /// The task stands still for a reason. It is tried again and again and stands still for the same one,
    /// which is written once.
    Standstill(&'e str),
    /// Upkeep ended the task.
    End(Time),
}

/// The identity of a line that tells how an attempt came to nothing. A child that a retry took back may be born
/// again under its id and fail in the same attempt, so the attempt alone would be no identity.
pub(crate) fn attempt_key(attempt: u32, event: Event<'_>) -> String {
    match event {
        Event::Claim(Token { worker, claim }) => {
            format!("{ATTEMPT}{attempt:08x}@{worker}/{claim:x}")
        }
        Event::Standstill(reason) => {
            let hash = u128::from_be_bytes(digest(&[reason.as_bytes()]));
            format!("{ATTEMPT}{attempt:08x}!{hash:032x}")
        }
        Event::End(time) => format!("{ATTEMPT}{attempt:08x}.{:016x}", time.0),
    }
}

/// The line that keeps that an attempt lost its worker. It names the worker as people see it.
pub(crate) fn crashed(attempt: u32, token: Token, worker: &str, time: Time) -> LogLine {
    let message = bounded(&format!("attempt {attempt} crashed: its worker {worker} was gone"));
    let key = attempt_key(attempt, Event::Claim(token));
    LogLine { key, time, level: Level::Warn, message }
}

/// The line that keeps why upkeep ended a task.
pub(crate) fn ended(failure: &Failure, time: Time) -> LogLine {
    let key = attempt_key(failure.attempt, Event::End(time));
    LogLine { key, time, level: Level::Error, message: failed_text(failure) }
}

/// What a line says of a failure. Instants pass whether or not an attempt is under way, so they name none.
pub(crate) fn failed_text(failure: &Failure) -> String {
    let Failure { attempt, reason, .. } = failure;
    let told = failure.told();
    bounded(&match reason {
        Reason::Expired | Reason::Deadline => format!("it failed: {told}"),
        Reason::Panic => format!("attempt {attempt} panicked: {told}"),
        Reason::Error | Reason::Timeout | Reason::Crashed | Reason::Misuse | Reason::Cancelled => {
            format!("attempt {attempt} failed: {told}")
        }
    })
}
