//! Why a task is where it is, in words: a stable one for programs, a sentence for people.

use homing::{Because, ChildCounts, Failure, TaskId, TaskState, TaskView, Time, WorkerView};

use crate::json::Reason;
use crate::words;

/// Where a task stands, as the end of a sentence.
pub fn stands(state: TaskState) -> &'static str {
    match state {
        TaskState::Pending => "is pending",
        TaskState::Running => "is running",
        TaskState::Waiting => "is waiting",
        TaskState::Succeeded => "has succeeded",
        TaskState::Failed => "has failed",
        TaskState::Cancelled => "was cancelled",
    }
}

/// The task that a reason hangs on, to be asked next.
pub fn hangs_on(because: &Because) -> Option<TaskId> {
    match because {
        Because::Children { some_failed, some_open, .. } => {
            some_open.iter().chain(some_failed).next().map(|child| child.id)
        }
        Because::Child { child, .. } => Some(child.id),
        Because::Job { root, .. } => Some(root.id),
        Because::Failed { some_failed, .. } => some_failed.first().map(|child| child.id),
        _ => None,
    }
}

/// A reason: its stable word, and the words for people.
fn told(word: &'static str, text: String) -> Reason {
    Reason { word, text, ..Reason::default() }
}

impl Reason {
    fn named(self, name: &str) -> Self {
        Self { name: Some(name.to_owned()), ..self }
    }

    fn placed(self, place: &str) -> Self {
        Self { place: Some(place.to_owned()), ..self }
    }

    fn timed(self, time: Time) -> Self {
        Self { time: time.rfc3339(), ..self }
    }

    fn about(self, tasks: impl IntoIterator<Item = TaskId>) -> Self {
        Self { tasks: tasks.into_iter().collect(), ..self }
    }
}

fn at(time: Time, now: Time) -> String {
    format!("{} ({})", words::instant(time), words::ago(time, now))
}

/// What a parked task waits for; all else is told likewise.
pub fn reason(because: &Because, task: &TaskView, now: Time) -> Reason {
    match because {
        Because::Children { place, counts, ended, failed, succeeded, some_failed, some_open } => {
            let text = children(place, counts, (*ended, *failed, *succeeded));
            let some = some_open.iter().chain(some_failed).map(|child| child.id);
            told("children", text).placed(place).about(some)
        }
        Because::Child { place, child } => {
            let text =
                format!("it waits for its child {}, which {}", child.kind, stands(child.state));
            told("child", text).placed(place).about([child.id])
        }
        Because::Job { place, root } => {
            let text =
                format!("it waits for the job of {}, which {}", root.kind, stands(root.state));
            told("job", text).placed(place).about([root.id])
        }
        Because::Signal { place, name, .. } if let Some(text) = celery(task, name) => {
            told("celery", text).placed(place).named(name)
        }
        Because::Signal { place, name, takes } => {
            let how = format!("`signal {} {name} JSON` sends it", task.id);
            let takes = takes.as_ref().map(|takes| format!(" ({takes})")).unwrap_or_default();
            let text = format!("it waits for the signal `{name}`{takes}: {how}");
            told("signal", text).placed(place).named(name)
        }
        Because::Until { place, time } => {
            let text = format!("it goes on by itself at {}", at(*time, now));
            told("until", text).placed(place).timed(*time)
        }
        Because::Running { worker } => running(worker.as_ref(), task, now),
        Because::Succeeded => told("succeeded", "it did what it was to do".to_owned()),
        Because::Failed { failure, some_failed } => {
            told("failed", failed(failure)).about(some_failed.iter().map(|child| child.id))
        }
        Because::Cancelled { failure } => told("cancelled", failure.message.clone()),
        other => standing(other, task, now),
    }
}

/// What a call waits for that a bridge has handed to Celery: the signal is the bridge's own affair.
fn celery(task: &TaskView, signal: &str) -> Option<String> {
    if task.kind != "homing.celery.task" || signal != "celery" {
        return None;
    }
    let arguments: serde_json::Value = serde_json::from_str(&task.arguments).ok()?;
    let name = arguments["order"]["task"].as_str()?;
    // A bridge's name is in the queue of its own tasks.
    let bridge = task.queue.strip_prefix("homing.celery")?;
    Some(format!(
        "it waits for Celery's task `{name}`, whose id there is homing{bridge}.{}",
        task.id
    ))
}

/// What keeps a pending task from running, and what ends an open one.
fn standing(because: &Because, task: &TaskView, now: Time) -> Reason {
    match because {
        Because::Drift { reason, stalls, due } => {
            told("drift", drift(reason, *stalls, &at(*due, now))).timed(*due)
        }
        Because::Retrying { failures, due, .. } => {
            let text = retrying(reason_of(task), *failures, &at(*due, now));
            told("retrying", text).timed(*due)
        }
        Because::Crashed { crashes } => told("crashed", crashed(*crashes)),
        Because::Scheduled { due } => {
            told("scheduled", format!("it starts at {}", at(*due, now))).timed(*due)
        }
        Because::Paused { queue } => {
            let text = format!("its queue `{queue}` is paused: `unpause {queue}` resumes it");
            told("paused", text).named(queue)
        }
        Because::NoWorker { queue } => {
            let text = format!("no living worker serves its queue `{queue}`: start one");
            told("no-worker", text).named(queue)
        }
        Because::NoKind { queue, kind, known } => {
            told("no-kind", no_kind(queue, kind, *known)).named(kind)
        }
        Because::Queued { queue, ready, workers, slots, running } => {
            let text = format!(
                "it waits for a free slot: the queue `{queue}` has {} to start, {} of {} on {} were taken",
                words::count(*ready, "task", "tasks"),
                words::number(*running),
                words::count(*slots, "slot", "slots"),
                words::count(*workers, "worker", "workers"),
            );
            told("queued", text).named(queue)
        }
        Because::Expires { time } => {
            let text = format!("it fails if it has not started by {}", at(*time, now));
            told("expires", text).timed(*time)
        }
        Because::Deadline { time } => {
            let text = format!("it fails if it has not ended by {}", at(*time, now));
            told("deadline", text).timed(*time)
        }
        // The library may learn more reasons than this program knows.
        other => told("other", format!("{other:?}")),
    }
}

type Wanted = (Option<u64>, Option<u64>, Option<u64>);

fn children(place: &str, counts: &ChildCounts, (ended, failed, succeeded): Wanted) -> String {
    let mut until = Vec::new();
    until.extend(ended.map(|n| {
        if n >= counts.spawned { "all have ended".to_owned() } else { format!("{n} have ended") }
    }));
    until.extend(succeeded.map(|n| format!("{n} have succeeded")));
    until.extend(failed.filter(|n| *n <= counts.spawned).map(|n| format!("{n} have failed")));
    let until = if until.is_empty() { "the next has ended".to_owned() } else { until.join(" or ") };
    format!(
        "it waits at `{place}` until {until} of its {}: {} succeeded, {} failed, {} cancelled, {} open",
        words::count(counts.spawned, "child", "children"),
        words::number(counts.succeeded),
        words::number(counts.failed),
        words::number(counts.cancelled),
        words::number(counts.open()),
    )
}

fn drift(reason: &str, stalls: u32, at: &str) -> String {
    let stalls = words::count(stalls.into(), "time", "times");
    format!(
        "it stands still, {stalls} by now, because its code and its record differ: {reason}; it is tried again at {at}, and goes on with a worker whose code fits"
    )
}

fn retrying(reason: Option<&str>, failures: u32, at: &str) -> String {
    let failures = words::count(failures.into(), "time", "times");
    let reason = reason.unwrap_or("nothing is known of why");
    format!("it has failed {failures} in a row and is tried again at {at}: {reason}")
}

fn crashed(crashes: u32) -> String {
    let times = words::count(crashes.into(), "time", "times");
    let suspect = if crashes >= homing::limits::SUSPECT {
        ": it is a suspect, of which a worker runs one at a time"
    } else {
        ""
    };
    format!("its worker has died {times} in a row while it ran{suspect}")
}

fn no_kind(queue: &str, kind: &str, known: bool) -> String {
    let ever = if known { "though one has been" } else { "nor has one ever been" };
    format!("no living worker of the queue `{queue}` is registered for `{kind}`, {ever}: start one")
}

fn running(worker: Option<&WorkerView>, task: &TaskView, now: Time) -> Reason {
    let text = match worker {
        Some(worker) if worker.alive => format!("the worker {} runs it", worker.name),
        Some(worker) => format!(
            "its worker {} died, last heard of {}: the next worker to look takes it over",
            worker.name,
            words::ago(worker.heartbeat, now)
        ),
        None => "a worker that has left ran it: the next worker to look takes it over".to_owned(),
    };
    let reason = told("running", text);
    match task.worker {
        Some(worker) => reason.named(&worker.to_string()),
        None => reason,
    }
}

/// Why it failed, with the sources of the error.
fn failed(failure: &Failure) -> String {
    let why = match failure.reason {
        homing::Reason::Error => "its body returned an error",
        homing::Reason::Panic => "its body panicked",
        homing::Reason::Timeout => "a stretch took longer than its timeout",
        homing::Reason::Deadline => "its deadline passed",
        homing::Reason::Expired => "it expired before it started",
        homing::Reason::Crashed => "it took its worker down too often",
        homing::Reason::Misuse => "its body broke a rule of the programming model",
        homing::Reason::Cancelled => "it was cancelled",
        _ => "it failed",
    };
    let text = format!("{why} in attempt {}: {}", failure.attempt, failure.message);
    failure.sources.iter().fold(text, |text, source| text + ", caused by: " + source)
}

/// Why a task was tried again or stands still; the task itself, where the text ends with it, left out.
pub fn reason_of(view: &TaskView) -> Option<&str> {
    let text = view.reason.as_deref()?;
    let end = text.rfind(&format!(" (task {} {} ", view.kind, view.id));
    Some(end.map_or(text, |end| &text[..end]))
}

/// How long a task has been at it: from its first claim, or its birth if there was none, to its end.
pub fn took(view: &TaskView, now: Time) -> std::time::Duration {
    view.ended.unwrap_or(now).since(view.started.unwrap_or(view.created))
}
