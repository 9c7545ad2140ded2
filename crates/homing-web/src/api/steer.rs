//! What changes anything.

use axum::extract::Path;
use axum::http::{HeaderMap, StatusCode};
use axum::response::{IntoResponse, Response};
use homing::RetryError;
use homing_view::json;
use serde::Deserialize;

use super::submit::Order;
use super::{Body, Params, answer};
use crate::act;
use crate::options::Role;
use crate::problem::{Refusal, Result};
use crate::site::Cx;

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Previewed {
    #[serde(default)]
    preview: bool,
}

fn done(cx: &Cx, verb: &'static str, target: String, changed: bool) -> Result<Response> {
    cx.audit(verb, &target, if changed { "done" } else { "nothing to do" });
    Ok(answer(&cx.seen(&json::Object::Done { verb, target, changed })?))
}

/// Submits a job by the name of its kind.
pub(super) async fn submit(
    cx: Cx,
    headers: HeaderMap,
    Params(()): Params<()>,
    body: Body,
) -> Result<Response> {
    cx.must(Role::Operator)?;
    let mut order: Order = body.read()?;
    if let Some(key) = headers.get("idempotency-key") {
        let key =
            key.to_str().ok().filter(|key| !key.is_empty()).ok_or_else(|| {
                Refusal::usage("the header `Idempotency-Key` is no text of ASCII")
            })?;
        if order.id.as_deref().is_some_and(|id| id != key) {
            return Err(Refusal::usage("`id` and the header `Idempotency-Key` differ")
                .hint("give one of them"));
        }
        order.id = Some(key.to_owned());
    }
    let kind = order.kind.clone();
    let id = order.submit(&cx).await?;
    let object = cx.seen(&json::Object::Submitted { id, kind: &kind })?;
    let location = cx.link(format_args!("/api/v1/jobs/{id}"));
    Ok((StatusCode::CREATED, [("location", location)], answer(&object)).into_response())
}

/// Retries a job, or says what that would do.
pub(super) async fn retry(
    cx: Cx,
    Path(id): Path<String>,
    Params(asked): Params<Previewed>,
    Body(_): Body,
) -> Result<Response> {
    cx.must(Role::Operator)?;
    let id = cx.find_job(&id).await?;
    cx.homing().task(id).await?;
    let job = cx.homing().job::<()>(id);
    let retried = if asked.preview { job.retry_preview().await } else { job.retry().await };
    let object = match retried {
        Ok(retried) => cx.seen(&json::retried(id, asked.preview, &retried))?,
        Err(RetryError::Store(error)) => return Err(error.into()),
        Err(refused) => {
            let object = cx.seen(&json::not_retried(id, asked.preview, &refused))?;
            return Ok((StatusCode::CONFLICT, answer(&object)).into_response());
        }
    };
    if !asked.preview {
        cx.audit("retry", id, "done");
    }
    Ok(answer(&object))
}

/// Removes a job that has ended.
pub(super) async fn remove(
    cx: Cx,
    Path(id): Path<String>,
    Params(()): Params<()>,
    Body(_): Body,
) -> Result<Response> {
    cx.must(Role::Admin)?;
    let id = cx.find_job(&id).await?;
    cx.homing().remove(id).await?;
    done(&cx, "remove", id.to_string(), true)
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Cancelled {
    reason: Option<String>,
}

/// Cancels a job or a task, with everything below it.
pub(super) async fn cancel(
    cx: Cx,
    Path(id): Path<String>,
    Params(()): Params<()>,
    body: Body,
) -> Result<Response> {
    cx.must(Role::Operator)?;
    let Cancelled { reason } = body.read()?;
    let id = cx.find(&id).await?;
    let mut cancel = cx.homing().cancel(id).by(cx.by());
    if let Some(reason) = reason {
        cancel = cancel.reason(reason);
    }
    let changed = cancel.await?;
    done(&cx, "cancel", id.to_string(), changed)
}

/// Sends a value to a task.
pub(super) async fn signal(
    cx: Cx,
    Path((id, name)): Path<(String, String)>,
    Params(()): Params<()>,
    Body(value): Body,
) -> Result<Response> {
    cx.must(Role::Operator)?;
    let id = cx.find(&id).await?;
    let sent = cx.homing().signal(id, &name, &value).await?;
    done(&cx, "signal", id.to_string(), sent.is_sent())
}

/// Stops claims from a queue.
pub(super) async fn pause(
    cx: Cx,
    Path(queue): Path<String>,
    Params(()): Params<()>,
    Body(_): Body,
) -> Result<Response> {
    switch(&cx, queue, true).await
}

/// Resumes claims from a queue.
pub(super) async fn unpause(
    cx: Cx,
    Path(queue): Path<String>,
    Params(()): Params<()>,
    Body(_): Body,
) -> Result<Response> {
    switch(&cx, queue, false).await
}

async fn switch(cx: &Cx, queue: String, paused: bool) -> Result<Response> {
    cx.must(Role::Operator)?;
    let changed = act::pause(cx.homing(), &queue, paused).await?;
    done(cx, if paused { "pause" } else { "unpause" }, queue, changed)
}
