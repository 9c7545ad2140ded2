//! `log`: a job's lines, or those of one of its tasks.

use std::collections::HashMap;
use std::collections::hash_map::Entry;

use homing::log::{Level, Line};
use homing::{Failure, TaskId, TaskView};

use crate::args::LogArgs;
use crate::{Context, Exit, Result, json, style, words};

/// Names of tasks kept at once.
const SPEAKERS: usize = 10_000;

/// Prints the lines there are, and with `--follow` those to come until the job has ended.
pub(crate) async fn run(cx: &Context, args: &LogArgs) -> Result<Exit> {
    let id = cx.find(&args.id).await?;
    cx.homing.task(id).await?; // a task that nobody knows has no empty log
    let mut log = cx.homing.job::<()>(id.job).log();
    if let Some(lines) = args.tail {
        log = log.last(lines.into()).await?;
    }
    let mut speakers = Speakers::default();
    loop {
        let lines = if args.follow { log.next().await? } else { Some(log.page().await?) };
        let Some(lines) = lines.filter(|lines| !lines.is_empty()) else { return Ok(Exit::Done) };
        for line in lines.iter().filter(|line| is_wanted(line, id, args)) {
            if cx.json {
                cx.out.json(&json::line(line))?;
            } else {
                cx.out.line(said(line, speakers.name(cx, line.task, id).await?))?;
            }
        }
        cx.out.flush()?;
    }
}

fn is_wanted(line: &Line, id: TaskId, args: &LogArgs) -> bool {
    let least: Level = args.level.into();
    line.level >= least && (id.is_root() || line.task == id)
}

/// The tasks that lines are from, each read once.
#[derive(Default)]
struct Speakers(HashMap<TaskId, String>);

impl Speakers {
    /// A task's kind and its number in its set; of the task that was asked for, nothing.
    async fn name(&mut self, cx: &Context, task: TaskId, asked: TaskId) -> Result<&str> {
        if task == asked {
            return Ok("");
        }
        if self.0.len() >= SPEAKERS {
            self.0.clear();
        }
        let vacant = match self.0.entry(task) {
            Entry::Occupied(known) => return Ok(known.into_mut()),
            Entry::Vacant(vacant) => vacant,
        };
        let name = match cx.homing.task(task).await {
            Ok(view) => {
                let number = view.set.map(|(_, number)| format!("[{number}]"));
                view.kind + &number.unwrap_or_default()
            }
            // A retry has taken it back; what it said stays.
            Err(homing::StoreError::Unknown { .. }) => task.to_string(),
            Err(error) => return Err(error.into()),
        };
        Ok(vacant.insert(name))
    }
}

/// A line for people: when, how important, what.
pub(crate) fn text(line: &Line) -> String {
    said(line, "")
}

/// As [`text`], and which task it is from.
fn said(line: &Line, by: &str) -> String {
    let level = style::paint(style::of_level(line.level), format_args!("{:5}", line.level));
    let time = style::paint(style::DIM, words::instant(line.time));
    let message = words::line(&line.message, usize::MAX);
    if by.is_empty() {
        format!("{time} {level} {message}")
    } else {
        format!("{time} {level} {}: {message}", style::paint(style::DIM, by))
    }
}

/// The failed attempts of a task without the one that its failure tells of.
pub(crate) fn earlier<'l>(attempts: &'l [Line], task: &TaskView) -> &'l [Line] {
    let told = task.failure.as_ref().map(Failure::told);
    match (attempts, told) {
        ([earlier @ .., last], Some(told)) if last.message.ends_with(&told) => earlier,
        (all, _) => all,
    }
}

/// A line that tells of a failed attempt, where its task is known.
pub(crate) fn attempt(line: &Line) -> String {
    let time = style::paint(style::DIM, words::instant(line.time));
    let message = words::line(&line.message, usize::MAX);
    format!("{time} {}", style::paint(style::of_level(line.level), message))
}
