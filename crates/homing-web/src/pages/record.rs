//! The record of a task: what its body remembers, when it was committed, and how long after the entry before.

use axum::extract::Path;
use axum::response::Response;
use homing::{Drift, EntryKind, EntryView, TaskView, Time};
use homing_view::words;
use maud::{Markup, html};
use serde::Deserialize;

use super::Page;
use super::parts::{short, state};
use crate::api::{Params, tasks};
use crate::problem::Result;
use crate::sight::{pre, t};
use crate::site::Cx;

/// Entries on a page.
const ROWS: usize = 100;
/// Characters of a value in a row.
const VALUE: usize = 200;

#[derive(Deserialize)]
pub(crate) struct Asked {
    /// Only entries behind this number.
    #[serde(default)]
    after: u64,
}

/// The page.
pub(crate) async fn show(
    cx: Cx,
    Path(id): Path<String>,
    Params(asked): Params<Asked>,
) -> Result<Response> {
    let task = cx.task(&id).await?;
    let id = task.id;
    let (entries, next) = tasks::entries(&cx, id, asked.after, ROWS).await?;
    // What the first row's time is held against.
    let before = if asked.after == 0 {
        task.started
    } else {
        cx.homing().record(id, asked.after - 1, 1).await?.first().and_then(|entry| entry.time)
    };
    let path = format!("/tasks/{id}/record");
    let body = html! {
        p .crumbs {
            a href=(cx.link("/jobs")) { "Jobs" } " / "
            a href=(cx.link(format_args!("/jobs/{}", id.job))) { "the job" } " / "
            a href=(cx.link(format_args!("/tasks/{id}"))) { code { (id) } }
        }
        h1 { "Record of " (t(&task.kind)) }
        p .lead { (state(task.state)) ", attempt " (task.attempt) }
        p .aside { "What the body remembers. A replay is given these values and does none of it again. Children are no entries: the task's page has them." }
        @if let Some(drift) = task.drift() { (self::drift(&cx, &drift)) }
        @if entries.is_empty() {
            p { "Nothing is recorded" @if asked.after > 0 { " behind number " (asked.after) } "." }
        } @else {
            (table(&cx, &task, &entries, before, (asked.after == 0, next.is_none())))
        }
        nav .pages aria-label="Pages of the record" {
            @if asked.after > 0 { a href=(cx.link(&path)) { "From the start" } }
            @if let Some(next) = next {
                a rel="next" href=(cx.link(format_args!("{path}?after={next}"))) { "Later entries" }
            }
        }
    };
    Ok(Page::new(&cx, "/jobs", &format!("Record of {}", task.kind)).show(&body))
}

/// The entries between the task's own instants, where the page begins with the first and ends with the last.
fn table(
    cx: &Cx,
    task: &TaskView,
    entries: &[EntryView],
    mut before: Option<Time>,
    (begins, ends): (bool, bool),
) -> Markup {
    let drifted = task.drift().map(|drift| drift.place);
    html! {
        table .cards .record {
            caption { "Each with the time since the one before it" }
            thead {
                tr {
                    th .number scope="col" { "#" }
                    th scope="col" { "When" }
                    th .number scope="col" { "After" }
                    th scope="col" { "Place" }
                    th scope="col" { "What" }
                    th scope="col" { "Value" }
                }
            }
            tbody {
                @if let Some(started) = task.started.filter(|_| begins) { (instant("first claimed", started, Some(task.created))) }
                @for entry in entries {
                    tr .drifted[drifted.as_deref().is_some_and(|place| is_at(&entry.place, place))] {
                        td .number data-name="#" { (entry.number) }
                        td data-name="When" { (when(entry.time)) }
                        td .number data-name="After" { (gap(entry.time, before)) }
                        td data-name="Place" { code { (t(&entry.place)) } }
                        td data-name="What" { (what(entry)) }
                        td data-name="Value" { (value(cx, entry)) }
                    }
                    @if entry.time.is_some() { ({ before = entry.time; "" }) }
                }
                @if let Some(ended) = task.ended.filter(|_| ends) { (instant("ended", ended, before)) }
            }
        }
    }
}

/// Whether an entry stands where a body drifted, or below.
fn is_at(place: &str, drifted: &str) -> bool {
    place.strip_prefix(drifted).is_some_and(|rest| rest.is_empty() || rest.starts_with(['/', '.']))
}

/// An instant of the task's own.
fn instant(name: &str, time: Time, before: Option<Time>) -> Markup {
    html! {
        tr .aside {
            td .number data-name="#" {}
            td data-name="When" { (when(Some(time))) }
            td .number data-name="After" { (gap(Some(time), before)) }
            td data-name="Place" {}
            td data-name="What" { (name) }
            td data-name="Value" {}
        }
    }
}

fn when(time: Option<Time>) -> Markup {
    html! {
        @if let Some(time) = time {
            time datetime=[time.rfc3339()] title=[time.rfc3339()] { (words::instant(time)) }
        } @else { span title="A version of homing wrote it that kept no times" { "unknown" } }
    }
}

fn gap(time: Option<Time>, before: Option<Time>) -> String {
    time.zip(before)
        .map_or_else(|| "–".to_owned(), |(time, before)| words::duration(time.since(before)))
}

fn what(entry: &EntryView) -> Markup {
    html! {
        @match (entry.what, &entry.signal) {
            (EntryKind::Wait, Some(signal)) => { "signal " (t(signal)) },
            (EntryKind::Wait, None) => { "wait over" },
            (what, _) => { (what) },
        }
    }
}

fn value(cx: &Cx, entry: &EntryView) -> Markup {
    let Some(raw) = entry.value.as_deref() else { return html! {} };
    let (text, cut) = cx.sight.payload(raw);
    html! {
        @if !cut && text.lines().count() <= 1 && text.chars().count() <= VALUE {
            code { (t(&text)) }
        } @else {
            details {
                summary .plain { (short(&text, 80)) }
                pre tabindex="0" aria-label=(format!("Value of entry {}", entry.number)) { (pre(&text)) }
                @if cut { p .hint { "Cut: it has " (words::bytes(raw.len() as u64)) "; the API has all of it." } }
            }
        }
    }
}

/// How a body differs from its record, field by field where that is known.
pub(super) fn drift(cx: &Cx, drift: &Drift) -> Markup {
    let side = |text: Option<&str>| html! { @if let Some(text) = text { code { (t(&cx.sight.message(text))) } } };
    let fields = homing_view::drift::fields(drift).filter(|_| cx.sight.payloads);
    html! {
        section .failure {
            h2 { "It has drifted from its record" }
            p { "At " code { (t(&drift.place)) } ": what the body does there is not what was recorded." }
            @if drift.expected.is_some() || drift.got.is_some() {
                dl .facts {
                    dt { "Expected" } dd { (side(drift.expected.as_deref())) }
                    dt { "Got" } dd { (side(drift.got.as_deref())) }
                }
            } @else { p { (t(&cx.sight.message(&drift.difference))) } }
            @if let Some(fields) = fields.filter(|fields| !fields.is_empty()) {
                table .cards {
                    caption { "Fields that differ" }
                    thead { tr { th scope="col" { "Field" } th scope="col" { "Expected" } th scope="col" { "Got" } } }
                    tbody {
                        @for field in &fields {
                            tr {
                                td data-name="Field" { @if field.name == "()" { "the kind" } @else { code { (t(&field.name)) } } }
                                td data-name="Expected" { (one(cx, &field.name, field.expected.as_ref())) }
                                td data-name="Got" { (one(cx, &field.name, field.got.as_ref())) }
                            }
                        }
                    }
                }
            }
        }
    }
}

/// A field's value, masked as that of its name.
fn one(cx: &Cx, name: &str, value: Option<&serde_json::Value>) -> Markup {
    let Some(value) = value else { return html! { span .aside { "absent" } } };
    let named = serde_json::json!({ name: value }).to_string();
    let (text, _) = cx.sight.payload(&named);
    // Without the braces and the name, which the first column has.
    let text = text.trim_start_matches('{').trim_end_matches('}').trim();
    let text = text.split_once(": ").map_or(text, |(_, value)| value);
    html! { code { (t(&words::line(text, VALUE))) } }
}
