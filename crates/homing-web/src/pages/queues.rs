//! The queues: how deep, how old, who serves them, whether they are paused.

use axum::response::Response;
use homing::{Time, WorkerView};
use homing_view::words;
use maud::{Markup, html};
use serde::Deserialize;

use super::Page;
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
        let (verb, act) =
            if self.paused { ("unpause", "Resume…") } else { ("pause", "Pause…") };
        let path = format!("/queues/{}/{verb}", encoded(self.name));
        html! {
            tr {
                td data-name="Queue" { (query(cx, &format!("queue:{}", self.name), self.name)) }
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

/// The list of queues. Those that are served and hold nothing are listed too: they can be paused.
pub(crate) async fn list(cx: Cx, Params(asked): Params<Asked>) -> Result<Response> {
    let (queues, workers) = (cx.homing().queues().await?, cx.homing().workers().await?);
    let held = queues.iter().map(|queue| Row {
        ready: queue.ready,
        later: queue.scheduled,
        stalled: queue.stalled,
        oldest: queue.oldest,
        paused: queue.paused,
        ..Row::new(&queue.name, &workers)
    });
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
