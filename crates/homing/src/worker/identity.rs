//! The id a worker goes by: told to the store, held, given up, and another one taken.
//!
//! The heartbeat's thread and the conversation both deal with it, and an answer of the store may be late.
//! So whatever is said of an id names it, and says nothing of the id that was taken since.

use std::sync::{Mutex, MutexGuard, PoisonError};

use crate::core::id::WorkerId;

/// How far an id has come.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Standing {
    /// The store has not heard of it yet: that it does not know it means nothing.
    New,
    /// The store knows it.
    Announced,
    /// The store has given it up: what was claimed under it is others'.
    GivenUp,
}

/// The present id of a worker.
#[derive(Debug)]
pub(super) struct Identity {
    now: Mutex<(WorkerId, Standing)>,
}

impl Identity {
    pub(super) fn fresh() -> Self {
        Self { now: Mutex::new((WorkerId::fresh(), Standing::New)) }
    }

    fn now(&self) -> MutexGuard<'_, (WorkerId, Standing)> {
        self.now.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(super) fn worker(&self) -> WorkerId {
        self.now().0
    }

    /// Takes another id, which the store does not know yet.
    pub(super) fn renew(&self) -> WorkerId {
        let fresh = WorkerId::fresh();
        *self.now() = (fresh, Standing::New);
        fresh
    }

    /// The store has heard of an id.
    pub(super) fn announced(&self, worker: WorkerId) {
        self.pass(worker, Standing::New, Standing::Announced);
    }

    /// The store has given an id up. `false` if the worker goes by another one by now.
    pub(super) fn given_up(&self, worker: WorkerId) -> bool {
        self.pass(worker, Standing::Announced, Standing::GivenUp)
    }

    /// Whether there is something to renew in the store.
    pub(super) fn is_announced(&self) -> bool {
        self.now().1 == Standing::Announced
    }

    pub(super) fn is_given_up(&self) -> bool {
        self.now().1 == Standing::GivenUp
    }

    fn pass(&self, worker: WorkerId, from: Standing, to: Standing) -> bool {
        let mut now = self.now();
        let passes = *now == (worker, from);
        if passes {
            now.1 = to;
        }
        passes
    }
}
