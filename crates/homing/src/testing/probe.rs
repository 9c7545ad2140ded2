//! A look into bodies: counters they hit, and gates they wait at.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::sync::{Notify, watch};

/// Given to tasks as a state; shared with the test.
#[derive(Debug, Clone, Default)]
pub struct Probe {
    inner: Arc<Inner>,
}

#[derive(Debug, Default)]
struct Inner {
    counts: Mutex<HashMap<String, u64>>,
    changed: Notify,
    gates: Mutex<HashMap<String, watch::Sender<bool>>>,
    notes: Mutex<Vec<String>>,
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Probe {
    /// Counts a passage.
    pub fn hit(&self, name: &str) {
        *lock(&self.inner.counts).entry(name.to_owned()).or_default() += 1;
        self.inner.changed.notify_waiters();
    }

    /// How often a name was hit.
    pub fn count(&self, name: &str) -> u64 {
        lock(&self.inner.counts).get(name).copied().unwrap_or(0)
    }

    /// Waits until a name has been hit so often.
    ///
    /// # Panics
    /// After 15 seconds.
    pub async fn hits(&self, name: &str, times: u64) {
        let wait = async {
            loop {
                let changed = self.inner.changed.notified();
                if self.count(name) >= times {
                    return;
                }
                // A hit between the look and the wait is caught by the next turn.
                let _ = tokio::time::timeout(Duration::from_millis(20), changed).await;
            }
        };
        let seen = tokio::time::timeout(Duration::from_secs(15), wait).await;
        assert!(seen.is_ok(), "`{name}` was hit {} times, not {times}", self.count(name));
    }

    fn gate(&self, name: &str) -> watch::Sender<bool> {
        lock(&self.inner.gates).entry(name.to_owned()).or_default().clone()
    }

    /// Opens a gate for good.
    pub fn open(&self, gate: &str) {
        self.gate(gate).send_replace(true);
    }

    /// Waits at a gate until it is open: plain I/O.
    pub async fn pass(&self, gate: &str) {
        let mut gate = self.gate(gate).subscribe();
        // The sender lives in the probe.
        let _ = gate.wait_for(|open| *open).await;
    }

    /// Notes a line, in order.
    pub fn note(&self, line: impl Into<String>) {
        lock(&self.inner.notes).push(line.into());
    }

    /// The lines noted so far.
    pub fn notes(&self) -> Vec<String> {
        lock(&self.inner.notes).clone()
    }
}
