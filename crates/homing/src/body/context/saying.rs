//! What a body says on its way to the store: entries of its record and other events, and how much of it is under
//! way.

use super::{Context, Inner};
use crate::store::{Addition, Entry, Event, Signalled};

impl Context {
    /// Remembers something at a place, from the next commit on.
    pub(crate) fn record(&self, place: &str, entry: Entry) {
        let mut inner = self.lock();
        inner.next_seq += 1;
        let seq = inner.next_seq;
        inner.recall.is_past();
        inner.renews();
        inner.push(Event::Record { seq, place: place.to_owned(), entry });
    }

    /// Sends a value to another task of the job from the next commit on, and remembers that.
    pub(crate) async fn record_signal(&self, signal: Signalled) {
        {
            let mut inner = self.lock();
            inner.next_seq += 1;
            let seq = inner.next_seq;
            inner.recall.is_past();
            inner.renews();
            inner.push(Event::Signal(Box::new(Signalled { seq, ..signal })));
        }
        self.hold_back().await;
    }

    /// Adds a task to the set that this one is in, from the next commit on, and remembers that.
    pub(crate) async fn record_addition(&self, addition: Addition) {
        {
            let mut inner = self.lock();
            inner.next_seq += 1;
            let seq = inner.next_seq;
            inner.recall.is_past();
            inner.renews();
            inner.push(Event::Add(Box::new(Addition { seq, ..addition })));
        }
        self.hold_back().await;
    }

    /// Sends an event with the next commit.
    pub(crate) fn send(&self, event: Event) {
        let mut inner = self.lock();
        // How far the task was a moment ago is of no interest: a body may tell it a million times.
        if matches!(event, Event::Progress { .. })
            && let Some(last @ Event::Progress { .. }) = inner.events.last_mut()
        {
            *last = event;
            return;
        }
        inner.push(event);
    }
}

impl Inner {
    pub(super) fn push(&mut self, event: Event) {
        self.bytes += event.size();
        // A signal may be as large, and the same backpressure bounds both.
        let spawns = matches!(event, Event::Spawn(_) | Event::Add(_) | Event::Signal(_));
        self.spawns += usize::from(spawns);
        self.events.push(event);
    }

    /// Something new is about to be recorded: the budget of retries and crashes begins anew.
    pub(super) fn renews(&mut self) {
        self.failures = 0;
        if std::mem::take(&mut self.renewable) {
            self.renew = true;
        }
    }

    pub(super) fn unflushed(&self) -> usize {
        self.spawns + self.in_flight.iter().map(|unit| unit.spawns).sum::<usize>()
    }

    /// Whether no more than this many spawns and bytes are on their way.
    pub(super) fn is_flushed_to(&self, spawns: usize, bytes: usize) -> bool {
        let in_flight: usize = self.in_flight.iter().map(|unit| unit.bytes).sum();
        self.unflushed() <= spawns && self.bytes + in_flight <= bytes
    }
}
