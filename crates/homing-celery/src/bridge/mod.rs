//! The bridge: loops beside a worker of its own. The only timers of the crate.
//!
//! `builder` says what there is to say; `consume` takes messages and makes jobs of them; `control` answers commands and
//! beats the heart; `listen` hears results of Celery's and wakes those that wait; `look` is what stands behind it,
//! should a word be lost. None of them runs a task: that is `entry` and `call`, under the bridge's own worker.

use std::collections::{BTreeMap, HashMap};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use homing::{Homing, KindView, Worker};
use serde_json::Value;
use tokio::sync::watch;
use tokio::time::Instant;

use crate::error::Fault;
use crate::redis::Keys;
use crate::wire::{Event, Message};

mod builder;
mod consume;
mod control;
mod listen;
mod look;
mod notes;
mod servers;

pub use builder::{BridgeBuilder, Celery};
pub(crate) use builder::{Settings, own_queue};
pub(crate) use consume::{Refusal, member};
pub(crate) use notes::{IN, Notes, OUT};
pub(crate) use servers::{Broker, Results};

/// A running bridge between a store and a Celery application. It runs until [`shutdown`](Self::shutdown) or the end of
/// the runtime; dropping the handle does not stop it.
#[derive(Debug, Clone)]
pub struct Bridge {
    shared: Arc<Shared>,
    worker: Worker,
}

impl Bridge {
    /// The name under which Celery's tools know it: `homing@HOST-PROCESS` unless it was given one.
    pub fn name(&self) -> &str {
        &self.shared.settings.hostname
    }

    /// Stops taking messages, waits until what runs of the bridge's own tasks has parked or ended, and leaves. Nothing
    /// is lost: what was taken is in the store, and another bridge goes on with it.
    pub async fn shutdown(&self, patience: Duration) {
        self.shared.phase.send_replace(true);
        self.worker.shutdown(patience).await;
        self.shared.tell_offline().await;
    }
}

/// What the bridge's loops and its tasks share. Given to its worker as a state.
#[derive(Debug)]
pub(crate) struct Shared {
    pub(crate) homing: Homing,
    pub(crate) broker: Broker,
    pub(crate) results: Results,
    pub(crate) notes: Notes,
    /// Names in the result backend.
    pub(crate) keys: Keys,
    pub(crate) settings: Settings,
    /// Whether it is leaving.
    phase: watch::Sender<bool>,
    /// Celery's logical clock.
    clock: AtomicU64,
    processed: Mutex<BTreeMap<String, u64>>,
    active: Mutex<HashMap<String, Value>>,
    /// Of tasks under way the last line of the log that was told as a retry.
    retried: Mutex<HashMap<String, u64>>,
    kinds: Mutex<Option<(Instant, Arc<Vec<KindView>>)>>,
    started: Instant,
}

/// What a task of the bridge's own is given as its state.
#[derive(Debug, Clone)]
pub(crate) struct Way(pub(crate) Arc<Shared>);

/// For how long what is known of kinds is believed.
const KINDS: Duration = Duration::from_millis(500);

fn locked<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Shared {
    fn new(homing: Homing, (broker, results): (Broker, Results), settings: Settings) -> Self {
        let plain = || Keys::plain(settings.name.as_deref());
        Self {
            homing,
            notes: Notes::new(&broker, &results),
            keys: results.redis().map_or_else(plain, |link| link.keys.clone()),
            broker,
            results,
            settings,
            phase: watch::Sender::new(false),
            clock: AtomicU64::new(1),
            processed: Mutex::default(),
            active: Mutex::default(),
            retried: Mutex::default(),
            kinds: Mutex::default(),
            started: Instant::now(),
        }
    }

    /// Kinds that workers of the store have registered; of half a second ago at most.
    pub(crate) async fn kinds(&self) -> Result<Arc<Vec<KindView>>, homing::StoreError> {
        let kept = locked(&self.kinds).clone();
        if let Some((at, kinds)) = kept
            && at.elapsed() < KINDS
        {
            return Ok(kinds);
        }
        let kinds = Arc::new(self.homing.kinds().await?);
        *locked(&self.kinds) = Some((Instant::now(), Arc::clone(&kinds)));
        Ok(kinds)
    }

    /// The next tick of Celery's logical clock.
    pub(crate) fn tick(&self) -> u64 {
        self.clock.fetch_add(1, Ordering::Relaxed) + 1
    }

    /// Somebody else's clock was seen.
    pub(crate) fn seen(&self, clock: u64) {
        self.clock.fetch_max(clock, Ordering::Relaxed);
    }

    /// Seconds since 1970, of the store's clock.
    pub(crate) fn seconds(&self) -> f64 {
        let now: SystemTime = self.homing.now();
        now.duration_since(UNIX_EPOCH).unwrap_or_default().as_secs_f64()
    }

    /// Publishes events of one group; a lost one is not missed.
    pub(crate) async fn tell(&self, events: Vec<Event>) {
        if let Err(error) = self.told(events).await {
            tracing::debug!(%error, "events were not told");
        }
    }

    async fn told(&self, events: Vec<Event>) -> Result<(), Fault> {
        if !self.settings.events {
            return Ok(());
        }
        let tick = || (self.tick(), self.seconds());
        match Event::letter(events, &self.settings.hostname, tick) {
            Some(letter) => self.broker.letter(&letter).await,
            None => Ok(()),
        }
    }

    /// Sends a task's message, unless one was sent under its id. Whether it was sent now.
    pub(crate) async fn send(&self, queue: &str, message: &Message) -> Result<bool, Fault> {
        let id = &message.headers.id;
        if self.notes.was_sent(id).await? {
            return Ok(false);
        }
        let sent = self.broker.send(queue, message).await?;
        crate::point::pass("published");
        self.notes.sent(id).await?;
        Ok(sent)
    }

    /// A task has begun here: for `inspect active`.
    pub(crate) fn begun(self: &Arc<Self>, id: &str, shown: Value) -> Active {
        locked(&self.active).insert(id.to_owned(), shown);
        Active { shared: Arc::clone(self), id: id.to_owned() }
    }

    /// Whether a failed attempt of a task was not told yet. From now on it was.
    fn is_new_retry(&self, id: &str, line: u64) -> bool {
        let mut retried = locked(&self.retried);
        let last = retried.entry(id.to_owned()).or_default();
        let is_new = line > *last;
        *last = line.max(*last);
        is_new
    }

    pub(crate) fn forget_retries(&self, id: &str) {
        locked(&self.retried).remove(id);
    }

    pub(crate) fn counted(&self, task: &str) {
        *locked(&self.processed).entry(task.to_owned()).or_default() += 1;
    }

    /// Runs `round` again and again until the bridge leaves; after a fault with a growing pause.
    async fn again<F>(self: &Arc<Self>, what: &'static str, mut round: impl FnMut(Arc<Self>) -> F)
    where
        F: Future<Output = Result<(), Fault>>,
    {
        let mut leaving = self.phase.subscribe();
        let mut pause = Duration::ZERO;
        while !*leaving.borrow() {
            let begun = Instant::now();
            tokio::select! {
                biased;
                _ = leaving.wait_for(|leaving| *leaving) => return,
                done = round(Arc::clone(self)) => match done {
                    Ok(()) => {
                        pause = Duration::ZERO;
                        continue;
                    }
                    Err(error) => {
                        pause = next_pause(pause, begun.elapsed());
                        tracing::warn!(%error, what, pause_ms = pause.as_millis() as u64, "the bridge to Celery tries again");
                    }
                },
            }
            tokio::select! {
                _ = leaving.wait_for(|leaving| *leaving) => return,
                () = tokio::time::sleep(pause) => {}
            }
        }
    }
}

const PAUSE_MIN: Duration = Duration::from_millis(100);
const PAUSE_MAX: Duration = Duration::from_secs(5);

/// The pause after a fault: twice the one before. A round that consumes or listens ends with a fault only, so one that
/// went well for a while counts as one that was done.
fn next_pause(before: Duration, went_well: Duration) -> Duration {
    let before = if went_well > PAUSE_MAX { Duration::ZERO } else { before };
    (before * 2).clamp(PAUSE_MIN, PAUSE_MAX)
}

/// That a task runs here, until it is dropped.
#[derive(Debug)]
pub(crate) struct Active {
    shared: Arc<Shared>,
    id: String,
}

impl Drop for Active {
    fn drop(&mut self) {
        locked(&self.shared.active).remove(&self.id);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pauses_grow_until_a_round_has_gone_well_for_a_while() {
        let mut pause = Duration::ZERO;
        let mut after = |went_well| {
            pause = next_pause(pause, went_well);
            pause.as_millis()
        };
        let at_once = [0; 8].map(|_| after(Duration::ZERO));
        assert_eq!(at_once, [100, 200, 400, 800, 1600, 3200, 5000, 5000]);
        assert_eq!(after(PAUSE_MAX * 2), 100, "of a connection that was lost after hours");
        assert_eq!(after(Duration::ZERO), 200);
    }
}
