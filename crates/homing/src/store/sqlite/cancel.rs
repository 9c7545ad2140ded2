//! `cancel`, `signal` and `pause`: words from outside.

use super::fault::Result;
use super::task::Task;
use super::tx::Tx;
use crate::core::failure::Reason;
use crate::core::id::TaskId;
use crate::core::state::cancelled_text;
use crate::store::rules::{end, unit};
use crate::store::{CancelledBy, Sent};

impl Tx<'_> {
    /// `None` if the task is unknown.
    pub(super) fn cancel(&mut self, task: TaskId, text: Option<&str>) -> Result<Option<bool>> {
        let by = CancelledBy::User;
        let text = text.unwrap_or(cancelled_text(by));
        let first = end::fail(self, task, Reason::Cancelled, text, Some(by))?;
        if !first && Task::read(self.db, task)?.is_none() {
            return Ok(None);
        }
        // A first part of what is below it. The rest is a row, which any worker's next exchange takes further.
        self.cascade()?;
        Ok(Some(first))
    }

    /// A signal from outside. `None` if the task is unknown.
    pub(super) fn send(&mut self, task: TaskId, name: &str, value: &str) -> Result<Option<Sent>> {
        let Some(row) = Task::read(self.db, task)? else { return Ok(None) };
        if row.state.is_ended() {
            return Ok(Some(Sent::Ended));
        }
        // Waits that cannot be read take any signal: what it does to the task, the task itself tells.
        let waits = self.waits_of(task).ok().flatten().unwrap_or_default();
        let sent = Sent::to(&waits, name, value);
        if !matches!(sent, Sent::Misfit(_)) {
            unit::signal(self, task, name, value)?;
        }
        Ok(Some(sent))
    }

    pub(super) fn pause(&mut self, queue: &str, paused: bool) -> Result<()> {
        if paused {
            self.sql("INSERT OR IGNORE INTO paused (queue) VALUES (?1)")?.execute([queue])?;
        } else {
            self.sql("DELETE FROM paused WHERE queue = ?1")?.execute([queue])?;
            self.effects.ready = true;
        }
        Ok(())
    }
}
