//! The rows of all tasks, filed so that nobody passes over those that do not concern them.
//!
//! Claims look at what is pending, upkeep at instants and at dead workers' tasks, waits at ends: each in the order in
//! which it takes them. A row that may have been changed is marked, to be filed again; [`settle`](Rows::settle)
//! does that before each look and at the end of each verb.

use std::cmp::Reverse;
use std::collections::{BTreeMap, BTreeSet};
use std::ops::{Bound, Deref};

use super::Task;
use crate::core::id::{JobId, Local, TaskId, Token, WorkerId};
use crate::core::state::State;
use crate::core::time::Time;

/// The highest first.
type Priority = Reverse<i16>;
/// The order in which claims take tasks.
type Turn = (Priority, Time, TaskId);
/// An end: the parent, the set, the end's number, the child.
type Ended = (TaskId, Local, u64, TaskId);

#[derive(Debug, Clone, Default)]
pub(super) struct Rows {
    all: BTreeMap<TaskId, Task>,
    /// By parent, set and number: what a child has from its birth on.
    children: BTreeSet<(TaskId, Local, u32, TaskId)>,
    changed: BTreeSet<TaskId>,
    /// Under what each row is filed.
    filed: BTreeMap<TaskId, Filed>,
    pending: BTreeSet<Turn>,
    kept: BTreeSet<(Time, TaskId)>,
    /// Pending, and to begin at once.
    direct: BTreeSet<TaskId>,
    timers: BTreeSet<(Time, TaskId)>,
    running: BTreeSet<(WorkerId, TaskId)>,
    ends: BTreeSet<Ended>,
}

/// Where a row is filed.
#[derive(Debug, Clone, Default)]
struct Filed {
    pending: Option<Turn>,
    /// Pending, and for a while another worker's alone.
    kept: Option<Time>,
    direct: Option<TaskId>,
    timer: Option<Time>,
    running: Option<WorkerId>,
    end: Option<Ended>,
}

impl Filed {
    fn of(id: TaskId, row: &Task) -> Self {
        let is_pending = row.state == State::Pending;
        Self {
            pending: is_pending.then_some((Reverse(row.priority), row.due, id)),
            kept: row.holder.filter(|_| is_pending).map(|_| row.held_until),
            direct: (is_pending && (row.at_once || row.crashes > 0)).then_some(id),
            timer: row.timer(),
            running: row.token.map(|token| token.worker),
            end: row
                .parent
                .zip(row.set)
                .zip(row.end)
                .map(|((parent, (set, _)), end)| (parent, set, end, id)),
        }
    }
}

impl Rows {
    pub(super) fn insert(&mut self, id: TaskId, row: Task) {
        self.changed.insert(id);
        self.children.extend(birth(id, &row));
        self.all.insert(id, row);
    }

    pub(super) fn get_mut(&mut self, id: &TaskId) -> Option<&mut Task> {
        self.changed.insert(*id);
        self.all.get_mut(id)
    }

    pub(super) fn remove(&mut self, id: TaskId) {
        if let Some(row) = self.all.remove(&id)
            && let Some(birth) = birth(id, &row)
        {
            self.children.remove(&birth);
        }
        self.unfile(id);
        self.changed.remove(&id);
    }

    pub(super) fn remove_job(&mut self, job: JobId) {
        let ids: Vec<TaskId> = self.of_job(job).map(|(id, _)| *id).collect();
        for id in ids {
            self.remove(id);
        }
    }

    /// Files each row that was changed under what it is now.
    pub(super) fn settle(&mut self) {
        for id in std::mem::take(&mut self.changed) {
            self.unfile(id);
            let Some(row) = self.all.get(&id) else { continue };
            let filed = Filed::of(id, row);
            self.pending.extend(filed.pending);
            self.kept.extend(filed.kept.map(|time| (time, id)));
            self.direct.extend(filed.direct);
            self.timers.extend(filed.timer.map(|time| (time, id)));
            self.running.extend(filed.running.map(|worker| (worker, id)));
            self.ends.extend(filed.end);
            self.filed.insert(id, filed);
        }
    }

    fn unfile(&mut self, id: TaskId) {
        let Some(filed) = self.filed.remove(&id) else { return };
        filed.pending.map(|turn| self.pending.remove(&turn));
        filed.kept.map(|time| self.kept.remove(&(time, id)));
        filed.direct.map(|id| self.direct.remove(&id));
        filed.timer.map(|time| self.timers.remove(&(time, id)));
        filed.running.map(|worker| self.running.remove(&(worker, id)));
        filed.end.map(|end| self.ends.remove(&end));
    }

    pub(super) fn of_job(&self, job: JobId) -> impl Iterator<Item = (&TaskId, &Task)> {
        self.all.range(job.root()..).take_while(move |(id, _)| id.job == job)
    }

    /// The children of one set of a task, from a number on, by their numbers.
    pub(super) fn children(
        &self,
        task: TaskId,
        set: Local,
        from: u32,
    ) -> impl Iterator<Item = (TaskId, u32)> {
        let first = (task, set, from, TaskId { job: task.job, local: Local::ROOT });
        let of_set = self.children.range(first..);
        let of_set = of_set.take_while(move |(own, of, ..)| (*own, *of) == (task, set));
        of_set.map(|(_, _, number, child)| (*child, *number))
    }

    /// The children of a task, set by set.
    pub(super) fn all_children(&self, task: TaskId) -> impl Iterator<Item = (TaskId, u32)> {
        let first = (task, Local::ROOT, 0, TaskId { job: task.job, local: Local::ROOT });
        let own = self.children.range(first..).take_while(move |(own, ..)| *own == task);
        own.map(|(_, _, number, child)| (*child, *number))
    }

    /// The children of a set that have ended, after an end, in the order in which they did.
    pub(super) fn ends(
        &self,
        task: TaskId,
        set: Local,
        after: u64,
    ) -> impl Iterator<Item = TaskId> {
        let first = (task, set, after + 1, TaskId { job: task.job, local: Local::ROOT });
        let of_set = self.ends.range(first..);
        let of_set = of_set.take_while(move |(own, of, ..)| (*own, *of) == (task, set));
        of_set.map(|(.., child)| *child)
    }

    /// The priorities that pending tasks have, the highest first.
    pub(super) fn priorities(&self) -> impl Iterator<Item = Priority> {
        let first = self.pending.first().map(|(priority, ..)| *priority);
        std::iter::successors(first, |priority| {
            let rest = (Bound::Excluded((*priority, Time::NEVER, LAST)), Bound::Unbounded);
            self.pending.range(rest).next().map(|(priority, ..)| *priority)
        })
    }

    /// Pending tasks that are due, in the order of claims.
    pub(super) fn ready(&self, now: Time) -> impl Iterator<Item = (TaskId, &Task)> {
        self.priorities().flat_map(move |priority| self.due(priority, now))
    }

    fn due(&self, priority: Priority, now: Time) -> impl Iterator<Item = (TaskId, &Task)> {
        let due = self.pending.range((priority, Time(i64::MIN), FIRST)..=(priority, now, LAST));
        due.filter_map(|(.., id)| Some((*id, self.all.get(id)?)))
    }

    /// Those that are due later, in the order in which they are.
    pub(super) fn later(&self, priority: Priority, now: Time) -> impl Iterator<Item = &Task> {
        let last = Bound::Included((priority, Time::NEVER, LAST));
        let later = self.pending.range((Bound::Excluded((priority, now, LAST)), last));
        later.filter_map(|(.., id)| self.all.get(id))
    }

    /// Pending tasks that are another worker's alone until later.
    pub(super) fn kept(&self, now: Time) -> impl Iterator<Item = &Task> {
        let later = self.kept.range((Bound::Excluded((now, LAST)), Bound::Unbounded));
        later.filter_map(|(_, id)| self.all.get(id))
    }

    /// Pending tasks that are due and must begin at once.
    pub(super) fn direct(&self, now: Time) -> impl Iterator<Item = &Task> {
        let direct = self.direct.iter().filter_map(|id| self.all.get(id));
        direct.filter(move |row| row.due <= now)
    }

    /// Tasks whose instants have come.
    pub(super) fn fired(&self, now: Time) -> impl Iterator<Item = TaskId> {
        self.timers.range(..=(now, LAST)).map(|(_, id)| *id)
    }

    /// The first instant to come.
    pub(super) fn next_timer(&self, now: Time) -> Option<Time> {
        let later = (Bound::Excluded((now, LAST)), Bound::Unbounded);
        self.timers.range(later).next().map(|(time, _)| *time)
    }

    /// What a worker holds, by id.
    pub(super) fn running(&self, worker: WorkerId) -> impl Iterator<Item = TaskId> {
        self.running.range((worker, FIRST)..=(worker, LAST)).map(|(_, id)| *id)
    }
}

const FIRST: TaskId = TaskId { job: JobId::LEAST, local: Local::ROOT };
const LAST: TaskId = TaskId { job: JobId::GREATEST, local: Local([0xff; 16]) };

fn birth(id: TaskId, row: &Task) -> Option<(TaskId, Local, u32, TaskId)> {
    row.parent.zip(row.set).map(|(parent, (set, number))| (parent, set, number, id))
}

impl Deref for Rows {
    type Target = BTreeMap<TaskId, Task>;

    fn deref(&self) -> &Self::Target {
        &self.all
    }
}

impl Task {
    /// The parking whose future a worker may go on with. A claim by another worker ends the right of a
    /// future, as that worker's replay may record more than the future knows; a claim by the same worker
    /// does not, because the reply to it may be lost and the task handed out again.
    pub(super) fn parked_by(&self, worker: WorkerId) -> Option<Token> {
        self.parked.filter(|parked| parked.worker == worker)
    }

    /// Until when it must have begun. One that was fetched ahead may have.
    pub(super) fn expiry(&self) -> Option<Time> {
        self.expires.filter(|_| self.started.is_none() && self.state == State::Pending)
    }

    /// It is not begun at this instant or later.
    pub(super) fn not_after(&self) -> Option<Time> {
        let expires = self.expires.filter(|_| self.started.is_none());
        [expires, self.deadline].into_iter().flatten().min()
    }

    /// The instant at which the task must be looked at without a claim.
    pub(super) fn timer(&self) -> Option<Time> {
        if self.state.is_ended() {
            return None;
        }
        let wake =
            crate::core::wait::earliest(&self.waits).filter(|_| self.state == State::Waiting);
        [self.expiry(), self.deadline, wake].into_iter().flatten().min()
    }

    /// Something new was recorded, or somebody asks for another life: its failures and crashes are forgotten.
    pub(super) fn renew(&mut self) {
        (self.failures, self.crashes, self.stalls) = (0, 0, 0);
        self.at_once = false;
    }
}
