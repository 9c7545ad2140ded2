//! Sending an exchange until the store has answered, and for how long a worker that leaves tries to.

use std::time::Duration;

use tokio::sync::watch;
use tokio::time::Instant;

use super::refusals::{self, Refusals};
use super::{Phase, Shared};
use crate::limits;
use crate::store::{Exchange, Reply};

/// Completes so long after the patience of a shutdown is over; never, if it has no end.
pub(super) async fn past(mut phase: watch::Receiver<Phase>, by: Duration) {
    loop {
        let until = match *phase.borrow_and_update() {
            Phase::Draining { until } => until.and_then(|until| until.checked_add(by)),
            Phase::Running | Phase::Killed | Phase::Gone => None,
        };
        let over = async {
            match until {
                Some(until) => tokio::time::sleep_until(until).await,
                None => std::future::pending().await,
            }
        };
        tokio::select! {
            () = over => return,
            changed = phase.changed() => if changed.is_err() { std::future::pending().await },
        }
    }
}

/// What became of an exchange.
pub(super) enum Sent {
    Reply(Reply),
    /// The store did not take it, and the worker has no patience left.
    Unsaid,
    /// The worker is killed, or the store has given it up.
    Dropped,
}

/// Sends until there is a reply. Where a shutdown's patience is over, one try more is made, and not for long.
pub(super) async fn send(
    shared: &Shared,
    mut phase: watch::Receiver<Phase>,
    exchange: Exchange,
) -> Sent {
    let (mut pause, mut refusals) = (Duration::from_millis(10), Refusals::default());
    loop {
        let last = is_past(&phase, Duration::ZERO);
        let answer = tokio::select! {
            biased;
            answer = shared.store.exchange(exchange.clone()) => Some(answer),
            () = past(phase.clone(), limits::LEAVE) => None,
        };
        match answer {
            Some(Ok(reply)) => return Sent::Reply(reply),
            Some(Err(error)) if !last && error.is_transient() => {
                tracing::warn!(%error, ?pause, "the exchange failed and is sent again");
            }
            Some(Err(error)) if !last => {
                pause = pause.max(refusals::PAUSE);
                refusals.tell(exchange.worker, &error);
            }
            answer => {
                let error = answer.and_then(Result::err).map(tracing::field::display);
                tracing::warn!(
                    error,
                    "the worker goes without telling the store what it has done last"
                );
                return Sent::Unsaid;
            }
        }
        let over = past(phase.clone(), Duration::ZERO);
        tokio::select! {
            () = tokio::time::sleep(pause) => {}
            killed = phase.wait_for(|phase| *phase == Phase::Killed) => {
                drop(killed);
                return Sent::Dropped;
            }
            () = over => {}
        }
        if shared.identity.is_given_up() {
            return Sent::Dropped;
        }
        pause = (pause * 2).min(Duration::from_secs(2));
    }
}

/// Whether a shutdown's patience has been over for so long.
pub(super) fn is_past(phase: &watch::Receiver<Phase>, by: Duration) -> bool {
    match *phase.borrow() {
        Phase::Draining { until: Some(until) } => until.elapsed() >= by && until <= Instant::now(),
        Phase::Draining { until: None } | Phase::Running | Phase::Killed | Phase::Gone => false,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A shutdown's patience is over at its end, and the time to hand back after that so much later.
    #[tokio::test(start_paused = true)]
    async fn patience_is_over_at_its_end() {
        let (told, phase) = watch::channel(Phase::Running);
        let over = |by| is_past(&phase, Duration::from_secs(by));
        assert!(!over(0));
        told.send_replace(Phase::Draining { until: None });
        assert!(!over(0));
        let until = Some(Instant::now() + Duration::from_secs(2));
        told.send_replace(Phase::Draining { until });
        assert_eq!([over(0), over(5)], [false, false]);
        tokio::time::advance(Duration::from_secs(2)).await;
        assert_eq!([over(0), over(5)], [true, false]);
        tokio::time::advance(Duration::from_secs(5)).await;
        assert_eq!([over(0), over(5)], [true, true]);
    }
}
