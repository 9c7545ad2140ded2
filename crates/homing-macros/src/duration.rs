//! Durations as the attribute spells them: `"500ms"`, `"30s"`, `"1h 30m"`, and ranges of them.
//!
//! Read at compile time, so that a typing mistake never reaches a worker. A unit is always
//! written: a bare number has been read as seconds by one person and as milliseconds by another.
//! Units fall from left to right and none appears twice. No span may pass the largest `i64` of
//! milliseconds, because that is how stores keep them.

use std::time::Duration;

/// The accepted form, for messages.
pub(crate) const FORM: &str =
    "\"500ms\", \"30s\", \"5m\", \"1h 30m\" or \"7d\" (units ms, s, m, h, d, the largest first)";

/// Longest unit first; the index is the order in which units may follow each other.
const UNITS: [(&str, u64); 5] =
    [("d", 86_400_000), ("h", 3_600_000), ("m", 60_000), ("s", 1_000), ("ms", 1)];

/// Reads one duration; `None` where the text has another form or is too long for a store.
pub(crate) fn parse(text: &str) -> Option<Duration> {
    let mut rest = text.trim();
    let mut millis: u64 = 0;
    let mut allowed = &UNITS[..];
    if rest.is_empty() {
        return None;
    }
    while !rest.is_empty() {
        let (number, after) = split(rest, |c| c.is_ascii_digit());
        let (unit, after) = split(after, |c| c.is_ascii_alphabetic());
        let place = allowed.iter().position(|(name, _)| *name == unit)?;
        let term = number.parse::<u64>().ok()?.checked_mul(allowed[place].1)?;
        millis = millis.checked_add(term)?;
        allowed = &allowed[place + 1..];
        rest = after.trim_start();
    }
    i64::try_from(millis).ok().map(|_| Duration::from_millis(millis))
}

/// Reads `"1s..10m"`, or `"5s"` as a range of one point; `None` where it falls or has another form.
pub(crate) fn parse_range(text: &str) -> Option<(Duration, Duration)> {
    let (first, last) = text.split_once("..").unwrap_or((text, text));
    let (first, last) = (parse(first)?, parse(last)?);
    (first <= last).then_some((first, last))
}

fn split(text: &str, belongs: impl Fn(char) -> bool) -> (&str, &str) {
    text.split_at(text.find(|c| !belongs(c)).unwrap_or(text.len()))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn millis(text: &str) -> Option<u128> {
        parse(text).map(|duration| duration.as_millis())
    }

    #[test]
    fn one_unit() {
        assert_eq!(millis("500ms"), Some(500));
        assert_eq!(millis("30s"), Some(30_000));
        assert_eq!(millis("5m"), Some(300_000));
        assert_eq!(millis("1h"), Some(3_600_000));
        assert_eq!(millis("7d"), Some(604_800_000));
        assert_eq!(millis("0s"), Some(0));
    }

    #[test]
    fn several_units_fall() {
        assert_eq!(millis("1h 30m"), Some(5_400_000));
        assert_eq!(millis(" 1h30m "), Some(5_400_000));
        assert_eq!(millis("1d 2h 3m 4s 5ms"), Some(93_784_005));
        assert_eq!(millis("30m 1h"), None);
        assert_eq!(millis("1h 1h"), None);
    }

    #[test]
    fn other_forms_are_refused() {
        for text in ["", " ", "5", "s", "5 s", "1.5s", "-1s", "5sec", "5S", "5w", "5s,", "½s"] {
            assert_eq!(millis(text), None, "{text:?}");
        }
    }

    #[test]
    fn what_a_store_cannot_keep_is_refused() {
        assert_eq!(millis("9223372036854775807ms"), Some(9_223_372_036_854_775_807));
        assert_eq!(millis("9223372036854775808ms"), None);
        assert_eq!(millis("99999999999999999999d"), None);
        assert_eq!(millis("213503982335d"), None);
    }

    #[test]
    fn ranges() {
        let seconds = Duration::from_secs;
        assert_eq!(parse_range("1s..10m"), Some((seconds(1), seconds(600))));
        assert_eq!(parse_range("1s .. 10m"), Some((seconds(1), seconds(600))));
        assert_eq!(parse_range("5s"), Some((seconds(5), seconds(5))));
        for text in ["10m..1s", "1s..", "..1s", "1s...2s", "1s..2s..3s", ""] {
            assert_eq!(parse_range(text), None, "{text:?}");
        }
    }
}
