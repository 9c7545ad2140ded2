//! Workers and kinds: who works, and what they can do.

use axum::extract::Path;
use axum::response::Response;
use homing::{JobFilter, KindView, WorkerView};
use homing_view::words;
use maud::{Markup, html};
use serde::Deserialize;

use super::charts::{self, Span};
use super::parts::{ago, encoded, instant, job_table, query};
use super::{Page, action};
use crate::api::Params;
use crate::options::Role;
use crate::problem::{Refusal, Result};
use crate::sight::t;
use crate::site::Cx;

fn alive(worker: &WorkerView) -> Markup {
    html! {
        @if worker.alive { span .state .succeeded { "✓ alive" } } @else { span .state .failed { "✗ dead" } }
    }
}

/// The list of workers.
pub(crate) async fn list(cx: Cx) -> Result<Response> {
    let (workers, now) = (cx.homing().workers().await?, cx.site.now());
    let body = html! {
        h1 { "Workers" }
        @if workers.is_empty() {
            p .warning { "No worker is at work." }
        } @else {
            table .cards {
                caption .aside { "Workers" }
                thead {
                    tr {
                        th scope="col" { "Worker" }
                        th scope="col" { "State" }
                        th .number scope="col" { "Running" }
                        th .number scope="col" { "Parked in memory" }
                        th .number scope="col" { "Ended" }
                        th scope="col" { "Up since" }
                        th scope="col" { "Heard" }
                        th scope="col" { "Queues" }
                    }
                }
                tbody {
                    @for worker in &workers {
                        tr {
                            td data-name="Worker" { a href=(cx.link(format_args!("/workers/{}", worker.id))) { (t(&words::line(&worker.name, 80))) } }
                            td data-name="State" { (alive(worker)) }
                            td .number data-name="Running" { (worker.running) "/" (worker.slots) }
                            td .number data-name="Parked in memory" { (worker.resident) }
                            td .number data-name="Ended" { (words::number(worker.ended)) }
                            td data-name="Up since" { (ago(worker.started, now)) }
                            td data-name="Heard" { (ago(worker.heartbeat, now)) }
                            td data-name="Queues" { (t(&worker.queues.join(", "))) }
                        }
                    }
                }
            }
        }
    };
    Ok(Page::new(&cx, "/workers", "Workers").show(&body))
}

/// What the address of one says.
#[derive(Deserialize)]
pub(crate) struct Asked {
    /// How far back the charts go.
    span: Option<String>,
}

/// One worker.
pub(crate) async fn show(
    cx: Cx,
    Path(id): Path<String>,
    Params(asked): Params<Asked>,
) -> Result<Response> {
    let span = Span::read(asked.span.as_deref())?;
    let (workers, now) = (cx.homing().workers().await?, cx.site.now());
    let worker = workers.iter().find(|worker| worker.id.to_string() == id).ok_or_else(|| {
        Refusal { detail: format!("no worker has the id `{id}`"), ..Refusal::nowhere() }
            .hint("it has left, or was never here; a task that it held is given to others")
    })?;
    let path = format!("/workers/{}", worker.id);
    let charts = charts::section(&cx, charts::Of::Worker(worker.id), span, &path).await?;
    let body = html! {
        p .crumbs { a href=(cx.link("/workers")) { "Workers" } " / " code { (worker.id) } }
        h1 { (t(&worker.name)) }
        p .lead { (alive(worker)) ", holds " (worker.running) " of " (worker.slots) }
        dl .facts {
            dt { "Parked in memory" } dd { (worker.resident) }
            dt { "Tasks ended" } dd { (words::number(worker.ended)) }
            dt { "Up since" } dd { (instant(worker.started, now)) }
            dt { "Last heard" } dd { (instant(worker.heartbeat, now)) }
            dt { "Queues" } dd .links { @for queue in &worker.queues { (query(&cx, &format!("queue:{queue}"), queue)) " " } }
            dt { "Kinds" } dd .links { @for kind in &worker.kinds { a href={ (cx.link("/kinds/")) (encoded(kind)) } { (t(kind)) } " " } }
        }
        (charts)
    };
    Ok(Page::new(&cx, "/workers", &worker.name).scripts(&["redraw.js"]).show(&body))
}

/// The kinds that people submit: those of homing itself are parts of chains, groups and chords.
pub(crate) async fn known(cx: &Cx) -> Result<Vec<KindView>> {
    let mut kinds = cx.homing().kinds().await?;
    kinds.retain(|kind| !kind.name.starts_with("homing."));
    Ok(kinds)
}

fn signature(kind: &KindView) -> Markup {
    html! {
        code {
            @for (at, argument) in kind.arguments.iter().enumerate() {
                @if at > 0 { ", " }
                (t(&argument.name)) @if !argument.required { "?" } ": " (t(&argument.takes()))
            }
            @if kind.arguments.is_empty() { "no arguments" }
        }
    }
}

/// The list of kinds.
pub(crate) async fn kinds(cx: Cx) -> Result<Response> {
    let kinds = known(&cx).await?;
    let workers = cx.homing().workers().await?;
    let serving = |name: &str| {
        let serve =
            |worker: &&WorkerView| worker.alive && worker.kinds.iter().any(|own| own == name);
        workers.iter().filter(serve).count()
    };
    let body = html! {
        h1 { "Kinds" }
        @if kinds.is_empty() {
            p { "No worker has registered a kind in this store." }
        } @else {
            table .cards {
                caption .aside { "Kinds" }
                thead { tr { th scope="col" { "Kind" } th scope="col" { "Arguments" } th .number scope="col" { "Workers" } } }
                tbody {
                    @for kind in &kinds {
                        tr {
                            td data-name="Kind" { a href={ (cx.link("/kinds/")) (encoded(&kind.name)) } { (t(&kind.name)) } }
                            td data-name="Arguments" { (signature(kind)) }
                            td .number data-name="Workers" { (serving(&kind.name)) }
                        }
                    }
                }
            }
        }
    };
    Ok(Page::new(&cx, "/kinds", "Kinds").show(&body))
}

/// One kind, and the newest jobs of it.
pub(crate) async fn kind(cx: Cx, Path(name): Path<String>) -> Result<Response> {
    let kinds = cx.homing().kinds().await?;
    let kind = kinds.iter().find(|kind| kind.name == name).ok_or_else(|| Refusal {
        detail: format!("no worker has ever registered the kind `{name}`"),
        ..Refusal::nowhere()
    })?;
    let filter = JobFilter { kind: Some(name.clone()), limit: 20, ..JobFilter::default() };
    // No index knows of kinds: a kind that no job has had would have the whole list read.
    let since = Some(cx.site.now().before(std::time::Duration::from_hours(7 * 24)));
    let jobs = cx.homing().jobs(JobFilter { since, ..filter }).await?;
    let body = html! {
        p .crumbs { a href=(cx.link("/kinds")) { "Kinds" } " / " (t(&name)) }
        div .bar {
            h1 { (t(&name)) }
            (action(&cx, Role::Operator, &format!("/submit?kind={}", encoded(&name)), "Submit a job"))
        }
        p { (signature(kind)) }
        h2 { "Jobs of the last 7 days" }
        @if jobs.is_empty() { p { "None." } } @else { (job_table(&cx, &jobs, "Jobs of this kind, newest first")) }
        p { (query(&cx, &format!("kind:{name}"), "All jobs of this kind")) }
    };
    Ok(Page::new(&cx, "/kinds", &name).show(&body))
}
