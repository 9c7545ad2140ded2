//! The queues: how deep, how old, who serves them, whether they are paused.

use axum::extract::Query as Parameters;
use axum::response::Response;
use homing::QueueView;
use homing_view::words;
use maud::html;
use serde::Deserialize;

use super::Page;
use super::parts::{ago, encoded, query};
use crate::options::Role;
use crate::problem::Result;
use crate::sight::t;
use crate::site::Cx;

/// What the address says.
#[derive(Deserialize)]
pub(crate) struct Asked {
    done: Option<String>,
}

/// The list of queues.
pub(crate) async fn list(cx: Cx, Parameters(asked): Parameters<Asked>) -> Result<Response> {
    let (queues, workers) = (cx.homing().queues().await?, cx.homing().workers().await?);
    let now = cx.site.now();
    let alive: Vec<_> = workers.iter().filter(|worker| worker.alive).collect();
    // Queues that are served and hold nothing are listed too: they can be paused.
    let mut idle: Vec<&str> =
        alive.iter().flat_map(|worker| worker.queues.iter().map(String::as_str)).collect();
    idle.sort_unstable();
    idle.dedup();
    idle.retain(|name| queues.iter().all(|queue| queue.name != *name));
    let slots = |name: &str| -> (usize, u64) {
        let serving = alive.iter().filter(|worker| worker.queues.iter().any(|own| own == name));
        (serving.clone().count(), serving.map(|worker| u64::from(worker.slots)).sum())
    };
    let switch = |name: &str, paused: bool| {
        let verb = if paused { "unpause" } else { "pause" };
        let path = format!("/queues/{}/{verb}", encoded(name));
        super::action(&cx, Role::Operator, &path, if paused { "Resume…" } else { "Pause…" })
    };
    let standing = |queue: &QueueView, workers: usize| match (queue.paused, workers) {
        (true, _) => ("cancelled", "⏸ paused"),
        (_, 0) => ("failed", "✗ no worker"),
        _ => ("succeeded", "✓ served"),
    };
    let body = html! {
        h1 { "Queues" }
        @if queues.is_empty() && idle.is_empty() {
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
                tbody {
                    @for queue in &queues {
                        @let (workers, slots) = slots(&queue.name);
                        @let (class, state) = standing(queue, workers);
                        tr {
                            td data-name="Queue" { (query(&cx, &format!("queue:{}", queue.name), &queue.name)) }
                            td .number data-name="Ready" { (words::number(queue.ready)) }
                            td .number data-name="Later" { (words::number(queue.scheduled)) }
                            td .number data-name="Stand still" { (words::number(queue.stalled)) }
                            td data-name="Oldest" { @if let Some(oldest) = queue.oldest { (ago(oldest, now)) } @else { "–" } }
                            td .number data-name="Workers" { (workers) }
                            td .number data-name="Slots" { (slots) }
                            td data-name="State" { span .state .(class) { (state) } }
                            @if cx.may(Role::Operator) { td data-name="Act" { (switch(&queue.name, queue.paused)) } }
                        }
                    }
                    @for name in idle {
                        @let (workers, slots) = slots(name);
                        tr {
                            td data-name="Queue" { (query(&cx, &format!("queue:{name}"), name)) }
                            td .number data-name="Ready" { "0" }
                            td .number data-name="Later" { "0" }
                            td .number data-name="Stand still" { "0" }
                            td data-name="Oldest" { "–" }
                            td .number data-name="Workers" { (workers) }
                            td .number data-name="Slots" { (slots) }
                            td data-name="State" { span .state .succeeded { "✓ served" } }
                            @if cx.may(Role::Operator) { td data-name="Act" { (switch(name, false)) } }
                        }
                    }
                }
            }
        }
        @if let Some(wrong) = queues.iter().find(|queue| !queue.paused && slots(&queue.name).0 == 0) {
            p .warning { "No living worker serves " strong { (t(&wrong.name)) } ": what is on it waits." }
        }
    };
    let page = Page::new(&cx, "/queues", "Queues");
    Ok(page.message(super::act::outcome(&cx, asked.done.as_deref())).show(&body))
}
