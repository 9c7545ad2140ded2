//! Failures over all jobs.

use axum::extract::Path;
use axum::response::Response;
use homing::{FailureFilter, Fingerprint};
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
    let newer = asked.newer.as_deref().map(words::parse_duration).transpose();
    let newer = newer.map_err(|wrong| {
        Refusal::usage(format!("`newer`: {wrong}")).hint("give a duration such as 2h")
    })?;
    let since = newer.map(|age| cx.site.now().before(age));
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
    let before = asked.after.as_deref().map(cursor::read_task).transpose()?;
    let rows = limit(asked.limit)?;
    let tasks = cx.homing().failed_alike(fingerprint, before, rows).await?;
    let next = tasks.last().and_then(cursor::task);
    let next = match next {
        Some(next) if is_more(&cx, fingerprint, &next).await? => Some(next),
        _ => None,
    };
    let items = tasks.iter().map(|task| cx.seen(&json::task(task, 0)));
    Ok(page(&items.collect::<Result<Vec<_>>>()?, next.as_deref()))
}

/// A fingerprint as an address names it.
pub(crate) fn read(text: &str) -> Result<Fingerprint> {
    text.parse().map_err(|_| {
        Refusal::usage(format!("`{text}` is no fingerprint"))
            .hint("32 hexadecimal digits, as the list of failures has them")
    })
}

/// Whether there are failed tasks behind a place in the list: a page may be shorter than it was to be.
pub(crate) async fn is_more(cx: &Cx, fingerprint: Fingerprint, at: &str) -> Result<bool> {
    let before = Some(cursor::read_task(at)?);
    Ok(!cx.homing().failed_alike(fingerprint, before, 1).await?.is_empty())
}
