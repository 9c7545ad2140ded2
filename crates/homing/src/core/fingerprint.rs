//! Which failures are alike: the same kind, the same reason, the same text but for numbers, ids and quoted words.
//! Stored with a failed task, so how it is made must not change without need.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize, Serializer};

use crate::core::failure::Failure;
use crate::core::id::{TaskId, digest};

/// Bytes of a text that are looked at.
const LOOKED_AT: usize = 2000;
/// Bytes of a quoted word at most; a quote that is not closed by then is an apostrophe.
const QUOTED: usize = 200;
/// Bytes of a fingerprint that follow from the kind alone: those of a kind are a range.
const OF_KIND: usize = 4;

/// What failures have in common that differ only in numbers, ids and quoted words: the kind of the task, the
/// [`Reason`](crate::Reason) and the texts. Prints as 32 hexadecimal digits.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Fingerprint(pub(crate) [u8; 16]);

/// A text that is no [`Fingerprint`].
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("`{text}` is no fingerprint: give its 32 hexadecimal digits, as `failures` lists them")]
pub struct InvalidFingerprint {
    text: String,
}

impl Fingerprint {
    /// A text of a failure with `*` in the place of what differs from one to the next: numbers, ids and quoted words. Of a
    /// text beyond 2,000 bytes, its beginning.
    pub fn pattern(text: &str) -> String {
        normal(text)
    }

    /// That of a task's failure. `None` if it is another task's, which the task was given and passed on: such a
    /// failure counts once, where it began.
    pub(crate) fn of(task: TaskId, failure: &Failure) -> Option<Self> {
        (!is_passed_on(task, failure)).then(|| {
            let mut texts = vec![normal(&failure.message)];
            texts.extend(failure.sources.iter().map(|source| normal(source)));
            let mut parts = vec![failure.kind.as_bytes(), failure.reason.name().as_bytes()];
            parts.extend(texts.iter().map(String::as_bytes));
            let mut bytes = digest(&parts);
            bytes[..OF_KIND].copy_from_slice(&digest(&[failure.kind.as_bytes()])[..OF_KIND]);
            Self(bytes)
        })
    }

    /// As [`of`](Self::of), of a failure as it is stored.
    pub(crate) fn of_stored(task: TaskId, outcome: &str) -> Option<Self> {
        Self::of(task, &serde_json::from_str(outcome).ok()?)
    }

    /// The first and the last that failures of a kind may have; of any kind without one.
    pub(crate) fn range(kind: Option<&str>) -> (Self, Self) {
        let (mut first, mut last) = ([0; 16], [255; 16]);
        if let Some(kind) = kind {
            let own = digest(&[kind.as_bytes()]);
            first[..OF_KIND].copy_from_slice(&own[..OF_KIND]);
            last[..OF_KIND].copy_from_slice(&own[..OF_KIND]);
        }
        (Self(first), Self(last))
    }
}

impl fmt::Display for Fingerprint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(&format!("{:032x}", u128::from_be_bytes(self.0)))
    }
}

impl fmt::Debug for Fingerprint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

impl FromStr for Fingerprint {
    type Err = InvalidFingerprint;

    fn from_str(text: &str) -> Result<Self, InvalidFingerprint> {
        let digits = text.len() == 32 && text.bytes().all(|byte| byte.is_ascii_hexdigit());
        let number = digits.then(|| u128::from_str_radix(text, 16).ok()).flatten();
        number
            .map(|number| Self(number.to_be_bytes()))
            .ok_or_else(|| InvalidFingerprint { text: text.to_owned() })
    }
}

impl Serialize for Fingerprint {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for Fingerprint {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        String::deserialize(deserializer)?.parse().map_err(serde::de::Error::custom)
    }
}

/// Whether a failure is another task's, or an error made of one that says so as [`Failure`] is displayed: then its text
/// names a child of the task's own job.
fn is_passed_on(task: TaskId, failure: &Failure) -> bool {
    let own = format!(" {}.", task.job);
    let names_a_child = |text: &String| {
        text.match_indices(&own).any(|(at, _)| {
            let behind =
                text[at + own.len()..].trim_start_matches(|part: char| part.is_ascii_hexdigit());
            [" failed in attempt ", " panicked in attempt ", " was cancelled)"]
                .iter()
                .any(|ends| behind.starts_with(ends))
        })
    };
    let mut texts = std::iter::once(&failure.message).chain(&failure.sources);
    failure.id != task || texts.any(names_a_child)
}

/// A text with `*` in the place of what differs from one failure to the next: quoted words, and words with a digit
/// or of eight and more hexadecimal letters. Several in a row, joined by what joins parts of numbers and ids, are one.
fn normal(text: &str) -> String {
    let mut rest = &text[..text.floor_char_boundary(LOOKED_AT)];
    let mut normal = String::new();
    // What stands between the last `*` and here, if it may join two.
    let mut joint: Option<String> = None;
    while let Some(first) = rest.chars().next() {
        let within = normal.chars().next_back().is_some_and(char::is_alphanumeric);
        let (length, is_one) = match quoted(rest, first, joint.is_none() && within) {
            Some(length) => (length, true),
            None => word(rest),
        };
        let (part, behind) = rest.split_at(length);
        rest = behind;
        if is_one {
            if joint.take().is_none() {
                normal.push('*');
            }
            joint = Some(String::new());
            continue;
        }
        match &mut joint {
            Some(between)
                if between.is_empty() && matches!(first, '-' | ':' | '.' | ',' | '/' | '_') =>
            {
                between.push(first);
            }
            _ => {
                normal += &joint.take().unwrap_or_default();
                normal += part;
            }
        }
    }
    normal + &joint.unwrap_or_default()
}

/// The length of a quoted word that begins here. Behind a letter, `'` is an apostrophe.
fn quoted(rest: &str, quote: char, is_within_a_word: bool) -> Option<usize> {
    if !matches!(quote, '"' | '`' | '\'') || (quote == '\'' && is_within_a_word) {
        return None;
    }
    let inner = &rest[1..];
    let end = inner[..inner.floor_char_boundary(QUOTED)].find(quote)?;
    Some(end + 2)
}

/// The length of the word or the one character that begins here, and whether it differs from one failure to the next.
fn word(rest: &str) -> (usize, bool) {
    let end = rest.find(|part: char| !part.is_alphanumeric()).unwrap_or(rest.len());
    let word = &rest[..end];
    if word.is_empty() {
        return (rest.chars().next().map_or(0, char::len_utf8), false);
    }
    let is_hex = end >= 8 && word.bytes().all(|byte| byte.is_ascii_hexdigit());
    let digit = word.bytes().any(|byte| byte.is_ascii_digit());
    if digit || is_hex {
        return (end, true);
    }
    // A group of a UUID may be letters alone: `…-beef-…`.
    let is_group = end == 4 && word.bytes().all(|byte| byte.is_ascii_hexdigit());
    let goes_on = rest[end..].strip_prefix('-').is_some_and(|behind| {
        let next = behind.find(|part: char| !part.is_ascii_hexdigit()).unwrap_or(behind.len());
        next == 4 || next == 12
    });
    (end, is_group && goes_on)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::core::failure::Reason;
    use crate::core::id::JobId;

    #[test]
    fn what_differs_from_one_failure_to_the_next_is_left_out() {
        for (text, expected) in [
            ("page 3 cannot be parsed", "page * cannot be parsed"),
            ("timed out after 30.5s", "timed out after *"),
            ("10.0.0.3:8080 refused, 7 of 12", "* refused, * of *"),
            ("no such user \"ada l\" in `eu-1`", "no such user * in *"),
            ("no such file 'a b.csv'", "no such file *"),
            ("can't read 'x', isn't there", "can't read *, isn't there"),
            ("it's a 'quote that is never closed", "it's a 'quote that is never closed"),
            ("task 01a2f9c4-beef-7000-8000-0123456789ab gone", "task * gone"),
            ("at deadbeefcafe: decade", "at *: decade"),
            ("ünïcode „x“ 7…", "ünïcode „x“ *…"),
            ("v1-", "*-"),
            ("", ""),
        ] {
            assert_eq!(normal(text), expected, "{text}");
        }
    }

    #[test]
    fn kind_reason_and_sources_tell_failures_apart() {
        let task = JobId::named("x").root();
        let of = |kind: &str, reason, message: &str| {
            let failure = Failure::new(kind, task, 1, reason, message);
            (Fingerprint::of(task, &failure).unwrap(), failure)
        };
        let (one, failure) = of("import", Reason::Error, "page 3 is odd");
        assert_eq!(one, of("import", Reason::Error, "page 417 is odd").0);
        assert_ne!(one, of("export", Reason::Error, "page 3 is odd").0);
        assert_ne!(one, of("import", Reason::Panic, "page 3 is odd").0);
        let deeper = Failure { sources: vec!["disk full".to_owned()], ..failure.clone() };
        assert_ne!(Some(one), Fingerprint::of(task, &deeper));
        assert_eq!(Fingerprint::of(JobId::named("y").root(), &failure), None, "it was passed on");
        for reason in [Reason::Error, Reason::Panic, Reason::Cancelled] {
            let child = TaskId { job: task.job, local: task.set("pages").numbered(3) };
            let below = Failure::new("page", child, 2, reason, "odd").to_string();
            let wrapped =
                Failure::new("import", task, 1, Reason::Error, &format!("page 3: {below}"));
            assert_eq!(Fingerprint::of(task, &wrapped), None, "{wrapped}");
            let elsewhere = JobId::named("y").root();
            let other = Failure { id: elsewhere, ..wrapped };
            assert!(Fingerprint::of(elsewhere, &other).is_some(), "no child of that job");
        }
        let stored = crate::core::encode::json(&failure);
        assert_eq!(Fingerprint::of_stored(task, &stored), Some(one));
        let (first, last) = Fingerprint::range(Some("import"));
        assert!(first <= one && one <= last);
        let (first, last) = Fingerprint::range(Some("export"));
        assert!(one < first || last < one);
        assert_eq!(one.to_string().parse(), Ok(one));
        assert!("xyz".parse::<Fingerprint>().is_err());
    }
}
