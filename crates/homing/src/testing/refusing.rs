//! A store that refuses units of its own choice: nothing of them happens, as when it cannot hold them.

use std::collections::HashSet;
use std::fmt;
use std::sync::{Arc, Mutex, PoisonError};

use super::Probe;
use crate::store::{Error, Event, Exchange, Refusal, Reply, Store, Unit};

/// Chooses which units are refused, and how.
pub type Choice = dyn Fn(&Unit) -> Option<Refusal> + Send + Sync;

/// Refuses the first unit of each claim that its choice falls on.
pub struct Refusing {
    inner: Arc<dyn Store>,
    choice: Box<Choice>,
    refused: Mutex<HashSet<crate::TaskId>>,
    held: Option<Probe>,
}

impl Refusing {
    /// A store that refuses, once for each task, a unit that `choice` falls on.
    pub fn over(inner: Arc<dyn Store>, choice: Box<Choice>) -> Self {
        Self { inner, choice, refused: Mutex::default(), held: None }
    }

    /// Counts each exchange in which it refuses something as `refused`, and answers it once the gate `answer` is open.
    #[must_use]
    pub fn held(self, probe: &Probe) -> Self {
        Self { held: Some(probe.clone()), ..self }
    }

    fn refuses(&self, unit: &Unit) -> Option<Refusal> {
        let refusal = (self.choice)(unit)?;
        let mut refused = self.refused.lock().unwrap_or_else(PoisonError::into_inner);
        refused.insert(unit.task).then_some(refusal)
    }

    async fn speak(&self, mut exchange: Exchange) -> Result<Reply, Error> {
        let mut refused = Vec::new();
        exchange.units.retain(|unit| match self.refuses(unit) {
            Some(refusal) => {
                refused.push((unit.task, refusal));
                false
            }
            None => true,
        });
        let mut reply = self.inner.exchange(exchange).await?;
        if let Some(probe) = self.held.as_ref().filter(|_| !refused.is_empty()) {
            probe.hit("refused");
            probe.pass("answer").await;
        }
        reply.refused.extend(refused);
        Ok(reply)
    }
}

/// The word for the first event of a unit that distinguishes it.
pub fn says(unit: &Unit, word: &str) -> bool {
    unit.events.iter().any(|event| match event {
        Event::Record { .. } => word == "record",
        Event::Spawn(_) => word == "spawn",
        Event::Add(_) => word == "add",
        Event::Park { .. } => word == "park",
        Event::End(_) => word == "end",
        Event::Log(_) => word == "log",
        Event::Signal(_) => word == "signal",
        Event::Begin
        | Event::Detach(_)
        | Event::Abort(_)
        | Event::Progress { .. }
        | Event::Retry { .. }
        | Event::Stall { .. }
        | Event::HandBack => false,
    })
}

impl fmt::Debug for Refusing {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Refusing").field(&self.inner).finish()
    }
}

super::over::over!(Refusing, passing);
