//! `/metrics`: what can be read of a store now, as Prometheus reads it. The names are in
//! `docs/guides/dashboard.md`.
//!
//! No job, task, key or tag is a label: their number has no bound.

use std::fmt::Write;

use axum::response::{IntoResponse, Response};
use homing::{QueueView, Time, WorkerView};

use crate::problem::Result;
use crate::site::Cx;

const KIND: &str = "text/plain; version=0.0.4; charset=utf-8";

/// The metrics.
pub(crate) async fn show(cx: Cx) -> Result<Response> {
    let (queues, workers) = (cx.site.hub.queues().await?, cx.site.hub.workers().await?);
    let text = written(&queues.value, &workers.value, cx.site.now());
    Ok(([("content-type", KIND)], text).into_response())
}

/// A number of each queue, and what it is.
type OfQueue = (&'static str, &'static str, fn(&QueueView, Time) -> f64);
/// A number of each worker, and what it is.
type OfWorker = (&'static str, &'static str, &'static str, fn(&WorkerView, Time) -> f64);

const QUEUES: [OfQueue; 5] = [
    ("homing_queue_ready", "Tasks that could be claimed now.", |queue, _| queue.ready as f64),
    ("homing_queue_scheduled", "Tasks due later.", |queue, _| queue.scheduled as f64),
    ("homing_queue_stalled", "Pending tasks that stand still.", |queue, _| queue.stalled as f64),
    (
        "homing_queue_oldest_seconds",
        "For how long the oldest ready task could have been claimed; 0 without one.",
        |queue, now| queue.oldest.map_or(0.0, |oldest| now.since(oldest).as_secs_f64()),
    ),
    ("homing_queue_paused", "1 while claims are stopped.", |queue, _| {
        f64::from(u8::from(queue.paused))
    }),
];

const WORKERS: [OfWorker; 6] = [
    ("homing_worker_alive", "gauge", "1 while the worker lives.", |worker, _| {
        f64::from(u8::from(worker.alive))
    }),
    ("homing_worker_slots", "gauge", "Tasks it runs at once at most.", |worker, _| {
        f64::from(worker.slots)
    }),
    ("homing_worker_running", "gauge", "Tasks it holds.", |worker, _| f64::from(worker.running)),
    (
        "homing_worker_resident",
        "gauge",
        "Parked tasks it kept in memory at its last heartbeat.",
        |worker, _| f64::from(worker.resident),
    ),
    (
        "homing_worker_ended_total",
        "counter",
        "Tasks it had brought to their ends at its last heartbeat.",
        |worker, _| worker.ended as f64,
    ),
    ("homing_worker_heartbeat_age_seconds", "gauge", "Since its last heartbeat.", |worker, now| {
        now.since(worker.heartbeat).as_secs_f64()
    }),
];

fn written(queues: &[QueueView], workers: &[WorkerView], now: Time) -> String {
    let mut out = String::new();
    let heading = |out: &mut String, name: &str, kind: &str, help: &str| {
        // Writing to a string does not fail.
        let _ = writeln!(out, "# HELP {name} {help}\n# TYPE {name} {kind}");
    };
    for (name, help, number) in QUEUES {
        heading(&mut out, name, "gauge", help);
        for queue in queues {
            let label = label(&queue.name);
            let _ = writeln!(out, "{name}{{queue=\"{label}\"}} {}", number(queue, now));
        }
    }
    let mut served: Vec<&str> = workers
        .iter()
        .filter(|worker| worker.alive)
        .flat_map(|worker| worker.queues.iter().map(String::as_str))
        .collect();
    served.extend(queues.iter().map(|queue| queue.name.as_str()));
    served.sort_unstable();
    served.dedup();
    heading(&mut out, "homing_queue_slots", "gauge", "Slots of the living workers that serve it.");
    for name in served {
        let serving = workers
            .iter()
            .filter(|worker| worker.alive && worker.queues.iter().any(|own| own == name));
        let slots: u64 = serving.map(|worker| u64::from(worker.slots)).sum();
        let _ = writeln!(out, "homing_queue_slots{{queue=\"{}\"}} {slots}", label(name));
    }
    for (name, kind, help, number) in WORKERS {
        heading(&mut out, name, kind, help);
        for worker in workers {
            let (id, label) = (worker.id, label(&worker.name));
            let value = number(worker, now);
            let _ = writeln!(out, "{name}{{worker=\"{id}\",name=\"{label}\"}} {value}");
        }
    }
    out
}

/// A label's value: what would end it is escaped.
fn label(text: &str) -> String {
    text.replace('\\', "\\\\").replace('"', "\\\"").replace('\n', "\\n")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn labels_do_not_end_early() {
        assert_eq!(label("a\"b\\c\nd"), "a\\\"b\\\\c\\nd");
    }
}
