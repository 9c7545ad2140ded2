//! Numbers, durations and instants as people read them, and as they write them in arguments.

use std::time::Duration;

use homing::{Counts, JobId, JobView, Retried, Time};
use jiff::{Span, SpanRelativeTo, Timestamp, Unit};

/// A duration in at most two units: `812 ms`, `3.2 s`, `4 min 12 s`, `2 h 5 min`, `3 d 4 h`.
pub fn duration(duration: Duration) -> String {
    let seconds = duration.as_secs();
    let pair = |large: u64, l: &str, small: u64, s: &str| {
        if small == 0 { format!("{large} {l}") } else { format!("{large} {l} {small} {s}") }
    };
    match seconds {
        0 => format!("{} ms", duration.as_millis()),
        1..10 => format!("{seconds}.{} s", duration.subsec_millis() / 100),
        10..60 => format!("{seconds} s"),
        60..3600 => pair(seconds / 60, "min", seconds % 60, "s"),
        3600..86_400 => pair(seconds / 3600, "h", seconds % 3600 / 60, "min"),
        _ => pair(seconds / 86_400, "d", seconds % 86_400 / 3600, "h"),
    }
}

/// Tasks by state; states without any are left out.
pub fn states(counts: &Counts) -> String {
    some([
        (counts.pending, "pending"),
        (counts.running, "running"),
        (counts.waiting, "waiting"),
        (counts.succeeded, "succeeded"),
        (counts.failed, "failed"),
        (counts.cancelled, "cancelled"),
    ])
}

/// How far a job is: a percentage, or what is done and open where nobody knows how much there is to do.
pub fn done(job: &JobView) -> String {
    let open = job.counts.spawned() - job.counts.ended();
    match job.percent() {
        Some(percent) => format!("{} %", percent.floor()),
        None => format!("{} done, {} open", number(job.counts.ended()), number(open)),
    }
}

/// Numbers with what they count, those of zero left out.
pub fn some<const N: usize>(parts: [(u64, &str); N]) -> String {
    let parts = parts.into_iter().filter(|(n, _)| *n > 0);
    parts.map(|(n, word)| format!("{} {word}", number(n))).collect::<Vec<_>>().join(", ")
}

/// How long ago an instant was, or how long it is until then.
pub fn ago(time: Time, now: Time) -> String {
    if time > now {
        format!("in {}", duration(time.since(now)))
    } else {
        format!("{} ago", duration(now.since(time)))
    }
}

/// An instant in UTC: `2026-01-31 23:59:59Z`.
pub fn instant(time: Time) -> String {
    match Timestamp::from_microsecond(time.0) {
        Ok(time) => time.strftime("%Y-%m-%d %H:%M:%SZ").to_string(),
        Err(_) => "never".to_owned(),
    }
}

/// A number of bytes: `812 B`, `1.2 MiB`.
pub fn bytes(bytes: u64) -> String {
    let (mut size, mut unit) = (bytes as f64, "B");
    for larger in ["KiB", "MiB", "GiB", "TiB"] {
        if size < 1024.0 {
            break;
        }
        (size, unit) = (size / 1024.0, larger);
    }
    if unit == "B" { format!("{bytes} B") } else { format!("{size:.1} {unit}") }
}

/// A number and what it counts, with thousands set apart: `1,234 tasks`.
pub fn count(n: u64, one: &str, many: &str) -> String {
    format!("{} {}", number(n), if n == 1 { one } else { many })
}

/// A number with thousands set apart.
pub fn number(n: u64) -> String {
    let digits = n.to_string();
    let mut text = String::with_capacity(digits.len() * 4 / 3);
    for (at, digit) in digits.char_indices() {
        if at > 0 && (digits.len() - at).is_multiple_of(3) {
            text.push(',');
        }
        text.push(digit);
    }
    text
}

/// Text on one line of at most `width` characters; what is cut off ends in an ellipsis. What could steer a
/// terminal is shown escaped.
pub fn line(text: &str, width: usize) -> String {
    let (text, mut line) = (text.trim_end(), String::new());
    for (at, part) in text.chars().enumerate() {
        if at + 1 >= width && text.chars().nth(width).is_some() {
            line.push('…');
            break;
        }
        match part {
            '\n' => line.push(' '),
            part if steers(part) => line.extend(part.escape_default()),
            part => line.push(part),
        }
    }
    line
}

/// Whether a character moves the cursor, turns the direction of text, breaks the line, or does anything else
/// but show itself.
pub fn steers(character: char) -> bool {
    character.is_control()
        || matches!(
            character,
            '\u{61c}'
                | '\u{200e}'
                | '\u{200f}'
                | '\u{2028}'..='\u{202e}'
                | '\u{2066}'..='\u{2069}'
                | '\u{fdd0}'..='\u{fdef}'
        )
}

/// Reads a duration such as `90s`, `15m`, `2h 30m`, `7d` or `2w`; a day has 24 hours.
pub fn parse_duration(text: &str) -> Result<Duration, String> {
    let expected = "give a duration such as 90s, 15m, 2h30m, 7d or 2w";
    let span: Span = text.parse().map_err(|_| expected.to_owned())?;
    if span.get_years() != 0 || span.get_months() != 0 {
        return Err("months and years have no fixed length: give days".to_owned());
    }
    let whole = span.total((Unit::Nanosecond, SpanRelativeTo::days_are_24_hours()));
    let whole = whole.map_err(|_| expected.to_owned())?;
    if whole < 0.0 { Err(expected.to_owned()) } else { Ok(Duration::from_nanos(whole as u64)) }
}

/// Reads an instant by RFC 3339, such as `2026-01-31T23:59:59Z`.
pub fn parse_instant(text: &str) -> Option<Time> {
    text.parse::<Timestamp>().ok().map(|time| Time(time.as_microsecond()))
}

/// What a retry reopened, or would.
pub fn retried(id: JobId, preview: bool, retried: &Retried) -> String {
    let verb = if preview { "would retry" } else { "retrying" };
    let reopened = count(retried.reopened, "task runs", "tasks run");
    let mut parts = vec![format!("{verb} {id}: {reopened} again")];
    if retried.taken_back > 0 {
        let entries = count(retried.taken_back, "entry", "entries");
        parts.push(format!(", {entries} of records taken back"));
    }
    if retried.removed > 0 {
        parts.push(format!(", {} removed", count(retried.removed, "task", "tasks")));
    }
    parts.concat()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn durations_have_at_most_two_units() {
        let shown = [0, 812, 3_299, 12_999, 60_000, 252_000, 7_500_000, 273_600_000]
            .map(|millis| duration(Duration::from_millis(millis)));
        let expected =
            ["0 ms", "812 ms", "3.2 s", "12 s", "1 min", "4 min 12 s", "2 h 5 min", "3 d 4 h"];
        assert_eq!(shown, expected);
    }

    #[test]
    fn durations_are_read() {
        for (text, seconds) in [("90s", 90), ("15m", 900), ("2h30m", 9_000), ("7d", 604_800)] {
            assert_eq!(parse_duration(text), Ok(Duration::from_secs(seconds)), "{text}");
        }
        for wrong in ["", "7", "-7d", "1y", "soon"] {
            assert!(parse_duration(wrong).is_err(), "{wrong}");
        }
    }

    #[test]
    fn instants_are_read_as_they_are_written() {
        let time = Time(1_769_903_999_123_456);
        assert_eq!(time.rfc3339().as_deref().and_then(parse_instant), Some(time));
        assert_eq!(
            parse_instant("2026-02-01T01:00:00+01:00"),
            parse_instant("2026-02-01T00:00:00Z")
        );
        for wrong in ["", "2026-01-31", "now", "2026-01-31T23:59:59"] {
            assert_eq!(parse_instant(wrong), None, "{wrong}");
        }
    }

    #[test]
    fn lines_are_one_line_and_harmless() {
        assert_eq!(line("two\nlines", 80), "two lines");
        assert_eq!(line("\u{1b}[31mred", 80), "\\u{1b}[31mred");
        assert_eq!(line("a\u{202e}b\u{fdd3}", 80), "a\\u{202e}b\\u{fdd3}");
        assert_eq!(line("12345", 5), "12345");
        assert_eq!(line("123456", 5), "1234…");
    }

    #[test]
    fn thousands_are_set_apart() {
        assert_eq!([0, 999, 1_000, 1_234_567].map(number), ["0", "999", "1,000", "1,234,567"]);
    }
}
