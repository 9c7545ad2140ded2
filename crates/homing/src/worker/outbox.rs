//! What bodies have to tell the store, waiting for the next exchange.
//!
//! An exchange carries one unit of a task at most: what a body hands over while its last words still
//! wait here is added to them. So a unit that the store refuses takes with it everything the body said
//! after it, and a refusal names one unit. The events of a task keep the order in which it said them. Of its reports
//! of progress a unit has the last alone: a body may make a million of them while the store is away.

use std::collections::VecDeque;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use tokio::sync::Notify;

use super::inbox::DriverInbox;
use super::tally::Stretch;
use crate::core::id::{Map, Set, TaskId, Token};
use crate::limits;
use crate::store::{Event, Refusal, Unit};

/// A unit on its way, and who hears of its fate.
#[derive(Debug)]
pub(super) struct Posting {
    pub(super) unit: Arc<Unit>,
    /// How many of the body's own units it holds.
    pub(super) units: u64,
    pub(super) inbox: Arc<DriverInbox>,
    pub(super) kind: String,
    pub(super) attempt: u32,
    /// Standstills in a row before this one.
    pub(super) stalls: u32,
    /// The one that it may end, if that is counted.
    pub(super) stretch: Option<Stretch>,
    /// The body's.
    pub(super) span: tracing::Span,
}

impl Posting {
    /// Whether the body is done with when this is committed.
    pub(super) fn ends_the_stretch(&self) -> bool {
        self.unit.events.last().is_some_and(Event::ends_the_stretch)
    }

    /// Adds what the same body said later; gives it back where it cannot be added.
    fn add(&mut self, later: Self) -> Option<Self> {
        if self.unit.token != later.unit.token || self.ends_the_stretch() {
            return Some(later);
        }
        let Some(unit) = Arc::get_mut(&mut self.unit) else { return Some(later) };
        let Unit { renew, events, .. } = Arc::unwrap_or_clone(later.unit);
        unit.renew |= renew;
        let tells = |event: &Event| matches!(event, Event::Progress { .. });
        // From the end: what was said since the last report is mostly little.
        if events.iter().any(tells)
            && let Some(earlier) = unit.events.iter().rposition(tells)
        {
            unit.events.remove(earlier);
        }
        unit.events.extend(events);
        self.units += later.units;
        None
    }
}

/// Units in the order they were said. One exchange takes a bounded part; while it is in flight the next
/// one gathers here.
#[derive(Debug, Default)]
pub(super) struct Outbox {
    waiting: Mutex<Waiting>,
    notify: Notify,
}

#[derive(Debug, Default)]
struct Waiting {
    queue: VecDeque<Posting>,
    /// How many were taken so far: the number of the first in the queue.
    taken: u64,
    /// The number of the last posting of each task in the queue.
    last: Map<TaskId, u64>,
    /// Claims whose bodies have not heard yet that a unit of theirs was refused, and why it was.
    refused: Map<(TaskId, Token), Refusal>,
}

/// Whether the last word of a body rests on what it said before: how it ended does, that its task is given back does not.
fn rests_on_more(event: &Event) -> bool {
    matches!(event, Event::End(_) | Event::Retry { .. })
}

impl Waiting {
    fn queued(&mut self, task: TaskId) -> Option<&mut Posting> {
        let index = self.last.get(&task)?.checked_sub(self.taken)?;
        self.queue.get_mut(usize::try_from(index).ok()?)
    }

    fn post(&mut self, posting: Posting) -> Option<Refusal> {
        let (task, token) = (posting.unit.task, posting.unit.token);
        if let Some(refusal) = self.refused.get(&(task, token)) {
            if posting.unit.events.last().is_some_and(rests_on_more) {
                return Some(refusal.clone());
            }
            if !posting.ends_the_stretch() {
                return None;
            }
        }
        let rest = match self.queued(task) {
            Some(queued) => queued.add(posting),
            None => Some(posting),
        };
        if let Some(posting) = rest {
            self.last.insert(task, self.taken + self.queue.len() as u64);
            self.queue.push_back(posting);
        }
        None
    }
}

impl Outbox {
    fn lock(&self) -> MutexGuard<'_, Waiting> {
        self.waiting.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Takes what a body says. Why an earlier unit of its was refused, where this is how it ended and it has not heard of
    /// that yet: the end is not taken, since it rests on what did not happen.
    pub(super) fn post(&self, posting: Posting) -> Option<Refusal> {
        let refused = self.lock().post(posting);
        self.notify.notify_one();
        refused
    }

    /// Says that a unit was refused: what its body has said since rests on what did not happen. All
    /// of it is dropped, but that the task is given back or stands still. Whether how the body ended was dropped, too: then it
    /// is gone, and will not hear why.
    pub(super) fn refuse(&self, task: TaskId, token: Token, refusal: &Refusal) -> bool {
        let mut waiting = self.lock();
        let mut ended = false;
        if let Some(queued) = waiting.queued(task)
            && queued.unit.token == token
            && let Some(unit) = Arc::get_mut(&mut queued.unit)
        {
            ended = unit.events.last().is_some_and(rests_on_more);
            unit.events.retain(|event| event.ends_the_stretch() && !rests_on_more(event));
        }
        if !ended {
            waiting.refused.insert((task, token), refusal.clone());
        }
        ended
    }

    /// The body of a claim has heard of its refusal, or is gone: nothing more that rests on it will be said.
    pub(super) fn forget(&self, task: TaskId, token: Token) {
        self.lock().refused.remove(&(task, token));
    }

    /// Wakes the conversation without saying anything.
    pub(super) fn poke(&self) {
        self.notify.notify_one();
    }

    pub(super) async fn notified(&self) {
        self.notify.notified().await;
    }

    pub(super) fn is_empty(&self) -> bool {
        self.lock().queue.is_empty()
    }

    pub(super) fn clear(&self) {
        *self.lock() = Waiting::default();
    }

    /// Takes what one exchange may carry. The queue is in the order of speaking, and a body waits for
    /// its commit before it can say much, so no task starves another.
    pub(super) fn take(&self) -> Vec<Posting> {
        let mut waiting = self.lock();
        let (mut events, mut bytes, mut tasks) = (0, 0, Set::default());
        let mut count = 0;
        for posting in &waiting.queue {
            events += posting.unit.events.len();
            bytes += posting.unit.events.iter().map(Event::size).sum::<usize>();
            let full = events > limits::EXCHANGE_EVENTS || bytes > limits::EXCHANGE_BYTES;
            // A task may be here twice, under two claims: then the second has to wait.
            if count > 0 && (full || tasks.contains(&posting.unit.task)) {
                break;
            }
            tasks.insert(posting.unit.task);
            count += 1;
        }
        let taken: Vec<Posting> = waiting.queue.drain(..count).collect();
        for posting in &taken {
            let number = waiting.taken;
            if waiting.last.get(&posting.unit.task) == Some(&number) {
                waiting.last.remove(&posting.unit.task);
            }
            waiting.taken += 1;
        }
        // What was refused while it waited here says nothing any more.
        taken.into_iter().filter(|posting| !posting.unit.events.is_empty()).collect()
    }
}

#[cfg(test)]
mod tests {
    use futures_util::FutureExt;

    use super::*;
    use crate::core::id::{JobId, WorkerId};
    use crate::store::{End, Entry};

    fn task(name: &str) -> TaskId {
        JobId::named(name).root()
    }

    fn progress(done: u64) -> Event {
        Event::Progress { done, total: 9 }
    }

    fn record(seq: u64) -> Event {
        let entry = Entry::Value("1".to_owned());
        Event::Record { seq, place: format!("step#{seq}"), entry }
    }

    fn posting(task: TaskId, token: Token, events: Vec<Event>) -> Posting {
        Posting {
            unit: Arc::new(Unit { task, token, renew: false, events }),
            units: 1,
            inbox: Arc::default(),
            kind: String::new(),
            attempt: 1,
            stalls: 0,
            stretch: None,
            span: tracing::Span::none(),
        }
    }

    fn events(taken: &[Posting]) -> Vec<Vec<Event>> {
        taken.iter().map(|posting| posting.unit.events.clone()).collect()
    }

    #[test]
    fn an_exchange_carries_one_unit_of_a_task() {
        let (outbox, worker) = (Outbox::default(), WorkerId::fresh());
        let [old, new] = [1, 2].map(|claim| Token { worker, claim });
        let (a, b) = (task("a"), task("b"));
        outbox.post(posting(a, old, vec![record(1)]));
        outbox.post(posting(b, old, vec![record(2)]));
        outbox.post(posting(a, old, vec![record(3)]));
        outbox.post(posting(a, new, vec![record(4)]));
        outbox.post(posting(a, new, vec![record(5)]));
        let first = outbox.take();
        assert_eq!(events(&first), [vec![record(1), record(3)], vec![record(2)]]);
        assert_eq!(first[0].units, 2);
        assert_eq!(events(&outbox.take()), [[record(4), record(5)]]);
        assert!(outbox.is_empty());
    }

    /// A body that reports its progress all day while the store is away takes no more memory than one that did once.
    #[test]
    fn a_report_of_progress_takes_the_place_of_an_earlier_one() {
        let (outbox, worker) = (Outbox::default(), WorkerId::fresh());
        let [token, next] = [1, 2].map(|claim| Token::at_once(worker, claim));
        let a = task("a");
        outbox.post(posting(a, token, vec![record(1), progress(0)]));
        outbox.post(posting(a, token, vec![record(2)]));
        for done in 1..=1_000 {
            outbox.post(posting(a, token, vec![progress(done)]));
        }
        outbox.post(posting(a, next, vec![progress(7)]));
        let first = outbox.take();
        assert_eq!(events(&first), [[record(1), record(2), progress(1_000)]]);
        assert_eq!(first[0].units, 1_002, "each is told of its commit");
        assert_eq!(events(&outbox.take()), [[progress(7)]], "what is sent stays");
    }

    /// A task may be here under two claims: what is said under the second waits for the first, and is one unit.
    #[test]
    fn what_is_said_under_a_second_claim_is_gathered_too() {
        let (outbox, worker) = (Outbox::default(), WorkerId::fresh());
        let [old, new] = [1, 2].map(|claim| Token::at_once(worker, claim));
        let a = task("a");
        outbox.post(posting(a, old, vec![record(1)]));
        outbox.post(posting(a, new, vec![record(2)]));
        assert_eq!(events(&outbox.take()), [[record(1)]]);
        outbox.post(posting(a, new, vec![record(3)]));
        assert_eq!(events(&outbox.take()), [[record(2), record(3)]]);
        assert!(outbox.lock().last.is_empty(), "nothing is kept of what is sent");
    }

    #[test]
    fn a_poke_wakes_and_nothing_is_left_after_the_end() {
        let (outbox, token) = (Outbox::default(), Token::at_once(WorkerId::fresh(), 1));
        assert!(outbox.notified().now_or_never().is_none());
        outbox.poke();
        assert!(outbox.notified().now_or_never().is_some());
        outbox.post(posting(task("a"), token, vec![record(1)]));
        outbox.clear();
        assert!(outbox.is_empty() && outbox.take().is_empty());
    }

    /// A unit that is gathered from several begins the budget anew if any of them does.
    #[test]
    fn what_is_added_renews_too() {
        let (a, token) = (task("a"), Token { worker: WorkerId::fresh(), claim: 1 });
        for renewals in [[true, false], [false, true]] {
            let outbox = Outbox::default();
            for renew in renewals {
                let unit = Unit { task: a, token, renew, events: vec![progress(1)] };
                outbox.post(Posting { unit: Arc::new(unit), ..posting(a, token, Vec::new()) });
            }
            assert!(outbox.take()[0].unit.renew, "{renewals:?}");
        }
    }

    #[test]
    fn nothing_that_follows_a_refused_unit_is_sent() {
        let (outbox, worker) = (Outbox::default(), WorkerId::fresh());
        let (a, token) = (task("a"), Token { worker, claim: 1 });
        outbox.post(posting(a, token, vec![progress(1)]));
        assert!(!outbox.refuse(a, token, &Refusal::Lost));
        assert!(outbox.post(posting(a, token, vec![progress(2)])).is_none());
        assert!(events(&outbox.take()).is_empty());
        outbox.post(posting(a, token, vec![Event::HandBack]));
        assert_eq!(events(&outbox.take()), [[Event::HandBack]]);
        outbox.forget(a, token);
        outbox.post(posting(a, token, vec![progress(3)]));
        assert_eq!(events(&outbox.take()), [[progress(3)]]);
    }

    /// A body that ends while a unit of its is refused has not heard of it: a line of its log was lost, and the task had
    /// succeeded all the same.
    #[test]
    fn an_end_that_rests_on_a_refused_unit_is_not_sent() {
        let (a, token) = (task("a"), Token { worker: WorkerId::fresh(), claim: 1 });
        let unfit = Refusal::Unfit("no".to_owned());
        let end = || posting(a, token, vec![record(1), Event::End(End::Succeeded("1".to_owned()))]);
        let outbox = Outbox::default();
        outbox.post(end());
        assert!(outbox.refuse(a, token, &unfit), "its end waited here");
        assert!(events(&outbox.take()).is_empty());
        assert!(outbox.lock().refused.is_empty(), "nobody is left to hear");
        assert!(!outbox.refuse(a, token, &unfit));
        assert_eq!(outbox.post(end()), Some(unfit), "its end comes now");
        assert!(events(&outbox.take()).is_empty());
        outbox.forget(a, token);
        assert_eq!(outbox.post(end()), None, "once it has heard");
        assert_eq!(outbox.take().len(), 1);
    }

    /// The rest waits for the next exchange; what is larger than an exchange goes alone.
    #[test]
    fn an_exchange_is_bounded_in_events_and_bytes() {
        let token = Token { worker: WorkerId::fresh(), claim: 1 };
        let large = |size: usize| vec![Event::End(End::Succeeded("x".repeat(size)))];
        let bounds = [
            (vec![progress(1); limits::EXCHANGE_EVENTS - 1], true),
            (large(limits::EXCHANGE_BYTES / 2 + 1), true),
            (large(limits::EXCHANGE_BYTES + 1), false),
        ];
        for (events, fits) in bounds {
            let outbox = Outbox::default();
            outbox.post(posting(task("a"), token, events.clone()));
            outbox.post(posting(task("b"), token, vec![progress(2)]));
            outbox.post(posting(task("c"), token, events));
            let mut exchanges = Vec::new();
            while !outbox.is_empty() {
                let part = outbox.take();
                exchanges.push(part.iter().map(|one| one.unit.task).collect::<Vec<_>>());
            }
            let (a, b, c) = (task("a"), task("b"), task("c"));
            let expected =
                if fits { vec![vec![a, b], vec![c]] } else { vec![vec![a], vec![b], vec![c]] };
            assert_eq!(exchanges, expected);
        }
    }
}
