//! The store itself, and what is registered in it: queues, workers, kinds.

use homing::{Breach, KindView, QueueView, StoreView, Time, WorkerId, WorkerView};
use serde::Serialize;

use super::Object;

/// A queue, and who serves it.
#[derive(Debug, Serialize)]
pub struct Queue<'a> {
    name: &'a str,
    ready: u64,
    scheduled: u64,
    stalled: u64,
    oldest: Option<String>,
    paused: bool,
    workers: u64,
    slots: u64,
}

/// A worker.
#[derive(Debug, Serialize)]
pub struct Worker<'a> {
    id: WorkerId,
    name: &'a str,
    alive: bool,
    queues: &'a [String],
    kinds: &'a [String],
    slots: u32,
    running: u32,
    resident: u32,
    ended: u64,
    started: Option<String>,
    heartbeat: Option<String>,
}

/// A store.
#[derive(Debug, Serialize)]
pub struct Store<'a> {
    url: &'a str,
    version: Option<i64>,
    known: i64,
    bytes: Option<u64>,
    durability: Option<&'a str>,
}

/// A queue, and the living workers that serve it.
pub fn queue<'a>(view: &'a QueueView, workers: &[WorkerView]) -> Object<'a> {
    let serve = |worker: &&WorkerView| worker.alive && worker.queues.contains(&view.name);
    Object::Queue(Queue {
        name: &view.name,
        ready: view.ready,
        scheduled: view.scheduled,
        stalled: view.stalled,
        oldest: view.oldest.and_then(Time::rfc3339),
        paused: view.paused,
        workers: workers.iter().filter(serve).count() as u64,
        slots: workers.iter().filter(serve).map(|worker| u64::from(worker.slots)).sum(),
    })
}

/// A worker.
pub fn worker(view: &WorkerView) -> Object<'_> {
    Object::Worker(Worker {
        id: view.id,
        name: &view.name,
        alive: view.alive,
        queues: &view.queues,
        kinds: &view.kinds,
        slots: view.slots,
        running: view.running,
        resident: view.resident,
        ended: view.ended,
        started: view.started.rfc3339(),
        heartbeat: view.heartbeat.rfc3339(),
    })
}

/// A kind.
pub fn kind(view: &KindView) -> Object<'_> {
    Object::Kind { name: &view.name, arguments: &view.arguments }
}

/// A broken invariant.
pub fn breach(breach: &Breach) -> Object<'_> {
    Object::Breach { task: breach.task, what: &breach.what }
}

/// A store.
pub fn store(view: &StoreView) -> Object<'_> {
    let StoreView { version, known, bytes, .. } = *view;
    let durability = view.durability.as_deref();
    Object::Store(Store { url: &view.url, version, known, bytes, durability })
}
