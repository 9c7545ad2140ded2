//! `tracing` events inside a task, written into the job's log.

use std::fmt::Write as _;

use tracing::field::{Field, Visit};
use tracing::{Event, Subscriber};
use tracing_subscriber::Layer;
use tracing_subscriber::layer::Context;

use crate::core::log::Level;

/// A layer that writes the `tracing` events of task bodies into their jobs' logs.
///
/// Add it to the program's subscriber. Events outside tasks, and homing's own, are left alone. Default:
/// from `INFO` on.
#[derive(Debug, Clone, Copy)]
pub struct LogLayer {
    least: Level,
}

/// See [`LogLayer`].
pub fn log_layer() -> LogLayer {
    LogLayer { least: Level::Info }
}

impl LogLayer {
    /// The least important level that is written.
    #[must_use]
    pub fn least(mut self, least: Level) -> Self {
        self.least = least;
        self
    }
}

impl<S: Subscriber> Layer<S> for LogLayer {
    fn on_event(&self, event: &Event<'_>, _: Context<'_, S>) {
        let metadata = event.metadata();
        let own = metadata.target();
        if own == "homing" || own.starts_with("homing::") {
            return;
        }
        let level = match *metadata.level() {
            tracing::Level::ERROR => Level::Error,
            tracing::Level::WARN => Level::Warn,
            tracing::Level::INFO => Level::Info,
            _ => Level::Debug,
        };
        if level >= self.least {
            let mut text = Text::default();
            event.record(&mut text);
            crate::body::context::say(level, &text.finish());
        }
    }
}

/// The message, then the other fields.
#[derive(Default)]
struct Text {
    message: String,
    fields: String,
}

impl Text {
    fn finish(self) -> String {
        format!("{}{}", self.message, self.fields).trim_start().to_owned()
    }
}

impl Visit for Text {
    fn record_str(&mut self, field: &Field, value: &str) {
        if field.name() == "message" {
            value.clone_into(&mut self.message);
        } else {
            let _ = write!(self.fields, " {}={value:?}", field.name());
        }
    }

    fn record_debug(&mut self, field: &Field, value: &dyn std::fmt::Debug) {
        // Writing into a string cannot fail.
        let _ = if field.name() == "message" {
            write!(self.message, "{value:?}")
        } else {
            write!(self.fields, " {}={value:?}", field.name())
        };
    }
}
