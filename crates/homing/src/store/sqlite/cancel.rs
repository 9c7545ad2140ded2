//! `cancel`, `signal` and `pause`: words from outside.

use rusqlite::params;

use super::fault::Result;
use super::task::Task;
use super::tx::Tx;
use crate::core::failure::{Failure, Reason};
use crate::core::id::TaskId;
use crate::core::state::{State, cancelled_text};
use crate::store::events::Swept;
use crate::store::{CancelledBy, Sent};

impl Tx<'_> {
    /// `None` if the task is unknown.
    pub(super) fn cancel(&mut self, task: TaskId, text: Option<&str>) -> Result<Option<bool>> {
        let Some(mut row) = Task::read(self.db, task)? else { return Ok(None) };
        let by = CancelledBy::User;
        let text = text.unwrap_or(cancelled_text(by));
        let first = self.fail(&mut row, Reason::Cancelled, text, Some(by))?;
        self.cascade()?;
        Ok(Some(first))
    }

    pub(super) fn cancel_as(&mut self, task: TaskId, by: CancelledBy) -> Result<bool> {
        match Task::read(self.db, task)? {
            Some(mut row) => self.fail(&mut row, Reason::Cancelled, cancelled_text(by), Some(by)),
            None => Ok(false),
        }
    }

    /// Ends a task from outside its body.
    pub(super) fn fail(
        &mut self,
        row: &mut Task,
        reason: Reason,
        text: &str,
        by: Option<CancelledBy>,
    ) -> Result<bool> {
        let failure = Failure::new(&row.kind, row.id, row.attempt, reason, text);
        let state = if by.is_some() { State::Cancelled } else { State::Failed };
        if by.is_none() && !row.state.is_ended() {
            self.say(row, &crate::core::log::ended(&failure, self.now))?;
        }
        let ended = self.finish(row, state, &crate::core::encode::json(&failure), by, None)?;
        if ended && by.is_none() {
            self.effects.swept.push(Swept::Failed(failure));
        }
        Ok(ended)
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
            self.signal(task, name, value)?;
        }
        Ok(Some(sent))
    }

    /// Keeps a signal, unless its task has ended or is unknown.
    pub(super) fn signal(&mut self, task: TaskId, name: &str, value: &str) -> Result<()> {
        let Some(row) = Task::read(self.db, task)? else { return Ok(()) };
        if row.state.is_ended() {
            return Ok(());
        }
        self.sql(
            "INSERT INTO signals (job, task, number, name, value)
             SELECT ?1, ?2, coalesce(max(number), 0) + 1, ?3, ?4 FROM signals
             WHERE job = ?1 AND task = ?2",
        )?
        .execute(params![task.job, task.local, name, value])?;
        self.signals_sent();
        match self.waits_of(task) {
            Ok(Some(waits)) => self.wake_if_satisfied(task, &waits)?,
            Ok(None) => {}
            Err(fault) => self.stand_still(task, fault)?,
        }
        Ok(())
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
