//! What the worker does, counted minute by minute for [`Homing::samples`](crate::Homing::samples).
//!
//! Counting is a short lock and an addition; the store hears of a minute once it is over, with the heartbeat. A minute in
//! which a process is killed is lost, and so are those that were not told of before.

use std::collections::{HashMap, VecDeque};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use super::outbox::Posting;
use super::{Shared, Slot};
use crate::core::time::Time;
use crate::limits;
use crate::store::read::{SampleView, WorkSample};
use crate::store::{Claimed, End, Event, Sample};

/// Microseconds of a minute.
const MINUTE: i64 = 60_000_000;

/// A stretch: of which queue and kind it is, and when it began.
#[derive(Debug, Clone, Copy)]
pub(super) struct Stretch {
    pair: (u32, u32),
    since: Time,
}

/// The minutes that the store does not know yet.
#[derive(Debug)]
pub(super) struct Tally(Mutex<Minutes>);

#[derive(Debug)]
struct Minutes {
    now: Minute,
    /// Those that are over, the oldest first.
    over: VecDeque<Minute>,
    /// When slots were last looked at.
    looked: Time,
    /// Before this instant the store is told nothing: a process that lives for seconds costs it no writes.
    quiet: Time,
}

#[derive(Debug, Default)]
struct Minute {
    /// Since the epoch.
    number: i64,
    busy: Duration,
    resident: u32,
    work: HashMap<(u32, u32), WorkSample>,
}

impl Minutes {
    /// Begins another minute where the last is over. A clock that goes back begins none.
    fn turn(&mut self, now: Time) {
        let number = now.0.div_euclid(MINUTE);
        if number > self.now.number {
            let next = Minute { number, resident: self.now.resident, ..Minute::default() };
            let over = std::mem::replace(&mut self.now, next);
            if self.over.len() == limits::SAMPLES_HELD {
                self.over.pop_front();
            }
            self.over.push_back(over);
        }
    }

    /// The store knows all minutes up to this one. Others may be over meanwhile.
    fn told(&mut self, last: Option<i64>) {
        self.over.retain(|minute| Some(minute.number) > last);
    }
}

impl Tally {
    pub(super) fn new(now: Time) -> Self {
        let minute = Minute { number: now.0.div_euclid(MINUTE), ..Minute::default() };
        let quiet = now.after(Duration::from_mins(1));
        Self(Mutex::new(Minutes { now: minute, over: VecDeque::new(), looked: now, quiet }))
    }

    fn lock(&self) -> MutexGuard<'_, Minutes> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Shared {
    /// A stretch begins. How long its task could have been claimed is known of the first stretch alone: what goes on, or
    /// is given to another worker, is due from another instant.
    pub(super) fn begun(&self, claimed: &Claimed, slot: &Slot) -> Stretch {
        let of = |names: &[String], name: &str| {
            names.binary_search_by(|own| own.as_str().cmp(name)).map_or(u32::MAX, |at| at as u32)
        };
        let pair = (of(&self.queues, &claimed.queue), of(&self.kinds, &claimed.kind));
        let now = slot.since;
        let first = claimed.attempt == 1
            && claimed.records + claimed.spawned == 0
            && claimed.crashes + claimed.stalls == 0
            && claimed.answers.is_empty();
        let mut minutes = self.tally.lock();
        minutes.turn(now);
        let work = minutes.now.work.entry(pair).or_default();
        work.begun += 1;
        if first {
            work.wait.count(now.since(claimed.due));
        }
        Stretch { pair, since: now }
    }

    /// The end of a stretch is committed, if it is counted: the last word of its body.
    pub(super) fn count_last(&self, posting: &Posting, now: Time) {
        let (Some(stretch), Some(event)) = (posting.stretch, posting.unit.events.last()) else {
            return;
        };
        let mut minutes = self.tally.lock();
        minutes.turn(now);
        let work = minutes.now.work.entry(stretch.pair).or_default();
        match event {
            Event::End(End::Succeeded(_)) => work.succeeded += 1,
            Event::End(End::Failed { .. }) => work.failed += 1,
            Event::Retry { .. } => work.retried += 1,
            Event::Park { .. } => work.parked += 1,
            Event::Stall { .. } => work.stalled += 1,
            Event::HandBack
            | Event::Begin
            | Event::Record { .. }
            | Event::Spawn(_)
            | Event::Add(_)
            | Event::Detach(_)
            | Event::Signal(_)
            | Event::Abort(_)
            | Event::Log(_)
            | Event::Progress { .. } => return,
        }
        work.run.count(now.since(stretch.since));
    }

    /// Looks at the slots, as each heartbeat does, and tells the store of the minutes that are over; `last`: of the one
    /// that is not, too, if anything was done in it.
    pub(super) async fn tell_minutes(&self, last: bool) {
        let now = self.store.clock().now();
        let (samples, told) = {
            let mut minutes = self.tally.lock();
            let taken = u32::try_from(self.running()).unwrap_or(u32::MAX);
            let since = now.since(minutes.looked);
            minutes.now.busy += since * taken;
            minutes.now.resident = u32::try_from(self.residents().len()).unwrap_or(u32::MAX);
            minutes.looked = now;
            minutes.turn(now);
            if !last && now < minutes.quiet {
                return;
            }
            let mut samples: Vec<Sample> =
                minutes.over.iter().map(|minute| self.sample(minute)).collect();
            if last && !minutes.now.work.is_empty() {
                samples.push(self.sample(&minutes.now));
            }
            (samples, minutes.over.back().map(|minute| minute.number))
        };
        if samples.is_empty() {
            return;
        }
        match self.store.keep_samples(samples).await {
            Ok(()) => {
                self.tally.lock().told(told);
            }
            Err(error) => {
                tracing::warn!(%error, "what the worker did is not kept yet, the next heartbeat tells it");
            }
        }
    }

    fn sample(&self, minute: &Minute) -> Sample {
        let name = |names: &[String], at: u32| names.get(at as usize).cloned().unwrap_or_default();
        let mut pairs: Vec<_> = minute.work.iter().collect();
        // The largest have their names; in one order, so that a minute that is told again is the same.
        pairs.sort_by_key(|(pair, work)| {
            (std::cmp::Reverse(work.begun.max(work.run.total())), **pair)
        });
        let mut work: Vec<WorkSample> = Vec::new();
        for (at, ((queue, kind), counted)) in pairs.into_iter().enumerate() {
            if at < limits::SAMPLE_PARTS {
                let (queue, kind) = (name(&self.queues, *queue), name(&self.kinds, *kind));
                work.push(WorkSample { queue, kind, ..counted.clone() });
            } else if at == limits::SAMPLE_PARTS {
                work.push(counted.clone());
            } else if let Some(rest) = work.last_mut() {
                rest.add(counted);
            }
        }
        Sample::of(&SampleView {
            minute: Time(minute.number * MINUTE),
            worker: self.identity.worker(),
            name: self.settings.name.clone(),
            slots: u32::try_from(self.settings.concurrency).unwrap_or(u32::MAX),
            busy: minute.busy,
            resident: minute.resident,
            work,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Where the store was away for so long that the oldest minute made room while others were told.
    #[test]
    fn minutes_that_are_over_while_others_are_told_are_kept() {
        let tally = Tally::new(Time(0));
        let mut minutes = tally.lock();
        let held = limits::SAMPLES_HELD as i64;
        (1..=held).for_each(|minute| minutes.turn(Time(minute * MINUTE)));
        let told = minutes.over.back().map(|minute| minute.number);
        assert_eq!((minutes.over.len(), told), (limits::SAMPLES_HELD, Some(held - 1)));
        minutes.turn(Time((held + 1) * MINUTE));
        minutes.told(told);
        let left: Vec<_> = minutes.over.iter().map(|minute| minute.number).collect();
        assert_eq!(left, [held]);
        minutes.told(None);
        assert_eq!(minutes.over.len(), 1, "nothing was told");
    }
}
