//! What people have done to jobs and queues.

use axum::response::Response;
use homing::{ActionFilter, ActionView, TaskId};
use homing_view::words;
use maud::{Markup, html};
use serde::Deserialize;

use super::Page;
use super::parts::{encoded, short};
use crate::api::Params;
use crate::problem::Result;
use crate::sight::{plain, t};
use crate::site::Cx;

/// Actions on a page.
const PAGE: usize = 50;
/// Characters of a result in a row.
const RESULT: usize = 200;

#[derive(Deserialize)]
pub(crate) struct Asked {
    #[serde(default)]
    who: String,
    #[serde(default)]
    target: String,
    before: Option<u64>,
}

/// The list.
pub(crate) async fn list(cx: Cx, Params(asked): Params<Asked>) -> Result<Response> {
    let said = |text: &str| Some(text.trim().to_owned()).filter(|text| !text.is_empty());
    let target = cx.target(said(&asked.target)).await?;
    let (who, before) = (said(&asked.who), asked.before);
    let filter = ActionFilter { who, target, before, limit: PAGE };
    let actions = cx.homing().actions(filter).await?;
    let next = actions.last().filter(|_| actions.len() == PAGE).map(|last| last.number);
    let path = format!("/actions?who={}&target={}", encoded(&asked.who), encoded(&asked.target));
    let body = html! {
        h1 { "Actions" }
        form .search method="get" action=(cx.link("/actions")) role="search" {
            label for="who" { "Who" }
            input #who type="search" name="who" value=(plain(&asked.who));
            label for="target" { "Done to" }
            input #target type="search" name="target" value=(plain(&asked.target));
            button type="submit" { "Show" }
        }
        p .hint { "What was done by this page, the API and the " code { "homing" } " command. An action is kept before it is done, for 90 days." }
        @if actions.is_empty() {
            p { "Nobody has done anything" @if asked.before.is_some() || !asked.who.is_empty() || !asked.target.is_empty() { " like that" } "." }
        } @else {
            table .cards {
                caption .aside { "Actions, newest first" }
                thead {
                    tr {
                        th scope="col" { "When" }
                        th scope="col" { "Who" }
                        th scope="col" { "What" }
                        th scope="col" { "Done to" }
                        th scope="col" { "Result" }
                    }
                }
                tbody { @for action in &actions { (row(&cx, action)) } }
            }
        }
        nav .pages aria-label="Pages of the list" {
            @if asked.before.is_some() { a href=(cx.link(&path)) { "Newest" } }
            @if let Some(next) = next { a rel="next" href=(cx.link(format_args!("{path}&before={next}"))) { "Older" } }
        }
    };
    Ok(Page::new(&cx, "/actions", "Actions").show(&body))
}

fn row(cx: &Cx, action: &ActionView) -> Markup {
    let result = action.result.as_deref();
    html! {
        tr {
            td data-name="When" { time datetime=[action.time.rfc3339()] { (words::instant(action.time)) } }
            td data-name="Who" { (t(&action.who)) }
            td data-name="What" { (t(&action.verb)) }
            td data-name="Done to" { (target(cx, action)) }
            td data-name="Result" {
                @if let Some(result) = result { (short(&cx.sight.message(result), RESULT)) }
                @else { span title="Nobody has kept what became of it: it is under way, or its process died" { "unknown" } }
            }
        }
    }
}

/// The way to what was done something to.
fn target(cx: &Cx, action: &ActionView) -> Markup {
    let text = &action.target;
    html! {
        @if let Ok(id) = text.parse::<TaskId>() {
            @let page = if id.is_root() { "jobs" } else { "tasks" };
            a href=(cx.link(format_args!("/{page}/{id}"))) { code { (t(text)) } }
        } @else if matches!(action.verb.as_str(), "pause" | "unpause") {
            a href=(cx.link(format_args!("/jobs?q=queue:{}", encoded(text)))) { (t(text)) }
        } @else { (t(text)) }
    }
}
