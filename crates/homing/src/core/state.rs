//! The first pure core: which states a task may move between, and what a failure or a crash leads to.
//!
//! No clock, no I/O. Stores repeat these guards as predicates; the conformance suite holds every move
//! it observes against [`State::may_become`].

use std::time::Duration;

use serde::{Deserialize, Serialize};

use crate::core::failure::Reason;
use crate::core::id::{TaskId, digest};

/// The state of a task. Scheduled and retrying tasks are pending with a due time to come.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum State {
    /// Can be claimed once it is due.
    Pending = 0,
    /// A worker holds it under a token.
    Running = 1,
    /// Parked: no worker holds it.
    Waiting = 2,
    /// Ended with a value.
    Succeeded = 3,
    /// Ended with an error.
    Failed = 4,
    /// Ended from outside.
    Cancelled = 5,
}

impl State {
    /// Every state, in the order of their codes.
    pub const ALL: [Self; 6] = [
        Self::Pending,
        Self::Running,
        Self::Waiting,
        Self::Succeeded,
        Self::Failed,
        Self::Cancelled,
    ];

    /// Whether the task has ended.
    pub fn is_ended(self) -> bool {
        self >= Self::Succeeded
    }

    /// Whether a task may go from this state to `next` in one move.
    ///
    /// An ended task is moved by a job's retry alone, which is not a step of its life but a new one.
    pub fn may_become(self, next: Self) -> bool {
        use State::{Cancelled, Failed, Pending, Running, Succeeded, Waiting};
        match self {
            Pending => matches!(next, Running | Failed | Cancelled),
            Running => next != Running,
            Waiting => matches!(next, Pending | Failed | Cancelled),
            Succeeded | Failed | Cancelled => false,
        }
    }

    /// The state of a stored code.
    pub fn from_code(code: i64) -> Option<Self> {
        Self::ALL.into_iter().find(|state| *state as i64 == code)
    }

    /// The word for the state.
    pub fn name(self) -> &'static str {
        match self {
            Self::Pending => "pending",
            Self::Running => "running",
            Self::Waiting => "waiting",
            Self::Succeeded => "succeeded",
            Self::Failed => "failed",
            Self::Cancelled => "cancelled",
        }
    }
}

impl std::fmt::Display for State {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.pad(self.name())
    }
}

/// Who cancelled a task.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum CancelledBy {
    /// Somebody outside the job.
    User = 1,
    /// The parent's `abort`.
    Abort = 2,
    /// The parent's policy.
    Policy = 3,
    /// The end of the parent.
    Parent = 4,
}

impl CancelledBy {
    /// The canceller of a stored code.
    pub fn from_code(code: i64) -> Option<Self> {
        [Self::User, Self::Abort, Self::Policy, Self::Parent]
            .into_iter()
            .find(|by| *by as i64 == code)
    }

    /// Whether the parent itself did it, so that it does not count as a loss.
    pub fn is_parent(self) -> bool {
        matches!(self, Self::Abort | Self::Policy)
    }
}

/// Pauses between retries: exponential from `min` to `max`, with jitter.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Backoff {
    min: Duration,
    max: Duration,
}

impl Backoff {
    /// Pauses that double from `min` with every failure in a row, up to `max`, each shortened by up to
    /// a quarter so that tasks which failed together do not come back together. A `max` below `min` is
    /// `min`: the same pause every time.
    pub const fn exponential(min: Duration, max: Duration) -> Self {
        Self { min, max }
    }

    /// The same pause every time, without jitter.
    pub const fn constant(pause: Duration) -> Self {
        Self { min: pause, max: pause }
    }

    /// The pause after the `failures`th failure in a row. The jitter is a hash of task and attempt, so
    /// that a simulation repeats itself.
    pub(crate) fn pause(&self, failures: u32, task: TaskId, attempt: u32) -> Duration {
        if self.min >= self.max {
            return self.min;
        }
        let factor = 1u32.checked_shl(failures.saturating_sub(1)).unwrap_or(u32::MAX).max(1);
        let full = self.min.checked_mul(factor).unwrap_or(self.max).min(self.max);
        let hash =
            digest(&[b"jitter", task.job.as_bytes(), &task.local.0, &attempt.to_be_bytes()])[0];
        // Not by floats: the longest duration of all has no float.
        full.saturating_sub(full / 1024 * u32::from(hash))
    }
}

impl Default for Backoff {
    /// From 1 second to 10 minutes.
    fn default() -> Self {
        Self::exponential(crate::limits::BACKOFF_MIN, crate::limits::BACKOFF_MAX)
    }
}

/// What a body asked for when it failed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(crate) enum Directive {
    /// Retry as the policy says.
    #[default]
    Policy,
    /// Never retry.
    Fatal,
    /// Retry after this pause, if the budget allows.
    After(Duration),
}

/// A task's budget of retries and what is left of it.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Budget {
    /// Retries allowed in a row.
    pub(crate) retries: u32,
    /// Attempts allowed in all.
    pub(crate) max_attempts: u32,
    /// The pauses.
    pub(crate) backoff: Backoff,
    /// The attempt that failed, 1-based.
    pub(crate) attempt: u32,
    /// Failures in a row, this one included.
    pub(crate) failures: u32,
}

impl Budget {
    /// The pause before the next attempt, or `None` when the failure is final.
    pub(crate) fn after_failure(&self, directive: Directive, task: TaskId) -> Option<Duration> {
        if self.attempt >= self.max_attempts || self.failures > self.retries {
            return None;
        }
        match directive {
            Directive::Fatal => None,
            Directive::After(pause) => Some(pause),
            Directive::Policy => Some(self.backoff.pause(self.failures, task, self.attempt)),
        }
    }
}

/// The pause before a task that was stopped by drift is tried again.
pub(crate) fn stall_pause(stalls: u32) -> Duration {
    Duration::from_secs(1 << stalls.min(16)).min(crate::limits::STALL_MAX)
}

/// What a cancelled task's failure says.
pub(crate) fn cancelled_text(by: CancelledBy) -> &'static str {
    match by {
        CancelledBy::User => "somebody cancelled it",
        CancelledBy::Abort => "its parent aborted it",
        CancelledBy::Policy => "its parent's failure policy aborted it",
        CancelledBy::Parent => "its parent had ended",
    }
}

/// What the failure of a poisonous task says.
pub(crate) fn crashed_text(crashes: u32) -> String {
    format!(
        "it took its worker down {crashes} times in a row without recording anything new: look for an abort, a stack overflow or memory run out"
    )
}

/// What the failure of a task past an instant says.
pub(crate) fn overdue_text(reason: Reason) -> &'static str {
    if reason == Reason::Expired {
        "it had not started when it expired"
    } else {
        "its deadline passed before it ended"
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::core::id::JobId;

    #[test]
    fn nothing_leaves_an_ended_state() {
        for from in State::ALL {
            for to in State::ALL {
                assert!(!(from.is_ended() && from.may_become(to)), "{from} -> {to}");
            }
            assert_eq!(State::from_code(from as i64), Some(from));
        }
        assert!(!State::Waiting.may_become(State::Running), "a claim takes pending tasks only");
    }

    #[test]
    fn states_have_words() {
        let words = ["pending", "running", "waiting", "succeeded", "failed", "cancelled"];
        assert_eq!(State::ALL.map(State::name), words);
        assert_eq!(State::ALL.map(|state| state.to_string()), words);
    }

    #[test]
    fn budgets_end() {
        let task = JobId::named("t").root();
        let budget = |attempt, failures| Budget {
            retries: 2,
            max_attempts: 5,
            backoff: Backoff::default(),
            attempt,
            failures,
        };
        assert!(budget(1, 1).after_failure(Directive::Policy, task).is_some());
        assert!(budget(3, 3).after_failure(Directive::Policy, task).is_none());
        assert!(budget(1, 1).after_failure(Directive::Fatal, task).is_none());
        assert!(budget(5, 1).after_failure(Directive::Policy, task).is_none());
        let pause = Duration::from_secs(7);
        assert_eq!(budget(1, 1).after_failure(Directive::After(pause), task), Some(pause));
    }

    #[test]
    fn standstills_grow_rarer_and_never_rare() {
        let pauses = (0..10).map(|stalls| stall_pause(stalls).as_secs());
        assert_eq!(pauses.collect::<Vec<_>>(), [1, 2, 4, 8, 16, 32, 64, 128, 256, 300]);
        assert_eq!(stall_pause(u32::MAX), crate::limits::STALL_MAX);
    }

    #[test]
    fn pauses_grow_and_stop_growing() {
        let task = JobId::named("t").root();
        let backoff = Backoff::default();
        for failures in 1..80 {
            let pause = backoff.pause(failures, task, failures);
            let full = Duration::from_secs(1u64 << (failures - 1).min(20)).min(backoff.max);
            assert!(pause <= full && pause >= full.mul_f64(0.75), "{failures}: {pause:?}");
        }
        let (zero, max) = (Duration::ZERO, Duration::MAX);
        for attempt in 0..2_000 {
            let longest = Backoff::exponential(max.saturating_sub(Duration::from_nanos(1)), max);
            assert!(longest.pause(u32::MAX, task, attempt) >= max / 4 * 3);
            assert_eq!(Backoff::exponential(zero, max).pause(u32::MAX, task, attempt), zero);
            assert_eq!(Backoff::exponential(max, zero).pause(attempt, task, attempt), max);
        }
    }
}
