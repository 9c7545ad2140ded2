//! What a worker says of a store that does not take its exchanges: a permission that was revoked, a schema that is
//! gone. Nobody but an operator mends that, so it is an error, said at once and then once a minute; the worker goes
//! on asking, and goes on by itself once the store is mended.

use std::time::Duration;

use tokio::time::Instant;

use crate::core::id::WorkerId;
use crate::store::Error;

/// Pause before the exchange is sent again.
pub(super) const PAUSE: Duration = Duration::from_secs(2);
/// How often it is said.
const AGAIN: Duration = Duration::from_mins(1);

/// When it was last said of one exchange.
#[derive(Debug, Default)]
pub(super) struct Refusals {
    told: Option<Instant>,
}

impl Refusals {
    pub(super) fn tell(&mut self, worker: WorkerId, error: &Error) {
        if self.is_due() {
            tracing::error!(
                %worker,
                %error,
                "the store does not take what the worker says, and no task of it goes on: mend the store or stop the \
                 worker"
            );
        }
    }

    fn is_due(&mut self) -> bool {
        let due = self.told.is_none_or(|told| told.elapsed() >= AGAIN);
        if due {
            self.told = Some(Instant::now());
        }
        due
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::{AGAIN, PAUSE, Refusals};

    #[tokio::test(start_paused = true)]
    async fn a_refusal_is_told_at_once_and_then_once_a_minute() {
        let (mut refusals, mut told) = (Refusals::default(), Vec::new());
        for n in 0..=60 {
            told.extend(refusals.is_due().then_some(PAUSE * n));
            tokio::time::advance(PAUSE).await;
        }
        assert_eq!(told, [Duration::ZERO, AGAIN, AGAIN * 2]);
    }
}
