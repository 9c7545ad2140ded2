//! The second pure core: what a body remembers. No I/O, no clock.
//!
//! The record comes in pages, in the order it was written, and is asked for by place, in the order the
//! body runs. What is asked for is taken, so a body that replays in order holds one page at most; a
//! body whose steps were reordered holds what it has not asked for yet.

use std::collections::HashMap;

use crate::core::record::Entry;
use crate::core::wait::Answer;

/// A task's record on its way through a replay.
#[derive(Debug, Default)]
pub(crate) struct Recall {
    entries: HashMap<String, (u64, Entry)>,
    /// The number of the last entry loaded.
    loaded: u64,
    /// The number of the last entry there is.
    last: u64,
    /// The highest number asked for so far.
    asked: u64,
    /// Whether the body has done something that is not in the record.
    past: bool,
}

/// What a body does at a place, as far as its record has a say in it.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Operation<'a> {
    /// Something that has a value: what it is, such as `a step`.
    Value(&'a str),
    /// A wait for so many children.
    Wait(u64),
    /// Something that is done once and brings no value, a job that is started or a signal that is sent: the hash
    /// of what is said.
    Said([u8; 16]),
}

/// What the record answers.
#[derive(Debug, PartialEq)]
pub(crate) enum Verdict {
    /// An earlier run has done it, and this was its value, as JSON.
    Value(String),
    /// An earlier run's wait was answered so.
    Answer(Answer),
    /// An earlier run has said it.
    Said,
    /// Nothing was recorded there: the body does it now.
    Execute,
    /// Nothing was recorded there: the body waits.
    Park,
    /// Something else was recorded there: the body has drifted, and so.
    Mismatch(String),
    /// The entries after this number must be loaded to know.
    Load(u64),
}

impl Operation<'_> {
    fn what(&self) -> &str {
        match self {
            Self::Value(what) => what,
            Self::Wait(_) => "a wait",
            Self::Said(_) => "another call or signal",
        }
    }

    /// What comes of this where nothing was recorded.
    fn unrecorded(self) -> Verdict {
        if matches!(self, Self::Wait(_)) { Verdict::Park } else { Verdict::Execute }
    }

    /// What comes of this where an entry was recorded.
    fn recorded(self, entry: Entry) -> Verdict {
        match (self, entry) {
            (Self::Value(_), Entry::Value(text)) => Verdict::Value(text),
            (Self::Wait(members), Entry::Answer(answer)) if answer.members == members => {
                Verdict::Answer(answer)
            }
            (Self::Wait(members), Entry::Answer(Answer { members: old, .. })) => Verdict::Mismatch(
                format!("expected a wait for {old} children, got one for {members}"),
            ),
            (
                Self::Said(hash),
                Entry::Added(old) | Entry::Detached(old) | Entry::Signalled(old),
            ) if old == hash => Verdict::Said,
            (_, other) => {
                Verdict::Mismatch(format!("expected {}, got {}", other.what(), self.what()))
            }
        }
    }
}

impl Recall {
    /// A record whose last entry has the number `last`.
    pub(crate) fn new(last: u64) -> Self {
        Self { last, ..Self::default() }
    }

    /// The number of the last entry there is.
    pub(crate) fn last(&self) -> u64 {
        self.last
    }

    /// Asks what an operation at a place comes to. What was recorded there is taken: a second one at the same place
    /// finds nothing.
    pub(crate) fn ask(&mut self, place: &str, operation: Operation<'_>) -> Verdict {
        if let Some((seq, entry)) = self.entries.remove(place) {
            self.asked = self.asked.max(seq);
            return operation.recorded(entry);
        }
        if self.loaded < self.last {
            return Verdict::Load(self.loaded);
        }
        operation.unrecorded()
    }

    /// The number of the entry that a replay comes to next; `None` once it is past its record. Who has spawned may be
    /// past it and not have read all of it.
    pub(crate) fn next(&self) -> Option<u64> {
        (self.is_replaying() || self.loaded < self.last).then_some(self.asked + 1)
    }

    /// Where something is recorded under a lower number that the body has not come to: a branch of it is behind
    /// the others, or it comes to things in another order than it did. Up to so many of them.
    pub(crate) fn behind(&self, number: u64, most: usize) -> Vec<&str> {
        let behind = self.entries.iter().filter(|(_, (seq, _))| *seq < number);
        behind.take(most).map(|(place, _)| place.as_str()).collect()
    }

    /// Whether no entries are here that the body has not come to.
    pub(crate) fn is_empty(&self) -> bool {
        self.entries.is_empty()
    }

    /// Whether something is recorded that the body has not come to.
    pub(crate) fn is_left(&self) -> bool {
        self.rest() != Rest::Nothing
    }

    /// Drops what was recorded beside something else: it is of use only until that was recorded, too.
    pub(crate) fn forget(&mut self, place: &str) {
        self.entries.remove(place);
    }

    /// What is left of the record once the body has returned.
    pub(crate) fn rest(&self) -> Rest {
        if self.loaded < self.last {
            return Rest::Load(self.loaded);
        }
        let left = self.entries.iter().filter(|(place, _)| !is_beside(place));
        match left.min_by_key(|(_, (seq, _))| *seq) {
            Some((place, _)) => Rest::Left(place.clone()),
            None => Rest::Nothing,
        }
    }

    /// Adds a page; an empty one says that there is nothing more.
    ///
    /// Two branches may load the same page: what came with the first may have been taken since. And what
    /// this run has recorded itself is no part of the record it replays.
    pub(crate) fn load(&mut self, page: Vec<(u64, String, Entry)>) {
        if page.is_empty() {
            self.loaded = self.last;
        }
        let before = self.loaded;
        for (seq, place, entry) in page {
            self.loaded = self.loaded.max(seq);
            if seq > before && seq <= self.last {
                self.entries.insert(place, (seq, entry));
            }
        }
    }

    /// Gives back memory that was needed for pages.
    pub(crate) fn shrink(&mut self) {
        self.entries.shrink_to_fit();
    }

    /// Whether entries remain that the body has not come to.
    pub(crate) fn is_replaying(&self) -> bool {
        !self.past && self.asked < self.last
    }

    /// Says that the body is past its record: it has done something new.
    pub(crate) fn is_past(&mut self) {
        self.past = true;
    }
}

/// What a body that has returned did not come to.
#[derive(Debug, PartialEq)]
pub(crate) enum Rest {
    /// It came to everything.
    Nothing,
    /// The entries after this number must be loaded to know.
    Load(u64),
    /// The first that it left out.
    Left(String),
}

/// The ends of places at which something is remembered only to record something else the same way:
/// a body that was given the one does not ask for the other.
pub(crate) const DEADLINE: &str = "/deadline";
pub(crate) const TIMED_OUT: &str = "/timed out";

fn is_beside(place: &str) -> bool {
    place.ends_with(DEADLINE) || place.ends_with(TIMED_OUT)
}

/// How a call differs from the one recorded at its place: what was expected and what came.
pub(crate) fn drift_text(
    kind: &str,
    arguments: &str,
    new_kind: &str,
    new_arguments: &str,
) -> String {
    let call = |kind: &str, arguments: &str| {
        let short = &arguments[..arguments.floor_char_boundary(200)];
        let more = if short.len() < arguments.len() { "…" } else { "" };
        format!("{kind}({short}{more})")
    };
    format!("expected {}, got {}", call(kind, arguments), call(new_kind, new_arguments))
}

/// The reason a task stands still: the place, what was expected and came, and the first suspect.
pub(crate) fn drift_reason(place: &str, difference: &str) -> String {
    format!(
        "the body has drifted from its record at `{place}`: {difference}; look first for iteration over a HashMap or HashSet, then for a change of the code: mend the body or roll back, and the task goes on by itself"
    )
}

/// The reason a task stands still whose record holds a value that this body cannot read.
pub(crate) fn undecodable_reason(place: &str, what: &str, error: &str) -> String {
    format!(
        "the body has drifted from its record at `{place}`: {what} does not decode: {error}; its type is another than when it was recorded: let the new one read the old form, give the new one another name, or roll back, and the task goes on by itself"
    )
}

#[cfg(test)]
mod tests;
#[cfg(test)]
mod transcripts;
