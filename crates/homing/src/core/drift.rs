//! How a body differs from its record, as data: read again from the reason that the store keeps as a text.
//!
//! The text is made by [`replay`](super::replay), in one form; what has another form, or was cut, is no drift here.

use serde::Serialize;

/// How a body has drifted from its record. See [`TaskView::drift`](crate::TaskView::drift).
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[non_exhaustive]
pub struct Drift {
    /// Where in the body.
    pub place: String,
    /// What the record has there: a call, as `import({"page":1})`, of which arguments beyond 200 bytes are left
    /// out, or what it is in words. `None` if a value there does not decode.
    pub expected: Option<String>,
    /// What the body did there instead, likewise.
    pub got: Option<String>,
    /// The difference in words.
    pub difference: String,
}

const BEGINS: &str = "the body has drifted from its record at `";
/// What follows the difference: the advice to people.
const ADVICE: [&str; 2] = [
    "; look first for iteration over a HashMap",
    "; its type is another than when it was recorded",
];

impl Drift {
    /// The drift that a reason tells of, if it tells of one.
    pub(crate) fn of(reason: &str) -> Option<Self> {
        let rest = reason.strip_prefix(BEGINS)?;
        let end = ADVICE.iter().find_map(|advice| rest.rfind(advice))?;
        let rest = &rest[..end];
        // A place may have backticks of its own; the difference mostly begins so.
        let at = rest.find("`: expected ").or_else(|| rest.find("`: "))?;
        let (place, difference) = (&rest[..at], &rest[at + "`: ".len()..]);
        let (expected, got) = both(difference).unzip();
        let own = str::to_owned;
        Some(Self {
            place: own(place),
            expected: expected.map(own),
            got: got.map(own),
            difference: own(difference),
        })
    }
}

/// `expected …, got …`, taken apart where neither side is cut in the middle of its arguments.
fn both(difference: &str) -> Option<(&str, &str)> {
    const GOT: &str = ", got ";
    let rest = difference.strip_prefix("expected ")?;
    let sides = rest.match_indices(GOT).map(|(at, _)| (&rest[..at], &rest[at + GOT.len()..]));
    sides.into_iter().find(|(expected, got)| is_whole(expected) && is_whole(got))
}

/// Whether a side is words, or a call with all of its arguments, or one of which the end is left out.
fn is_whole(side: &str) -> bool {
    let Some(inner) = side.strip_suffix(')') else { return !side.contains('(') };
    let json = |(at, _): (usize, &str)| {
        serde_json::from_str::<serde::de::IgnoredAny>(&inner[at + 1..]).is_ok()
    };
    inner.ends_with('…') || inner.match_indices('(').any(json)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::core::replay::{drift_reason, drift_text, undecodable_reason};

    fn read(place: &str, difference: &str) -> (String, Option<String>, Option<String>) {
        let drift = Drift::of(&drift_reason(place, difference)).unwrap();
        assert_eq!(drift.difference, difference);
        (drift.place, drift.expected, drift.got)
    }

    #[test]
    fn calls_are_read_as_they_were_written() {
        let tricky = r#"{"text":"), got write({})"}"#;
        let long = format!(r#"{{"text":"{}"}}"#, "é".repeat(200));
        for arguments in [r#"{"n":1}"#, "[]", tricky, &long] {
            let text = drift_text("write", arguments, "odd (kind)", r#"{"n":2}"#);
            let (place, expected, got) = read("set:`pages`[3]", &text);
            assert_eq!(place, "set:`pages`[3]");
            let cut = arguments.len() > 200;
            let whole = format!("write({arguments})");
            let expected = expected.unwrap();
            assert!(if cut { expected.ends_with("…)") } else { expected == whole }, "{expected}");
            assert_eq!(got.as_deref(), Some(r#"odd (kind)({"n":2})"#));
        }
    }

    #[test]
    fn words_are_read_and_what_has_no_two_sides_is_told() {
        let (_, expected, got) = read("sleep#1", "expected a wait, got a step");
        assert_eq!((expected.as_deref(), got.as_deref()), (Some("a wait"), Some("a step")));
        assert_eq!(read("x", "something else"), ("x".to_owned(), None, None));
        let text = undecodable_reason("step:a#1", "a step", "expected a string");
        let drift = Drift::of(&text).unwrap();
        assert_eq!((drift.place.as_str(), drift.expected), ("step:a#1", None));
        assert_eq!(drift.difference, "a step does not decode: expected a string");
    }

    #[test]
    fn other_reasons_are_no_drift() {
        let cut = &drift_reason("x", "expected a, got b")[..60];
        for other in ["", "the kind is not registered", cut] {
            assert_eq!(Drift::of(other), None, "{other}");
        }
    }
}
