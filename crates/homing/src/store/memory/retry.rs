//! `retry`: a failed job goes on, and what failed runs again.

use super::Data;
use crate::core::id::{JobId, Local, TaskId};
use crate::core::state::State;
use crate::core::time::Time;
use crate::limits;
use crate::store::{Amended, CancelledBy, Cause, Entry, Retried, Retry};

/// What a retry has done so far.
#[derive(Default)]
struct Done {
    reopened: Vec<TaskId>,
    taken_back: u64,
    removed: u64,
}

impl Data {
    /// `None` if the job is unknown.
    pub(super) fn retry(&mut self, job: JobId, preview: bool, now: Time) -> Option<Retry> {
        match self.tasks.get(&job.root())?.state {
            State::Failed | State::Cancelled => {}
            State::Succeeded => return Some(Retry::Succeeded),
            State::Pending | State::Running | State::Waiting => return Some(Retry::Open),
        }
        let key = self.jobs.get(&job).and_then(|row| row.key.clone());
        if let Some(holder) = self.holder_of(key.as_ref(), now) {
            return Some(Retry::Held(holder));
        }
        // Cancellations still on their way down would hit what is reopened.
        while self.cascade(now) {}
        if preview {
            return Some(Retry::Done(self.clone().reopen_job(job, key, now)));
        }
        self.ready = true;
        Some(Retry::Done(self.reopen_job(job, key, now)))
    }

    /// Other arguments for a task that stands still. `None` if it is unknown.
    pub(super) fn amend(&mut self, task: TaskId, arguments: String, now: Time) -> Option<Amended> {
        let row = self.tasks.get_mut(&task)?;
        if row.state.is_ended() {
            return Some(Amended::Ended);
        }
        if row.state != State::Pending || row.stalls == 0 {
            return Some(Amended::NotStalled);
        }
        (row.arguments, row.due) = (arguments, now);
        self.ready = true;
        Some(Amended::Done)
    }

    fn reopen_job(&mut self, job: JobId, key: Option<String>, now: Time) -> Retried {
        let mut done = Done::default();
        let mut open = vec![job.root()];
        while let Some(task) = open.pop() {
            done.reopened.push(task);
            let cause = self.reopen(task, now);
            if let Some(cause) = &cause {
                self.take_back(task, cause, &mut done);
            }
            for child in self.to_reopen(task, cause.as_ref()) {
                self.uncount(child);
                open.push(child);
            }
        }
        self.keys.extend(key.map(|key| (key, job)));
        let mut below = self.tasks.range(job.root()..).take_while(|(id, _)| id.job == job).skip(1);
        let errors = below.any(|(_, row)| row.state == State::Failed);
        if let Some(row) = self.jobs.get_mut(&job) {
            row.errors = errors;
        }
        let mut tasks = done.reopened;
        tasks.sort_unstable();
        let reopened = tasks.len() as u64;
        tasks.truncate(limits::RETRIED);
        let Done { taken_back, removed, .. } = done;
        Retried { reopened, tasks, taken_back, removed }
    }

    fn reopen(&mut self, task: TaskId, now: Time) -> Option<Cause> {
        let row = self.tasks.get_mut(&task)?;
        row.state = State::Pending;
        row.due = now;
        row.attempt += 1;
        row.renew();
        (row.outcome, row.cancelled_by, row.ended, row.end) = (None, None, None, None);
        (row.expires, row.deadline, row.parked) = (None, None, None);
        row.cause.take()
    }

    /// Takes back what came after the loss: entries of the record and children. A signal that was an answer is
    /// there again, unless the body does not take its value.
    fn take_back(&mut self, task: TaskId, cause: &Cause, done: &mut Done) {
        let goes = |seq: u64, place: &str, entry: &Entry| {
            let below = |own: &String| {
                place.strip_prefix(own.as_str()).is_some_and(|rest| rest.starts_with('/'))
            };
            cause.since.is_some_and(|since| seq >= since)
                || cause.places.iter().any(|own| place == own || below(own))
                || matches!(entry, Entry::Returned { .. })
        };
        let own = self.records.range((task, 0)..=(task, u64::MAX));
        let gone = own.filter(|((_, seq), (place, entry, _))| goes(*seq, place, entry));
        let gone: Vec<(TaskId, u64)> = gone.map(|(key, _)| *key).collect();
        done.taken_back += gone.len() as u64;
        let mut again = Vec::new();
        for key in gone {
            if let Some((_, Entry::Answer(answer), _)) = self.records.remove(&key)
                && cause.sends_again(&answer.place)
                && let (Some(name), Some(value)) = (answer.signal, answer.value)
            {
                again.push((name, value));
            }
        }
        self.send_again(task, again);
        for (set, kept) in &cause.grown {
            for (child, number) in self.children_of(task, Some(*set)) {
                if child.local.origin(number) >= *kept {
                    self.uncount(child);
                    let counts = self.sets.entry((task, *set)).or_default();
                    less(&mut counts.spawned);
                    if number >= limits::CHILDREN {
                        less(&mut counts.added);
                    }
                    self.remove_tree(child, done);
                }
            }
        }
    }

    /// Signals that had been given out are older than those that were not: they come before them, as they were sent.
    fn send_again(&mut self, task: TaskId, again: Vec<(String, String)>) {
        let kept = self.forget_signals(task);
        for signal in again.into_iter().chain(kept) {
            let number = self.next();
            self.signals.insert((task, number), signal);
        }
    }

    fn remove_tree(&mut self, task: TaskId, done: &mut Done) {
        for (child, _) in self.children_of(task, None) {
            self.remove_tree(child, done);
        }
        done.removed += 1;
        self.tasks.remove(task);
        self.sets.retain(|(id, _), _| *id != task);
        self.records.retain(|(id, _), _| *id != task);
        self.forget_signals(task);
    }

    fn to_reopen(&self, task: TaskId, cause: Option<&Cause>) -> Vec<TaskId> {
        let children = self.children_of(task, None).into_iter();
        children.map(|(id, _)| id).filter(|id| self.is_reopened(*id, cause)).collect()
    }

    /// Whether the retry of its parent reopens a child: what fell with the parent, what was lost and what
    /// the parent aborted after the loss.
    fn is_reopened(&self, child: TaskId, cause: Option<&Cause>) -> bool {
        let row = &self.tasks[&child];
        let Some((set, number)) = row.set else { return false };
        let aborted = |(own, one, below): &(Local, Option<Local>, u32)| {
            *own == set && one.map_or(child.local.origin(number) < *below, |one| one == child.local)
        };
        let lost = |cause: &Cause| {
            let end = row.end.unwrap_or(0);
            let wanted = cause
                .only
                .iter()
                .any(|(own, past, beyond)| *own == set && end > *past && !beyond.contains(&end));
            (cause.only.is_empty() || wanted)
                && !cause.given.contains(&child.local)
                && !cause.aborted_before.iter().any(aborted)
        };
        match (row.state, row.cancelled_by) {
            (State::Failed, _) | (State::Cancelled, Some(CancelledBy::User)) => {
                cause.is_some_and(lost)
            }
            (State::Cancelled, Some(CancelledBy::Abort | CancelledBy::Policy)) => {
                // One that the body had been told of by then was aborted before.
                let untold = |cause: &&Cause| !cause.given.contains(&child.local);
                cause.filter(untold).is_some_and(|cause| cause.aborted.iter().any(aborted))
            }
            (State::Cancelled, Some(CancelledBy::Parent) | None) => true,
            (State::Pending | State::Running | State::Waiting | State::Succeeded, _) => false,
        }
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
            State::Succeeded => less(&mut counts.succeeded),
            State::Failed => less(&mut counts.failed),
            _ if by.is_some_and(CancelledBy::is_parent) => less(&mut counts.aborted),
            _ => less(&mut counts.cancelled),
        }
        counts.last_end = last.unwrap_or(0);
    }
}

/// One less of what should be there: rows and counts that differ are for `check` to find.
fn less(count: &mut u64) {
    *count = count.saturating_sub(1);
}
