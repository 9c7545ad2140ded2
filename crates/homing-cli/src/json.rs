//! What `--json` prints: one object per line, each with a `type`. The names are part of the interface;
//! `docs/cli.schema.json` describes them, and the tests hold every command to it.
//!
//! Instants are strings by RFC 3339, in UTC; what is absent is `null`.

use homing::log::Line;
use homing::{
    Breach, ChildCounts, Counts, Failure, JobId, JobView, KindView, QueueView, RetryError, Status,
    StoreView, TaskId, TaskState, TaskView, Time, WorkerId, WorkerView,
};
use serde::Serialize;
use serde_json::Value;

/// An object of a line.
#[derive(Debug, Serialize)]
#[serde(tag = "type", rename_all = "kebab-case")]
pub(crate) enum Object<'a> {
    /// A job's record.
    Job(Box<Job<'a>>),
    /// A task.
    Task(Box<Task<'a>>),
    /// Children of a task that are not shown.
    Omitted { parent: TaskId, depth: usize, count: u64 },
    /// There are more: the argument of `--after` that shows them.
    Next { after: JobId },
    /// Why a task is where it is.
    Why(Box<Why<'a>>),
    /// A line of a log.
    Line(LogLine<'a>),
    /// A queue.
    Queue(Queue<'a>),
    /// A worker.
    Worker(Worker<'a>),
    /// A kind.
    Kind { name: &'a str, arguments: &'a [homing::task::Parameter] },
    /// A job was submitted, or one with its key or id was there.
    Submitted { id: JobId, kind: &'a str },
    /// A verb was done. `changed` is false if there was nothing to do.
    Done { verb: &'static str, target: String, changed: bool },
    /// A task was replayed.
    Verified(&'a homing::Verified),
    /// A job was retried, or would be, or not.
    Retried(Box<Retried<'a>>),
    /// Jobs were removed.
    Pruned { jobs: u64 },
    /// A broken invariant.
    Breach { task: TaskId, what: &'a str },
    /// The end of a check.
    Checked { breaches: usize },
    /// A store.
    Store(Store<'a>),
    /// A store was brought up to date.
    Migrated { url: &'a str, from: i64, to: i64 },
}

#[derive(Debug, Serialize)]
pub(crate) struct Job<'a> {
    id: JobId,
    kind: &'a str,
    title: Option<&'a str>,
    key: Option<&'a str>,
    tags: &'a [String],
    queue: &'a str,
    status: Status,
    progress: f64,
    counts: Counts,
    origin: Option<TaskId>,
    created: Option<String>,
    started: Option<String>,
    ended: Option<String>,
    failure: Option<&'a Failure>,
}

#[derive(Debug, Serialize)]
pub(crate) struct Task<'a> {
    id: TaskId,
    parent: Option<TaskId>,
    depth: usize,
    kind: &'a str,
    arguments: Value,
    queue: &'a str,
    priority: i16,
    tags: &'a [String],
    state: TaskState,
    attempt: u32,
    failures: u32,
    crashes: u32,
    stalls: u32,
    created: Option<String>,
    due: Option<String>,
    expires: Option<String>,
    deadline: Option<String>,
    started: Option<String>,
    ended: Option<String>,
    worker: Option<WorkerId>,
    progress: Option<Progress>,
    children: Children,
    reason: Option<&'a str>,
    value: Option<Value>,
    failure: Option<&'a Failure>,
}

#[derive(Debug, Serialize)]
pub(crate) struct Why<'a> {
    pub(crate) id: TaskId,
    pub(crate) kind: &'a str,
    pub(crate) state: TaskState,
    pub(crate) depth: usize,
    pub(crate) reasons: Vec<Reason>,
    /// Why its attempts failed, the last ones.
    pub(crate) attempts: Vec<LogLine<'a>>,
}

#[derive(Debug, Serialize)]
pub(crate) struct LogLine<'a> {
    number: u64,
    time: Option<String>,
    level: String,
    task: TaskId,
    message: &'a str,
}

#[derive(Debug, Serialize)]
pub(crate) struct Retried<'a> {
    id: JobId,
    dry_run: bool,
    changed: bool,
    refused: Option<&'static str>,
    holder: Option<JobId>,
    reopened: u64,
    tasks: &'a [TaskId],
    taken_back: u64,
    removed: u64,
}

#[derive(Debug, Serialize)]
struct Progress {
    done: u64,
    total: u64,
}

#[derive(Debug, Serialize)]
struct Children {
    #[serde(flatten)]
    counts: ChildCounts,
    open: u64,
}

/// A reason of `why`.
#[derive(Debug, Default, Serialize)]
pub(crate) struct Reason {
    /// A stable word for it.
    #[serde(rename = "reason")]
    pub(crate) word: &'static str,
    /// The same for people.
    pub(crate) text: String,
    /// Where in the body the wait stands.
    pub(crate) place: Option<String>,
    /// The signal, queue, kind or worker it is about.
    pub(crate) name: Option<String>,
    /// The instant it is about.
    pub(crate) time: Option<String>,
    /// Tasks it is about: a few that stand for all.
    pub(crate) tasks: Vec<TaskId>,
}

#[derive(Debug, Serialize)]
pub(crate) struct Queue<'a> {
    pub(crate) name: &'a str,
    ready: u64,
    scheduled: u64,
    stalled: u64,
    oldest: Option<String>,
    paused: bool,
    workers: u64,
    slots: u64,
}

#[derive(Debug, Serialize)]
pub(crate) struct Worker<'a> {
    id: WorkerId,
    name: &'a str,
    alive: bool,
    queues: &'a [String],
    kinds: &'a [String],
    slots: u32,
    running: u32,
    resident: u32,
    ended: u64,
    started: Option<String>,
    heartbeat: Option<String>,
}

#[derive(Debug, Serialize)]
pub(crate) struct Store<'a> {
    url: &'a str,
    version: Option<i64>,
    known: i64,
    bytes: Option<u64>,
    durability: Option<&'a str>,
}

/// A job's record.
pub(crate) fn job(view: &JobView) -> Object<'_> {
    Object::Job(Box::new(Job {
        id: view.id,
        kind: &view.kind,
        title: view.title.as_deref(),
        key: view.key.as_deref(),
        tags: &view.tags,
        queue: &view.queue,
        status: view.status,
        progress: view.progress,
        counts: view.counts,
        origin: view.origin,
        created: view.created.rfc3339(),
        started: view.started.and_then(Time::rfc3339),
        ended: view.ended.and_then(Time::rfc3339),
        failure: view.failure.as_ref(),
    }))
}

/// A task, so many levels below the first one shown.
pub(crate) fn task(view: &TaskView, depth: usize) -> Object<'_> {
    let time = |time: Option<Time>| time.and_then(Time::rfc3339);
    Object::Task(Box::new(Task {
        id: view.id,
        parent: view.parent,
        depth,
        kind: &view.kind,
        arguments: value(&view.arguments),
        queue: &view.queue,
        priority: view.priority,
        tags: &view.tags,
        state: view.state,
        attempt: view.attempt,
        failures: view.failures,
        crashes: view.crashes,
        stalls: view.stalls,
        created: view.created.rfc3339(),
        due: view.due.rfc3339(),
        expires: time(view.expires),
        deadline: time(view.deadline),
        started: time(view.started),
        ended: time(view.ended),
        worker: view.worker,
        progress: view.progress.map(|(done, total)| Progress { done, total }),
        children: Children { counts: view.children, open: view.children.open() },
        reason: view.reason.as_deref(),
        value: view.value.as_deref().map(value),
        failure: view.failure.as_ref(),
    }))
}

/// What a retry reopened, or would.
pub(crate) fn retried(id: JobId, dry_run: bool, retried: &homing::Retried) -> Object<'_> {
    let (refused, holder, changed) = (None, None, !dry_run);
    let homing::Retried { reopened, taken_back, removed, .. } = *retried;
    let tasks = &retried.tasks;
    Object::Retried(Box::new(Retried {
        id,
        dry_run,
        changed,
        refused,
        holder,
        reopened,
        tasks,
        taken_back,
        removed,
    }))
}

/// Why a job was not retried.
pub(crate) fn not_retried(id: JobId, dry_run: bool, refused: &RetryError) -> Object<'static> {
    let (word, holder) = match refused {
        RetryError::Open { .. } => ("open", None),
        RetryError::Stalled { .. } => ("stalled", None),
        RetryError::Succeeded { .. } => ("succeeded", None),
        RetryError::KeyTaken { holder, .. } => ("key-taken", Some(*holder)),
        RetryError::Removing { .. } => ("removing", None),
        _ => ("other", None),
    };
    Object::Retried(Box::new(Retried {
        id,
        dry_run,
        changed: false,
        refused: Some(word),
        holder,
        reopened: 0,
        tasks: &[],
        taken_back: 0,
        removed: 0,
    }))
}

/// A line of a log.
pub(crate) fn line(line: &Line) -> Object<'_> {
    Object::Line(log_line(line))
}

pub(crate) fn log_line(line: &Line) -> LogLine<'_> {
    let Line { number, level, task, .. } = *line;
    let (time, level) = (line.time.rfc3339(), level.to_string());
    LogLine { number, time, level, task, message: &line.message }
}

/// A queue, and the living workers that serve it.
pub(crate) fn queue<'a>(view: &'a QueueView, workers: &[WorkerView]) -> Object<'a> {
    let serve = |worker: &&WorkerView| worker.alive && worker.queues.contains(&view.name);
    Object::Queue(Queue {
        name: &view.name,
        ready: view.ready,
        scheduled: view.scheduled,
        stalled: view.stalled,
        oldest: view.oldest.and_then(Time::rfc3339),
        paused: view.paused,
        workers: workers.iter().filter(serve).count() as u64,
        slots: workers.iter().filter(serve).map(|worker| u64::from(worker.slots)).sum(),
    })
}

/// A worker.
pub(crate) fn worker(view: &WorkerView) -> Object<'_> {
    Object::Worker(Worker {
        id: view.id,
        name: &view.name,
        alive: view.alive,
        queues: &view.queues,
        kinds: &view.kinds,
        slots: view.slots,
        running: view.running,
        resident: view.resident,
        ended: view.ended,
        started: view.started.rfc3339(),
        heartbeat: view.heartbeat.rfc3339(),
    })
}

/// A kind.
pub(crate) fn kind(view: &KindView) -> Object<'_> {
    Object::Kind { name: &view.name, arguments: &view.arguments }
}

/// A broken invariant.
pub(crate) fn breach(breach: &Breach) -> Object<'_> {
    Object::Breach { task: breach.task, what: &breach.what }
}

/// A store.
pub(crate) fn store(view: &StoreView) -> Object<'_> {
    let StoreView { version, known, bytes, .. } = *view;
    let durability = view.durability.as_deref();
    Object::Store(Store { url: &view.url, version, known, bytes, durability })
}

/// Stored JSON; what is none is shown as the text it is.
fn value(text: &str) -> Value {
    serde_json::from_str(text).unwrap_or_else(|_| Value::String(text.to_owned()))
}
