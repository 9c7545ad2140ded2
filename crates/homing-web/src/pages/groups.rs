//! Failures by error, over all jobs, and the tasks that failed alike.

use axum::extract::Path;
use axum::response::Response;
use homing::{FailureFilter, FailureGroup, TaskView};
use homing_view::words;
use maud::{Markup, html};
use serde::Deserialize;

use super::Page;
use super::parts::{ago, encoded, short};
use crate::api::{Params, failures};
use crate::problem::Result;
use crate::sight::{plain, t};
use crate::site::Cx;

/// Groups on the page.
const GROUPS: usize = 200;
/// Tasks on a page of one group.
const TASKS: usize = 50;
/// Characters of a message in a row.
const MESSAGE: usize = 200;

#[derive(Deserialize)]
pub(crate) struct Asked {
    #[serde(default)]
    kind: String,
    #[serde(default)]
    newer: String,
}

/// The list of groups.
pub(crate) async fn list(cx: Cx, Params(asked): Params<Asked>) -> Result<Response> {
    let now = cx.site.now();
    let said = |text: &str| Some(text.trim().to_owned()).filter(|text| !text.is_empty());
    let (kind, since) = (said(&asked.kind), failures::since(said(&asked.newer).as_deref(), now)?);
    let groups = cx.homing().failures(FailureFilter { kind, since, limit: GROUPS + 1 }).await?;
    let body = html! {
        h1 { "Failures by error" }
        form .search method="get" action=(cx.link("/failures")) role="search" {
            label for="kind" { "Kind" }
            input #kind type="search" name="kind" value=(plain(&asked.kind));
            label for="newer" { "Failed within" }
            input #newer type="text" size="6" name="newer" value=(plain(&asked.newer)) placeholder="24h";
            button type="submit" { "Show" }
        }
        p .hint { "Failed tasks that are still there: a retry or a removal takes them out. Alike are those of one kind whose errors differ in numbers, ids and quoted words only." }
        @if groups.is_empty() {
            p { "No task has failed" @if !asked.kind.is_empty() || !asked.newer.is_empty() { " like that" } "." }
        } @else {
            table .cards {
                caption .aside { "Failures by error, the last first" }
                thead {
                    tr {
                        th scope="col" { "Error" }
                        th scope="col" { "Kind" }
                        th scope="col" { "Why" }
                        th .number scope="col" { "Tasks" }
                        th scope="col" { "First" }
                        th scope="col" { "Last" }
                    }
                }
                tbody { @for group in groups.iter().take(GROUPS) { (row(&cx, group, now)) } }
            }
            @if groups.len() > GROUPS { p { "And more that failed longer ago: narrow the list by kind." } }
        }
    };
    Ok(Page::new(&cx, "/failures", "Failures by error").show(&body))
}

fn row(cx: &Cx, group: &FailureGroup, now: homing::Time) -> Markup {
    let kind = &group.latest.kind;
    html! {
        tr {
            td data-name="Error" {
                a href=(cx.link(format_args!("/failures/{}", group.fingerprint))) {
                    (short(&cx.sight.message(&group.latest.message), MESSAGE))
                }
            }
            td data-name="Kind" { a href={ (cx.link("/kinds/")) (encoded(kind)) } { (t(kind)) } }
            td data-name="Why" { (group.latest.reason.name()) }
            td .number data-name="Tasks" { (words::number(group.count)) }
            td data-name="First" { (ago(group.first, now)) }
            td data-name="Last" { (ago(group.last, now)) }
        }
    }
}

#[derive(Deserialize)]
pub(crate) struct Paged {
    after: Option<String>,
}

/// The tasks of a group.
pub(crate) async fn show(
    cx: Cx,
    Path(text): Path<String>,
    Params(asked): Params<Paged>,
) -> Result<Response> {
    let fingerprint = failures::read(&text)?;
    let (tasks, next) = failures::of(&cx, fingerprint, asked.after.as_deref(), TASKS).await?;
    let latest = tasks.first().and_then(|task| task.failure.as_ref());
    let body = html! {
        p .crumbs { a href=(cx.link("/failures")) { "Failures by error" } " / " code { (fingerprint) } }
        @if let Some(failure) = latest {
            h1 { (t(&failure.kind)) ": " (t(&words::line(&cx.sight.message(&failure.message), MESSAGE))) }
            (super::task::failure(&cx, "The last of them", failure))
            h2 { "Tasks that failed so" }
            (table(&cx, &tasks))
        } @else {
            h1 { "Failures by error" }
            p { "No task that is still there has failed so. It may have been retried or removed." }
        }
        nav .pages aria-label="Pages of the list" {
            @if asked.after.is_some() { a href=(cx.link(format_args!("/failures/{fingerprint}"))) { "The last to fail" } }
            @if let Some(next) = next {
                a rel="next" href=(cx.link(format_args!("/failures/{fingerprint}?after={next}"))) { "Earlier" }
            }
        }
    };
    Ok(Page::new(&cx, "/failures", "Failures that are alike").show(&body))
}

fn table(cx: &Cx, tasks: &[TaskView]) -> Markup {
    let now = cx.site.now();
    html! {
        table .cards {
            caption .aside { "Tasks that failed alike" }
            thead {
                tr {
                    th scope="col" { "Task" }
                    th scope="col" { "Job" }
                    th .number scope="col" { "Attempts" }
                    th scope="col" { "Failed" }
                    th scope="col" { "Error" }
                }
            }
            tbody {
                @for task in tasks {
                    tr {
                        td data-name="Task" { a href=(cx.link(format_args!("/tasks/{}", task.id))) { (t(&words::line(&cx.sight.payload(&task.arguments).0, 60))) } }
                        td data-name="Job" { a href=(cx.link(format_args!("/jobs/{}", task.id.job))) { code { (task.id.job) } } }
                        td .number data-name="Attempts" { (task.attempt) }
                        td data-name="Failed" { @if let Some(ended) = task.ended { (ago(ended, now)) } }
                        td data-name="Error" { (short(&cx.sight.message(task.failure.as_ref().map_or("", |failure| &failure.message)), MESSAGE)) }
                    }
                }
            }
        }
    }
}
