//! `submit`: jobs come into being.

use super::{Data, Job, Task};
use crate::core::id::{JobId, Local, TaskId};
use crate::core::state::State;
use crate::core::time::Time;
use crate::store::{NewJob, NewTask, Submitted};

impl Data {
    /// A submission from outside: no worker may live to end what is overdue.
    pub(super) fn submit_anew(&mut self, job: NewJob, now: Time) -> Submitted {
        if !self.tasks.contains_key(&job.id.root()) {
            self.holder_of(job.key.as_ref(), now);
        }
        self.submit(job, now)
    }

    pub(super) fn submit(&mut self, job: NewJob, now: Time) -> Submitted {
        if let Some(root) = self.tasks.get(&job.id.root()) {
            let same = root.kind == job.task.kind && root.hash == job.task.hash;
            return if same { Submitted::Existing(job.id) } else { Submitted::Conflict(job.id) };
        }
        if let Some(holder) = job.key.as_ref().and_then(|key| self.keys.get(key)) {
            return Submitted::Existing(*holder);
        }
        if let Some(key) = &job.key {
            self.keys.insert(key.clone(), job.id);
        }
        self.tasks.insert(job.id.root(), Task::new(job.task, None, 0, now));
        let NewJob { id, title, key, origin, .. } = job;
        self.jobs.insert(id, Job { title, key, origin, errors: false });
        self.ready = true;
        Submitted::New(id)
    }

    /// The open job that holds a key. One that is past its expiry or its deadline is ended.
    pub(super) fn holder_of(&mut self, key: Option<&String>, now: Time) -> Option<JobId> {
        let holder = *self.keys.get(key?)?;
        (!self.end_if_overdue(holder.root(), now)).then_some(holder)
    }
}

impl Task {
    pub(super) fn new(
        new: NewTask,
        birth: Option<(TaskId, Local, u32)>,
        depth: u32,
        now: Time,
    ) -> Self {
        Self {
            parent: birth.map(|(parent, ..)| parent),
            set: birth.map(|(_, set, number)| (set, number)),
            depth,
            kind: new.kind,
            arguments: new.arguments,
            hash: new.hash,
            queue: new.queue,
            priority: new.priority,
            policy: new.policy,
            tags: new.tags,
            state: State::Pending,
            due: new.due.unwrap_or(now),
            expires: new.expires,
            deadline: new.deadline,
            attempt: 1,
            failures: 0,
            crashes: 0,
            stalls: 0,
            at_once: false,
            token: None,
            parked: None,
            holder: None,
            held_until: Time(0),
            waits: Vec::new(),
            end: None,
            outcome: None,
            cancelled_by: None,
            cause: None,
            reason: None,
            progress: None,
            lines: 0,
            dropped: 0,
            created: now,
            started: None,
            ended: None,
        }
    }
}
