//! Standard output: lines for people, or one JSON object per line; never both.

use std::fmt;
use std::io::{BufWriter, Stdout, Write};
use std::sync::{Mutex, MutexGuard, PoisonError};

use anstream::{AutoStream, ColorChoice};
use serde::Serialize;

use crate::{Result, words};

/// Standard output. Styles are stripped unless it is a terminal that shows them.
#[derive(Debug)]
pub(crate) struct Output {
    stream: Mutex<BufWriter<AutoStream<Stdout>>>,
}

impl Output {
    pub(crate) fn new(color: ColorChoice) -> Self {
        let stdout = std::io::stdout();
        let color = match color {
            ColorChoice::Auto => AutoStream::choice(&stdout),
            told => told,
        };
        Self { stream: Mutex::new(BufWriter::new(AutoStream::new(stdout, color))) }
    }

    /// Whether colours are shown.
    pub(crate) fn is_coloured(&self) -> bool {
        self.lock().get_ref().current_choice() != ColorChoice::Never
    }

    /// A line for people.
    pub(crate) fn line(&self, text: impl fmt::Display) -> Result<()> {
        Ok(writeln!(self.lock(), "{}", words::printed(&text.to_string()))?)
    }

    /// Text as it is.
    pub(crate) fn bytes(&self, text: &[u8]) -> Result<()> {
        Ok(self.lock().write_all(text)?)
    }

    /// An object for programs, on a line of its own. See `docs/cli.schema.json`.
    pub(crate) fn json(&self, object: &impl Serialize) -> Result<()> {
        let mut stream = self.lock();
        homing_view::json::write(&mut *stream, object)?;
        Ok(stream.write_all(b"\n")?)
    }

    /// Hands on what has been written so far.
    pub(crate) fn flush(&self) -> Result<()> {
        Ok(self.lock().flush()?)
    }

    fn lock(&self) -> MutexGuard<'_, BufWriter<AutoStream<Stdout>>> {
        self.stream.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Writes a message to standard error.
pub(crate) fn say(message: impl fmt::Display) {
    // With standard error gone there is nobody left to tell.
    let _ = writeln!(anstream::stderr(), "{}", words::printed(&message.to_string()));
}
