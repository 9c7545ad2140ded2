//! What people have done, and what became of it.

use homing::{JobId, RetryError, TaskId};
use serde::Serialize;

use super::Object;

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
