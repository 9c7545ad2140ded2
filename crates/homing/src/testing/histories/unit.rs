//! What happens in a task between two exchanges: one unit, made up by chance.
//!
//! It keeps to what a body can do: it succeeds only after its children, and parks on what it has.

use std::collections::BTreeMap;
use std::time::Duration;

use super::actor::Held;
use super::{History, SETS, SIGNALS, Step};
use crate::core::id::{Local, TaskId};
use crate::core::log::Level;
use crate::core::wait::{Condition, Wait};
use crate::error::{Failure, Reason};
use crate::store::{Abort, Addition, Cause, End, Entry, Event, LogLine, NewChild, Signalled, Unit};
use crate::testing::random::Random;

impl History {
    pub(super) async fn unit(&mut self, held: &Held) -> Step<Option<Unit>> {
        let Held { task, token, mut seq } = *held;
        let mut events = Vec::new();
        for _ in 0..self.random.below(4) {
            let event = self.event(task, &mut seq, &events).await?;
            events.extend(event);
        }
        if self.random.one_in(2) {
            events.push(self.last_event(task, &mut seq, &events).await?);
        }
        let renew = self.random.one_in(3);
        Ok((!events.is_empty()).then_some(Unit { task, token, renew, events }))
    }

    async fn event(
        &mut self,
        task: TaskId,
        seq: &mut u64,
        before: &[Event],
    ) -> Step<Option<Event>> {
        Ok(Some(match self.random.below(16) {
            0..2 => {
                *seq += 1;
                let place = format!("step {}", self.random.below(3));
                let entry = match self.random.below(3) {
                    0 => Entry::Value("1".to_owned()),
                    1 => Entry::Returned { value: "2".to_owned(), open: Vec::new() },
                    _ => Entry::Value(crate::core::encode::json(&self.now())),
                };
                Event::Record { seq: *seq, place, entry }
            }
            2..8 => return self.spawn(task, before).await,
            8 => Event::Detach(Box::new(self.new_job(Some(task)))),
            9 => {
                let sets = self.sets(task).await?;
                let Some((set, spawned)) = self.random.pick_of(&sets) else { return Ok(None) };
                let below = self.random.below(spawned + 1) as u32;
                let child = self.random.one_in(2).then(|| set.numbered(below));
                Event::Abort(Abort { set, child, below, policy: self.random.one_in(2) })
            }
            12..14 => return self.send(task, seq, before.is_empty()).await,
            14..16 => return self.add(task, seq, before.is_empty()).await,
            10 => Event::Progress { done: self.random.below(5), total: 5 },
            _ => {
                let key = format!("line {}", self.random.below(6));
                let (time, level) = (self.now(), Level::Info);
                Event::Log(LogLine { message: key.clone(), key, time, level })
            }
        }))
    }

    /// A signal to a child, to the parent, or to nobody.
    async fn send(&mut self, task: TaskId, seq: &mut u64, first: bool) -> Step<Option<Event>> {
        let view = self.memory().task(task).await.map_err(|error| error.to_string())?;
        let parent = view.and_then(|view| view.parent).map(|parent| parent.local);
        let sets = self.sets(task).await?;
        let child = self
            .random
            .pick_of(&sets)
            .map(|(set, spawned)| set.numbered(self.random.below(spawned + 1) as u32));
        let Some(to) = (if self.random.one_in(3) { parent } else { child.or(parent) }) else {
            return Ok(None);
        };
        // Now and then under a number that is taken: then it was sent before.
        *seq += u64::from(*seq == 0 || !first || !self.random.one_in(6));
        let name = (*self.random.pick(&SIGNALS)).to_owned();
        let (place, value) = (format!("signal {}", self.random.below(3)), self.next().to_string());
        let entry = Entry::Signalled([7; 16]);
        let signal = Signalled { seq: *seq, place, entry, to, name, value };
        Ok(Some(Event::Signal(Box::new(signal))))
    }

    /// A task for the set that the task is in: new, or now and then one that was added before.
    async fn add(&mut self, task: TaskId, seq: &mut u64, first: bool) -> Step<Option<Event>> {
        let view = self.memory().task(task).await.map_err(|error| error.to_string())?;
        let born = view.and_then(|view| view.parent.zip(view.set));
        let Some((parent, (set, number))) = born else { return Ok(None) };
        // Under a number that is taken in the store, now and then: then it was added before.
        *seq += u64::from(*seq == 0 || !first || !self.random.one_in(6));
        let place = format!("sibling {}", self.random.below(3));
        let new = self.new_task();
        let origin = task.local.origin(number);
        let local = set.added(task.local, origin, &place, (&new.kind, &new.hash));
        let (seq, entry, parent) = (*seq, Entry::Added([8; 16]), parent.local);
        let addition = Addition { seq, place, entry, parent, set, local, task: new };
        Ok(Some(Event::Add(Box::new(addition))))
    }

    /// A new child, one spawned again, or now and then one that has drifted.
    async fn spawn(&mut self, task: TaskId, before: &[Event]) -> Step<Option<Event>> {
        let set = task.set(self.random.pick::<&str>(&SETS));
        let known = self.sets(task).await?;
        let spawned = known.iter().find(|(own, _)| *own == set).map_or(0, |(_, spawned)| *spawned);
        let unsaid = before.iter().filter_map(|event| match event {
            Event::Spawn(child) if child.set == set => Some((child.number, child.local)),
            _ => None,
        });
        let mut all: BTreeMap<u32, Local> = unsaid.collect();
        let known = self.memory().children(task, set, 0, 1000).await;
        let known = known.map_err(|error| error.to_string())?.into_iter();
        let known = known.filter(|child| !child.is_added());
        all.extend(known.map(|child| (child.number, child.local)));
        let number = all.len() as u32;
        if spawned > 0 && self.random.one_in(4) {
            let from = self.random.below(spawned) as u32;
            let page = self.memory().children(task, set, from, 1).await;
            let page = page.map_err(|error| error.to_string())?;
            let Some(child) = page.into_iter().next() else { return Ok(None) };
            let mut again = self.new_task();
            if !self.random.one_in(6) {
                (again.kind, again.hash) = (child.kind, child.hash);
            }
            let (local, number) = (child.local, child.number);
            return Ok(Some(Event::Spawn(Box::new(NewChild { local, set, number, task: again }))));
        }
        // The key of a child without a place of its own counts such children alone.
        let place = |number: &u32| set.placed(&format!("place {number}"));
        let placed = all.iter().filter(|(number, local)| place(number) == **local).count() as u32;
        let local =
            if self.random.one_in(4) { place(&number) } else { set.numbered(number - placed) };
        let task = self.new_task();
        Ok(Some(Event::Spawn(Box::new(NewChild { local, set, number, task }))))
    }

    async fn last_event(&mut self, task: TaskId, seq: &mut u64, before: &[Event]) -> Step<Event> {
        let due = self.now().after(Duration::from_millis(self.random.below(3000)));
        let failure = Failure::new("kind", task, 1, Reason::Error, "out of luck");
        Ok(match self.random.below(16) {
            0..6 => self.park(task, seq).await?,
            6..10 if self.is_done(task, before).await? => {
                Event::End(End::Succeeded(self.next().to_string()))
            }
            6..12 => {
                let sets = self.sets(task).await?;
                let cause = (!self.random.one_in(4)).then(|| Box::new(self.cause(&sets, *seq)));
                Event::End(End::Failed { failure, cause })
            }
            12..14 => Event::Retry { failure, due },
            14 => Event::Stall { reason: "drift".to_owned(), due },
            _ => Event::HandBack,
        })
    }

    /// What a body that failed may have been told, and may have done then.
    fn cause(&mut self, sets: &[(Local, u64)], seq: u64) -> Cause {
        let mut cause = Cause::default();
        for _ in 0..self.random.below(3) {
            cause.places.push(format!("wait {}", self.random.below(3)));
        }
        cause.since = self.random.one_in(2).then(|| self.random.below(seq + 2));
        for (set, spawned) in sets {
            let child = |random: &mut Random| set.numbered(random.below(*spawned) as u32);
            if self.random.one_in(3) {
                cause.grown.push((*set, self.random.below(spawned + 1) as u32));
            }
            if self.random.one_in(4) {
                let beyond = vec![self.random.below(4)];
                cause.only.push((*set, self.random.below(3), beyond));
            }
            if self.random.one_in(4) {
                cause.given.push(child(&mut self.random));
            }
            if self.random.one_in(3) {
                let one = self.random.one_in(2).then(|| child(&mut self.random));
                let abort = (*set, one, self.random.below(spawned + 1) as u32);
                let since = self.random.one_in(2);
                if since { &mut cause.aborted } else { &mut cause.aborted_before }.push(abort);
            }
        }
        cause
    }

    /// Whether a task may succeed: a body ends after its children.
    async fn is_done(&self, task: TaskId, before: &[Event]) -> Step<bool> {
        let sets = self.memory().sets(task, None, 100).await.map_err(|error| error.to_string())?;
        let spawns = before.iter().any(|event| matches!(event, Event::Spawn(_)));
        Ok(!spawns && sets.iter().all(|row| row.counts.ended() == row.counts.spawned))
    }

    async fn park(&mut self, task: TaskId, seq: &mut u64) -> Step<Event> {
        let sets = self.sets(task).await?;
        let mut waits = Vec::new();
        for _ in 0..=self.random.below(2) {
            *seq += 1;
            let mut arms = vec![self.condition(&sets, 0)];
            if self.random.one_in(3) {
                arms.push(self.condition(&sets, 0));
            }
            // A body cannot wait for its own job: whether such a wait is answered before its task is cancelled
            // with that job is the store's choice.
            let time = self.now();
            let own = |arm: &Condition| format!("{arm:?}").contains(&task.job.to_string());
            arms.iter_mut().filter(|arm| own(arm)).for_each(|arm| *arm = Condition::At { time });
            let place = format!("wait {}", self.random.below(3));
            waits.push(Wait { place, seq: *seq, arms, members: self.random.below(3) });
        }
        Ok(Event::Park { waits, resident: self.random.one_in(2) })
    }

    fn condition(&mut self, sets: &[(Local, u64)], depth: u32) -> Condition {
        let time = self.now().after(Duration::from_millis(self.random.below(4000)));
        if self.random.one_in(5)
            && let Some(job) = self.random.pick_of(&self.jobs)
        {
            return Condition::Job { job };
        }
        let Some((set, spawned)) = self.random.pick_of(sets) else { return Condition::At { time } };
        let some = |random: &mut Random| random.one_in(2).then(|| random.below(spawned + 1).max(1));
        match self.random.below(8) {
            0..4 => Condition::Set {
                set,
                ended: some(&mut self.random),
                lost: some(&mut self.random),
                succeeded: some(&mut self.random),
                drained: self.random.one_in(3),
            },
            4 => Condition::Child { set, child: set.numbered(self.random.below(spawned) as u32) },
            5 => Condition::Signal { name: (*self.random.pick(&SIGNALS)).to_owned(), schema: None },
            6 if depth == 0 => {
                let of = (0..2).map(|_| self.condition(sets, 1)).collect();
                Condition::All { of }
            }
            // A store is not asked to look at instants within `All`.
            _ if depth > 0 => {
                Condition::Signal { name: (*self.random.pick(&SIGNALS)).to_owned(), schema: None }
            }
            _ => Condition::At { time },
        }
    }
}
