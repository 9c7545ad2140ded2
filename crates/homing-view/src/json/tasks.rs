//! Jobs, tasks and what is known of them: records, logs, reasons, failures.

use homing::log::Line;
use homing::{
    ChildCounts, Counts, Drift, EntryKind, EntryView, Failure, Fingerprint, JobId, JobView, Status,
    TaskId, TaskState, TaskView, Time, WorkerId,
};
use serde::Serialize;
use serde_json::Value;

use super::{Object, value};

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

/// A line of a log.
#[derive(Debug, Serialize)]
pub struct LogLine<'a> {
    number: u64,
    time: Option<String>,
    level: String,
    task: TaskId,
    message: &'a str,
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
