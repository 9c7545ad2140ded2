//! The second pure core: what a body remembers. No I/O, no clock.
//!
//! The record comes in pages, in the order it was written, and is asked for by place, in the order the
//! body runs. What is asked for is taken, so a body that replays in order holds one page at most; a
//! body whose steps were reordered holds what it has not asked for yet.

use std::collections::HashMap;

use crate::core::record::Entry;

/// A task's record on its way through a replay.
#[derive(Debug, Default)]
pub(crate) struct Recall {
    entries: HashMap<String, (u64, Entry)>,
    /// The number of the last entry loaded.
    loaded: u64,
    /// The number of the last entry there is.
    last: u64,
    /// The highest number asked for so far.
    taken: u64,
}

/// What the record says of a place.
#[derive(Debug, PartialEq)]
pub(crate) enum Look {
    /// This was recorded there.
    Found(Entry),
    /// Nothing was recorded there.
    Absent,
    /// The entries after this number must be loaded to know.
    Load(u64),
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

    /// Asks for what was recorded at a place, and takes it.
    pub(crate) fn look(&mut self, place: &str) -> Look {
        if let Some((seq, entry)) = self.entries.remove(place) {
            self.taken = self.taken.max(seq);
            return Look::Found(entry);
        }
        if self.loaded < self.last { Look::Load(self.loaded) } else { Look::Absent }
    }

    /// The number of the entry that a replay comes to next; `None` once it is past its record.
    pub(crate) fn next(&self) -> Option<u64> {
        self.is_replaying().then_some(self.taken + 1)
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
        self.taken < self.last
    }

    /// Says that the body is past its record: it has done something new.
    pub(crate) fn is_past(&mut self) {
        self.taken = self.last;
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
mod tests {
    use super::*;

    fn page(from: u64, places: &[&str]) -> Vec<(u64, String, Entry)> {
        let entry = |(n, place): (usize, &&str)| {
            (from + n as u64, (*place).to_owned(), Entry::Step(format!("\"{place}\"")))
        };
        places.iter().enumerate().map(entry).collect()
    }

    #[test]
    fn a_record_is_paged_and_taken() {
        let mut recall = Recall::new(3);
        assert_eq!(recall.look("a"), Look::Load(0));
        recall.load(page(1, &["a", "b"]));
        assert_eq!(recall.look("a"), Look::Found(Entry::Step("\"a\"".into())));
        assert_eq!(recall.look("c"), Look::Load(2));
        recall.load(page(3, &["c"]));
        assert!(recall.is_replaying());
        assert_eq!(recall.look("c"), Look::Found(Entry::Step("\"c\"".into())));
        assert!(!recall.is_replaying());
        assert_eq!(recall.look("c"), Look::Absent, "an occurrence is asked for once");
        assert_eq!(
            recall.look("b"),
            Look::Found(Entry::Step("\"b\"".into())),
            "reordered, yet found"
        );
    }

    #[test]
    fn a_record_that_ends_early_is_no_endless_loop() {
        let mut recall = Recall::new(9);
        recall.load(Vec::new());
        assert_eq!(recall.look("a"), Look::Absent);
    }

    #[test]
    fn a_page_that_two_branches_load_is_taken_once() {
        let mut recall = Recall::new(2);
        assert_eq!(recall.look("a"), Look::Load(0));
        assert_eq!(recall.look("b"), Look::Load(0));
        recall.load(page(1, &["a", "b"]));
        assert_eq!(recall.look("a"), Look::Found(Entry::Step("\"a\"".into())));
        recall.load(page(1, &["a", "b", "recorded by this run"]));
        assert_eq!(recall.look("b"), Look::Found(Entry::Step("\"b\"".into())));
        assert_eq!(recall.rest(), Rest::Nothing);
    }

    #[test]
    fn what_a_body_left_out_is_named_once_it_has_returned() {
        let mut recall = Recall::new(4);
        assert_eq!(recall.rest(), Rest::Load(0));
        recall.load(page(1, &["a", "wait#1/deadline", "wait#1", "b"]));
        recall.look("wait#1");
        assert_eq!(recall.rest(), Rest::Left("a".to_owned()));
        recall.look("a");
        assert_eq!(recall.rest(), Rest::Left("b".to_owned()));
        recall.look("b");
        assert_eq!(recall.rest(), Rest::Nothing);
    }

    #[test]
    fn drift_names_what_was_expected_and_came() {
        let text = drift_reason("pages#2", &drift_text("write", "{\"n\":1}", "write", "{\"n\":2}"));
        assert!(
            text.contains("`pages#2`: expected write({\"n\":1}), got write({\"n\":2})"),
            "{text}"
        );
        assert!(text.contains("HashMap"));
    }
}
