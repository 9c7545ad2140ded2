//! `exchange`: units first, then upkeep, then the claim.

use std::collections::btree_map::Entry as Slot;
use std::sync::Arc;

use super::{Cascade, Data, Notice, Task, stored};
use crate::core::id::{Local, TaskId, Token, WorkerId};
use crate::core::log::{Level, Line};
use crate::core::state::State;
use crate::core::time::Time;
use crate::core::wait::SetCounts;
use crate::core::wait::{Answer, Wait};
use crate::limits;
use crate::store::{
    Abort, Addition, CancelledBy, End, Entry, Event, Exchange, LogLine, NewChild, Refusal, Reply,
    Signalled, Unit,
};

impl Data {
    pub(super) fn exchange(&mut self, exchange: Exchange, now: Time) -> Reply {
        let mut reply = Reply::default();
        for unit in exchange.units {
            let task = unit.task;
            match self.apply(Arc::unwrap_or_clone(unit), now) {
                Ok(None) => {}
                Ok(Some(answers)) => reply.ready.push((task, answers)),
                Err(refusal) => reply.refused.push((task, refusal)),
            }
        }
        self.wake_parents(now);
        let more = self.sweep(exchange.claim.max_crashes, now);
        self.wake_parents(now);
        reply.cancelled = self.notices(exchange.worker, exchange.number, exchange.acknowledged);
        // A worker that was given up must not take tasks under a dead id.
        if self.workers.contains_key(&exchange.worker) {
            self.hand_out_again(exchange.worker, exchange.acknowledged, &mut reply);
            self.claim(exchange.worker, exchange.number, &exchange.claim, &mut reply, now);
        }
        reply.next_due = if more {
            Some(now)
        } else {
            self.next_due(exchange.worker, &exchange.claim, &reply.claimed, now)
        };
        reply
    }

    /// Tasks that ended under the worker's hands, until a reply that says so has arrived.
    fn notices(
        &mut self,
        worker: WorkerId,
        number: u64,
        acknowledged: u64,
    ) -> Vec<(TaskId, Token)> {
        let Some(notices) = self.notices.get_mut(&worker) else { return Vec::new() };
        notices.retain(|notice| notice.told.is_none_or(|told| told > acknowledged));
        let told = |notice: &mut Notice| {
            notice.told.get_or_insert(number);
            (notice.task, notice.token)
        };
        notices.iter_mut().map(told).collect()
    }

    /// Applies a unit whole or, with a refusal, not at all. Answers come back from a park that is
    /// satisfied already.
    fn apply(&mut self, unit: Unit, now: Time) -> Result<Option<Vec<Answer>>, Refusal> {
        let task = unit.task;
        let holds = |row: &Task| row.state == State::Running && row.token == Some(unit.token);
        if !self.tasks.get(&task).is_some_and(holds) {
            return Err(Refusal::Lost);
        }
        for event in &unit.events {
            match event {
                Event::Spawn(child) => self.check_drift(task, child)?,
                Event::Add(addition) => self.check_growth(task, addition)?,
                _ => {}
            }
        }
        if unit.renew {
            self.change(task, Task::renew);
        }
        if unit.tells_of_a_beginning() {
            self.change(task, |row| row.started = row.started.or(Some(now)));
        }
        let mut answers = None;
        for event in unit.events {
            answers = self.happen(task, event, now);
        }
        Ok(answers)
    }

    fn check_drift(&self, task: TaskId, child: &NewChild) -> Result<(), Refusal> {
        let id = TaskId { job: task.job, local: child.local };
        match self.tasks.get(&id) {
            Some(row) if row.kind != child.task.kind || row.hash != child.task.hash => {
                Err(Refusal::Drift(crate::core::replay::drift_text(
                    &row.kind,
                    &row.arguments,
                    &child.task.kind,
                    &child.task.arguments,
                )))
            }
            _ => Ok(()),
        }
    }

    pub(super) fn change(&mut self, task: TaskId, how: impl FnOnce(&mut Task)) {
        if let Some(row) = self.tasks.get_mut(&task) {
            how(row);
        }
    }

    fn happen(&mut self, task: TaskId, event: Event, now: Time) -> Option<Vec<Answer>> {
        match event {
            Event::Begin => {}
            Event::Record { seq, place, entry } => {
                self.records.entry((task, seq)).or_insert((place, entry, now));
            }
            Event::Spawn(child) => self.spawn(task, *child, now),
            Event::Add(addition) => self.add_sibling(task, *addition, now),
            Event::Detach(job) => {
                self.submit(*job, now);
            }
            Event::Signal(signal) => self.signal_once(task, *signal, now),
            Event::Abort(abort) => self.abort(task, abort, now),
            Event::Log(line) => self.write_line(task, line),
            Event::Progress { done, total } => {
                self.change(task, |row| row.progress = Some((done, total)));
            }
            Event::Park { waits, resident } => return self.park(task, waits, resident, now),
            Event::End(End::Succeeded(value)) => {
                // The worker's own word needs no notice: it knows.
                self.change(task, |row| row.token = None);
                self.finish(task, State::Succeeded, value, None, now);
            }
            Event::End(End::Failed { failure, cause }) => {
                self.change(task, |row| (row.token, row.cause) = (None, cause.map(|cause| *cause)));
                self.finish(task, State::Failed, stored(&failure), None, now);
            }
            Event::Retry { failure, due } => self.release(task, due, |row| {
                row.attempt += 1;
                row.failures += 1;
                row.stalls = 0;
                row.reason = Some(failure.to_string());
            }),
            Event::Stall { reason, due } => self.release(task, due, |row| {
                row.stalls += 1;
                row.reason = Some(reason);
            }),
            Event::HandBack => {
                let row = &self.tasks[&task];
                let is_ahead = row.token.is_some_and(Token::is_ahead);
                let due = if is_ahead { row.due } else { now.before(limits::RESUMED_AGE) };
                self.release(task, due, |_| {});
            }
        }
        None
    }

    /// A running task becomes pending. What its body recorded since it was last parked, an older future
    /// does not know.
    pub(super) fn release(&mut self, task: TaskId, due: Time, how: impl FnOnce(&mut Task)) {
        self.change(task, |row| {
            row.state = State::Pending;
            row.token = None;
            row.holder = None;
            row.parked = None;
            row.due = due;
            how(row);
        });
        self.ready = true;
    }

    fn spawn(&mut self, parent: TaskId, child: NewChild, now: Time) {
        let id = TaskId { job: parent.job, local: child.local };
        if self.tasks.contains_key(&id) {
            return;
        }
        let depth = self.tasks.get(&parent).map_or(0, |row| row.depth) + 1;
        let birth = Some((parent, child.set, child.number));
        self.tasks.insert(id, Task::new(child.task, birth, depth, now));
        self.sets.entry((parent, child.set)).or_default().spawned += 1;
        self.ready = true;
    }

    /// Refuses what would join a set behind a cancellation, or of a parent that has ended.
    fn check_growth(&self, task: TaskId, addition: &Addition) -> Result<(), Refusal> {
        let parent = TaskId { job: task.job, local: addition.parent };
        let falls = |cascade: &Cascade| {
            cascade.task == parent
                && cascade.set.is_none_or(|set| set == addition.set)
                && addition.origin() < cascade.below
        };
        let open = self.tasks.get(&parent).is_some_and(|row| !row.state.is_ended());
        if !open || self.cascades.values().any(falls) {
            return Err(Refusal::Lost);
        }
        let counts = self.sets.get(&(parent, addition.set)).copied().unwrap_or_default();
        counts.next_added().map(drop).ok_or_else(Addition::too_many)
    }

    fn add_sibling(&mut self, task: TaskId, addition: Addition, now: Time) {
        let Addition { seq, place, entry, parent, set, local, task: new } = addition;
        let Slot::Vacant(vacant) = self.records.entry((task, seq)) else { return };
        vacant.insert((place, entry, now));
        let (parent, id) =
            (TaskId { job: task.job, local: parent }, TaskId { job: task.job, local });
        let counts = self.sets.entry((parent, set)).or_default();
        let Some(number) = counts.next_added().filter(|_| !self.tasks.contains_key(&id)) else {
            return;
        };
        counts.add();
        let depth = self.tasks.get(&task).map_or(0, |row| row.depth);
        self.tasks.insert(id, Task::new(new, Some((parent, set, number)), depth, now));
        self.ready = true;
    }

    fn signal_once(&mut self, task: TaskId, signal: Signalled, now: Time) {
        let Signalled { seq, place, entry, to, name, value } = signal;
        let Slot::Vacant(vacant) = self.records.entry((task, seq)) else { return };
        vacant.insert((place, entry, now));
        self.signal(TaskId { job: task.job, local: to }, name, value, now);
    }

    fn abort(&mut self, task: TaskId, abort: Abort, now: Time) {
        let by = if abort.policy { CancelledBy::Policy } else { CancelledBy::Abort };
        if let Some(child) = abort.child {
            self.cancel_as(TaskId { job: task.job, local: child }, by, now);
            return;
        }
        let number = self.next();
        let cascade = Cascade { task, set: Some(abort.set), below: abort.below, by };
        self.cascades.insert(number, cascade);
    }

    pub(super) fn write_line(&mut self, task: TaskId, line: LogLine) {
        let tells_of_an_attempt = line.key.starts_with(crate::core::log::ATTEMPT);
        if !self.log_keys.insert((task, line.key)) {
            return;
        }
        let Some(row) = self.tasks.get_mut(&task) else { return };
        if row.lines < limits::LOG_LINES {
            row.lines += 1;
            let number = self.insert_line(task, line.time, line.level, line.message);
            if tells_of_an_attempt {
                self.failed_attempts.insert((task, number));
            }
            return;
        }
        row.dropped += 1;
        let message = format!("{} more lines of this task were dropped", row.dropped);
        if row.dropped == 1 {
            self.insert_line(task, line.time, Level::Warn, message);
        } else {
            let mut lines = self.logs.range_mut((task.job, 0)..=(task.job, u64::MAX)).rev();
            if let Some((_, last)) = lines.find(|(_, line)| line.task == task) {
                last.message = message;
            }
        }
    }

    fn insert_line(&mut self, task: TaskId, time: Time, level: Level, message: String) -> u64 {
        let mut lines = self.logs.range((task.job, 0)..=(task.job, u64::MAX));
        let number = lines.next_back().map_or(0, |((_, number), _)| *number) + 1;
        self.logs.insert((task.job, number), Line { number, time, level, task, message });
        number
    }

    fn park(
        &mut self,
        task: TaskId,
        waits: Vec<Wait>,
        resident: bool,
        now: Time,
    ) -> Option<Vec<Answer>> {
        let answers = self.answer(task, &waits, now);
        if !answers.is_empty() {
            return Some(answers);
        }
        let mut facts = super::finish::WaitFacts { data: self, task, now };
        let Ok(jobs) = crate::core::wait::open_jobs(&waits, &mut facts);
        self.watchers.extend(jobs.into_iter().map(|job| (job, task)));
        self.change(task, |row| {
            row.state = State::Waiting;
            // It came as far as its record goes, so it fits.
            row.stalls = 0;
            row.waits = waits;
            row.parked = row.token.take();
            row.holder = row.parked.filter(|_| resident).map(|token| token.worker);
        });
        None
    }

    /// Answers what is satisfied and records the answers. A wait may have been answered already, in a
    /// reply that never arrived: then that answer stands, and no second signal is taken for it.
    pub(super) fn answer(&mut self, task: TaskId, waits: &[Wait], now: Time) -> Vec<Answer> {
        let mut answers = Vec::new();
        for wait in waits {
            if let Some((place, Entry::Answer(answer), _)) = self.records.get(&(task, wait.seq))
                && *place == wait.place
            {
                answers.push(answer.clone());
                continue;
            }
            let mut facts = super::finish::WaitFacts { data: self, task, now };
            let Ok(new) = crate::core::wait::answers(std::slice::from_ref(wait), &mut facts);
            for answer in &new {
                let entry = (answer.place.clone(), Entry::Answer(answer.clone()), now);
                self.records.insert((task, answer.seq), entry);
            }
            answers.extend(new);
        }
        answers
    }

    /// Spawned children of a task, over all its sets.
    pub(super) fn spawned(&self, task: TaskId) -> u64 {
        self.counts_of(task).map(|counts| counts.spawned).sum()
    }

    /// As [`spawned`](Self::spawned), without those that members of the sets have added.
    pub(super) fn spawned_by_body(&self, task: TaskId) -> u64 {
        self.counts_of(task).map(SetCounts::own).sum()
    }

    fn counts_of(&self, task: TaskId) -> impl Iterator<Item = &SetCounts> {
        let sets = self.sets.range((task, Local::ROOT)..);
        sets.take_while(move |((owner, _), _)| *owner == task).map(|(_, counts)| counts)
    }
}
