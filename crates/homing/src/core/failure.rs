//! A task's failure as it is stored: what a parent or client gets back.

use std::borrow::Cow;
use std::error::Error as StdError;
use std::fmt;

use serde::{Deserialize, Serialize};

use crate::core::foreign::{chain, shown};
use crate::core::id::TaskId;
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

impl Reason {
    /// The word for the reason, as it is stored.
    pub fn name(self) -> &'static str {
        match self {
            Self::Error => "error",
            Self::Panic => "panic",
            Self::Timeout => "timeout",
            Self::Deadline => "deadline",
            Self::Expired => "expired",
            Self::Crashed => "crashed",
            Self::Misuse => "misuse",
            Self::Cancelled => "cancelled",
        }
    }
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
    /// A failure with no sources; an overlong message is cut in its middle.
    pub(crate) fn new(kind: &str, id: TaskId, attempt: u32, reason: Reason, message: &str) -> Self {
        let kind = kind.to_owned();
        Self { kind, id, attempt, reason, message: bounded(message), sources: Vec::new() }
    }

    /// The message, and those of its sources that it does not say itself.
    pub fn told(&self) -> String {
        let mut told = self.message.clone();
        for source in self.sources.iter().filter(|source| !self.message.contains(source.as_str())) {
            told.push_str(": ");
            told.push_str(source);
        }
        bounded(&told)
    }

    /// The same with the messages of an error's sources.
    pub(crate) fn with_sources(mut self, error: &(dyn StdError + 'static)) -> Self {
        let mut before = vec![(address(error), self.message.clone())];
        for source in chain(error).skip(1) {
            if self.sources.len() == limits::SOURCES {
                break;
            }
            let link = (address(source), bounded(&shown(&source)));
            // A chain that goes round comes by the same error once more before that is certain.
            if !before.contains(&link) {
                self.sources.push(link.1.clone());
                before.push(link);
            }
        }
        self
    }
}

/// What went wrong comes first: of a text that is cut, that is what is wanted.
impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { kind, id, attempt, message, .. } = self;
        match self.reason {
            Reason::Cancelled => write!(f, "{message} (task {kind} {id} was cancelled)"),
            Reason::Panic => {
                write!(f, "{message} (task {kind} {id} panicked in attempt {attempt})")
            }
            _ => write!(f, "{message} (task {kind} {id} failed in attempt {attempt})"),
        }
    }
}

impl StdError for Failure {
    fn source(&self) -> Option<&(dyn StdError + 'static)> {
        None
    }
}

fn address(error: &(dyn StdError + 'static)) -> *const () {
    std::ptr::from_ref(error).cast()
}

/// A text as it is kept of an error, a log line or a reason: within [`limits::MESSAGE`], and with NUL, which
/// not every store can hold, shown as `␀`.
///
/// What is too long is cut in the middle: an error that has gone through many parents begins with its cause
/// and ends with the last of them. What is left out is counted, together with what earlier cuts have left out there.
pub(crate) fn bounded(text: &str) -> String {
    let text = if text.contains('\0') {
        Cow::Owned(text.replace('\0', "\u{2400}"))
    } else {
        Cow::Borrowed(text)
    };
    if text.len() <= limits::MESSAGE {
        return text.into_owned();
    }
    let head = text.floor_char_boundary(limits::MESSAGE / 2);
    let tail = text.ceil_char_boundary(text.len() - limits::MESSAGE / 2);
    let (head, left_out, tail) = (&text[..head], &text[head..tail], &text[tail..]);
    format!("{head}{CUT}{}{CUT_END}{tail}", uncut_length(left_out))
}

const CUT: &str = " … (";
const CUT_END: &str = " bytes left out) … ";

/// How long a text was before it was cut.
fn uncut_length(text: &str) -> u64 {
    let mut length = 0;
    let mut pieces = text.split(CUT);
    length += pieces.next().map_or(0, str::len) as u64;
    for piece in pieces {
        let cut =
            piece.split_once(CUT_END).and_then(|(n, rest)| Some((n.parse::<u64>().ok()?, rest)));
        length = length.saturating_add(match cut {
            Some((n, rest)) => n.saturating_add(rest.len() as u64),
            None => (CUT.len() + piece.len()) as u64,
        });
    }
    length
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::core::id::JobId;

    #[test]
    fn the_cause_below_many_parents_is_kept() {
        let mut message = "the disk is on fire".to_owned();
        for level in 0..300 {
            message = bounded(&format!("{message} (task nest {level:03} failed in attempt 1)"));
        }
        assert!(message.starts_with("the disk is on fire (task nest 000 failed in"), "{message}");
        assert!(message.ends_with("(task nest 299 failed in attempt 1)"), "{message}");
        assert!(message.len() < limits::MESSAGE + 64);
        let left_out = 300 * 36 + "the disk is on fire".len() - limits::MESSAGE;
        assert_eq!(message.matches("left out").count(), 1, "{message}");
        assert!(message.contains(&format!(" … ({left_out} bytes left out) … ")), "{message}");
    }

    #[test]
    fn short_texts_stay_and_nul_is_shown() {
        assert_eq!(bounded("as it is"), "as it is");
        assert_eq!(bounded("a\0b"), "a␀b");
        let text = bounded(&"é".repeat(limits::MESSAGE));
        assert!(text.contains(&format!("({} bytes left out)", limits::MESSAGE)), "{text}");
    }

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
