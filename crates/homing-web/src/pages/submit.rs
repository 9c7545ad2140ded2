//! Submitting a job by the name of its kind. The form carries the job's id: sent twice, it is one job.

use axum::http::StatusCode;
use axum::http::header::LOCATION;
use axum::response::{IntoResponse, Response};
use homing::{JobId, KindView};
use maud::html;
use serde::Deserialize;
use serde_json::{Map, Value};

use super::Page;
use crate::act::Posted;
use crate::api::{Params, submit::Order};
use crate::options::Role;
use crate::problem::{Refusal, Result};
use crate::sight::{plain, t};
use crate::site::Cx;

/// What the address says.
#[derive(Deserialize)]
pub(crate) struct Asked {
    #[serde(default)]
    kind: String,
}

/// What stands in the form.
#[derive(Default)]
struct Typed {
    id: String,
    kind: String,
    arguments: String,
    title: String,
    key: String,
    queue: String,
    delay: String,
}

/// The empty form.
pub(crate) async fn form(cx: Cx, Params(asked): Params<Asked>) -> Result<Response> {
    cx.must(Role::Operator)?;
    let kinds = super::workers::known(&cx).await?;
    let arguments = kinds.iter().find(|kind| kind.name == asked.kind).map(skeleton);
    let typed = Typed {
        id: JobId::fresh().to_string(),
        kind: asked.kind,
        arguments: arguments.unwrap_or_else(|| "{}".to_owned()),
        ..Typed::default()
    };
    Ok(show(&cx, &kinds, &typed, None))
}

/// Arguments to begin with: a field for each, of its type.
fn skeleton(kind: &KindView) -> String {
    let value = |schema: &Value| match schema.get("type").and_then(Value::as_str) {
        Some("string") => Value::from(""),
        Some("integer" | "number") => Value::from(0),
        Some("boolean") => Value::from(false),
        Some("array") => Value::Array(Vec::new()),
        Some("object") => Value::Object(Map::new()),
        _ => Value::Null,
    };
    let field =
        |argument: &homing::task::Parameter| (argument.name.clone(), value(&argument.schema));
    let fields: Map<String, Value> = kind.arguments.iter().map(field).collect();
    serde_json::to_string_pretty(&fields).unwrap_or_else(|_| "{}".to_owned())
}

fn show(cx: &Cx, kinds: &[KindView], typed: &Typed, wrong: Option<&Refusal>) -> Response {
    let body = html! {
        h1 { "Submit a job" }
        @if let Some(wrong) = wrong {
            p .warning role="alert" { (t(&wrong.detail)) "." @if let Some(hint) = &wrong.hint { " " (t(hint)) "." } }
        }
        @if typed.kind.is_empty() {
            form .act method="get" action=(cx.link("/submit")) {
                label for="kind" { "Kind" }
                select #kind name="kind" required {
                    @for kind in kinds { option value=(plain(&kind.name)) { (plain(&kind.name)) } }
                }
                button type="submit" { "Go on" }
            }
            @if kinds.is_empty() { p .hint { "No worker has registered a kind in this store yet." } }
        } @else {
            form .act method="post" action=(cx.link("/submit")) {
                input type="hidden" name="csrf" value=(cx.visitor.csrf);
                input type="hidden" name="id" value=(plain(&typed.id));
                input type="hidden" name="kind" value=(plain(&typed.kind));
                p { "Kind: " strong { (t(&typed.kind)) } " " a href=(cx.link("/submit")) { "another" } }
                label for="arguments" { "Arguments, as a JSON object" }
                textarea #arguments name="arguments" rows="8" spellcheck="false" required { (typed.arguments) }
                @for (name, label, value, hint) in [
                    ("title", "Title", &typed.title, "what people read; without one, the kind"),
                    ("key", "Key", &typed.key, "unique among open jobs: if one holds it, that one is shown"),
                    ("queue", "Queue", &typed.queue, "without one, default"),
                    ("delay", "Delay", &typed.delay, "starts no earlier, such as 15m"),
                ] {
                    label for=(name) { (label) }
                    input #(name) name=(name) value=(plain(value)) aria-describedby={ (name) "-hint" };
                    p .hint #{ (name) "-hint" } { (hint) }
                }
                div .actions { button type="submit" { "Submit" } a .button href=(cx.link("/jobs")) { "Back" } }
            }
        }
    };
    let mut response = Page::new(cx, "/jobs", "Submit a job").show(&body);
    if let Some(wrong) = wrong {
        *response.status_mut() = wrong.status;
    }
    response
}

/// Submits it, or shows the form again with what was wrong.
pub(crate) async fn enter(cx: Cx, posted: Posted) -> Result<Response> {
    cx.must(Role::Operator)?;
    let text = |name: &str| posted.said(name).map(str::to_owned);
    let arguments = super::act::value(posted.field("arguments"));
    let submitted = match arguments {
        Err(refusal) => Err(refusal),
        Ok(arguments) => {
            let order = Order {
                kind: posted.field("kind").to_owned(),
                arguments,
                id: text("id"),
                title: text("title"),
                key: text("key"),
                queue: text("queue"),
                delay: text("delay"),
                ..Order::default()
            };
            order.submit(&cx).await
        }
    };
    match submitted {
        Ok(id) => {
            let to = cx.link(format_args!("/jobs/{id}"));
            Ok((StatusCode::SEE_OTHER, [(LOCATION, to)]).into_response())
        }
        Err(refusal) if refusal.status.is_client_error() => {
            let kinds = super::workers::known(&cx).await?;
            let field = |name: &str| posted.field(name).to_owned();
            let typed = Typed {
                id: field("id"),
                kind: field("kind"),
                arguments: field("arguments"),
                title: field("title"),
                key: field("key"),
                queue: field("queue"),
                delay: field("delay"),
            };
            Ok(show(&cx, &kinds, &typed, Some(&refusal)))
        }
        Err(refusal) => Err(refusal),
    }
}
