//! The end of a task, and the wake-up of its parent in the same transaction.

use std::convert::Infallible;

use super::{Cascade, Data, Notice};
use crate::core::id::{JobId, Local, TaskId};
use crate::core::link::{is_followed, job_after_failure};
use crate::core::state::State;
use crate::core::time::Time;
use crate::core::wait::{self, Facts, SetCounts, Standing};
use crate::limits;
use crate::store::{CancelledBy, Ended};

impl Data {
    /// Ends a task that is open. The first terminal write wins.
    #[expect(clippy::too_many_arguments, reason = "the whole of an end, in one place")]
    pub(super) fn finish(
        &mut self,
        task: TaskId,
        state: State,
        outcome: String,
        by: Option<CancelledBy>,
        now: Time,
    ) -> bool {
        let Some(row) = self.tasks.get_mut(&task).filter(|row| !row.state.is_ended()) else {
            return false;
        };
        debug_assert!(row.state.may_become(state), "{} -> {state}", row.state);
        row.state = state;
        row.outcome = Some(outcome);
        row.cancelled_by = by;
        row.ended = Some(now);
        row.waits.clear();
        row.holder = None;
        let follower = (is_followed(&row.kind) && state != State::Succeeded)
            .then(|| job_after_failure(task, &row.arguments, row.outcome.as_deref()?, now))
            .flatten();
        let birth = row.parent.zip(row.set);
        if let Some(token) = row.token.take() {
            self.notices.entry(token.worker).or_default().push(Notice { task, token, told: None });
        }
        if state == State::Succeeded {
            self.forget_signals(task);
        }
        if state != State::Succeeded && self.spawned(task) > 0 {
            let number = self.next();
            let below = u32::MAX;
            let cascade = Cascade { task, set: None, below, by: CancelledBy::Parent };
            self.cascades.insert(number, cascade);
        }
        match birth {
            Some((parent, (set, _))) => self.count_end(task, parent, set, state, by),
            None => self.end_job(task),
        }
        if let Some(job) = follower {
            self.submit(job, now);
        }
        true
    }

    #[expect(clippy::too_many_arguments, reason = "the whole of an end, in one place")]
    fn count_end(
        &mut self,
        task: TaskId,
        parent: TaskId,
        set: Local,
        state: State,
        by: Option<CancelledBy>,
    ) {
        let counts = self.sets.entry((parent, set)).or_default();
        match state {
            State::Succeeded => counts.succeeded += 1,
            State::Failed => counts.failed += 1,
            _ if by.is_some_and(CancelledBy::is_parent) => counts.aborted += 1,
            _ => counts.cancelled += 1,
        }
        counts.last_end += 1;
        let end = counts.last_end;
        self.change(task, |row| row.end = Some(end));
        if state == State::Failed
            && let Some(job) = self.jobs.get_mut(&task.job)
        {
            job.errors = true;
        }
        self.parents_to_check.insert((parent, set));
    }

    fn end_job(&mut self, root: TaskId) {
        // After a job's retry the key may be another open job's.
        if let Some(key) = self.jobs.get(&root.job).and_then(|job| job.key.as_ref())
            && self.keys.get(key) == Some(&root.job)
        {
            self.keys.remove(key);
        }
        self.ended.push(Ended::unknown(root.job));
        self.over.insert(root.job);
    }

    /// Looks once at each parent whose children ended, and at whoever waits for a job that did, and wakes it
    /// if that satisfies it.
    pub(super) fn wake_parents(&mut self, now: Time) {
        for (parent, set) in std::mem::take(&mut self.parents_to_check) {
            let Some(row) = self.tasks.get(&parent) else { continue };
            if row.state == State::Waiting && wait::concerns(&row.waits, set) {
                self.wake_if_satisfied(parent, now);
            }
        }
        for job in std::mem::take(&mut self.over) {
            let watching = self.watchers.iter().filter(|(own, _)| *own == job);
            let waiters: Vec<TaskId> = watching.map(|(_, waiter)| *waiter).collect();
            self.watchers.retain(|(own, _)| *own != job);
            for waiter in waiters {
                if self.tasks.get(&waiter).is_some_and(|row| row.state == State::Waiting) {
                    self.wake_if_satisfied(waiter, now);
                }
            }
        }
    }

    pub(super) fn wake_if_satisfied(&mut self, task: TaskId, now: Time) {
        if self.is_satisfied(task, now) {
            self.change(task, |row| {
                row.state = State::Pending;
                row.due = now.before(limits::RESUMED_AGE);
                row.held_until = now.after(limits::HOLD);
            });
            self.ready = true;
        }
    }

    pub(super) fn is_satisfied(&mut self, task: TaskId, now: Time) -> bool {
        let waits = self.tasks.get(&task).map(|row| row.waits.clone()).unwrap_or_default();
        let Ok(satisfied) = wait::satisfied(&waits, &mut WaitFacts { data: self, task, now });
        satisfied
    }
}

/// A waiting task's view of the maps.
pub(super) struct WaitFacts<'a> {
    pub(super) data: &'a mut Data,
    pub(super) task: TaskId,
    pub(super) now: Time,
}

impl Facts for WaitFacts<'_> {
    type Error = Infallible;

    fn set(&mut self, set: Local) -> Result<SetCounts, Infallible> {
        Ok(self.data.sets.get(&(self.task, set)).copied().unwrap_or_default())
    }

    fn child_ended(&mut self, child: Local) -> Result<bool, Infallible> {
        let id = TaskId { job: self.task.job, local: child };
        Ok(self.data.tasks.get(&id).is_some_and(|row| row.state.is_ended()))
    }

    fn signal(&mut self, name: &str, take: bool) -> Result<Option<String>, Infallible> {
        let mut sent = self.data.signals.range((self.task, 0)..=(self.task, u64::MAX));
        let found = sent.find(|(_, (own, _))| own == name);
        let found = found.map(|(key, (_, value))| (*key, value.clone()));
        if let Some((key, _)) = found.as_ref().filter(|_| take) {
            self.data.signals.remove(key);
        }
        Ok(found.map(|(_, value)| value))
    }

    fn job(&mut self, job: JobId) -> Result<Standing, Infallible> {
        let root = self.data.tasks.get(&job.root());
        Ok(root.map_or(Standing::Unknown, |row| Standing::of(row.state, row.outcome.clone())))
    }

    fn now(&self) -> Time {
        self.now
    }
}
