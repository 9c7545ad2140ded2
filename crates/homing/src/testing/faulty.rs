//! A store whose replies get lost: applied, and answered with an error.

use std::fmt;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use crate::core::id::WorkerId;
use crate::store::{Error, Exchange, Heartbeat, Hints, Reply, Store, Verb};

/// Loses the reply of every n-th exchange, and the exchange itself of every n-th after that; and answers
/// every read of a record but each n-th with a transient error.
pub struct Faulty {
    inner: Arc<dyn Store>,
    every: u64,
    exchanges: AtomicU64,
    reads: AtomicU64,
}

impl Faulty {
    /// A store that loses every `every`-th exchange or its reply.
    pub fn over(inner: Arc<dyn Store>, every: u64) -> Self {
        Self { inner, every: every.max(2), exchanges: AtomicU64::new(0), reads: AtomicU64::new(0) }
    }
}

impl fmt::Debug for Faulty {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Faulty").field(&self.inner).finish()
    }
}

fn lost() -> Error {
    Error::Busy { reason: "the connection was lost".to_owned() }
}

impl Faulty {
    fn pass<'s, T>(
        &'s self,
        name: &'static str,
        verb: impl FnOnce(&'s dyn Store) -> Verb<'s, T>,
    ) -> Verb<'s, T> {
        if name == "record" {
            let number = self.reads.fetch_add(1, Ordering::SeqCst) + 1;
            if !number.is_multiple_of(self.every) {
                return Box::pin(async { Err(lost()) });
            }
        }
        verb(&*self.inner)
    }

    fn beat(&self, heartbeat: Heartbeat) -> Verb<'_, bool> {
        self.inner.heartbeat(heartbeat)
    }

    fn died(&self, worker: WorkerId) {
        self.inner.kill(worker);
    }

    fn heard(&self) -> &Hints {
        self.inner.hints()
    }

    async fn speak(&self, exchange: Exchange) -> Result<Reply, Error> {
        let number = self.exchanges.fetch_add(1, Ordering::SeqCst) + 1;
        if number % self.every == self.every / 2 {
            return Err(lost());
        }
        let reply = self.inner.exchange(exchange).await;
        if number.is_multiple_of(self.every) { Err(lost()) } else { reply }
    }
}

super::over::over!(Faulty);
