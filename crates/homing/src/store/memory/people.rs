//! What people watch.

use std::collections::BTreeSet;
use std::ops::Bound;

use super::{Data, Reading};
use crate::core::id::{JobId, Local, TaskId};
use crate::core::log::Line;
use crate::core::parameter::Parameter;
use crate::core::state::State;
use crate::core::wait::SetCounts;
use crate::store::read::Partly;
use crate::store::read::{
    self, Breach, ChildCounts, Counts, JobFilter, JobView, KindView, Neighbours, PageBytes,
    QueueView, Settled, Status, TaskView, WorkerView,
};

impl Data {
    pub(super) fn task_view(&self, id: TaskId) -> Option<TaskView> {
        let row = self.tasks.get(&id)?;
        let failed = matches!(row.state, State::Failed | State::Cancelled);
        let outcome = row.outcome.clone();
        Some(TaskView {
            id,
            parent: row.parent,
            set: row.set,
            kind: row.kind.clone(),
            arguments: row.arguments.clone(),
            queue: row.queue.clone(),
            priority: row.priority,
            state: row.state,
            attempt: row.attempt,
            failures: row.failures,
            crashes: row.crashes,
            due: row.due,
            created: row.created,
            started: row.started,
            ended: row.ended,
            worker: row.token.map(|token| token.worker),
            waits: if row.state == State::Waiting { row.waits.clone() } else { Vec::new() },
            reason: row.reason.clone(),
            value: outcome.clone().filter(|_| row.state == State::Succeeded),
            failure: outcome
                .filter(|_| failed)
                .map(|text| read::failure(&text, &row.kind, id, row.attempt)),
            progress: row.progress,
            stalls: row.stalls,
            expires: row.expires,
            deadline: row.deadline,
            tags: row.tags.clone(),
            children: self.child_counts(id),
        })
    }

    fn child_counts(&self, task: TaskId) -> ChildCounts {
        let mut counts = ChildCounts::default();
        let first = (task, Local::ROOT);
        for (_, set) in self.sets.range(first..).take_while(|((own, _), _)| *own == task) {
            counts.add(set);
        }
        counts
    }

    pub(super) fn children_in(&self, task: TaskId, state: State, limit: usize) -> Vec<TaskId> {
        let children = self.children_of(task, None).into_iter().map(|(id, _)| id);
        children.filter(|id| self.tasks[id].state == state).take(limit).collect()
    }

    pub(super) fn failed_attempts(&self, task: TaskId, limit: usize) -> Vec<Line> {
        let told = self.failed_attempts.range((task, 0)..=(task, u64::MAX)).rev().take(limit);
        let lines = told.filter_map(|(_, number)| self.logs.get(&(task.job, *number)).cloned());
        let mut lines: Vec<Line> = lines.collect();
        lines.reverse();
        lines
    }

    pub(super) fn outcomes(&self, jobs: &[JobId]) -> Vec<(JobId, Settled)> {
        let root = |job: &JobId| self.tasks.get(&job.root()).map(|row| (*job, row));
        let rows = jobs.iter().filter_map(root);
        let mut bytes = PageBytes::default();
        rows.map(|(job, row)| {
            let outcome = row.outcome.as_ref().filter(|outcome| bytes.take(outcome.len()));
            (job, Settled { state: row.state, outcome: outcome.cloned() })
        })
        .collect()
    }

    fn counts(&self, job: JobId) -> Counts {
        let mut counts = Counts::default();
        for (_, row) in self.tasks.range(job.root()..).take_while(|(id, _)| id.job == job) {
            *match row.state {
                State::Pending => &mut counts.pending,
                State::Running => &mut counts.running,
                State::Waiting => &mut counts.waiting,
                State::Succeeded => &mut counts.succeeded,
                State::Failed => &mut counts.failed,
                State::Cancelled => &mut counts.cancelled,
            } += 1;
        }
        counts
    }

    /// How far the tasks are that are at work.
    fn partly(&self, job: JobId) -> Partly {
        let rows = self.tasks.range(job.root()..).take_while(|(id, _)| id.job == job);
        let mut partly = Partly::default();
        let at_work = rows.filter(|(_, row)| matches!(row.state, State::Running | State::Waiting));
        at_work.for_each(|(_, row)| partly.add(row.progress));
        partly
    }

    /// Whether a task of the job stands still.
    fn is_stalled(&self, job: JobId) -> bool {
        let mut rows = self.tasks.range(job.root()..).take_while(|(id, _)| id.job == job);
        rows.any(|(_, row)| row.state == State::Pending && row.stalls > 0)
    }

    pub(super) fn job_view(&self, id: JobId) -> Option<JobView> {
        let (job, root) = (self.jobs.get(&id)?, self.task_view(id.root())?);
        let counts = self.counts(id);
        Some(JobView {
            id,
            kind: root.kind,
            title: job.title.clone(),
            key: job.key.clone(),
            tags: root.tags,
            queue: root.queue,
            status: Status::of(root.state, job.errors, self.is_stalled(id)),
            progress: crate::store::read::progress(
                root.state,
                root.progress,
                &counts,
                self.partly(id),
            ),
            told: root.progress.is_some(),
            counts,
            origin: job.origin,
            created: root.created,
            started: root.started,
            ended: root.ended,
            failure: root.failure,
        })
    }

    pub(super) fn task_views(&self, tasks: &[TaskId]) -> Vec<TaskView> {
        tasks.iter().filter_map(|task| self.task_view(*task)).collect()
    }

    pub(super) fn holder(&self, key: &str) -> Option<JobId> {
        self.keys.get(key).copied()
    }

    pub(super) fn log(&self, job: JobId, after: u64, limit: usize) -> Vec<Line> {
        let lines = self.logs.range((job, after + 1)..=(job, u64::MAX)).take(limit);
        lines.map(|(_, line)| line.clone()).collect()
    }

    pub(super) fn last_line(&self, job: JobId) -> u64 {
        let lines = self.logs.range((job, 0)..=(job, u64::MAX));
        lines.last().map_or(0, |((_, number), _)| *number)
    }

    pub(super) fn jobs_between(&self, from: JobId, to: JobId, limit: usize) -> Vec<JobId> {
        self.jobs.range(from..=to).take(limit).map(|(id, _)| *id).collect()
    }

    pub(super) fn tasks_between(
        &self,
        job: JobId,
        from: Local,
        to: Local,
        limit: usize,
    ) -> Vec<TaskId> {
        let id = |local| TaskId { job, local };
        self.tasks.range(id(from)..=id(to)).take(limit).map(|(id, _)| *id).collect()
    }

    pub(super) fn neighbours(&self, jobs: &[JobId]) -> Vec<Neighbours> {
        jobs.iter().map(|job| self.beside(*job)).collect()
    }

    fn beside(&self, job: JobId) -> Neighbours {
        let after = (Bound::Excluded(job), Bound::Unbounded);
        let before = self.jobs.range(..job).next_back();
        let ids = [before, self.jobs.range(after).next()].map(|found| found.map(|(id, _)| *id));
        (ids[0], ids[1])
    }

    pub(super) fn jobs(&self, filter: &JobFilter) -> Vec<JobView> {
        let mut jobs: Vec<JobView> =
            self.jobs.keys().filter_map(|job| self.job_view(*job)).collect();
        jobs.retain(|job| filter.admits(job));
        jobs.sort_by_key(|job| std::cmp::Reverse((job.created, job.id)));
        jobs.truncate(filter.rows());
        jobs
    }

    pub(super) fn pending_kinds(&self) -> Vec<(String, String)> {
        let pending = |row: &&super::Task| {
            row.state == State::Pending && row.crashes < crate::limits::SUSPECT
        };
        let pairs = self.tasks.values().filter(pending);
        let pairs: BTreeSet<_> = pairs.map(|row| (row.queue.clone(), row.kind.clone())).collect();
        pairs.into_iter().take(crate::limits::PAGE).collect()
    }

    pub(super) fn kinds(&self) -> Vec<KindView> {
        let view = |(name, arguments): (&String, &Vec<String>)| KindView {
            name: name.clone(),
            arguments: arguments.iter().map(|text| Parameter::from_text(text)).collect(),
        };
        self.kinds.iter().map(view).collect()
    }

    /// Whether a cancellation on its way down will reach the task.
    fn is_falling(&self, mut task: TaskId) -> bool {
        while let Some(parent) = self.tasks.get(&task).and_then(|row| row.parent) {
            if self.cascades.values().any(|cascade| cascade.task == parent) {
                return true;
            }
            task = parent;
        }
        false
    }

    fn recount(&self, task: TaskId, set: Local, stored: &SetCounts) -> SetCounts {
        let SetCounts { last_end, last_added, .. } = *stored;
        let mut counts = SetCounts { last_end, last_added, ..SetCounts::default() };
        for (id, number) in self.children_of(task, Some(set)) {
            let row = &self.tasks[&id];
            counts.spawned += 1;
            counts.added += u64::from(number >= crate::limits::CHILDREN);
            match row.state {
                State::Succeeded => counts.succeeded += 1,
                State::Failed => counts.failed += 1,
                State::Cancelled
                    if row.cancelled_by.is_some_and(crate::store::CancelledBy::is_parent) =>
                {
                    counts.aborted += 1;
                }
                State::Cancelled => counts.cancelled += 1,
                State::Pending | State::Running | State::Waiting => {}
            }
        }
        counts
    }
}

impl Reading<'_> {
    pub(super) fn overdue(&self, jobs: &[JobId]) -> Vec<JobId> {
        jobs.iter().copied().filter(|job| self.is_overdue(job.root(), self.now)).collect()
    }

    pub(super) fn queues(&self) -> Vec<QueueView> {
        let mut queues = std::collections::BTreeMap::new();
        let fresh = |name: &String| QueueView {
            name: name.clone(),
            ready: 0,
            scheduled: 0,
            stalled: 0,
            oldest: None,
            paused: self.paused.contains(name),
        };
        for name in &self.paused {
            queues.insert(name, fresh(name));
        }
        for row in self.tasks.values().filter(|row| row.state == State::Pending) {
            let queue = queues.entry(&row.queue).or_insert_with(|| fresh(&row.queue));
            queue.stalled += u64::from(row.stalls > 0);
            if row.due <= self.now {
                queue.ready += 1;
                queue.oldest = Some(queue.oldest.map_or(row.due, |oldest| oldest.min(row.due)));
            } else {
                queue.scheduled += 1;
            }
        }
        queues.into_values().collect()
    }

    pub(super) fn workers(&self) -> Vec<WorkerView> {
        let held = |id| {
            let tokens = self.tasks.values().filter_map(|row| row.token);
            tokens.filter(|token| token.worker == id).count() as u32
        };
        let view = |(id, worker): (_, &super::Worker)| WorkerView {
            id,
            name: worker.told.name.clone(),
            kinds: worker.told.kinds.to_vec(),
            queues: worker.told.queues.to_vec(),
            slots: worker.told.slots,
            running: held(id),
            resident: worker.told.resident,
            ended: worker.told.ended,
            started: worker.started,
            heartbeat: worker.heartbeat,
            alive: !worker.is_dead(self.now),
        };
        self.workers.iter().map(|(id, worker)| view((*id, worker))).collect()
    }

    /// Scans everything: waiting yet satisfied, counts that differ from the rows, orphans.
    pub(super) fn audit(&self) -> Vec<Breach> {
        let mut breaches = Vec::new();
        // To look at waits may take signals; `satisfied` never does, but shares the interface.
        let mut copy = self.data.clone();
        for (id, row) in &*self.tasks {
            let breach = |what: &str| Breach { task: *id, what: what.to_owned() };
            let overdue = row.timer().is_some_and(|time| time <= self.now);
            if row.state == State::Waiting && !overdue && copy.is_satisfied(*id, self.now) {
                breaches.push(breach("waiting, yet satisfied"));
            }
            if (row.state == State::Running) != row.token.is_some() {
                breaches.push(breach("running without a token, or a token without running"));
            }
            let parent = row.parent.and_then(|parent| self.tasks.get(&parent));
            let orphan = parent.is_some_and(|parent| parent.state.is_ended());
            if orphan && !row.state.is_ended() && !self.is_falling(*id) {
                breaches.push(breach("open below an ended parent"));
            }
        }
        for ((task, set), counts) in &self.sets {
            if *counts != self.recount(*task, *set, counts) {
                breaches.push(Breach {
                    task: *task,
                    what: format!("the counts of set {set} differ from its rows"),
                });
            }
        }
        breaches
    }
}
