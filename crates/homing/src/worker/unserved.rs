//! Looks now and then for tasks that no living worker can take, and tells the program's log.
//!
//! A kind that was not registered, or a misspelt queue, fails nothing: its tasks wait, and their parents with
//! them. Each worker says so once for each queue and kind. It costs two reads a minute; nothing depends on
//! it, so a read that fails is not repeated.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;

use super::{Shared, while_running};
use crate::store::events;
use crate::store::read::WorkerView;

/// The first look: other workers may be about to start.
const FIRST: Duration = Duration::from_secs(5);
/// Time between two looks.
const EVERY: Duration = Duration::from_mins(1);

/// Starts to look; it ends with the worker.
pub(super) fn start(shared: &Arc<Shared>) {
    let weak = Arc::downgrade(shared);
    let mut phase = shared.phase.subscribe();
    let clock = shared.store.clock().clone();
    let mut next = clock.now().after(FIRST);
    tokio::spawn(async move {
        let mut told = Told::default();
        while while_running(&mut phase, clock.until(next)).await.is_some() {
            let Some(shared) = weak.upgrade() else { return };
            look(&shared, &mut told).await;
            next = clock.now().after(EVERY);
        }
    });
}

/// What was said.
#[derive(Default)]
struct Told {
    queues: BTreeSet<String>,
    kinds: BTreeSet<(String, String)>,
}

async fn look(shared: &Shared, told: &mut Told) {
    let Ok(pending) = shared.store.pending_kinds().await else { return };
    if pending.iter().all(|(queue, kind)| shared.takes(queue, kind)) {
        return;
    }
    let Ok(mut workers) = shared.store.workers().await else { return };
    // This one lives, however late its heartbeat may be.
    let own = shared.identity.worker();
    workers.retain(|worker| worker.alive || worker.id == own);
    for (queue, kind) in pending {
        let serves = |worker: &&WorkerView| worker.queues.contains(&queue);
        if !workers.iter().any(|worker| serves(&worker)) {
            if told.queues.insert(queue.clone()) {
                events::no_worker(&queue, &kind);
            }
        } else if !workers.iter().filter(serves).any(|worker| worker.kinds.contains(&kind))
            && told.kinds.insert((queue.clone(), kind.clone()))
        {
            events::no_kind(&queue, &kind);
        }
    }
}

impl Shared {
    /// Whether this worker can take such a task.
    fn takes(&self, queue: &str, kind: &str) -> bool {
        self.queues.iter().any(|own| own == queue) && self.definitions.contains_key(kind)
    }
}
