//! What the conversation tells a body's driver.

use std::collections::VecDeque;
use std::sync::{Arc, Mutex, PoisonError};

use futures_util::task::AtomicWaker;

use super::Slot;
use crate::core::wait::Answer;
use crate::store::{Claimed, Refusal};

/// One piece of news.
#[derive(Debug)]
pub(super) enum Mail {
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
pub(super) struct Mailbox {
    mail: Mutex<VecDeque<Mail>>,
    waker: AtomicWaker,
}

impl Mailbox {
    pub(super) fn put(&self, mail: Mail) {
        let mut letters = self.mail.lock().unwrap_or_else(PoisonError::into_inner);
        // There is rarely more than one, and a parked body keeps the room.
        if letters.capacity() == letters.len() {
            letters.reserve_exact(1);
        }
        letters.push_back(mail);
        drop(letters);
        self.waker.wake();
    }

    pub(super) fn take(&self) -> Option<Mail> {
        self.mail.lock().unwrap_or_else(PoisonError::into_inner).pop_front()
    }

    /// Whom to wake when there is news.
    pub(super) fn register(&self, cx: &std::task::Context<'_>) {
        self.waker.register(cx.waker());
    }
}
