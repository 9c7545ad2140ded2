//! What a result backend is told of a task that homing runs.

use serde_json::{Map, Value, json};

use super::{End, event, now_iso};
use crate::bridge::{Refusal, Shared};
use crate::error::Fault;
use crate::wire::{Event, Message, Meta, Raised, Status};

/// Stores a result and tells of it, or sends it to the queue in which its caller waits.
pub(super) async fn put(shared: &Shared, meta: &Meta, reply_to: Option<&str>) -> Result<(), Fault> {
    shared.results.put(meta, (reply_to, shared.settings.result_expires)).await
}

/// A result without children and time.
pub(super) fn meta(id: &str, status: Status, result: Value) -> Meta {
    Meta {
        status,
        result,
        traceback: None,
        children: json!([]),
        date_done: None,
        task_id: id.to_owned(),
        parent_id: None,
        group_id: None,
        others: Map::new(),
    }
}

/// A task begins.
pub(super) async fn started(shared: &Shared, message: &Message, told: Event) -> homing::Result<()> {
    let headers = &message.headers;
    if shared.settings.track_started && headers.ignore_result != Some(true) {
        let who = json!({"pid": std::process::id(), "hostname": shared.settings.hostname});
        let mut meta = meta(&headers.id, Status::Started, who);
        (meta.parent_id, meta.group_id) = (headers.parent_id.clone(), headers.group.clone());
        put(shared, &meta, message.reply_to.as_deref()).await?;
    }
    shared.tell(vec![told]).await;
    Ok(())
}

/// A task has ended.
pub(super) async fn store(
    shared: &Shared,
    message: &Message,
    end: &End,
    children: &Value,
) -> homing::Result<()> {
    let headers = &message.headers;
    if headers.ignore_result != Some(true) {
        let mut meta = meta(&headers.id, end.status(), end.result());
        meta.traceback = end.traceback().map(str::to_owned);
        meta.children = children.clone();
        meta.date_done = Some(now_iso(shared));
        (meta.parent_id, meta.group_id) = (headers.parent_id.clone(), headers.group.clone());
        put(shared, &meta, message.reply_to.as_deref()).await?;
    }
    shared.tell(vec![ended(message, end)]).await;
    Ok(())
}

fn ended(message: &Message, end: &End) -> Event {
    match end {
        End::Value(value) => {
            let result = crate::wire::repr(value).chars().take(1024).collect::<String>();
            event("task-succeeded", message, json!({"result": result, "runtime": 0.0}))
        }
        End::Raised(raised, traceback) => {
            let more = json!({"exception": raised.repr(), "traceback": traceback});
            event("task-failed", message, more)
        }
        End::Revoked(why) => {
            let more = json!({"terminated": false, "signum": null, "expired": why == "expired"});
            event("task-revoked", message, more)
        }
    }
}

/// A message that is not taken: its caller is told so, if it says who that is. What the server will not take it does
/// not take later either, and the message would hold up its queue: then nobody is told.
pub(crate) async fn refuse(shared: &Shared, refusal: Refusal) -> Result<(), Fault> {
    let Refusal { refused, id, task, reply_to } = refusal;
    tracing::warn!(%refused, id, task, "a message of Celery's is refused");
    let Some(id) = id else { return Ok(()) };
    let (exc_type, exc_module) = refused.exception();
    let raised = Raised::new(exc_type, exc_module, refused.to_string());
    let mut meta = meta(&id, Status::Failure, raised.value());
    meta.date_done = Some(now_iso(shared));
    match put(shared, &meta, reply_to.as_deref()).await {
        Err(Fault::Told(error)) => {
            tracing::warn!(error, id, "the caller of a refused message cannot be told");
        }
        told => told?,
    }
    let told = json!({"uuid": id, "exception": raised.repr(), "traceback": null});
    shared.tell(vec![Event::new("task-failed", told)]).await;
    Ok(())
}
