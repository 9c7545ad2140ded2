//! What a unit's events do to the scene, in the order in which the body said them.

use crate::core::id::{Local, TaskId};
use crate::core::state::State;
use crate::core::wait::{self, Answer, Wait};
use crate::store::postgres::finish::{Ending, View};
use crate::store::postgres::link::fault::{Fault, Result};
use crate::store::postgres::transaction::bundle;
use crate::store::postgres::transaction::task::{Birth, Newborn, Task};
use crate::store::postgres::transaction::tx::{Cascade, LockedTask, Tx};
use crate::store::rules::resumed;
use crate::store::{
    Abort, Addition, CancelledBy, End, Event, NewChild, NewJob, Refusal, Signalled, Unit,
};

/// What became of a unit: the answers of a park that is satisfied already, or why it was refused.
type Applied = std::result::Result<Option<Vec<Answer>>, Refusal>;

impl<'e> Tx<'e> {
    /// Applies a unit whole or, with a refusal, not at all. Whatever may refuse it is looked at first.
    pub(in crate::store::postgres) fn apply(&mut self, unit: &'e Unit) -> Result<Applied> {
        let holds = |row: &Task| row.state == State::Running && row.token == Some(unit.token);
        if !self.task(unit.task).is_some_and(holds) {
            return Ok(Err(Refusal::Lost));
        }
        for event in &unit.events {
            let refusal = match event {
                Event::Spawn(child) => self.drift(unit.task, child),
                Event::Add(addition) => self.no_growth(unit.task, addition),
                _ => None,
            };
            if let Some(refusal) = refusal {
                return Ok(Err(refusal));
            }
        }
        if let Some(what) = self.unreadable(unit.task).map(str::to_owned) {
            // Nobody can go on with it before it is mended: it is taken from the worker.
            self.stand_still(unit.task, &what);
            return Ok(Err(Refusal::Lost));
        }
        self.leave_bundle(unit);
        if unit.renew
            && self.task(unit.task).is_some_and(|row| row.is_worn())
            && let Some(row) = self.change(unit.task)
        {
            row.renew();
        }
        let mut answers = None;
        for event in &unit.events {
            answers = self.happen(unit.task, event)?;
        }
        Ok(Ok(answers))
    }

    /// A task gets a row of its own before it does anything but record and end: its row is what its
    /// children's ends, its waits and its words hold on to.
    fn leave_bundle(&mut self, unit: &Unit) {
        let bundled = self.rows.get(&unit.task).is_some_and(|known| known.bundle.is_some());
        if bundled && !bundle::stays(unit) {
            // Marked as moved.
            let _ = self.change(unit.task);
        }
    }

    /// Whether a child exists at the place with another call.
    fn drift(&self, task: TaskId, child: &NewChild) -> Option<Refusal> {
        let id = TaskId { job: task.job, local: child.local };
        let old = self.siblings.get(&id)?;
        let new = &child.task;
        if old.kind == new.kind && old.hash == new.hash {
            return None;
        }
        let arguments = old.arguments.as_deref().unwrap_or_default();
        let text = crate::core::replay::drift_text(&old.kind, arguments, &new.kind, &new.arguments);
        Some(Refusal::Drift(text))
    }

    fn happen(&mut self, task: TaskId, event: &'e Event) -> Result<Option<Vec<Answer>>> {
        let now = self.now;
        match event {
            Event::Record { seq, place, entry } => {
                let known = self.records.contains_key(&(task, *seq));
                if !known {
                    self.entries.push((task, *seq, place, entry));
                }
            }
            Event::Spawn(child) => self.spawn(task, child),
            Event::Add(addition) => self.add_sibling(task, addition),
            Event::Detach(job) => drop(self.submit(job)),
            Event::Signal(signal) => self.signal_once(task, signal)?,
            Event::Abort(abort) => self.abort(task, *abort),
            Event::Log(line) => self.say(task, line),
            Event::Progress { done, total } => {
                if let Some(row) = self.change(task) {
                    row.progress = Some((*done, *total));
                }
            }
            Event::Park { waits, resident } => return self.park(task, waits, *resident),
            Event::End(end) => self.end(task, end),
            Event::Retry { failure, due } => {
                if let Some(row) = self.change(task) {
                    row.retry(failure, *due);
                }
            }
            Event::Stall { reason, due } => {
                if let Some(row) = self.change(task) {
                    row.stall(reason.clone(), *due);
                }
            }
            Event::HandBack => {
                if let Some(row) = self.change(task) {
                    row.release(resumed(now));
                }
            }
        }
        Ok(None)
    }

    fn end(&mut self, task: TaskId, end: &End) {
        // The worker's own word needs no notice: it knows.
        if let Some(row) = self.change(task) {
            row.token = None;
        }
        let (state, outcome, cause) = match end {
            End::Succeeded(value) => (State::Succeeded, value.clone(), None),
            End::Failed { failure, cause } => {
                let cause = cause.as_ref().map(crate::core::encode::json);
                (State::Failed, crate::core::encode::json(failure), cause)
            }
        };
        self.finish(task, Ending { state, outcome, by: None, cause });
    }

    fn spawn(&mut self, parent: TaskId, child: &'e NewChild) {
        let id = TaskId { job: parent.job, local: child.local };
        if self.siblings.contains_key(&id) || self.rows.contains_key(&id) {
            return;
        }
        let depth = self.task(parent).map_or(0, |row| row.depth) + 1;
        let (set, number) = (child.set, child.number);
        let birth = Some(Birth { parent: parent.local, set, number, depth });
        self.newborns.push(Newborn { id, birth, new: &child.task, job: None });
        let task = Task::born(id, &child.task, birth, self.now);
        self.rows.insert(id, LockedTask::newborn(task));
        self.change_counts(parent, set).spawned += 1;
    }

    /// Refuses what would join a set behind a cancellation, or of a parent that has ended.
    fn no_growth(&self, task: TaskId, addition: &Addition) -> Option<Refusal> {
        let parent = TaskId { job: task.job, local: addition.parent };
        let falls = |(own, set, below): (TaskId, Option<Local>, u32)| {
            own == parent && set.is_none_or(|set| set == addition.set) && addition.origin() < below
        };
        let here = self.cascades.iter().map(|cascade| (cascade.task, cascade.set, cascade.below));
        if self.task(parent).is_none() || here.chain(self.descending.iter().copied()).any(falls) {
            return Some(Refusal::Lost);
        }
        let counts = self.counts(parent, addition.set);
        counts.next_added().is_none().then(Addition::too_many)
    }

    fn add_sibling(&mut self, task: TaskId, addition: &'e Addition) {
        let Addition { seq, place, entry, parent, set, local, task: new } = addition;
        if self.records.contains_key(&(task, *seq)) {
            return;
        }
        self.entries.push((task, *seq, place, entry));
        let (owner, id) =
            (TaskId { job: task.job, local: *parent }, TaskId { job: task.job, local: *local });
        let known = self.siblings.contains_key(&id) || self.rows.contains_key(&id);
        let Some(number) = self.counts(owner, *set).next_added().filter(|_| !known) else { return };
        let depth = self.task(task).map_or(0, |row| row.depth);
        let birth = Some(Birth { parent: *parent, set: *set, number, depth });
        self.newborns.push(Newborn { id, birth, new, job: None });
        self.rows.insert(id, LockedTask::newborn(Task::born(id, new, birth, self.now)));
        self.change_counts(owner, *set).add();
    }

    /// Whether a job to be is new.
    pub(in crate::store::postgres) fn submit(&mut self, job: &'e NewJob) -> bool {
        if !self.roots.insert(job.id) {
            return false;
        }
        if let Some(key) = &job.key {
            if self.holders.contains_key(key) {
                self.roots.remove(&job.id);
                return false;
            }
            self.holders.insert(key.clone(), job.id);
        }
        let id = job.id.root();
        self.newborns.push(Newborn { id, birth: None, new: &job.task, job: Some(job) });
        let mut task = Task::born(id, &job.task, None, self.now);
        task.key.clone_from(&job.key);
        self.rows.insert(id, LockedTask::newborn(task));
        self.keys.extend(job.key.as_deref().map(|key| (key, job.id)));
        true
    }

    fn signal_once(&mut self, task: TaskId, signal: &'e Signalled) -> Result<()> {
        let Signalled { seq, place, entry, to, name, value } = signal;
        if self.records.contains_key(&(task, *seq)) {
            return Ok(());
        }
        self.entries.push((task, *seq, place, entry));
        let to = TaskId { job: task.job, local: *to };
        let number = self
            .numbers
            .pop_front()
            .ok_or_else(|| Fault::Other("there is no number for a signal".to_owned()))?;
        let Some(row) = self.change(to) else { return Ok(()) };
        row.signalled = true;
        let waits = row.state == State::Waiting;
        self.sent.push((to, number, name, value));
        self.signals.insert((to, number), (name.clone(), value.clone()));
        if waits { self.wake_if_satisfied(to) } else { Ok(()) }
    }

    fn abort(&mut self, task: TaskId, abort: Abort) {
        let by = if abort.policy { CancelledBy::Policy } else { CancelledBy::Abort };
        if let Some(local) = abort.child {
            self.cancel_as(TaskId { job: task.job, local }, by);
            return;
        }
        let (set, below) = (Some(abort.set), abort.below);
        self.cascades.push(Cascade { task, set, below, by });
    }

    fn park(
        &mut self,
        task: TaskId,
        waits: &[Wait],
        resident: bool,
    ) -> Result<Option<Vec<Answer>>> {
        let answers = self.answer(task, waits)?;
        if !answers.is_empty() {
            return Ok(Some(answers));
        }
        for job in wait::open_jobs(waits, &mut View { tx: self, task })? {
            if !self.rows.contains_key(&job.root()) {
                // It came to be, or was opened again, after the rows were locked.
                return Err(Fault::Stale);
            }
            self.watching.push((job, task));
            self.watchers.insert((job, task));
        }
        if let Some(row) = self.change(task) {
            row.park(resident);
            row.waits = waits.to_vec();
            row.unreadable = None;
        }
        Ok(None)
    }
}
