//! `job`: the record of a job or task, and the tree below it.

use homing::log::Line;
use homing::{Counts, Failure, JobView, TaskView, Time};

use super::log::{attempt, earlier};
use super::tree::{self, Tree};
use crate::args::JobArgs;
use crate::{Context, Exit, Result, json, style, words};

/// Characters of a value shown; `--json` has all of it.
const VALUE: usize = 120;
/// Failed attempts shown; `log` has all of them.
const ATTEMPTS: usize = 5;

/// Shows a job or a task, and the tree below it.
pub(crate) async fn run(cx: &Context, args: &JobArgs) -> Result<Exit> {
    let id = cx.find(&args.id).await?;
    let task = cx.homing.task(id).await?;
    let attempts = cx.homing.failed_attempts(id, ATTEMPTS).await?;
    if id.is_root() {
        let job = cx.homing.job::<()>(id.job).view().await?;
        if cx.json {
            cx.out.json(&json::job(&job))?;
        } else {
            print(cx, of_job(&job, &task, cx.now()), earlier(&attempts, &task))?;
        }
    } else if !cx.json {
        print(cx, of_task(&task, cx.now()), earlier(&attempts, &task))?;
    }
    if cx.json {
        for line in &attempts {
            cx.out.json(&json::line(line))?;
        }
    }
    if args.all {
        tree::show_whole(cx, &task).await?;
    } else {
        let (children, tasks) = (args.children.into(), args.tasks.into());
        Tree::bounded(cx, task, children, tasks).await?.show(cx)?;
    }
    Ok(Exit::Done)
}

type Fields = Vec<(&'static str, String)>;

/// Writes the first field as a heading, the others below it, the attempts that failed, and an empty line.
fn print(cx: &Context, fields: Fields, attempts: &[Line]) -> Result<()> {
    for (at, (name, value)) in fields.into_iter().enumerate() {
        if at == 0 {
            cx.out.line(style::paint(style::BOLD, value))?;
        } else {
            cx.out.line(format_args!("  {name:<10} {value}"))?;
        }
    }
    for line in attempts {
        cx.out.line(format_args!("  {}", attempt(line)))?;
    }
    cx.out.line("")
}

fn of_job(job: &JobView, root: &TaskView, now: Time) -> Fields {
    let status = style::paint(style::of_status(job.status), job.status);
    let title = words::line(job.title.as_deref().unwrap_or(&job.kind), usize::MAX);
    let mut fields = vec![
        ("", title),
        ("id", job.id.to_string()),
        ("kind", job.kind.clone()),
        ("status", format!("{status}, {}", words::done(job))),
        ("tasks", counts(&job.counts)),
        ("queue", job.queue.clone()),
    ];
    fields.extend(job.key.iter().map(|key| ("key", words::line(key, usize::MAX))));
    fields.extend((!job.tags.is_empty()).then(|| ("tags", job.tags.join(", "))));
    fields.extend(job.origin.map(|origin| ("detached", format!("by {origin}"))));
    fields.extend(of_times(root, now));
    fields
}

fn of_task(task: &TaskView, now: Time) -> Fields {
    let state = style::paint(style::of_state(task.state), task.state);
    let mut fields = vec![
        ("", task.kind.clone()),
        ("id", task.id.to_string()),
        ("state", format!("{state}, attempt {}", task.attempt)),
        ("queue", task.queue.clone()),
    ];
    fields.extend(task.parent.map(|parent| ("parent", parent.to_string())));
    fields.extend(of_times(task, now));
    fields
}

/// What a job's root and any other task have in common: instants, arguments, outcome.
fn of_times(task: &TaskView, now: Time) -> Fields {
    let at = |time: Time| format!("{} ({})", words::instant(time), words::ago(time, now));
    let mut fields = vec![("submitted", at(task.created))];
    fields.extend(task.started.map(|time| ("started", at(time))));
    let took = words::duration(tree::took(task, now));
    fields.extend(task.ended.map(|time| ("ended", format!("{}, after {took}", at(time)))));
    fields.push(("arguments", words::line(&task.arguments, VALUE)));
    fields.extend(task.value.iter().map(|value| ("value", words::line(value, VALUE))));
    fields.extend(task.failure.iter().flat_map(of_failure));
    fields
}

/// A failure and its sources.
fn of_failure(failure: &Failure) -> Fields {
    let message = words::line(&failure.message, usize::MAX);
    let mut fields = vec![("failure", style::paint(style::BAD, message))];
    let caused = |source: &String| format!("caused by: {}", words::line(source, usize::MAX));
    fields.extend(failure.sources.iter().map(|source| ("", caused(source))));
    fields
}

/// `80: 59 succeeded, 16 running`, the states that are empty left out.
pub(crate) fn counts(counts: &Counts) -> String {
    let parts = words::some([
        (counts.succeeded, "succeeded"),
        (counts.failed, "failed"),
        (counts.cancelled, "cancelled"),
        (counts.running, "running"),
        (counts.waiting, "waiting"),
        (counts.pending, "pending"),
    ]);
    format!("{}: {parts}", words::number(counts.spawned()))
}
