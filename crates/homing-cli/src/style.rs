//! Colours: few, and never the only bearer of a meaning. Where they are shown `output` decides.

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

/// A text in a style.
pub(crate) fn paint(style: Style, text: impl std::fmt::Display) -> String {
    format!("{style}{text}{style:#}")
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
        Status::Failed => BAD,
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
