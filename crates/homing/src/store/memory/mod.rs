//! The memory store: the executable specification.
//!
//! Maps under one lock, each verb a plain function over them, in the order the contract tells it.
//! Nothing here is clever; seeded random histories compare every other store with it. It forgets
//! everything when it is dropped, and serves tests and trials.

use crate::store::read::ActionView;
use crate::store::{NewAction, Sample};
use std::collections::{BTreeMap, BTreeSet, HashSet};
use std::ops::Deref;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use self::rows::Rows;
use super::read::verbs::{each_read_verb, each_record_verb};
use super::read::{Read, Records};
use super::{
    Amended, Entry, Error, Exchange, Heartbeat, Hints, NewJob, Policy, Pruned, Removed, Reply,
    Retry, Sent, Store, Submitted, Verb,
};
use crate::clock::Clock;
use crate::core::failure::Failure;
use crate::core::id::{JobId, Local, TaskId, Token, WorkerId};
use crate::core::log::Line;
use crate::core::state::State;
use crate::core::time::Time;
use crate::core::wait::{SetCounts, Wait};
use crate::store::events::Swept;
use crate::store::{CancelledBy, Cause, Ended};

mod actions;
mod cancel;
mod claim;
mod exchange;
mod failures;
mod finish;
mod people;
mod prune;
mod replay;
mod retry;
mod rows;
mod samples;
mod submit;
mod sweep;
mod worker;

/// A store in this process's memory.
#[derive(Debug, Clone, Default)]
pub struct Memory {
    data: Arc<Mutex<Data>>,
    hints: Arc<Hints>,
    clock: Clock,
}

/// A task's row.
#[derive(Debug, Clone)]
struct Task {
    parent: Option<TaskId>,
    set: Option<(Local, u32)>,
    depth: u32,
    kind: String,
    arguments: String,
    hash: [u8; 16],
    queue: String,
    priority: i16,
    policy: Policy,
    tags: Vec<String>,
    state: State,
    due: Time,
    expires: Option<Time>,
    deadline: Option<Time>,
    attempt: u32,
    failures: u32,
    crashes: u32,
    stalls: u32,
    /// Whether a worker died that had fetched it ahead: it may have begun, so it is not fetched ahead again.
    at_once: bool,
    token: Option<Token>,
    parked: Option<Token>,
    /// The worker that keeps the future, and until when resumed work is its alone.
    holder: Option<WorkerId>,
    held_until: Time,
    waits: Vec<Wait>,
    end: Option<u64>,
    outcome: Option<String>,
    cancelled_by: Option<CancelledBy>,
    cause: Option<Cause>,
    reason: Option<String>,
    progress: Option<(u64, u64)>,
    lines: u32,
    dropped: u64,
    created: Time,
    started: Option<Time>,
    ended: Option<Time>,
}

#[derive(Debug, Clone)]
struct Job {
    title: Option<String>,
    key: Option<String>,
    origin: Option<TaskId>,
    errors: bool,
}

/// What a worker is to be told: a task of its was ended by somebody else.
#[derive(Debug, Clone)]
struct Notice {
    task: TaskId,
    token: Token,
    /// The exchange whose reply said so first.
    told: Option<u64>,
}

/// Children still to be cancelled: all of a task's, or those of one set below a number.
#[derive(Debug, Clone, Copy)]
struct Cascade {
    task: TaskId,
    set: Option<Local>,
    below: u32,
    by: CancelledBy,
}

#[derive(Debug, Clone)]
struct Worker {
    told: Heartbeat,
    started: Time,
    heartbeat: Time,
    /// Whether a test has declared it dead.
    killed: bool,
}

#[derive(Debug, Default, Clone)]
struct Data {
    tasks: Rows,
    jobs: BTreeMap<JobId, Job>,
    keys: BTreeMap<String, JobId>,
    sets: BTreeMap<(TaskId, Local), SetCounts>,
    records: BTreeMap<(TaskId, u64), (String, Entry, Time)>,
    signals: BTreeMap<(TaskId, u64), (String, String)>,
    logs: BTreeMap<(JobId, u64), Line>,
    /// Those that tell of failed attempts and standstills.
    failed_attempts: BTreeSet<(TaskId, u64)>,
    log_keys: HashSet<(TaskId, String)>,
    cascades: BTreeMap<u64, Cascade>,
    workers: BTreeMap<WorkerId, Worker>,
    kinds: BTreeMap<String, Vec<String>>,
    paused: BTreeSet<String>,
    actions: BTreeMap<u64, ActionView>,
    /// By minute and worker.
    samples: BTreeMap<(Time, WorkerId), String>,
    last_action: u64,
    notices: BTreeMap<WorkerId, Vec<Notice>>,
    /// Numbers cascades and signals.
    counter: u64,
    /// Jobs that tasks of other jobs wait for, and those tasks; some of them may have stopped waiting.
    watchers: BTreeSet<(JobId, TaskId)>,
    /// Parents and sets whose children ended in this transaction.
    parents_to_check: BTreeSet<(TaskId, Local)>,
    /// Jobs whose roots ended in this transaction and that may be waited for.
    over: BTreeSet<JobId>,
    /// Jobs that ended in this transaction.
    ended: Vec<Ended>,
    /// What upkeep did in this transaction.
    swept: Vec<Swept>,
    /// Whether this transaction made a task claimable.
    ready: bool,
    /// Whether this transaction has news for a worker.
    noticed: bool,
}

/// The data at an instant.
struct Reading<'d> {
    data: &'d Data,
    now: Time,
}

impl Deref for Reading<'_> {
    type Target = Data;

    fn deref(&self) -> &Data {
        self.data
    }
}

impl Data {
    fn next(&mut self) -> u64 {
        self.counter += 1;
        self.counter
    }

    /// The children of a task in one set, or in all.
    fn children_of(&self, task: TaskId, set: Option<Local>) -> Vec<(TaskId, u32)> {
        match set {
            Some(set) => self.tasks.children(task, set, 0).collect(),
            None => self.tasks.all_children(task).collect(),
        }
    }
}

impl Memory {
    /// An empty store that reads the time from a clock.
    pub fn new(clock: Clock) -> Self {
        Self { clock, ..Self::default() }
    }

    fn lock(&self) -> MutexGuard<'_, Data> {
        self.data.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Runs one transaction and sends its hints.
    fn write<'s, T: Send + 's>(
        &'s self,
        verb: impl FnOnce(&mut Data, Time) -> T + Send + 's,
    ) -> Verb<'s, T> {
        Box::pin(async move { Ok(self.write_now(verb)) })
    }

    fn write_now<T>(&self, verb: impl FnOnce(&mut Data, Time) -> T) -> T {
        let mut data = self.lock();
        let now = self.clock.now();
        let answer = verb(&mut data, now);
        data.wake_parents(now);
        data.tasks.settle();
        let ended = std::mem::take(&mut data.ended);
        let swept = std::mem::take(&mut data.swept);
        let ready = std::mem::take(&mut data.ready);
        let noticed = std::mem::take(&mut data.noticed);
        drop(data);
        swept.into_iter().for_each(Swept::say);
        self.hints.say_ended(ended);
        if ready {
            self.hints.say_ready();
        }
        if noticed {
            self.hints.say_noticed();
        }
        answer
    }

    fn read<'s, T: Send + 's>(
        &'s self,
        verb: impl FnOnce(&Reading<'_>) -> T + Send + 's,
    ) -> Verb<'s, T> {
        Box::pin(async move {
            let data = self.lock();
            Ok(verb(&Reading { data: &data, now: self.clock.now() }))
        })
    }
}

impl Store for Memory {
    fn submit(&self, jobs: Vec<NewJob>) -> Verb<'_, Vec<Submitted>> {
        self.write(move |data, now| {
            jobs.into_iter().map(|job| data.submit_anew(job, now)).collect()
        })
    }

    fn exchange(&self, exchange: Exchange) -> Verb<'_, Reply> {
        self.write(move |data, now| data.exchange(exchange, now))
    }

    fn heartbeat(&self, heartbeat: Heartbeat) -> Verb<'_, bool> {
        self.write(move |data, now| data.heartbeat(heartbeat, now))
    }

    fn leave(&self, worker: WorkerId) -> Verb<'_, ()> {
        self.write(move |data, now| data.leave(worker, now))
    }

    fn cancel(&self, task: TaskId, text: Option<String>) -> Verb<'_, bool> {
        let known = self.write(move |data, now| data.cancel(task, text, now));
        Box::pin(async move { known.await?.ok_or(Error::Unknown { id: task }) })
    }

    fn signal(&self, task: TaskId, name: String, value: String) -> Verb<'_, Sent> {
        let known = self.write(move |data, now| data.send(task, name, value, now));
        Box::pin(async move { known.await?.ok_or(Error::Unknown { id: task }) })
    }

    fn retry(&self, job: JobId, preview: bool) -> Verb<'_, Retry> {
        let known = self.write(move |data, now| data.retry(job, preview, now));
        Box::pin(async move { known.await?.ok_or(Error::Unknown { id: job.root() }) })
    }

    fn amend(&self, task: TaskId, arguments: String) -> Verb<'_, Amended> {
        let known = self.write(move |data, now| data.amend(task, arguments, now));
        Box::pin(async move { known.await?.ok_or(Error::Unknown { id: task }) })
    }

    fn begin_action(&self, action: NewAction) -> Verb<'_, u64> {
        self.write(move |data, now| data.begin_action(action, now))
    }

    fn end_action(&self, number: u64, result: String) -> Verb<'_, ()> {
        self.write(move |data, _| data.end_action(number, result))
    }

    fn keep_samples(&self, samples: Vec<Sample>) -> Verb<'_, ()> {
        self.write(move |data, now| data.keep_samples(samples, now))
    }

    fn pause(&self, queue: String, paused: bool) -> Verb<'_, ()> {
        self.write(move |data, _| {
            if paused {
                data.paused.insert(queue);
            } else {
                data.paused.remove(&queue);
                data.ready = true;
            }
        })
    }

    fn sweep(&self, max_crashes: u32) -> Verb<'_, bool> {
        self.write(move |data, now| data.sweep(max_crashes, now))
    }

    fn prune(&self, before: Time) -> Verb<'_, Pruned> {
        self.write(move |data, _| data.prune(before))
    }

    fn remove(&self, job: JobId) -> Verb<'_, Removed> {
        let known = self.write(move |data, now| data.remove(job, now));
        Box::pin(async move { known.await?.ok_or(Error::Unknown { id: job.root() }) })
    }

    fn abandon(&self, worker: WorkerId) {
        if let Some(worker) = self.lock().workers.get_mut(&worker) {
            worker.killed = true;
        }
        self.hints.say_ready();
    }

    #[cfg(feature = "testing")]
    fn kill(&self, worker: WorkerId) {
        if let Some(worker) = self.lock().workers.get_mut(&worker) {
            worker.killed = true;
        }
        self.hints.say_ready();
    }

    #[cfg(feature = "testing")]
    fn parking(&self, task: TaskId) -> Verb<'_, Option<crate::core::id::Token>> {
        self.read(move |data| {
            data.tasks.get(&task).filter(|row| !row.state.is_ended()).and_then(|row| row.parked)
        })
    }

    fn hints(&self) -> &Hints {
        &self.hints
    }

    fn clock(&self) -> &Clock {
        &self.clock
    }
}

/// Reading verbs, each answered by a function of the data.
macro_rules! of_data {
    ($data:ident $($name:ident($($argument:ident: $type:ty),*) -> $answer:ty
        = $view:ident($($given:expr),*);)+) => {
        $(fn $name(&self, $($argument: $type),*) -> Verb<'_, $answer> {
            self.read(move |$data| $data.$view($($given),*))
        })+
    };
}

impl Records for Memory {
    each_record_verb!(of_data, data);
}

impl Read for Memory {
    each_read_verb!(of_data, data);
}

/// A failure as it is stored.
fn stored(failure: &Failure) -> String {
    crate::core::encode::json(failure)
}
