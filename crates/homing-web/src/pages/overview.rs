//! The overview: what wants a look, who works, what is new.

use axum::response::Response;
use homing::{JobFilter, JobView, Status};
use homing_view::words;
use maud::html;
use serde::Deserialize;

use super::charts::{self, Span};
use super::parts::{job_table, query};
use super::{Page, action};
use crate::api::Params;
use crate::options::Role;
use crate::problem::Result;
use crate::site::Cx;

/// Jobs of each list.
const SHOWN: usize = 10;
/// How far back the jobs that want a look are searched: no index knows of a status.
const DAY: std::time::Duration = std::time::Duration::from_hours(24);

/// What the address says.
#[derive(Deserialize)]
pub(crate) struct Asked {
    /// How far back the charts go.
    span: Option<String>,
}

/// The overview.
pub(crate) async fn show(cx: Cx, Params(asked): Params<Asked>) -> Result<Response> {
    let span = Span::read(asked.span.as_deref())?;
    let charts = charts::section(&cx, charts::Of::All, span, "/").await?;
    let since = Some(cx.site.now().before(DAY));
    let of = async |status: Option<Status>| -> Result<Vec<JobView>> {
        let since = since.filter(|_| status.is_some());
        let filter = JobFilter { status, since, limit: SHOWN, ..JobFilter::default() };
        Ok(cx.homing().jobs(filter).await?)
    };
    let mut troubled = of(Some(Status::Stalled)).await?;
    troubled.extend(of(Some(Status::Failed)).await?);
    troubled.extend(of(Some(Status::CompletedWithErrors)).await?);
    let newest = of(None).await?;
    let (queues, workers) = (cx.homing().queues().await?, cx.homing().workers().await?);
    let alive: Vec<_> = workers.iter().filter(|worker| worker.alive).collect();
    let sum = |of: fn(&homing::WorkerView) -> u32| -> u64 {
        alive.iter().map(|worker| u64::from(of(worker))).sum()
    };
    let ready: u64 = queues.iter().map(|queue| queue.ready).sum();
    let paused = queues.iter().filter(|queue| queue.paused).count() as u64;
    let body = html! {
        div .bar { h1 { "Overview" } (action(&cx, Role::Operator, "/submit", "Submit a job")) }
        dl .tiles {
            div { dt { "Workers" } dd { (words::number(alive.len() as u64)) } }
            div { dt { "Slots taken" } dd { (words::number(sum(|w| w.running))) " of " (words::number(sum(|w| w.slots))) } }
            div { dt { "Ready tasks" } dd { (words::number(ready)) } }
            div { dt { "Paused queues" } dd { (words::number(paused)) } }
        }
        @if alive.is_empty() {
            p .warning { "No worker is at work: what is submitted waits until one starts." }
        }
        h2 { "Wants a look" }
        @if troubled.is_empty() {
            p { "No job of the last 24 hours stands still, failed or completed with errors." }
        } @else {
            (job_table(&cx, &troubled, "Jobs of the last 24 hours that stand still, failed or completed with errors"))
            p { (query(&cx, "status:stalled", "All that stand still")) " · " (query(&cx, "status:failed", "all that failed")) " · " (query(&cx, "status:errors", "all with errors")) }
        }
        (charts)
        h2 { "Newest" }
        @if newest.is_empty() {
            p { "No job has been submitted to this store yet." }
        } @else {
            (job_table(&cx, &newest, "The newest jobs"))
            p { a href=(cx.link("/jobs")) { "All jobs" } }
        }
    };
    Ok(Page::new(&cx, "/", "Overview").scripts(&["redraw.js"]).show(&body))
}
