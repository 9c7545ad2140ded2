//! How far a job is: counts of its tasks, and a percentage.

use serde::Serialize;

use crate::core::state::State;

/// How many of a job's tasks are in which state.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize)]
#[non_exhaustive]
pub struct Counts {
    /// Could be claimed, now or later.
    pub pending: u64,
    /// Held by a worker.
    pub running: u64,
    /// Parked.
    pub waiting: u64,
    /// Ended with a value.
    pub succeeded: u64,
    /// Ended with an error.
    pub failed: u64,
    /// Ended from outside.
    pub cancelled: u64,
}

impl Counts {
    /// All tasks ever spawned.
    pub fn spawned(&self) -> u64 {
        self.pending + self.running + self.waiting + self.ended()
    }

    /// Tasks that have ended.
    pub fn ended(&self) -> u64 {
        self.succeeded + self.failed + self.cancelled
    }
}

/// How much open tasks have done by what their bodies told, together. In millionths of a task: whole numbers
/// have the same sum in every store, whatever the order of the rows.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) struct Partly(u64);

impl Partly {
    const WHOLE: u64 = 1_000_000;

    /// Adds what one task told, if it has: so much done of a total.
    pub(crate) fn add(&mut self, told: Option<(u64, u64)>) {
        let (done, total) = told.unwrap_or_default();
        let share = u128::from(done.min(total)) * u128::from(Self::WHOLE);
        let share = share.checked_div(total.into()).unwrap_or(0);
        self.0 += u64::try_from(share).unwrap_or(Self::WHOLE);
    }

    /// Sums that a store keeps.
    #[cfg(feature = "redis")]
    pub(crate) fn of_millionths(sum: u64) -> Self {
        Self(sum)
    }

    #[cfg(feature = "redis")]
    pub(crate) fn millionths(self) -> u64 {
        self.0
    }

    fn tasks(self) -> f64 {
        self.0 as f64 / Self::WHOLE as f64
    }
}

/// A job's progress in percent: what the root's body told, or ended tasks over spawned ones, of which those that
/// are at work count as far as they are. Of a job that failed or was cancelled only those that succeeded count:
/// all of its tasks have ended, and that is no progress.
pub(crate) fn progress(
    root: State,
    told: Option<(u64, u64)>,
    counts: &Counts,
    partly: Partly,
) -> f64 {
    if root == State::Succeeded {
        return 100.0;
    }
    let (done, total) = match told {
        Some((done, total)) => (done as f64, total as f64),
        None if root.is_ended() => (counts.succeeded as f64, counts.spawned() as f64),
        None => (counts.ended() as f64 + partly.tasks(), counts.spawned() as f64),
    };
    if total == 0.0 { 0.0 } else { (done / total * 100.0).clamp(0.0, 100.0) }
}
