//! A store whose replies get lost: applied, and answered with an error.

use std::fmt;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use crate::clock::{Clock, Time};
use crate::id::{JobId, Local, TaskId, WorkerId};
use crate::log::Line;
use crate::store::read::{
    Breach, JobFilter, JobView, KindView, QueueView, Read, Settled, TaskView, WorkerView,
};
use crate::store::{
    Child, Entry, Error, Exchange, Heartbeat, Hints, NewJob, Pruned, Reply, SetRow, Store,
    Submitted, Verb,
};
use crate::wait::SetCounts;

/// Loses the reply of every n-th exchange, and the exchange itself of every n-th after that.
pub struct Faulty {
    inner: Arc<dyn Store>,
    every: u64,
    exchanges: AtomicU64,
}

impl Faulty {
    /// A store that loses every `every`-th exchange or its reply.
    pub fn over(inner: Arc<dyn Store>, every: u64) -> Self {
        Self { inner, every: every.max(2), exchanges: AtomicU64::new(0) }
    }
}

impl fmt::Debug for Faulty {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Faulty").field(&self.inner).finish()
    }
}

fn lost() -> Error {
    Error::Busy { reason: "the connection was lost".to_owned() }
}

impl Store for Faulty {
    fn exchange(&self, exchange: Exchange) -> Verb<'_, Reply> {
        let number = self.exchanges.fetch_add(1, Ordering::SeqCst) + 1;
        Box::pin(async move {
            if number % self.every == self.every / 2 {
                return Err(lost());
            }
            let reply = self.inner.exchange(exchange).await;
            if number.is_multiple_of(self.every) { Err(lost()) } else { reply }
        })
    }

    fn submit(&self, jobs: Vec<NewJob>) -> Verb<'_, Vec<Submitted>> {
        self.inner.submit(jobs)
    }
    fn heartbeat(&self, heartbeat: Heartbeat) -> Verb<'_, bool> {
        self.inner.heartbeat(heartbeat)
    }
    fn leave(&self, worker: WorkerId) -> Verb<'_, ()> {
        self.inner.leave(worker)
    }
    fn cancel(&self, task: TaskId) -> Verb<'_, bool> {
        self.inner.cancel(task)
    }
    fn signal(&self, task: TaskId, name: String, value: String) -> Verb<'_, bool> {
        self.inner.signal(task, name, value)
    }
    fn retry(&self, job: JobId) -> Verb<'_, bool> {
        self.inner.retry(job)
    }
    fn pause(&self, queue: String, paused: bool) -> Verb<'_, ()> {
        self.inner.pause(queue, paused)
    }
    fn sweep(&self, max_crashes: u32) -> Verb<'_, bool> {
        self.inner.sweep(max_crashes)
    }
    fn prune(&self, before: Time) -> Verb<'_, Pruned> {
        self.inner.prune(before)
    }
    fn kill(&self, worker: WorkerId) {
        self.inner.kill(worker);
    }
    fn hints(&self) -> &Hints {
        self.inner.hints()
    }
    fn clock(&self) -> &Clock {
        self.inner.clock()
    }
}

impl Read for Faulty {
    fn record(
        &self,
        task: TaskId,
        after: u64,
        limit: usize,
    ) -> Verb<'_, Vec<(u64, String, Entry)>> {
        self.inner.record(task, after, limit)
    }
    fn children(&self, task: TaskId, set: Local, from: u32, limit: usize) -> Verb<'_, Vec<Child>> {
        self.inner.children(task, set, from, limit)
    }
    fn ends(&self, task: TaskId, set: Local, after: u64, limit: usize) -> Verb<'_, Vec<Child>> {
        self.inner.ends(task, set, after, limit)
    }
    fn child(&self, task: TaskId, child: Local) -> Verb<'_, Option<Child>> {
        self.inner.child(task, child)
    }
    fn set(&self, task: TaskId, set: Local) -> Verb<'_, SetCounts> {
        self.inner.set(task, set)
    }
    fn sets(&self, task: TaskId, after: Option<Local>, limit: usize) -> Verb<'_, Vec<SetRow>> {
        self.inner.sets(task, after, limit)
    }
    fn task(&self, task: TaskId) -> Verb<'_, Option<TaskView>> {
        self.inner.task(task)
    }
    fn outcomes(&self, jobs: Vec<JobId>) -> Verb<'_, Vec<(JobId, Settled)>> {
        self.inner.outcomes(jobs)
    }
    fn holder(&self, key: String) -> Verb<'_, Option<JobId>> {
        self.inner.holder(key)
    }
    fn job(&self, job: JobId) -> Verb<'_, Option<JobView>> {
        self.inner.job(job)
    }
    fn jobs(&self, filter: JobFilter) -> Verb<'_, Vec<JobView>> {
        self.inner.jobs(filter)
    }
    fn log(&self, job: JobId, after: u64, limit: usize) -> Verb<'_, Vec<Line>> {
        self.inner.log(job, after, limit)
    }
    fn queues(&self) -> Verb<'_, Vec<QueueView>> {
        self.inner.queues()
    }
    fn workers(&self) -> Verb<'_, Vec<WorkerView>> {
        self.inner.workers()
    }
    fn kinds(&self) -> Verb<'_, Vec<KindView>> {
        self.inner.kinds()
    }
    fn audit(&self) -> Verb<'_, Vec<Breach>> {
        self.inner.audit()
    }
}
