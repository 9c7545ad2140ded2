//! A store that does to its verbs what a test has written down for them, one call after the other.

use std::collections::{HashMap, VecDeque};
use std::fmt;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use super::Probe;
use crate::core::id::WorkerId;
use crate::store::{Claim, Error, Exchange, Heartbeat, Hints, Reply, Store, Verb};

/// What happens to one call of a verb.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Turn {
    /// Nothing.
    Passes,
    /// The store is away: the call is not carried out, and fails as busy.
    Away,
    /// The store does not take the call, and will not until somebody mends it.
    Refuses,
    /// The store is away, and nothing says so.
    Hangs,
    /// Whoever calls panics.
    Panics,
    /// The call waits at a gate of the probe.
    Waits(&'static str),
    /// The call is carried out, and its answer waits at a gate of the probe.
    Late(&'static str),
}

/// A store with a script.
pub struct Scripted {
    inner: Arc<dyn Store>,
    probe: Probe,
    turns: Mutex<HashMap<&'static str, VecDeque<Turn>>>,
    always: Mutex<HashMap<&'static str, Turn>>,
    /// What each exchange asked for.
    asked: Mutex<Vec<Claim>>,
}

impl fmt::Debug for Scripted {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Scripted").field(&self.inner).finish()
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Scripted {
    /// A store without a script, over another. The probe has its gates, and counts each call of a verb under the
    /// verb's name.
    pub fn over(inner: Arc<dyn Store>, probe: Probe) -> Arc<Self> {
        let (turns, always, asked) = (Mutex::default(), Mutex::default(), Mutex::default());
        Arc::new(Self { inner, probe, turns, always, asked })
    }

    /// What happens to the next calls of a verb; those after them pass again.
    pub fn next(&self, verb: &'static str, turns: impl IntoIterator<Item = Turn>) {
        lock(&self.turns).entry(verb).or_default().extend(turns);
    }

    /// Takes back what [`next`](Self::next) has written down and did not happen.
    pub fn forget(&self, verb: &'static str) {
        lock(&self.turns).remove(verb);
    }

    /// What happens to each call of a verb from now on.
    pub fn always(&self, verb: &'static str, turn: Turn) {
        lock(&self.always).insert(verb, turn);
    }

    /// How many tasks each exchange so far has asked for: to begin at once, and ahead.
    pub fn asked(&self) -> Vec<(usize, usize)> {
        lock(&self.asked).iter().map(|claim| (claim.tasks, claim.ahead)).collect()
    }

    /// Whether each exchange so far has looked for all there is.
    pub fn searched(&self) -> Vec<bool> {
        lock(&self.asked).iter().map(|claim| claim.search).collect()
    }

    fn turn(&self, verb: &'static str) -> Turn {
        let next = lock(&self.turns).get_mut(verb).and_then(VecDeque::pop_front);
        let turn = next.or_else(|| lock(&self.always).get(verb).cloned()).unwrap_or(Turn::Passes);
        self.probe.hit(verb);
        turn
    }

    fn pass<'s, T: Send + 's>(
        &'s self,
        name: &'static str,
        verb: impl FnOnce(&'s dyn Store) -> Verb<'s, T> + Send + 's,
    ) -> Verb<'s, T> {
        Box::pin(async move {
            match self.turn(name) {
                Turn::Passes => verb(&*self.inner).await,
                Turn::Away => Err(Error::Busy { reason: "it is away".to_owned() }),
                Turn::Refuses => Err(Error::Failed { reason: "permission denied".to_owned() }),
                Turn::Hangs => std::future::pending().await,
                Turn::Panics => panic!("`{name}` was to panic"),
                Turn::Waits(gate) => {
                    self.probe.pass(gate).await;
                    verb(&*self.inner).await
                }
                Turn::Late(gate) => {
                    let answer = verb(&*self.inner).await;
                    self.probe.pass(gate).await;
                    answer
                }
            }
        })
    }

    async fn speak(&self, exchange: Exchange) -> Result<Reply, Error> {
        lock(&self.asked).push(exchange.claim.clone());
        self.pass("exchange", move |inner| inner.exchange(exchange)).await
    }

    async fn beat(&self, heartbeat: Heartbeat) -> Result<bool, Error> {
        self.pass("heartbeat", move |inner| inner.heartbeat(heartbeat)).await
    }

    fn died(&self, worker: WorkerId) {
        self.inner.kill(worker);
    }

    fn heard(&self) -> &Hints {
        self.inner.hints()
    }
}

super::over::over!(Scripted);
