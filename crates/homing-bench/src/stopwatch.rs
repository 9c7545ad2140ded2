//! A stopwatch that bodies and the bench share: one stretch of time at a time.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::time::Instant;

/// From when until when. Clones share the same hands.
#[derive(Debug, Clone, Default)]
pub(crate) struct Stopwatch(Arc<Mutex<Hands>>);

#[derive(Debug, Default)]
struct Hands {
    started: Option<Instant>,
    stopped: Option<Instant>,
}

impl Stopwatch {
    fn hands(&self) -> MutexGuard<'_, Hands> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Starts unless it runs: a body that is replayed does not start it again.
    pub(crate) fn start(&self) {
        self.hands().started.get_or_insert_with(Instant::now);
    }

    /// Starts, running or not: the last caller counts.
    pub(crate) fn restart(&self) {
        self.hands().started = Some(Instant::now());
    }

    /// Stops.
    pub(crate) fn stop(&self) {
        let now = Instant::now();
        self.hands().stopped = Some(now);
    }

    /// What was measured, if it was; sets the hands back.
    pub(crate) fn take(&self) -> Option<Measured> {
        let Hands { started, stopped } = std::mem::take(&mut *self.hands());
        Some(Measured { started: started?, stopped: stopped? })
    }
}

/// A stretch of time.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Measured {
    pub(crate) started: Instant,
    pub(crate) stopped: Instant,
}

impl Measured {
    pub(crate) fn elapsed(self) -> Duration {
        self.stopped - self.started
    }

    /// Milliseconds from an instant to the stop; negative if the stop came first.
    pub(crate) fn since(self, from: Instant) -> f64 {
        let ms = |duration: Duration| duration.as_secs_f64() * 1000.0;
        ms(self.stopped.saturating_duration_since(from))
            - ms(from.saturating_duration_since(self.stopped))
    }
}
