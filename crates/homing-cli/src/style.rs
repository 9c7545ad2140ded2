//! Colours: few, and never the only bearer of a meaning. Where they are shown `output` decides.
//!
//! A styled text has marks in it, which are no characters of any text, and no escape sequences: only the door
//! to the terminal ([`words::printed`](crate::words::printed)) makes those, of the marks alone. So whatever
//! steers a terminal and is not a mark came with the data, and is shown escaped.

use anstyle::{AnsiColor, Style};
use homing::{Status, TaskState, log::Level};

/// What is less important.
pub(crate) const DIM: Style = Style::new().dimmed();
/// Headings.
pub(crate) const BOLD: Style = Style::new().bold();
/// What went well.
pub(crate) const GOOD: Style = AnsiColor::Green.on_default();
/// What went wrong.
pub(crate) const BAD: Style = AnsiColor::Red.on_default();
/// What wants a look.
pub(crate) const WARN: Style = AnsiColor::Yellow.on_default();
/// What is at work.
pub(crate) const BUSY: Style = AnsiColor::Cyan.on_default();

/// Each style, and the mark that a text in it begins with. The code points are none of Unicode's characters.
const MARKS: [(char, Style); 6] = [
    ('\u{fdd0}', DIM),
    ('\u{fdd1}', BOLD),
    ('\u{fdd2}', GOOD),
    ('\u{fdd3}', BAD),
    ('\u{fdd4}', WARN),
    ('\u{fdd5}', BUSY),
];

/// The mark that a styled text ends with.
const END: char = '\u{fddf}';

/// A text in a style.
pub(crate) fn paint(style: Style, text: impl std::fmt::Display) -> String {
    match MARKS.iter().find(|(_, of)| *of == style) {
        Some((mark, _)) => format!("{mark}{text}{END}"),
        None => text.to_string(),
    }
}

/// The escape sequence that a mark stands for.
pub(crate) fn of_mark(mark: char) -> Option<String> {
    if mark == END {
        return Some(format!("{BOLD:#}"));
    }
    MARKS.iter().find(|(own, _)| *own == mark).map(|(_, style)| style.to_string())
}

/// The style of a state.
pub(crate) fn of_state(state: TaskState) -> Style {
    match state {
        TaskState::Pending | TaskState::Waiting => Style::new(),
        TaskState::Running => BUSY,
        TaskState::Succeeded => GOOD,
        TaskState::Failed => BAD,
        TaskState::Cancelled => WARN,
    }
}

/// The style of a status.
pub(crate) fn of_status(status: Status) -> Style {
    match status {
        Status::InProgress => BUSY,
        Status::Completed => GOOD,
        Status::CompletedWithErrors | Status::Cancelled => WARN,
        Status::Failed | Status::Stalled => BAD,
    }
}

/// The style of a log line's level.
pub(crate) fn of_level(level: Level) -> Style {
    match level {
        Level::Debug => DIM,
        Level::Info => Style::new(),
        Level::Warn => WARN,
        Level::Error => BAD,
    }
}
