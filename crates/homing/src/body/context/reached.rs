//! Which of a body's waiting futures a poll of the body has reached.
//!
//! homing's futures keep no waker: the worker polls the whole body, and with it each of them. Streams and sets of
//! futures, `buffer_unordered` for one, have wakers of their own and poll only what was woken by them, so they would
//! pass a future of homing's over for ever. Such a future is known by its waker. One that a poll has passed over
//! ends the task with a word on what to write, instead of a body that hangs.

use std::task::{Context as Poller, Waker};

use super::{Context, CountGuard};
use crate::error::Misuse;

/// What is known of the poll that is under way.
#[derive(Debug, Default)]
pub(super) struct Reached {
    /// Where the worker's own waker is.
    own: usize,
    /// Futures that wait and were polled with another waker, and how many of them this poll has reached.
    foreign: usize,
    seen: usize,
}

impl Context {
    /// Before the worker polls the body with a waker of its own.
    pub(crate) fn begin_poll(&self, waker: &Waker) {
        let mut inner = self.lock();
        inner.reached.own = waker.data() as usize;
        inner.reached.seen = 0;
    }

    /// A future of homing's own is polled and has to wait; `foreign` is its own for as long as it does.
    pub(super) fn reach<'c>(&'c self, poller: &Poller<'_>, foreign: &mut Option<CountGuard<'c>>) {
        if foreign.is_none() && self.lock().reached.own == poller.waker().data() as usize {
            return;
        }
        foreign.get_or_insert_with(|| CountGuard::new(self, |inner| &mut inner.reached.foreign));
        self.lock().reached.seen += 1;
    }

    /// After the body was polled: what is wrong if a future was passed over.
    pub(crate) fn passed_over(&self) -> Option<Misuse> {
        let inner = self.lock();
        if inner.reached.seen >= inner.reached.foreign {
            return None;
        }
        let operation = inner.branches.first_open().unwrap_or("a verb of homing's").to_owned();
        Some(Misuse::PassedOver { operation })
    }
}
