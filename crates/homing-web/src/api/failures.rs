//! Failures over all jobs.

use axum::extract::Path;
use axum::response::Response;
use homing::{FailureFilter, Fingerprint, InvalidFingerprint, TaskView, Time};
use homing_view::{json, words};
use serde::Deserialize;

use super::{Params, cursor, limit, page};
use crate::problem::{Refusal, Result};
use crate::site::Cx;

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Grouped {
    kind: Option<String>,
    newer: Option<String>,
    limit: Option<usize>,
}

/// Failed tasks, those alike together.
pub(super) async fn groups(cx: Cx, Params(asked): Params<Grouped>) -> Result<Response> {
    let since = since(asked.newer.as_deref(), cx.site.now())?;
    let filter = FailureFilter { kind: asked.kind, since, limit: limit(asked.limit)? };
    let groups = cx.homing().failures(filter).await?;
    let items = groups.iter().map(|group| cx.seen(&json::failure_group(group)));
    Ok(page(&items.collect::<Result<Vec<_>>>()?, None))
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Alike {
    after: Option<String>,
    limit: Option<usize>,
}

/// A page of the failed tasks that are alike.
pub(super) async fn alike(
    cx: Cx,
    Path(fingerprint): Path<String>,
    Params(asked): Params<Alike>,
) -> Result<Response> {
    let fingerprint = read(&fingerprint)?;
    let rows = limit(asked.limit)?;
    let (tasks, next) = of(&cx, fingerprint, asked.after.as_deref(), rows).await?;
    let items = tasks.iter().map(|task| cx.seen(&json::task(task, 0)));
    Ok(page(&items.collect::<Result<Vec<_>>>()?, next.as_deref()))
}

/// A fingerprint as an address names it.
pub(crate) fn read(text: &str) -> Result<Fingerprint> {
    text.parse().map_err(|error: InvalidFingerprint| Refusal::usage(error.to_string()))
}

/// Since when tasks are to have failed.
pub(crate) fn since(newer: Option<&str>, now: Time) -> Result<Option<Time>> {
    let Some(text) = newer else { return Ok(None) };
    let age = words::parse_duration(text)
        .map_err(|wrong| Refusal::usage(format!("`newer` is `{text}`: {wrong}")))?;
    Ok(Some(now.before(age)))
}

/// A page of the failed tasks that are alike, and where the next one begins.
pub(crate) async fn of(
    cx: &Cx,
    fingerprint: Fingerprint,
    after: Option<&str>,
    rows: usize,
) -> Result<(Vec<TaskView>, Option<String>)> {
    let before = after.map(cursor::read_task).transpose()?;
    let tasks = cx.homing().failed_alike(fingerprint, before, rows).await?;
    // A task that was retried meanwhile is left out of a page, so its length does not tell.
    let last = tasks.last().and_then(|last| Some((last.ended?, last.id)));
    let next = match last {
        Some(last) if !cx.homing().failed_alike(fingerprint, Some(last), 1).await?.is_empty() => {
            Some(cursor::task(last))
        }
        _ => None,
    };
    Ok((tasks, next))
}
