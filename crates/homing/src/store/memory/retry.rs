//! `retry`: a failed job goes on, and only what failed runs again.

use super::Data;
use crate::clock::Time;
use crate::id::{JobId, TaskId};
use crate::state::State;
use crate::store::{CancelledBy, Cause};

impl Data {
    /// `None` if the job is unknown.
    pub(super) fn retry(&mut self, job: JobId, now: Time) -> Option<bool> {
        let root = job.root();
        let state = self.tasks.get(&root)?.state;
        if !matches!(state, State::Failed | State::Cancelled) {
            return Some(false);
        }
        // Cancellations still on their way down would hit what is reopened.
        while self.cascade(now) {}
        let mut open = vec![root];
        while let Some(task) = open.pop() {
            let cause = self.reopen(task, now);
            self.forget_answer(task, cause.as_ref());
            for child in self.to_reopen(task, cause.as_ref()) {
                self.uncount(child);
                open.push(child);
            }
        }
        self.take_key(job);
        let mut below = self.tasks.range(root..).take_while(|(id, _)| id.job == job).skip(1);
        let errors = below.any(|(_, row)| row.state == State::Failed);
        if let Some(row) = self.jobs.get_mut(&job) {
            row.errors = errors;
        }
        self.ready = true;
        Some(true)
    }

    fn reopen(&mut self, task: TaskId, now: Time) -> Option<Cause> {
        let row = self.tasks.get_mut(&task)?;
        row.state = State::Pending;
        row.due = now;
        row.attempt += 1;
        (row.failures, row.crashes, row.stalls) = (0, 0, 0);
        (row.outcome, row.cancelled_by, row.ended, row.end) = (None, None, None, None);
        (row.expires, row.deadline, row.parked) = (None, None, None);
        row.cause.take()
    }

    /// Deletes the answer that brought the task down, and what was recorded on its account.
    fn forget_answer(&mut self, task: TaskId, cause: Option<&Cause>) {
        let Some(cause) = cause else { return };
        let below = format!("{}/", cause.place);
        self.records.retain(|(owner, _), (place, _)| {
            *owner != task || (*place != cause.place && !place.starts_with(&below))
        });
        self.records.retain(|(owner, _), (_, entry)| {
            *owner != task || !matches!(entry, crate::store::Entry::Returned { .. })
        });
    }

    fn to_reopen(&self, task: TaskId, cause: Option<&Cause>) -> Vec<TaskId> {
        let mut children = self.children_of(task, None);
        children.retain(|(id, _)| {
            let row = &self.tasks[id];
            let named = cause.is_some_and(|cause| {
                row.set.is_some_and(|(set, _)| set == cause.set)
                    && cause.child.is_none_or(|child| child == id.local)
            });
            match (row.state, row.cancelled_by) {
                (State::Cancelled, Some(CancelledBy::Parent)) => true,
                (State::Failed, _)
                | (State::Cancelled, Some(CancelledBy::Policy | CancelledBy::User)) => named,
                _ => false,
            }
        });
        children.into_iter().map(|(id, _)| id).collect()
    }

    /// Takes an ended child out of its set's counts.
    fn uncount(&mut self, child: TaskId) {
        let Some(row) = self.tasks.get_mut(&child) else { return };
        let (Some(parent), Some((set, _))) = (row.parent, row.set) else { return };
        row.end = None;
        let (state, by) = (row.state, row.cancelled_by);
        let ends = self.children_of(parent, Some(set));
        let last = ends.iter().filter_map(|(id, _)| self.tasks[id].end).max();
        let Some(counts) = self.sets.get_mut(&(parent, set)) else { return };
        match state {
            State::Failed => counts.failed = counts.failed.saturating_sub(1),
            _ if by.is_some_and(CancelledBy::is_parent) => {
                counts.aborted = counts.aborted.saturating_sub(1)
            }
            _ => counts.cancelled = counts.cancelled.saturating_sub(1),
        }
        counts.last_end = last.unwrap_or(0);
    }

    /// The key is the job's again, unless another open job has it by now.
    fn take_key(&mut self, job: JobId) {
        if let Some(key) = self.jobs.get(&job).and_then(|row| row.key.clone()) {
            self.keys.entry(key).or_insert(job);
        }
    }
}
