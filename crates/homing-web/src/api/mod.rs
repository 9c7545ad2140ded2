//! `/api/v1`: the objects of `docs/cli.schema.json` over HTTP. `openapi.json` describes it; [`ops`] is the list
//! that both the routes and the description are made of.
//!
//! Fields are only added within version 1; unknown parameters are refused. Errors are problem documents.

use std::sync::Arc;

use axum::Router;
use axum::extract::{FromRequest, FromRequestParts, Query, Request};
use axum::http::StatusCode;
use axum::http::request::Parts;
use axum::response::{IntoResponse, Response};
use axum::routing::{MethodRouter, get, post};
use serde::Serialize;
use serde::de::DeserializeOwned;
use serde_json::{Value, json};

use crate::problem::{Refusal, Result};
use crate::site::{Cx, Site};

pub(crate) mod cursor;
mod events;
pub(crate) mod failures;
mod jobs;
mod ops;
mod others;
mod steer;
pub(crate) mod submit;
pub(crate) mod tasks;
pub(crate) mod why;

pub(crate) use ops::Op;

/// Where all of it stands.
const ROOT: &str = "/api/v1";
/// Items on a page, unless it is said.
const LIMIT: usize = 100;

/// The routes. Without those that change anything, where nothing may be.
pub(crate) fn routes(read_only: bool) -> Router<Arc<Site>> {
    let mut routes = Router::new().route(
        &format!("{ROOT}/openapi.json"),
        get(async || ([("content-type", "application/json")], include_str!("../../openapi.json"))),
    );
    for op in ops::ALL.iter().filter(|op| !(read_only && op.changes())) {
        routes = routes.route(&format!("{ROOT}{}", op.path()), handler(*op));
    }
    routes
}

/// What answers an operation.
fn handler(op: Op) -> MethodRouter<Arc<Site>> {
    match op {
        Op::Jobs => get(jobs::list),
        Op::Job => get(jobs::show),
        Op::JobEvents => get(events::of_job),
        Op::Log => get(jobs::log),
        Op::LogEvents => get(events::of_log),
        Op::Failures => get(jobs::failures),
        Op::FailureGroups => get(failures::groups),
        Op::FailedAlike => get(failures::alike),
        Op::Task => get(tasks::show),
        Op::Why => get(tasks::why),
        Op::Record => get(tasks::record),
        Op::Sets => get(tasks::sets),
        Op::Window => get(tasks::window),
        Op::Children => get(tasks::children),
        Op::Queues => get(others::queues),
        Op::Workers => get(others::workers),
        Op::Samples => get(others::samples),
        Op::Kinds => get(others::kinds),
        Op::Actions => get(others::actions),
        Op::Submit => post(steer::submit),
        Op::Retry => post(steer::retry),
        Op::Remove => post(steer::remove),
        Op::CancelJob | Op::CancelTask => post(steer::cancel),
        Op::Signal => post(steer::signal),
        Op::Pause => post(steer::pause),
        Op::Unpause => post(steer::unpause),
    }
}

/// The parameters of an address, of the API's and of a page's; unknown ones are refused where their type says so.
pub(crate) struct Params<T>(pub(crate) T);

impl<T: DeserializeOwned> FromRequestParts<Arc<Site>> for Params<T> {
    type Rejection = Refusal;

    async fn from_request_parts(parts: &mut Parts, site: &Arc<Site>) -> Result<Self> {
        let query = Query::<T>::from_request_parts(parts, site).await;
        let Query(params) = query.map_err(|rejection| {
            Refusal::usage(rejection.body_text())
                .hint("leave it out; `openapi.json` lists the parameters of the API")
        })?;
        Ok(Self(params))
    }
}

/// A body of JSON; none at all is `null`.
pub(crate) struct Body(pub(crate) Value);

impl FromRequest<Arc<Site>> for Body {
    type Rejection = Refusal;

    async fn from_request(request: Request, site: &Arc<Site>) -> Result<Self> {
        let kind = request.headers().get("content-type").and_then(|kind| kind.to_str().ok());
        let is_json = kind.is_none_or(|kind| {
            kind.split(';').next().is_some_and(|kind| kind.trim() == "application/json")
        });
        if !is_json {
            let status = StatusCode::UNSUPPORTED_MEDIA_TYPE;
            return Err(Refusal::new(status, "usage", "the body is no JSON by its type")
                .hint("send `Content-Type: application/json`"));
        }
        let bytes = axum::body::Bytes::from_request(request, site).await.map_err(|rejection| {
            Refusal::new(rejection.status(), "usage", rejection.body_text())
                .hint("a body has 1 MiB at most")
        })?;
        if bytes.is_empty() {
            return Ok(Self(Value::Null));
        }
        let value = serde_json::from_slice(&bytes)
            .map_err(|error| Refusal::usage(format!("the body is not JSON: {error}")))?;
        Ok(Self(value))
    }
}

impl Body {
    /// The body as what it is to be.
    fn read<T: DeserializeOwned>(self) -> Result<T> {
        let value = if self.0.is_null() { json!({}) } else { self.0 };
        serde_json::from_value(value).map_err(|error| {
            Refusal::usage(format!("the body: {error}")).hint("`openapi.json` lists its fields")
        })
    }
}

impl Cx {
    /// An object as its reader may see it.
    pub(crate) fn seen(&self, object: &impl Serialize) -> Result<Value> {
        let value = serde_json::to_value(object).map_err(|error| {
            let status = StatusCode::INTERNAL_SERVER_ERROR;
            Refusal::new(status, "store", format!("cannot be written as JSON: {error}"))
        })?;
        Ok(self.sight.object(value))
    }
}

/// JSON in which all that could steer a terminal is escaped.
pub(crate) fn text(value: &Value) -> Vec<u8> {
    let mut out = Vec::new();
    // A value of JSON, written to memory: neither fails.
    let _ = homing_view::json::write(&mut out, value);
    out
}

/// An answer.
pub(crate) fn answer(value: &Value) -> Response {
    ([("content-type", "application/json")], text(value)).into_response()
}

/// A page of a list.
pub(crate) fn page(items: &[Value], next: Option<&str>) -> Response {
    answer(&json!({ "items": items, "next": next }))
}

/// How many items a page has.
fn limit(asked: Option<usize>) -> Result<usize> {
    let most = homing::limits::PAGE;
    match asked {
        None => Ok(LIMIT),
        Some(limit) if (1..=most).contains(&limit) => Ok(limit),
        Some(limit) => Err(Refusal::usage(format!("`limit` is {limit}: give 1 to {most}"))),
    }
}
