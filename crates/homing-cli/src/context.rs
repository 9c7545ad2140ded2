//! What every command is given: the store, where to write, and how.

use homing::{Homing, Time};

use crate::Result;
use crate::output::Output;

/// What every command is given.
#[derive(Debug)]
pub(crate) struct Context {
    /// The store, opened; it existed.
    pub(crate) homing: Homing,
    /// The store's URL, as it was given.
    pub(crate) url: String,
    /// Whether programs read the output.
    pub(crate) json: bool,
    /// Standard output.
    pub(crate) out: Output,
}

impl Context {
    /// The time of the store's clock.
    pub(crate) fn now(&self) -> Time {
        self.homing.now().into()
    }

    /// Writes an object where programs read, else a line for people.
    pub(crate) fn show(
        &self,
        object: &impl serde::Serialize,
        line: impl FnOnce() -> String,
    ) -> Result<()> {
        if self.json { self.out.json(object) } else { self.out.line(line()) }
    }
}
