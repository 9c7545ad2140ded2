//! Tasks, why they are where they are, and what is below them.

use axum::extract::Path;
use axum::response::Response;
use homing::{EntryView, SetKey, TaskId, TaskView};
use homing_view::json;
use homing_view::words;
use serde::Deserialize;
use serde_json::{Value, json};

use super::{Params, answer, cursor, limit, page, why};
use crate::problem::Result;
use crate::site::Cx;

/// Characters of a failure that a row tells.
const TOLD: usize = 160;

/// One task.
pub(super) async fn show(
    cx: Cx,
    Path(id): Path<String>,
    Params(()): Params<()>,
) -> Result<Response> {
    Ok(answer(&cx.seen(&json::task(&cx.task(&id).await?, 0))?))
}

/// Why a task is where it is, down to what it hangs on.
pub(super) async fn why(
    cx: Cx,
    Path(id): Path<String>,
    Params(()): Params<()>,
) -> Result<Response> {
    let id = cx.find(&id).await?;
    let mut items = Vec::new();
    for (depth, step) in why::follow(&cx, id).await?.into_iter().enumerate() {
        let why::Step { id, kind, state, reasons, attempts } = step;
        let attempts = attempts.iter().map(json::log_line).collect();
        let why = json::Why { id, kind: &kind, state, depth, reasons, attempts };
        items.push(cx.seen(&json::Object::Why(Box::new(why)))?);
    }
    Ok(page(&items, None))
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Remembered {
    #[serde(default)]
    after: u64,
    limit: Option<usize>,
}

/// A page of a task's record.
pub(super) async fn record(
    cx: Cx,
    Path(id): Path<String>,
    Params(asked): Params<Remembered>,
) -> Result<Response> {
    let id = cx.task(&id).await?.id; // a task that nobody knows has no empty record
    let (entries, next) = entries(&cx, id, asked.after, limit(asked.limit)?).await?;
    let items = entries.iter().map(|entry| cx.seen(&json::entry(id, entry)));
    let next = next.map(|next| next.to_string());
    Ok(page(&items.collect::<Result<Vec<_>>>()?, next.as_deref()))
}

/// Entries of a record behind a number, and the number behind which there are more.
pub(crate) async fn entries(
    cx: &Cx,
    id: TaskId,
    after: u64,
    rows: usize,
) -> Result<(Vec<EntryView>, Option<u64>)> {
    let entries = cx.homing().record(id, after, rows).await?;
    // A page may end early where entries are large, so its length does not tell.
    let next = match entries.last().map(|last| last.number) {
        Some(last) if !cx.homing().record(id, last, 1).await?.is_empty() => Some(last),
        _ => None,
    };
    Ok((entries, next))
}

/// The sets of a task's children, as they were a quarter of a second ago at most.
pub(super) async fn sets(
    cx: Cx,
    Path(id): Path<String>,
    Params(()): Params<()>,
) -> Result<Response> {
    let id = cx.find(&id).await?;
    cx.site.hub.task(id).await?;
    let sets = cx.site.hub.sets(id).await?;
    let mut items = Vec::new();
    for set in sets.value.iter() {
        let counts = set.children;
        let children = json!({
            "spawned": counts.spawned,
            "succeeded": counts.succeeded,
            "failed": counts.failed,
            "cancelled": counts.cancelled,
            "open": counts.open(),
        });
        items.push(json!({ "type": "set", "key": set.key, "own": set.own, "children": children }));
    }
    Ok(page(&items, None))
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Windowed {
    set: SetText,
    #[serde(default)]
    from: u64,
    limit: Option<usize>,
}

/// A set as an address names it.
struct SetText(SetKey);

impl<'de> Deserialize<'de> for SetText {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = String::deserialize(deserializer)?;
        text.parse().map(Self).map_err(serde::de::Error::custom)
    }
}

/// Rows of a set's children, as they were a quarter of a second ago at most: without arguments and values.
pub(super) async fn window(
    cx: Cx,
    Path(id): Path<String>,
    Params(asked): Params<Windowed>,
) -> Result<Response> {
    let id = cx.find(&id).await?;
    let look = cx.site.hub.window((id, asked.set.0, asked.from, limit(asked.limit)?)).await?;
    let rows = look.value.iter().zip(asked.from..);
    let items: Vec<Value> = rows.map(|(view, number)| row(&cx, view, number)).collect();
    Ok(page(&items, None))
}

/// A task as a line of a tree.
fn row(cx: &Cx, view: &TaskView, number: u64) -> Value {
    let time = |time: Option<homing::Time>| time.and_then(homing::Time::rfc3339);
    let failure = view.failure.as_ref().map(|failure| failure.message.as_str());
    let trouble = failure.or(view.reason.as_deref().filter(|_| !view.state.is_ended()));
    let trouble = trouble.map(|text| words::line(&cx.sight.message(text), TOLD));
    json!({
        "type": "row",
        "number": number,
        "id": view.id,
        "kind": view.kind,
        "state": view.state,
        "attempt": view.attempt,
        "created": time(Some(view.created)),
        "started": time(view.started),
        "ended": time(view.ended),
        "spawned": view.children.spawned,
        "below": view.children.ended(),
        "trouble": trouble,
    })
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Below {
    after: Option<String>,
    limit: Option<usize>,
}

/// A page of a task's children, set by set.
pub(super) async fn children(
    cx: Cx,
    Path(id): Path<String>,
    Params(asked): Params<Below>,
) -> Result<Response> {
    let id = cx.task(&id).await?.id;
    let rows = limit(asked.limit)?;
    let (set, from) = match asked.after.as_deref().map(cursor::read_child).transpose()? {
        Some(at) => at,
        None => match cx.homing().sets(id, None, 1).await?.first() {
            Some(set) => (set.key, 0),
            None => return Ok(page(&[], None)),
        },
    };
    let views = cx.homing().window(id, set, from, rows).await?;
    let next = if views.len() == rows {
        Some(cursor::child(set, from + rows as u64))
    } else {
        let sets = cx.homing().sets(id, Some(set), 1).await?;
        sets.first().map(|set| cursor::child(set.key, 0))
    };
    let items = views.iter().map(|view| cx.seen(&json::task(view, 1)));
    Ok(page(&items.collect::<Result<Vec<_>>>()?, next.as_deref()))
}
