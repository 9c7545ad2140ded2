//! The end of a task, and the wake-up of its parent in the same transaction.

use super::ended::Ended;
use crate::core::failure::{Failure, Reason};
use crate::core::id::{JobId, Local, TaskId};
use crate::core::link::job_after_failure;
use crate::core::state::State;
use crate::core::time::Time;
use crate::core::wait::{self, Answer, Facts, SetCounts, Standing, Wait};
use crate::store::events::Swept;
use crate::store::postgres::link::fault::{Fault, Result};
use crate::store::postgres::transaction::task::Task;
use crate::store::postgres::transaction::tx::{Cascade, LockedTask, Tx};
use crate::store::{CancelledBy, Entry};

/// How a task ends.
pub(super) struct Ending {
    pub(super) state: State,
    pub(super) outcome: String,
    pub(super) by: Option<CancelledBy>,
    pub(super) cause: Option<String>,
}

impl Tx<'_> {
    /// Ends a task that is open. The first terminal write wins.
    pub(super) fn finish(&mut self, id: TaskId, ending: Ending) -> bool {
        let falls = ending.state != State::Succeeded && self.has_open_children(id);
        let Some(row) = self.change(id) else { return false };
        debug_assert!(row.state.may_become(ending.state), "{} -> {}", row.state, ending.state);
        row.state = ending.state;
        row.waits.clear();
        let token = row.stop();
        let signalled = std::mem::take(&mut row.signalled);
        let task = row.clone();
        if let Some(token) = token {
            self.notices.push((id, token));
            self.effects.noticed = true;
        }
        if signalled {
            self.taken.push((id, i64::MAX));
        }
        if falls {
            let by = CancelledBy::Parent;
            self.cascades.push(Cascade { task: id, set: None, below: u32::MAX, by });
        }
        let end =
            task.parent().zip(task.set).map(|(parent, set)| self.count_end(parent, set, &ending));
        if end.is_none() {
            self.end_job(task.key.as_ref(), id, &ending);
        }
        if let Some(link) = task.link.as_deref().filter(|_| ending.state != State::Succeeded)
            && let Some(job) = job_after_failure(id, link, &ending.outcome, self.now)
        {
            let root = job.id.root();
            let born = Task::born(root, &job.task, None, self.now);
            self.rows.insert(root, LockedTask::newborn(born));
            self.followers.push(job);
        }
        let Ending { outcome, by, cause, .. } = ending;
        self.ended.push(Ended { task, end, by, cause, outcome });
        true
    }

    /// Ends a task from outside its body.
    pub(super) fn fail(
        &mut self,
        id: TaskId,
        reason: Reason,
        text: &str,
        by: Option<CancelledBy>,
    ) -> bool {
        let Some(row) = self.task(id) else { return false };
        let failure = Failure::new(&row.kind, id, row.attempt, reason, text);
        let state = if by.is_some() { State::Cancelled } else { State::Failed };
        let outcome = crate::core::encode::json(&failure);
        if by.is_none() {
            let line = crate::core::log::ended(&failure, self.now);
            self.say_of_upkeep(id, line);
        }
        let ended = self.finish(id, Ending { state, outcome, by, cause: None });
        if ended && by.is_none() {
            self.effects.swept.push(Swept::Failed(failure));
        }
        ended
    }

    pub(super) fn cancel_as(&mut self, id: TaskId, by: CancelledBy) -> bool {
        self.fail(id, Reason::Cancelled, crate::core::state::cancelled_text(by), Some(by))
    }

    /// Counts the end. Returns its number.
    fn count_end(&mut self, parent: TaskId, set: Local, ending: &Ending) -> u64 {
        let counts = self.change_counts(parent, set);
        match ending.state {
            State::Succeeded => counts.succeeded += 1,
            State::Failed => counts.failed += 1,
            _ if ending.by.is_some_and(CancelledBy::is_parent) => counts.aborted += 1,
            _ => counts.cancelled += 1,
        }
        counts.last_end += 1;
        let end = counts.last_end;
        self.parents_to_check.insert((parent, set));
        end
    }

    fn end_job(&mut self, key: Option<&String>, root: TaskId, ending: &Ending) {
        if let Some(key) = key {
            if self.holders.get(key) == Some(&root.job) {
                self.holders.remove(key);
            }
            self.freed.push((key.clone(), root.job));
        }
        self.jobs_over.insert(root.job);
        let ended = crate::store::Ended::new(root.job, ending.state, &ending.outcome);
        self.effects.ended.push(ended);
    }

    /// Looks once at each parent whose children ended, and at whoever waits for a job that did, and wakes it
    /// if that satisfies it.
    pub(super) fn wake_parents(&mut self) -> Result<()> {
        for (parent, set) in std::mem::take(&mut self.parents_to_check) {
            let concerned = |row: &crate::store::postgres::transaction::task::Task| {
                row.state == State::Waiting
                    && (row.unreadable.is_some() || wait::concerns(&row.waits, set))
            };
            if self.task(parent).is_some_and(concerned) {
                self.wake_if_satisfied(parent)?;
            }
        }
        for job in std::mem::take(&mut self.jobs_over) {
            let watchers: Vec<TaskId> = self.watchers_of(job).collect();
            for waiter in watchers {
                if self.task(waiter).is_some_and(|row| row.state == State::Waiting) {
                    self.wake_if_satisfied(waiter)?;
                }
            }
        }
        Ok(())
    }

    /// The tasks that wait for a job.
    pub(super) fn watchers_of(&self, job: JobId) -> impl Iterator<Item = TaskId> {
        let nobody = JobId::from_bytes([0; 16]).root();
        let watchers = self.watchers.range((job, nobody)..).take_while(move |(own, _)| *own == job);
        watchers.map(|(_, waiter)| *waiter)
    }

    /// Makes a waiting task runnable if its waits are satisfied.
    pub(super) fn wake_if_satisfied(&mut self, task: TaskId) -> Result<()> {
        if let Some(what) = self.unreadable(task).map(str::to_owned) {
            self.stand_still(task, &what);
            return Ok(());
        }
        let waits = self.task(task).map(|row| row.waits.clone()).unwrap_or_default();
        if !wait::satisfied(&waits, &mut View { tx: self, task })? {
            return Ok(());
        }
        let now = self.now;
        if let Some(row) = self.change(task) {
            row.wake(now);
        }
        Ok(())
    }

    /// Answers what is satisfied, and keeps the answers to be recorded. A wait may have been answered
    /// already, in a reply that never arrived: then that answer stands, and no second signal is taken.
    pub(super) fn answer(&mut self, task: TaskId, waits: &[Wait]) -> Result<Vec<Answer>> {
        let mut answers = Vec::new();
        for wait in waits {
            if let Some((place, Entry::Answer(answer))) = self.records.get(&(task, wait.seq))
                && *place == wait.place
            {
                answers.push(answer.clone());
                continue;
            }
            let view = &mut View { tx: self, task };
            for answer in wait::answers(std::slice::from_ref(wait), view)? {
                self.answers.push((task, answer.clone()));
                answers.push(answer);
            }
        }
        Ok(answers)
    }
}

/// A task's view of the scene.
pub(super) struct View<'s, 'e> {
    pub(super) tx: &'s mut Tx<'e>,
    pub(super) task: TaskId,
}

impl Facts for View<'_, '_> {
    type Error = Fault;

    fn set(&mut self, set: Local) -> Result<SetCounts> {
        Ok(self.tx.counts(self.task, set))
    }

    fn child_ended(&mut self, child: Local) -> Result<bool> {
        let id = TaskId { job: self.task.job, local: child };
        let ends_here = self.tx.rows.get(&id).is_some_and(|known| known.task.state.is_ended());
        Ok(ends_here || self.tx.over.contains(&id))
    }

    fn signal(&mut self, name: &str, take: bool) -> Result<Option<String>> {
        let mut sent = self.tx.signals.range((self.task, 0)..=(self.task, i64::MAX));
        let found = sent.find(|(_, (own, _))| own == name);
        let found = found.map(|(key, (_, value))| (*key, value.clone()));
        if let Some((key, _)) = found.as_ref().filter(|_| take) {
            self.tx.signals.remove(key);
            self.tx.taken.push(*key);
        }
        Ok(found.map(|(_, value)| value))
    }

    fn job(&mut self, job: JobId) -> Result<Standing> {
        let root = job.root();
        if self.tx.task(root).is_some() {
            return Ok(Standing::Open);
        }
        // Ended here, or before.
        if self.tx.rows.contains_key(&root)
            && let Some(ended) = self.tx.ended.iter().find(|ended| ended.task.id == root)
        {
            return Ok(Standing::of(ended.task.state, Some(ended.outcome.clone())));
        }
        // What was not read is of no moment here.
        Ok(self.tx.standing.get(&job).cloned().unwrap_or(Standing::Open))
    }

    fn now(&self) -> Time {
        self.tx.now
    }
}
