//! Pushes that say "look now". They may be lost; the store is the truth.

use std::sync::Arc;

use tokio::sync::{broadcast, watch};

use crate::core::id::JobId;
use crate::core::state::State;
use crate::store::read::Settled;

/// Bytes of an outcome that a hint carries at most: small ones need no look at the store.
const CARRIED: usize = 1024;
/// Messages that wait for a slow listener, who then looks for itself.
const KEPT: usize = 64;

/// A job that ended, and how, where that is short and final.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Ended {
    /// The job.
    pub job: JobId,
    /// As committed. `None`: to be looked up.
    pub settled: Option<Settled>,
}

impl Ended {
    /// A job whose outcome is to be looked up.
    pub fn unknown(job: JobId) -> Self {
        Self { job, settled: None }
    }

    /// A job with its outcome, where that is short and final: a job that fell may have been retried by the
    /// time a late hint is read.
    pub fn new(job: JobId, state: State, outcome: &str) -> Self {
        let carried = outcome.len() <= CARRIED && state == State::Succeeded;
        let settled = carried.then(|| Settled { state, outcome: Some(outcome.to_owned()) });
        Self { job, settled }
    }
}

/// The channels on which a store's own process hears of commits.
#[derive(Debug)]
pub struct Hints {
    ready: watch::Sender<u64>,
    noticed: watch::Sender<u64>,
    changed: watch::Sender<u64>,
    ended: broadcast::Sender<Arc<[Ended]>>,
}

impl Default for Hints {
    fn default() -> Self {
        Self {
            ready: watch::Sender::new(0),
            noticed: watch::Sender::new(0),
            changed: watch::Sender::new(0),
            ended: broadcast::Sender::new(KEPT),
        }
    }
}

impl Hints {
    /// Changes whenever a task may have become claimable.
    pub fn ready(&self) -> watch::Receiver<u64> {
        self.ready.subscribe()
    }

    /// Changes whenever a worker may have news it must be told even when it has no free slot: somebody
    /// ended a task that it runs, or another process did anything.
    pub fn noticed(&self) -> watch::Receiver<u64> {
        self.noticed.subscribe()
    }

    /// Changes whenever another process may have committed anything at all.
    pub fn changed(&self) -> watch::Receiver<u64> {
        self.changed.subscribe()
    }

    /// The jobs that ended in this process, one message per commit.
    pub fn ended(&self) -> broadcast::Receiver<Arc<[Ended]>> {
        self.ended.subscribe()
    }

    /// Says that tasks may have become claimable.
    pub fn say_ready(&self) {
        self.ready.send_modify(|count| *count = count.wrapping_add(1));
    }

    /// Says that a worker has news.
    pub fn say_noticed(&self) {
        self.noticed.send_modify(|count| *count = count.wrapping_add(1));
    }

    /// Says that another process committed something.
    pub fn say_changed(&self) {
        self.changed.send_modify(|count| *count = count.wrapping_add(1));
        self.say_noticed();
        self.say_ready();
    }

    /// Says that jobs ended.
    pub fn say_ended(&self, jobs: Vec<Ended>) {
        if !jobs.is_empty() {
            // An error means that nobody listens.
            let _ = self.ended.send(jobs.into());
        }
    }
}
