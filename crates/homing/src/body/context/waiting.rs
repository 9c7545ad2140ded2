//! Durable waits: answered from the record, or parked.

use std::future::poll_fn;
use std::task::Poll;
use std::time::Duration;

use super::Context;
use crate::core::replay::DEADLINE;
use crate::core::time::Time;
use crate::core::wait::{Answer, Condition, Wait};
use crate::error::Misuse;

impl Context {
    /// Waits until one of the arms is satisfied and says which; the answer is recorded before the body
    /// sees it. For places where the record has nothing.
    pub(crate) async fn wait(&self, place: &str, arms: Vec<Condition>, members: u64) -> Answer {
        let seq = self.reserve();
        self.park(Wait { place: place.to_owned(), seq, arms, members }).await
    }

    /// As [`wait`](Self::wait), under a number of the caller's: the closing join always has the same.
    pub(crate) async fn park(&self, wait: Wait) -> Answer {
        let seq = wait.seq;
        self.lock().waits.push((wait, None));
        let _open = OpenWait { context: self, seq };
        let mut foreign = None;
        poll_fn(|cx| {
            let mut inner = self.lock();
            let answered = inner.waits.iter_mut().find(|(wait, _)| wait.seq == seq);
            if let Some(answer) = answered.and_then(|(_, answer)| answer.take()) {
                inner.recall.is_past();
                inner.renews();
                return Poll::Ready(answer);
            }
            drop(inner);
            self.reach(cx, &mut foreign);
            Poll::Pending
        })
        .await
    }

    /// The instant a timeout ends, fixed when its wait was first reached.
    pub(crate) async fn deadline(&self, place: &str, after: Duration) -> Time {
        let place = format!("{place}{DEADLINE}");
        if let Some(time) = self.replayed_as(&place, "the end of a timeout").await {
            return time;
        }
        let time = self.now().after(after);
        self.record_value(&place, &time);
        time
    }

    /// Forgets the instant recorded beside a wait that was answered: a long replay would gather them.
    pub(crate) fn forget_deadline(&self, place: &str) {
        let mut inner = self.lock();
        if !inner.recall.is_empty() {
            inner.recall.forget(&format!("{place}{DEADLINE}"));
        }
    }

    /// The number the next entry of the record will take, reserved.
    pub(crate) fn reserve(&self) -> u64 {
        let mut inner = self.lock();
        inner.next_seq += 1;
        inner.next_seq
    }

    /// The waits that are open and unanswered.
    pub(crate) fn open_waits(&self) -> Vec<Wait> {
        let inner = self.lock();
        let open = inner.waits.iter().filter(|(_, answer)| answer.is_none());
        open.map(|(wait, _)| wait.clone()).collect()
    }

    /// Gives the body answers that the store recorded.
    pub(crate) fn answer(&self, answers: Vec<Answer>) {
        let mut inner = self.lock();
        for answer in answers {
            inner.next_seq = inner.next_seq.max(answer.seq);
            let open = inner.waits.iter_mut().find(|(wait, _)| wait.seq == answer.seq);
            if let Some((_, slot)) = open {
                *slot = Some(answer);
            }
        }
    }

    /// What a body says that awaits something foreign beside its open wait.
    pub(crate) fn foreign_future(&self) -> Misuse {
        let wait = self.open_waits().into_iter().next().map(|wait| wait.place);
        Misuse::ForeignFuture { wait: wait.unwrap_or_default() }
    }
}

/// An open wait; forgotten when its future is dropped.
struct OpenWait<'a> {
    context: &'a Context,
    seq: u64,
}

impl Drop for OpenWait<'_> {
    fn drop(&mut self) {
        self.context.lock().waits.retain(|(wait, _)| wait.seq != self.seq);
    }
}
