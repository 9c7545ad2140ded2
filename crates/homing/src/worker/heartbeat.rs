//! The heartbeat: renews the lease on a thread of its own, which no busy body can block.

use std::sync::Arc;

use super::{Phase, Shared};

/// Starts the thread; it ends with the worker.
pub(super) fn start(shared: &Arc<Shared>) {
    let weak = Arc::downgrade(shared);
    let mut phase = shared.phase.subscribe();
    let interval = shared.settings.lease / 3;
    let clock = shared.store.clock().clone();
    // Counted from the last beat, not from whenever the thread came to run: the lease is, too.
    let mut last = clock.now();
    let beat = async move {
        loop {
            // Biased: a worker that is gone says nothing more, though a beat be due.
            tokio::select! {
                biased;
                gone = phase.wait_for(|phase| matches!(phase, Phase::Gone | Phase::Killed)) => {
                    drop(gone);
                    return;
                }
                () = clock.until(last.after(interval)) => {}
            }
            let Some(shared) = weak.upgrade() else { return };
            last = clock.now();
            if !shared.identity.is_announced() {
                // The conversation is about to announce it.
                continue;
            }
            let told = shared.told(false);
            let worker = told.worker;
            match shared.store.heartbeat(told).await {
                Ok(true) => shared.tell_minutes(false).await,
                // An answer about an id that was given up meanwhile is no news.
                Ok(false) if !shared.identity.given_up(worker) => {}
                Ok(false) => {
                    tracing::warn!(%worker, "the store gave this worker up: its lease had run out");
                    shared.outbox.poke();
                }
                Err(error) => tracing::warn!(%error, "the heartbeat failed, the next one follows"),
            }
        }
    };
    if shared.store.clock().is_simulated() {
        // In a simulation time, and with it the order of all that happens, is the runtime's.
        tokio::spawn(beat);
        return;
    }
    let spawned =
        std::thread::Builder::new().name("homing-heartbeat".to_owned()).spawn(move || {
            let runtime = tokio::runtime::Builder::new_current_thread().enable_time().build();
            match runtime {
                Ok(runtime) => runtime.block_on(beat),
                Err(error) => tracing::error!(%error, "no runtime for the heartbeat"),
            }
        });
    if let Err(error) = spawned {
        tracing::error!(%error, "no thread for the heartbeat: the lease will run out");
    }
}
