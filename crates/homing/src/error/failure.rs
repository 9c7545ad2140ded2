//! A task's failure as it is stored: what a parent or client gets back.

use std::error::Error as StdError;
use std::fmt;

use serde::{Deserialize, Serialize};

use crate::id::TaskId;
use crate::limits;

/// Why a task failed, as it is stored.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
#[non_exhaustive]
pub enum Reason {
    /// The body returned an error.
    Error,
    /// The body panicked.
    Panic,
    /// A stretch from claim to park or end took longer than `timeout`.
    Timeout,
    /// The task had not ended by its `deadline`.
    Deadline,
    /// The task had not started by its `expires`.
    Expired,
    /// The task took its worker down too often.
    Crashed,
    /// The body broke a rule of the programming model.
    Misuse,
    /// The task was cancelled.
    Cancelled,
}

/// A failed task: what is stored, and what a parent or client gets back.
///
/// Its sources are the messages of the original chain; their types stay on the worker.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Failure {
    /// The task's kind.
    pub kind: String,
    /// The task.
    pub id: TaskId,
    /// The attempt that failed, 1-based.
    pub attempt: u32,
    /// Why.
    pub reason: Reason,
    /// The error's message.
    pub message: String,
    /// The messages of its sources, outermost first.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub sources: Vec<String>,
}

impl Failure {
    /// A failure with no sources; an overlong message ends in a count of what is left out.
    pub(crate) fn new(kind: &str, id: TaskId, attempt: u32, reason: Reason, message: &str) -> Self {
        let kind = kind.to_owned();
        Self { kind, id, attempt, reason, message: bounded(message), sources: Vec::new() }
    }

    /// The same with the messages of an error's sources.
    pub(crate) fn with_sources(mut self, error: &(dyn StdError + 'static)) -> Self {
        let mut next = error.source();
        while let (Some(source), true) = (next, self.sources.len() < limits::SOURCES) {
            self.sources.push(bounded(&source.to_string()));
            next = source.source();
        }
        self
    }
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { kind, id, attempt, message, .. } = self;
        match self.reason {
            Reason::Cancelled => write!(f, "task {kind} {id} was cancelled: {message}"),
            Reason::Panic => write!(f, "task {kind} {id} panicked in attempt {attempt}: {message}"),
            _ => write!(f, "task {kind} {id} failed in attempt {attempt}: {message}"),
        }
    }
}

impl StdError for Failure {
    fn source(&self) -> Option<&(dyn StdError + 'static)> {
        None
    }
}

/// A text of a body as every store can hold it and people can read it: within [`limits::MESSAGE`], and what
/// is left out is counted at its end; a zero byte, which PostgreSQL has no room for, is shown as `␀`.
pub(crate) fn bounded(text: &str) -> String {
    let shown;
    let text = if text.contains('\0') {
        shown = text.replace('\0', "\u{2400}");
        &shown
    } else {
        text
    };
    if text.len() <= limits::MESSAGE {
        return text.to_owned();
    }
    let cut = text.floor_char_boundary(limits::MESSAGE);
    format!("{} … ({} more bytes)", &text[..cut], text.len() - cut)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::id::JobId;

    /// An error with so many sources below it.
    #[derive(Debug, thiserror::Error)]
    #[error("{0}")]
    struct Deep(usize, #[source] Option<Box<Deep>>);

    #[test]
    fn a_chain_of_sources_is_bounded() {
        let chain = |sources| {
            (0..=sources).fold(None, |source, n| Some(Box::new(Deep(sources - n, source))))
        };
        for (sources, kept) in [(3, 3), (limits::SOURCES, 16), (limits::SOURCES + 1, 16), (99, 16)]
        {
            let error: Box<Deep> = chain(sources).unwrap();
            let failure = Failure::new("kind", JobId::named("j").root(), 1, Reason::Error, "0");
            let told = failure.with_sources(&*error).sources;
            let wanted: Vec<_> = (1..=kept).map(|n: usize| n.to_string()).collect();
            assert_eq!(told, wanted, "{sources} sources");
        }
    }
}
