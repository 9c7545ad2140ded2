//! `failures`: failed tasks over all jobs, those alike together, or those that failed alike.

use homing::{FailureFilter, Fingerprint};

use crate::args::FailuresArgs;
use crate::output::say;
use crate::table::{Table, plain};
use crate::{Context, Exit, Result, json, style, words};

/// Characters of a message shown; `--json` has all of it.
const MESSAGE: usize = 100;

/// Lists groups of failures, or the tasks of one group.
pub(crate) async fn run(cx: &Context, args: FailuresArgs) -> Result<Exit> {
    let limit = args.limit.into();
    if let Some(fingerprint) = args.fingerprint {
        return alike(cx, fingerprint, limit).await;
    }
    let now = cx.now();
    let since = args.newer_than.map(|age| now.before(age));
    let is_narrowed = args.kind.is_some() || since.is_some();
    let groups = cx.homing.failures(FailureFilter { kind: args.kind, since, limit }).await?;
    if cx.json {
        for group in &groups {
            cx.out.json(&json::failure_group(group))?;
        }
        return Ok(Exit::Done);
    }
    if groups.is_empty() {
        say(if is_narrowed { "no such task has failed" } else { "no task has failed" });
        return Ok(Exit::Done);
    }
    let mut table =
        Table::new(&["COUNT", "LAST", "FIRST", "KIND", "ERROR", "FINGERPRINT"], &[0, 1, 2]);
    for group in &groups {
        let message = words::line(&group.latest.message, MESSAGE);
        table.row(vec![
            plain(words::number(group.count)),
            plain(words::ago(group.last, now)),
            plain(words::ago(group.first, now)),
            plain(&group.latest.kind),
            (message, style::BAD),
            plain(group.fingerprint),
        ]);
    }
    table.lines().try_for_each(|line| cx.out.line(line))?;
    if groups.len() == limit {
        say("there may be more: --limit, --kind, --newer-than");
    }
    Ok(Exit::Done)
}

/// The tasks of a group, the last to fail first.
async fn alike(cx: &Context, fingerprint: Fingerprint, limit: usize) -> Result<Exit> {
    let tasks = cx.homing.failed_alike(fingerprint, None, limit).await?;
    if cx.json {
        for task in &tasks {
            cx.out.json(&json::task(task, 0))?;
        }
        return Ok(Exit::Done);
    }
    if tasks.is_empty() {
        say("no task that is still there has failed so");
        return Ok(Exit::Done);
    }
    let (mut table, now) = (Table::new(&["TASK", "FAILED", "ERROR"], &[1]), cx.now());
    for task in &tasks {
        let message = task.failure.as_ref().map_or("", |failure| failure.message.as_str());
        table.row(vec![
            plain(task.id),
            plain(task.ended.map(|ended| words::ago(ended, now)).unwrap_or_default()),
            (words::line(message, MESSAGE), style::BAD),
        ]);
    }
    table.lines().try_for_each(|line| cx.out.line(line))?;
    if tasks.len() == limit {
        say("there may be more: --limit");
    }
    Ok(Exit::Done)
}
