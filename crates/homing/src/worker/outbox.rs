//! What bodies have to tell the store, waiting for the next exchange.

use std::collections::VecDeque;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use tokio::sync::Notify;

use super::mailbox::Mailbox;
use crate::limits;
use crate::store::{Event, Unit};

/// A unit on its way, and who hears of its fate.
#[derive(Debug)]
pub(super) struct Posting {
    pub(super) unit: Arc<Unit>,
    pub(super) mailbox: Arc<Mailbox>,
    pub(super) kind: String,
    pub(super) attempt: u32,
}

/// Units in the order they were said. One exchange takes a bounded part; while it is in flight the next
/// one gathers here.
#[derive(Debug, Default)]
pub(super) struct Outbox {
    queue: Mutex<VecDeque<Posting>>,
    notify: Notify,
}

impl Outbox {
    fn lock(&self) -> MutexGuard<'_, VecDeque<Posting>> {
        self.queue.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(super) fn post(&self, posting: Posting) {
        self.lock().push_back(posting);
        self.notify.notify_one();
    }

    /// Wakes the conversation without saying anything.
    pub(super) fn poke(&self) {
        self.notify.notify_one();
    }

    pub(super) async fn notified(&self) {
        self.notify.notified().await;
    }

    pub(super) fn is_empty(&self) -> bool {
        self.lock().is_empty()
    }

    pub(super) fn clear(&self) {
        self.lock().clear();
    }

    /// Takes what one exchange may carry. The queue is in the order of speaking, and a body waits for
    /// its commit before it can say much, so no task starves another.
    pub(super) fn take(&self) -> Vec<Posting> {
        let mut queue = self.lock();
        let (mut events, mut bytes, mut count) = (0, 0, 0);
        for posting in queue.iter() {
            events += posting.unit.events.len();
            bytes += posting.unit.events.iter().map(Event::size).sum::<usize>();
            if count > 0 && (events > limits::EXCHANGE_EVENTS || bytes > limits::EXCHANGE_BYTES) {
                break;
            }
            count += 1;
        }
        queue.drain(..count).collect()
    }
}
