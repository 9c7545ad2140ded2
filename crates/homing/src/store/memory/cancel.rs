//! `cancel` and `signal`: words from outside.

use super::{Data, stored};
use crate::core::failure::{Failure, Reason};
use crate::core::id::TaskId;
use crate::core::state::{State, cancelled_text};
use crate::core::time::Time;
use crate::store::{CancelledBy, Sent};

impl Data {
    /// `None` if the task is unknown.
    pub(super) fn cancel(&mut self, task: TaskId, text: Option<String>, now: Time) -> Option<bool> {
        self.tasks.get(&task)?;
        let text = text.unwrap_or_else(|| cancelled_text(CancelledBy::User).to_owned());
        let first = self.cancel_with(task, CancelledBy::User, &text, now);
        self.cascade(now);
        Some(first)
    }

    pub(super) fn cancel_as(&mut self, task: TaskId, by: CancelledBy, now: Time) -> bool {
        self.cancel_with(task, by, cancelled_text(by), now)
    }

    fn cancel_with(&mut self, task: TaskId, by: CancelledBy, text: &str, now: Time) -> bool {
        let Some(row) = self.tasks.get(&task) else { return false };
        let failure = Failure::new(&row.kind, task, row.attempt, Reason::Cancelled, text);
        self.finish(task, State::Cancelled, stored(&failure), Some(by), now)
    }

    /// A signal from outside. `None` if the task is unknown.
    pub(super) fn send(
        &mut self,
        task: TaskId,
        name: String,
        value: String,
        now: Time,
    ) -> Option<Sent> {
        let row = self.tasks.get(&task)?;
        if row.state.is_ended() {
            return Some(Sent::Ended);
        }
        let waits: &[_] = if row.state == State::Waiting { &row.waits } else { &[] };
        let sent = Sent::to(waits, &name, &value);
        if !matches!(sent, Sent::Misfit(_)) {
            self.signal(task, name, value, now);
        }
        Some(sent)
    }

    /// Forgets what a task was sent and has not taken. Returns it, the oldest first.
    pub(super) fn forget_signals(&mut self, task: TaskId) -> Vec<(String, String)> {
        let sent = self.signals.range((task, 0)..=(task, u64::MAX));
        let sent: Vec<_> = sent.map(|(key, _)| *key).collect();
        sent.iter().filter_map(|key| self.signals.remove(key)).collect()
    }

    /// Keeps a signal, unless its task has succeeded or is unknown. One that fell may run again, by the retry of its job:
    /// whoever sent it has that in its record, and does not send it again.
    pub(super) fn signal(&mut self, task: TaskId, name: String, value: String, now: Time) {
        let state = self.tasks.get(&task).map(|row| row.state);
        let Some(state) = state.filter(|state| *state != State::Succeeded) else { return };
        let number = self.next();
        self.signals.insert((task, number), (name, value));
        if state == State::Waiting {
            self.wake_if_satisfied(task, now);
        }
    }
}
