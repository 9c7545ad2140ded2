//! What the conversation tells a body's driver.

use std::collections::VecDeque;
use std::sync::{Arc, Mutex, PoisonError};

use futures_util::task::AtomicWaker;

use super::Slot;
use crate::core::wait::Answer;
use crate::store::{Claimed, Refusal};

/// One piece of news.
#[derive(Debug)]
pub(super) enum DriverMessage {
    /// The oldest units on their way are committed: so many of those the body handed over.
    Committed { units: u64 },
    /// A unit was refused: nothing of it happened.
    Refused(Refusal),
    /// The park was satisfied already: go on with these answers.
    Ready(Vec<Answer>),
    /// The task is parked. Whether the future is to be kept.
    Parked { keep: bool },
    /// The task was claimed again and its future goes on.
    Resumed(Box<Claimed>, Arc<Slot>),
    /// Somebody else ended the task.
    Cancelled,
    /// The worker shuts down: give the task back.
    HandBack,
    /// The task is no longer this worker's.
    Dropped,
}

/// A driver's letter box.
#[derive(Debug, Default)]
pub(super) struct DriverInbox {
    message: Mutex<VecDeque<DriverMessage>>,
    waker: AtomicWaker,
}

impl DriverInbox {
    pub(super) fn put(&self, message: DriverMessage) {
        let mut messages = self.message.lock().unwrap_or_else(PoisonError::into_inner);
        // There is rarely more than one, and a parked body keeps the room.
        if messages.capacity() == messages.len() {
            messages.reserve_exact(1);
        }
        messages.push_back(message);
        drop(messages);
        self.waker.wake();
    }

    pub(super) fn take(&self) -> Option<DriverMessage> {
        self.message.lock().unwrap_or_else(PoisonError::into_inner).pop_front()
    }

    /// Whom to wake when there is news.
    pub(super) fn register(&self, cx: &std::task::Context<'_>) {
        self.waker.register(cx.waker());
    }
}
