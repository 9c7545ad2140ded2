//! The part of an open task's row that both stores have, and how it moves.
//!
//! Each store's own row holds one of these and adds what only that store keeps. A task stops running in
//! [`Row::stop`] alone. The shortcuts that say the same in SQL name it: SQLite's `DONE_ROOT`, `DONE_CHILD`, its
//! ledger's `end` and `STAND_STILL`.

use crate::core::failure::{Failure, Reason};
use crate::core::id::{Local, TaskId, Token, WorkerId};
use crate::core::state::State;
use crate::core::time::Time;
use crate::limits;

/// What moves of an open task, and what decisions read of it.
#[derive(Debug, Clone)]
pub(crate) struct Row {
    pub(crate) id: TaskId,
    pub(crate) parent: Option<Local>,
    pub(crate) set: Option<Local>,
    pub(crate) depth: u32,
    pub(crate) kind: String,
    pub(crate) key: Option<String>,
    pub(crate) state: State,
    pub(crate) attempt: u32,
    pub(crate) failures: u32,
    pub(crate) crashes: u32,
    pub(crate) stalls: u32,
    /// Whether a worker died that had fetched it ahead: it may have begun, so it is not fetched ahead again.
    pub(crate) at_once: bool,
    pub(crate) due: Time,
    pub(crate) started: Option<Time>,
    pub(crate) expires: Option<Time>,
    pub(crate) deadline: Option<Time>,
    pub(crate) token: Option<Token>,
    /// The claim whose future may go on once the waits are answered.
    pub(crate) parked: Option<Token>,
    /// The worker that has that future.
    pub(crate) holder: Option<WorkerId>,
    pub(crate) held_until: Option<Time>,
    pub(crate) reason: Option<String>,
    pub(crate) progress: Option<(u64, u64)>,
    /// Lines of the job's log that the task has written, and those beyond the limit.
    pub(crate) lines: u32,
    pub(crate) dropped: u64,
}

/// The due time of work that goes on: it counts as older than new work, so that what has begun is brought to
/// its end first.
pub(crate) fn resumed(now: Time) -> Time {
    now.before(limits::RESUMED_AGE)
}

impl Row {
    /// The row of a task of which nothing is known but this.
    #[cfg(feature = "postgres")]
    pub(crate) fn blank(id: TaskId, kind: String) -> Self {
        Self {
            id,
            parent: None,
            set: None,
            depth: 0,
            kind,
            key: None,
            state: State::Pending,
            attempt: 1,
            failures: 0,
            crashes: 0,
            stalls: 0,
            at_once: false,
            due: Time(0),
            started: None,
            expires: None,
            deadline: None,
            token: None,
            parked: None,
            holder: None,
            held_until: None,
            reason: None,
            progress: None,
            lines: 0,
            dropped: 0,
        }
    }

    pub(crate) fn parent(&self) -> Option<TaskId> {
        self.parent.map(|local| TaskId { job: self.id.job, local })
    }

    /// The earliest instant at which the task must be looked at without a claim. `wake` is the first that its
    /// waits name.
    pub(crate) fn timer(&self, wake: Option<Time>) -> Option<Time> {
        if self.state.is_ended() {
            return None;
        }
        let wake = wake.filter(|_| self.state == State::Waiting);
        [self.expiry(), self.deadline, wake].into_iter().flatten().min()
    }

    /// Until when it must have begun. One that was fetched ahead may have.
    fn expiry(&self) -> Option<Time> {
        self.expires.filter(|_| self.started.is_none() && self.state == State::Pending)
    }

    /// Why the task is to end that is past its expiry or its deadline.
    pub(crate) fn overdue(&self, now: Time) -> Option<Reason> {
        let late = self.deadline.is_some_and(|time| time <= now);
        let expired = self.expiry().is_some_and(|time| time <= now);
        late.then_some(Reason::Deadline).or(expired.then_some(Reason::Expired))
    }

    /// No worker holds the task any more. Returns the token that one held it under.
    pub(crate) fn stop(&mut self) -> Option<Token> {
        (self.holder, self.held_until) = (None, None);
        self.token.take()
    }

    /// The task becomes pending.
    pub(crate) fn release(&mut self, due: Time) {
        self.stop();
        self.state = State::Pending;
        // What the body recorded since, an older future does not know.
        self.parked = None;
        self.due = due;
    }

    /// Its worker gives it back, as it was if it was fetched ahead and has not begun.
    pub(crate) fn hand_back(&mut self, now: Time) {
        let is_ahead = self.token.is_some_and(Token::is_ahead);
        self.release(if is_ahead { self.due } else { resumed(now) });
    }

    /// The attempt failed, and there will be another.
    pub(crate) fn retry(&mut self, failure: &Failure, due: Time) {
        self.attempt += 1;
        self.failures += 1;
        self.stalls = 0;
        self.reason = Some(failure.to_string());
        self.release(due);
    }

    /// The task cannot go on as things are, and is looked at again later.
    pub(crate) fn stall(&mut self, reason: String, due: Time) {
        self.stalls = self.stalls.saturating_add(1);
        self.reason = Some(reason);
        self.release(due);
    }

    /// The task waits. `resident`: its worker keeps the future.
    pub(crate) fn park(&mut self, resident: bool) {
        self.state = State::Waiting;
        // It came as far as its record goes, so it fits.
        self.stalls = 0;
        self.parked = self.stop();
        self.holder = self.parked.filter(|_| resident).map(|token| token.worker);
    }

    /// A waiting task goes on: for a moment only its holder may take it.
    pub(crate) fn wake(&mut self, now: Time) {
        self.state = State::Pending;
        self.due = resumed(now);
        self.held_until = self.holder.map(|_| now.after(limits::HOLD));
    }

    /// Whether a part of its budgets is used up.
    pub(crate) fn is_worn(&self) -> bool {
        self.at_once || (self.failures, self.crashes, self.stalls) != (0, 0, 0)
    }

    /// What a task recorded is progress: its budgets are whole again.
    pub(crate) fn renew(&mut self) {
        (self.failures, self.crashes, self.stalls) = (0, 0, 0);
        self.at_once = false;
    }
}
