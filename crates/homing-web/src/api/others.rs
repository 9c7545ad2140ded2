//! Queues, workers, kinds, and what people have done.

use axum::response::Response;
use homing::{ActionFilter, SampleFilter, WorkerId};
use homing_view::{json, words};
use serde::Deserialize;

use super::{Params, cursor, limit, page};
use crate::pages::workers::known;
use crate::problem::{Refusal, Result};
use crate::site::Cx;

/// Queues that hold pending tasks or are paused.
pub(super) async fn queues(cx: Cx, Params(()): Params<()>) -> Result<Response> {
    let (queues, workers) = (cx.site.hub.queues().await?, cx.site.hub.workers().await?);
    let objects = queues.value.iter().map(|queue| cx.seen(&json::queue(queue, &workers.value)));
    Ok(page(&objects.collect::<Result<Vec<_>>>()?, None))
}

/// Workers that have not left.
pub(super) async fn workers(cx: Cx, Params(()): Params<()>) -> Result<Response> {
    let workers = cx.site.hub.workers().await?;
    let objects = workers.value.iter().map(|worker| cx.seen(&json::worker(worker)));
    Ok(page(&objects.collect::<Result<Vec<_>>>()?, None))
}

/// Kinds that workers have registered.
pub(super) async fn kinds(cx: Cx, Params(()): Params<()>) -> Result<Response> {
    let kinds = known(&cx).await?;
    let objects = kinds.iter().map(|kind| cx.seen(&json::kind(kind)));
    Ok(page(&objects.collect::<Result<Vec<_>>>()?, None))
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Minutes {
    newer: Option<String>,
    worker: Option<String>,
    after: Option<String>,
    limit: Option<usize>,
}

/// What workers did, minute by minute.
pub(super) async fn samples(cx: Cx, Params(asked): Params<Minutes>) -> Result<Response> {
    let rows = limit(asked.limit)?;
    let newer = asked.newer.as_deref().unwrap_or("1h");
    let age = words::parse_duration(newer)
        .map_err(|wrong| Refusal::usage(format!("`newer` is `{newer}`: {wrong}")))?;
    let worker = asked.worker.as_deref().map(worker).transpose()?;
    let after = asked.after.as_deref().map(cursor::read_sample).transpose()?;
    let since = Some(cx.site.now().before(age));
    let filter = SampleFilter { since, worker, after, limit: rows, ..SampleFilter::default() };
    let samples = cx.homing().samples(filter).await?;
    let next = samples.last().filter(|_| samples.len() == rows);
    let next = next.map(|last| cursor::sample((last.minute, last.worker)));
    let objects = samples.iter().map(|sample| cx.seen(&json::sample(sample)));
    Ok(page(&objects.collect::<Result<Vec<_>>>()?, next.as_deref()))
}

/// A worker's id.
fn worker(text: &str) -> Result<WorkerId> {
    text.parse().map_err(|_| {
        Refusal::usage(format!("`worker` is `{text}`, which is no id"))
            .hint("`/workers` lists them")
    })
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Done {
    who: Option<String>,
    target: Option<String>,
    after: Option<u64>,
    limit: Option<usize>,
}

/// What people have done.
pub(super) async fn actions(cx: Cx, Params(asked): Params<Done>) -> Result<Response> {
    let rows = limit(asked.limit)?;
    let Done { who, target, after: before, .. } = asked;
    let target = cx.target(target).await?;
    let actions = cx.homing().actions(ActionFilter { who, target, before, limit: rows }).await?;
    let next = actions.last().filter(|_| actions.len() == rows);
    let next = next.map(|last| last.number.to_string());
    let objects = actions.iter().map(|action| cx.seen(&json::action(action)));
    Ok(page(&objects.collect::<Result<Vec<_>>>()?, next.as_deref()))
}
