//! Whether a worker has nothing to do now: for tests that turn the clock. The conversation answers.

use std::sync::atomic::Ordering;

use super::{Phase, Worker};
use crate::core::time::Time;

impl Worker {
    /// Waits until this worker has nothing to do now: every task that it may claim has ended, is parked or is
    /// due later. Says when the next of those is due, `None` if nothing is.
    ///
    /// For tests with a [manual clock](crate::ManualClock): what was submitted, signalled or due before the call
    /// is done when it returns, as far as it can be. So a test turns the clock to the next instant until the
    /// job has ended, and skips the pauses between:
    ///
    /// ```
    /// use std::time::Duration;
    ///
    /// use homing::{Clock, Homing, ManualClock, task};
    ///
    /// #[task]
    /// async fn remind(days: u64) -> homing::Result<u64> {
    ///     homing::sleep(Duration::from_secs(days * 86_400)).await?;
    ///     Ok(days)
    /// }
    ///
    /// # #[tokio::main]
    /// # async fn main() -> Result<(), Box<dyn std::error::Error>> {
    /// let clock = ManualClock::default();
    /// let homing = Homing::open_with("memory:", Clock::Manual(clock.clone())).await?;
    /// let worker = homing.worker().register(remind).start().await?;
    /// let job = homing.submit(remind(3)).await?;
    /// while let Some(due) = worker.idle().await {
    ///     clock.set(due);
    /// }
    /// assert_eq!(job.outcome().await?, 3);
    /// # Ok(())
    /// # }
    /// ```
    ///
    /// It waits as long as a body does plain work, and for tasks of other workers not at all: with several ask
    /// one after the other until none has anything due. A worker that is shut down is idle.
    pub async fn idle(&self) -> Option<Time> {
        // A clock that is turned far lets leases run out. Renewed only by the heartbeat's thread, the lease was a
        // race: an exchange before the beat gave the worker up, found nothing for it, and it seemed idle.
        let told = self.shared.told(false);
        let worker = told.worker;
        let is_announced = self.shared.identity.is_announced();
        if is_announced && matches!(self.shared.store.heartbeat(told).await, Ok(false)) {
            self.shared.identity.given_up(worker);
        }
        let number = self.shared.asked.fetch_add(1, Ordering::SeqCst) + 1;
        let mut phase = self.shared.phase.subscribe();
        let mut idle = self.shared.idle.subscribe();
        self.shared.outbox.poke();
        // The senders are in `shared`, so neither wait can fail.
        tokio::select! {
            answer = idle.wait_for(|(answered, _)| *answered >= number) => {
                answer.ok().and_then(|answer| answer.1)
            }
            _ = phase.wait_for(|phase| *phase != Phase::Running) => None,
        }
    }
}
