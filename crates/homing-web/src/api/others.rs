//! Queues, workers and kinds.

use axum::response::Response;
use homing_view::json;

use super::{Params, page};
use crate::pages::workers::known;
use crate::problem::Result;
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
