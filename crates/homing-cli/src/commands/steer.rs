//! `cancel`, `retry`, `remove`, `signal`.
//!
//! Ids are looked up before anything is changed, so that one mistyped id of many changes nothing.

use homing::{AmendError, IdPrefix, JobId, RemoveError, Retried, RetryError, Signalled, TaskId};

use crate::args::{CancelArgs, RemoveArgs, RetryArgs, SignalArgs};
use crate::output::say;
use crate::{Context, Error, Exit, Result, json, words};

/// Cancels jobs or tasks, with everything below them.
pub(crate) async fn cancel(cx: &Context, args: &CancelArgs) -> Result<Exit> {
    let mut ids = Vec::new();
    for id in &args.ids {
        ids.push(cx.homing.task(cx.find(id).await?).await?.id);
    }
    let by = args.by.clone().unwrap_or_else(words::oneself);
    let mut exit = Exit::Done;
    for id in ids {
        let mut cancel = cx.homing.cancel(id).by(&by);
        if let Some(reason) = &args.reason {
            cancel = cancel.reason(reason);
        }
        let changed = cancel.await?;
        done(cx, "cancel", id, changed, "cancelled")?;
        if !changed {
            exit = Exit::No;
            had_ended(cx, id, "there was nothing to cancel").await?;
        }
    }
    Ok(exit)
}

/// Gives a task that stands still other arguments.
async fn amend(cx: &Context, id: &IdPrefix, text: &str, force: bool) -> Result<Exit> {
    let value: serde_json::Value = serde_json::from_str(text).map_err(|error| {
        let hint = "give an object with a field for each argument, such as '{\"pages\": 9}'";
        Error::usage(format!("the arguments are not JSON: {error}"), hint)
    })?;
    let id = cx.find(id).await?;
    let amend = cx.homing.amend(id, &value);
    let refused = match if force { amend.force() } else { amend }.await {
        Ok(()) => {
            done(cx, "amend", id, true, "other arguments for")?;
            return Ok(Exit::Done);
        }
        Err(AmendError::Refused(error)) => return Err(error.into()),
        Err(AmendError::Store(error)) => return Err(error.into()),
        Err(refused) => refused,
    };
    done(cx, "amend", id, false, "")?;
    say(refused);
    Ok(Exit::No)
}

/// Retries failed or cancelled jobs, or says what that would do.
pub(crate) async fn retry(cx: &Context, args: &RetryArgs) -> Result<Exit> {
    if let Some(text) = &args.args {
        let [id] = &args.ids[..] else {
            let hint = "the arguments of several tasks are given one after the other";
            return Err(Error::usage("--args is for one task", hint));
        };
        return amend(cx, id, text, args.force).await;
    }
    let mut exit = Exit::Done;
    for id in jobs(cx, &args.ids).await? {
        let job = cx.homing.job::<()>(id);
        let done = if args.dry_run { job.retry_preview().await } else { job.retry().await };
        let refused = match done {
            Ok(retried) => {
                cx.show(&json::retried(id, args.dry_run, &retried), || {
                    words::retried(id, args.dry_run, &retried)
                })?;
                if args.dry_run && !cx.json {
                    name(cx, &retried)?;
                }
                continue;
            }
            Err(RetryError::Store(error)) => return Err(error.into()),
            Err(refused) => refused,
        };
        exit = Exit::No;
        if cx.json {
            cx.out.json(&json::not_retried(id, args.dry_run, &refused))?;
        }
        say(refused);
    }
    Ok(exit)
}

/// Names the tasks that a retry would reopen.
fn name(cx: &Context, retried: &Retried) -> Result<()> {
    for task in &retried.tasks {
        cx.out.line(format_args!("  {task}"))?;
    }
    match retried.reopened.saturating_sub(retried.tasks.len() as u64) {
        0 => Ok(()),
        more => cx.out.line(format_args!("  and {more} more")),
    }
}

/// Removes jobs that have ended.
pub(crate) async fn remove(cx: &Context, args: &RemoveArgs) -> Result<Exit> {
    let mut exit = Exit::Done;
    for id in jobs(cx, &args.ids).await? {
        let refused = match cx.homing.remove(id).await {
            Ok(()) => None,
            Err(RemoveError::Store(error)) => return Err(error.into()),
            Err(refused) => Some(refused),
        };
        done(cx, "remove", id.root(), refused.is_none(), "removed")?;
        if let Some(refused) = refused {
            exit = Exit::No;
            say(refused);
        }
    }
    Ok(exit)
}

/// Sends a value to a task.
pub(crate) async fn signal(cx: &Context, args: &SignalArgs) -> Result<Exit> {
    let value: serde_json::Value = serde_json::from_str(&args.value).map_err(|error| {
        let message = format!("the value is not JSON: {error}");
        Error::usage(message, "quote a text twice: '\"approved\"'")
    })?;
    let id = cx.find(&args.id).await?;
    let sent = cx.homing.signal(id, &args.name, &value).await?;
    done(cx, "signal", id, sent.is_sent(), "signalled")?;
    match sent {
        Signalled::Awaited => return Ok(Exit::Done),
        Signalled::Kept { waits_for } => {
            let name = words::printed(&args.name);
            let instead = match waits_for.as_slice() {
                [] => String::new(),
                names => format!("; now it waits for `{}`", words::printed(&names.join("`, `"))),
            };
            say(format_args!("the value is kept until the task waits for `{name}`{instead}"));
            return Ok(Exit::Done);
        }
        Signalled::Ended => {}
    }
    had_ended(cx, id, "the signal was not kept").await?;
    Ok(Exit::No)
}

/// The jobs that ids mean; each is there.
async fn jobs(cx: &Context, ids: &[IdPrefix]) -> Result<Vec<JobId>> {
    let mut jobs = Vec::new();
    for id in ids {
        let id = cx.find_job(id).await?;
        cx.homing.task(id).await?;
        jobs.push(id);
    }
    Ok(jobs)
}

fn done(
    cx: &Context,
    verb: &'static str,
    id: TaskId,
    changed: bool,
    past: &'static str,
) -> Result<()> {
    if cx.json {
        cx.out.json(&json::Object::Done { verb, target: id.to_string(), changed })
    } else if changed {
        cx.out.line(format_args!("{past} {id}"))
    } else {
        Ok(())
    }
}

async fn had_ended(cx: &Context, id: TaskId, so: &str) -> Result<()> {
    let state = cx.homing.task(id).await?.state;
    say(format_args!("{id} had {}: {so}", ended_as(state)));
    Ok(())
}

fn ended_as(state: homing::TaskState) -> &'static str {
    match state {
        homing::TaskState::Cancelled => "been cancelled",
        homing::TaskState::Failed => "failed",
        _ => "succeeded",
    }
}
