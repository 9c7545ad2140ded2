//! What `--json` prints and `/api/v1` answers: objects, each with a `type`. The names are part of the interface;
//! `docs/cli.schema.json` describes them, and the tests hold every command and every answer to it.
//!
//! Instants are strings by RFC 3339, in UTC; what is absent is `null`.

use std::io::{self, Write};

use homing::log::Line;
use homing::{
    Breach, ChildCounts, Counts, Drift, EntryKind, EntryView, Failure, Fingerprint, JobId, JobView,
    KindView, QueueView, RetryError, Status, StoreView, TaskId, TaskState, TaskView, Time,
    WorkerId, WorkerView,
};
use serde::Serialize;
use serde_json::Value;
use serde_json::ser::Formatter;

use crate::words;

/// An object of a line.
#[derive(Debug, Serialize)]
#[serde(tag = "type", rename_all = "kebab-case")]
pub enum Object<'a> {
    /// A job's record.
    Job(Box<Job<'a>>),
    /// A task.
    Task(Box<Task<'a>>),
    /// Children of a task that are not shown.
    Omitted {
        /// Their parent.
        parent: TaskId,
        /// Levels below the task that was asked for.
        depth: usize,
        /// How many.
        count: u64,
    },
    /// There are more: the argument of `--after` that shows them.
    Next {
        /// The last job of this page.
        after: JobId,
    },
    /// Failed tasks that are alike.
    FailureGroup(FailureGroup<'a>),
    /// What somebody has done.
    Action(Action<'a>),
    /// Why a task is where it is.
    Why(Box<Why<'a>>),
    /// A line of a log.
    Line(LogLine<'a>),
    /// An entry of a task's record.
    Entry(Entry<'a>),
    /// A queue.
    Queue(Queue<'a>),
    /// A worker.
    Worker(Worker<'a>),
    /// A kind.
    Kind {
        /// Its name.
        name: &'a str,
        /// Its arguments.
        arguments: &'a [homing::task::Parameter],
    },
    /// A job was submitted, or one with its key or id was there.
    Submitted {
        /// The job.
        id: JobId,
        /// Its kind.
        kind: &'a str,
    },
    /// A verb was done. `changed` is false if there was nothing to do.
    Done {
        /// The verb.
        verb: &'static str,
        /// The task or queue.
        target: String,
        /// Whether there was anything to do.
        changed: bool,
    },
    /// A task was replayed.
    Verified(&'a homing::Verified),
    /// A job was retried, or would be, or not.
    Retried(Box<Retried<'a>>),
    /// Jobs were removed.
    Pruned {
        /// How many.
        jobs: u64,
    },
    /// A broken invariant.
    Breach {
        /// The task it concerns.
        task: TaskId,
        /// What is wrong with it.
        what: &'a str,
    },
    /// The end of a check.
    Checked {
        /// How many breaches were found.
        breaches: usize,
    },
    /// A store.
    Store(Store<'a>),
    /// A store was brought up to date.
    Migrated {
        /// The store.
        url: &'a str,
        /// The version that its schema had.
        from: i64,
        /// The version that it has.
        to: i64,
    },
}

/// A job's record.
#[derive(Debug, Serialize)]
pub struct Job<'a> {
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

/// A task.
#[derive(Debug, Serialize)]
pub struct Task<'a> {
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
    drift: Option<Drift>,
    value: Option<Value>,
    failure: Option<&'a Failure>,
}

/// An entry of a task's record.
#[derive(Debug, Serialize)]
pub struct Entry<'a> {
    task: TaskId,
    number: u64,
    place: &'a str,
    what: EntryKind,
    signal: Option<&'a str>,
    value: Option<Value>,
    time: Option<String>,
}

/// Failed tasks that are alike.
#[derive(Debug, Serialize)]
pub struct FailureGroup<'a> {
    fingerprint: Fingerprint,
    count: u64,
    first: Option<String>,
    last: Option<String>,
    latest: &'a Failure,
}

/// What somebody has done.
#[derive(Debug, Serialize)]
pub struct Action<'a> {
    number: u64,
    time: Option<String>,
    who: &'a str,
    verb: &'a str,
    target: &'a str,
    result: Option<&'a str>,
}

/// Why a task is where it is.
#[derive(Debug, Serialize)]
pub struct Why<'a> {
    /// The task.
    pub id: TaskId,
    /// Its kind.
    pub kind: &'a str,
    /// Its state.
    pub state: TaskState,
    /// Levels below the task that was asked for.
    pub depth: usize,
    /// The reasons, the weightiest first.
    pub reasons: Vec<Reason>,
    /// Why its attempts failed, the last ones.
    pub attempts: Vec<LogLine<'a>>,
}

/// A line of a log.
#[derive(Debug, Serialize)]
pub struct LogLine<'a> {
    number: u64,
    time: Option<String>,
    level: String,
    task: TaskId,
    message: &'a str,
}

/// A job was retried, or would be, or not.
#[derive(Debug, Serialize)]
pub struct Retried<'a> {
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

/// What `progress` last told.
#[derive(Debug, Serialize)]
pub struct Progress {
    done: u64,
    total: u64,
}

/// Children of a task, counted.
#[derive(Debug, Serialize)]
pub struct Children {
    #[serde(flatten)]
    counts: ChildCounts,
    open: u64,
}

/// A reason of `why`.
#[derive(Debug, Default, Serialize)]
pub struct Reason {
    /// A stable word for it.
    #[serde(rename = "reason")]
    pub word: &'static str,
    /// The same for people.
    pub text: String,
    /// Where in the body the wait stands.
    pub place: Option<String>,
    /// The signal, queue, kind or worker it is about.
    pub name: Option<String>,
    /// The instant it is about.
    pub time: Option<String>,
    /// Tasks it is about: a few that stand for all.
    pub tasks: Vec<TaskId>,
}

/// A queue, and who serves it.
#[derive(Debug, Serialize)]
pub struct Queue<'a> {
    name: &'a str,
    ready: u64,
    scheduled: u64,
    stalled: u64,
    oldest: Option<String>,
    paused: bool,
    workers: u64,
    slots: u64,
}

/// A worker.
#[derive(Debug, Serialize)]
pub struct Worker<'a> {
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

/// A store.
#[derive(Debug, Serialize)]
pub struct Store<'a> {
    url: &'a str,
    version: Option<i64>,
    known: i64,
    bytes: Option<u64>,
    durability: Option<&'a str>,
}

/// A job's record.
pub fn job(view: &JobView) -> Object<'_> {
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
pub fn task(view: &TaskView, depth: usize) -> Object<'_> {
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
        drift: view.drift(),
        value: view.value.as_deref().map(value),
        failure: view.failure.as_ref(),
    }))
}

/// An entry of a task's record.
pub fn entry(task: TaskId, view: &EntryView) -> Object<'_> {
    Object::Entry(Entry {
        task,
        number: view.number,
        place: &view.place,
        what: view.what,
        signal: view.signal.as_deref(),
        value: view.value.as_deref().map(value),
        time: view.time.and_then(Time::rfc3339),
    })
}

/// Failed tasks that are alike.
pub fn failure_group(view: &homing::FailureGroup) -> Object<'_> {
    Object::FailureGroup(FailureGroup {
        fingerprint: view.fingerprint,
        count: view.count,
        first: view.first.rfc3339(),
        last: view.last.rfc3339(),
        latest: &view.latest,
    })
}

/// What somebody has done.
pub fn action(view: &homing::ActionView) -> Object<'_> {
    Object::Action(Action {
        number: view.number,
        time: view.time.rfc3339(),
        who: &view.who,
        verb: &view.verb,
        target: &view.target,
        result: view.result.as_deref(),
    })
}

/// What a retry reopened, or would.
pub fn retried(id: JobId, dry_run: bool, retried: &homing::Retried) -> Object<'_> {
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
pub fn not_retried(id: JobId, dry_run: bool, refused: &RetryError) -> Object<'static> {
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
pub fn line(line: &Line) -> Object<'_> {
    Object::Line(log_line(line))
}

/// A line of a log, as a part of another object.
pub fn log_line(line: &Line) -> LogLine<'_> {
    let Line { number, level, task, .. } = *line;
    let (time, level) = (line.time.rfc3339(), level.to_string());
    LogLine { number, time, level, task, message: &line.message }
}

/// A queue, and the living workers that serve it.
pub fn queue<'a>(view: &'a QueueView, workers: &[WorkerView]) -> Object<'a> {
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
pub fn worker(view: &WorkerView) -> Object<'_> {
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
pub fn kind(view: &KindView) -> Object<'_> {
    Object::Kind { name: &view.name, arguments: &view.arguments }
}

/// A broken invariant.
pub fn breach(breach: &Breach) -> Object<'_> {
    Object::Breach { task: breach.task, what: &breach.what }
}

/// A store.
pub fn store(view: &StoreView) -> Object<'_> {
    let StoreView { version, known, bytes, .. } = *view;
    let durability = view.durability.as_deref();
    Object::Store(Store { url: &view.url, version, known, bytes, durability })
}

/// Stored JSON; what is none is shown as the text it is.
fn value(text: &str) -> Value {
    serde_json::from_str(text).unwrap_or_else(|_| Value::String(text.to_owned()))
}

/// Writes an object as JSON on one line, in which all that could steer a terminal is escaped: JSON itself asks
/// for less.
///
/// # Errors
/// The writer's, and those of an object that JSON cannot hold.
pub fn write(writer: impl Write, object: &impl Serialize) -> serde_json::Result<()> {
    object.serialize(&mut serde_json::Serializer::with_formatter(writer, Harmless))
}

struct Harmless;

impl Formatter for Harmless {
    fn write_string_fragment<W: ?Sized + Write>(
        &mut self,
        writer: &mut W,
        fragment: &str,
    ) -> io::Result<()> {
        let mut rest = fragment;
        while let Some(at) = rest.find(words::steers) {
            let (before, from) = rest.split_at(at);
            writer.write_all(before.as_bytes())?;
            let mut characters = from.chars();
            if let Some(character) = characters.next() {
                // Each of them is one unit of UTF-16.
                write!(writer, "\\u{:04x}", u32::from(character))?;
            }
            rest = characters.as_str();
        }
        writer.write_all(rest.as_bytes())
    }
}
