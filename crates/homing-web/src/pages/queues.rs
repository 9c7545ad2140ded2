//! The queues: how deep, how old, who serves them, whether they are paused.

use axum::extract::Path;
use axum::response::Response;
use homing::{QueueView, Time, WorkerView};
use homing_view::words;
use maud::{Markup, html};
use serde::Deserialize;

use super::Page;
use super::charts::{self, Span};
use super::parts::{ago, encoded, query};
use crate::api::Params;
use crate::options::Role;
use crate::problem::Result;
use crate::sight::t;
use crate::site::Cx;

/// What the address says.
#[derive(Deserialize)]
pub(crate) struct Asked {
    done: Option<String>,
}

/// A queue in the list.
struct Row<'a> {
    name: &'a str,
    ready: u64,
    later: u64,
    stalled: u64,
    oldest: Option<Time>,
    paused: bool,
    workers: usize,
    slots: u64,
}

impl<'a> Row<'a> {
    /// A queue that holds nothing, and who serves it.
    fn new(name: &'a str, workers: &[WorkerView]) -> Self {
        let serve =
            |worker: &&WorkerView| worker.alive && worker.queues.iter().any(|own| own == name);
        let serving = workers.iter().filter(serve);
        let slots = serving.clone().map(|worker| u64::from(worker.slots)).sum();
        let (workers, oldest) = (serving.count(), None);
        Self { name, ready: 0, later: 0, stalled: 0, oldest, paused: false, workers, slots }
    }

    fn of(queue: &'a QueueView, workers: &[WorkerView]) -> Self {
        Self {
            ready: queue.ready,
            later: queue.scheduled,
            stalled: queue.stalled,
            oldest: queue.oldest,
            paused: queue.paused,
            ..Self::new(&queue.name, workers)
        }
    }

    /// What may be done to it.
    fn act(&self) -> (&'static str, &'static str) {
        if self.paused { ("unpause", "Resume…") } else { ("pause", "Pause…") }
    }

    /// A shape, a word and a class.
    fn standing(&self) -> (&'static str, &'static str) {
        match (self.paused, self.workers) {
            (true, _) => ("cancelled", "‖ paused"),
            (_, 0) => ("failed", "✗ no worker"),
            _ => ("succeeded", "✓ served"),
        }
    }

    fn show(&self, cx: &Cx, now: Time) -> Markup {
        let (class, standing) = self.standing();
        let (verb, act) = self.act();
        let path = format!("/queues/{}/{verb}", encoded(self.name));
        html! {
            tr {
                td data-name="Queue" { a href={ (cx.link("/queues/")) (encoded(self.name)) } { (t(self.name)) } }
                td .number data-name="Ready" { (words::number(self.ready)) }
                td .number data-name="Later" { (words::number(self.later)) }
                td .number data-name="Stand still" { (words::number(self.stalled)) }
                td data-name="Oldest" {
                    @if let Some(oldest) = self.oldest { (ago(oldest, now)) } @else { "–" }
                }
                td .number data-name="Workers" { (self.workers) }
                td .number data-name="Slots" { (words::number(self.slots)) }
                td data-name="State" { span .state .(class) { (standing) } }
                @if cx.may(Role::Operator) {
                    td data-name="Act" { (super::action(cx, Role::Operator, &path, act)) }
                }
            }
        }
    }
}

/// What the address of one says.
#[derive(Deserialize)]
pub(crate) struct Seen {
    /// How far back the charts go.
    span: Option<String>,
}

/// One queue: what is on it now, and what was done of it. A name that nobody knows is a queue that holds nothing.
pub(crate) async fn show(
    cx: Cx,
    Path(name): Path<String>,
    Params(asked): Params<Seen>,
) -> Result<Response> {
    let span = Span::read(asked.span.as_deref())?;
    let (queues, workers) = (cx.homing().queues().await?, cx.homing().workers().await?);
    let found = queues.iter().find(|queue| queue.name == name);
    let row = found.map_or_else(|| Row::new(&name, &workers), |queue| Row::of(queue, &workers));
    let path = format!("/queues/{}", encoded(&name));
    let charts = charts::section(&cx, charts::Of::Queue(&name), span, &path).await?;
    let (class, standing) = row.standing();
    let (verb, act) = row.act();
    let serve = |worker: &&WorkerView| worker.alive && worker.queues.contains(&name);
    let body = html! {
        p .crumbs { a href=(cx.link("/queues")) { "Queues" } }
        div .bar {
            h1 { (t(&name)) }
            div .actions { (super::action(&cx, Role::Operator, &format!("{path}/{verb}"), act)) }
        }
        p .lead { span .state .(class) { (standing) } }
        dl .tiles {
            div { dt { "Ready" } dd { (words::number(row.ready)) } }
            div { dt { "Due later" } dd { (words::number(row.later)) } }
            div { dt { "Stand still" } dd { (words::number(row.stalled)) } }
            div { dt { "Oldest" } dd { @if let Some(oldest) = row.oldest { (ago(oldest, cx.site.now())) } @else { "–" } } }
            div { dt { "Slots" } dd { (words::number(row.slots)) } }
        }
        p {
            (query(&cx, &format!("queue:{name}"), "Jobs of this queue"))
            @for worker in workers.iter().filter(serve) {
                " · " a href=(cx.link(format_args!("/workers/{}", worker.id))) { (t(&words::line(&worker.name, 80))) }
            }
        }
        (charts)
    };
    Ok(Page::new(&cx, "/queues", &name).scripts(&["redraw.js"]).show(&body))
}

/// The list of queues. Those that are served and hold nothing are listed too: they can be paused.
pub(crate) async fn list(cx: Cx, Params(asked): Params<Asked>) -> Result<Response> {
    let (queues, workers) = (cx.homing().queues().await?, cx.homing().workers().await?);
    let held = queues.iter().map(|queue| Row::of(queue, &workers));
    let mut rows: Vec<Row> = held.collect();
    let alive = workers.iter().filter(|worker| worker.alive);
    let mut served: Vec<&str> =
        alive.flat_map(|worker| &worker.queues).map(String::as_str).collect();
    served.sort_unstable();
    served.dedup();
    served.retain(|name| queues.iter().all(|queue| queue.name != *name));
    rows.extend(served.into_iter().map(|name| Row::new(name, &workers)));
    let unserved = rows.iter().find(|row| !row.paused && row.workers == 0);
    let now = cx.site.now();
    let body = html! {
        h1 { "Queues" }
        @if rows.is_empty() {
            p { "No queue holds a pending task, is paused or is served." }
        } @else {
            table .cards {
                caption .aside { "Queues" }
                thead {
                    tr {
                        th scope="col" { "Queue" }
                        th .number scope="col" { "Ready" }
                        th .number scope="col" { "Later" }
                        th .number scope="col" { "Stand still" }
                        th scope="col" { "Oldest" }
                        th .number scope="col" { "Workers" }
                        th .number scope="col" { "Slots" }
                        th scope="col" { "State" }
                        @if cx.may(Role::Operator) { th scope="col" { "Act" } }
                    }
                }
                tbody { @for row in &rows { (row.show(&cx, now)) } }
            }
        }
        @if let Some(row) = unserved {
            p .warning { "No living worker serves " strong { (t(row.name)) } ": what is on it waits." }
        }
    };
    let page = Page::new(&cx, "/queues", "Queues");
    Ok(page.message(super::act::outcome(&cx, asked.done.as_deref())).show(&body))
}
