//! Runs a driver, and notices its death.
//!
//! Bodies are polled under `catch_unwind`; what else a driver does is not. Should it panic there, or be dropped
//! where it stands, its task must not stay `running` under a worker that lives.

use std::panic::AssertUnwindSafe;
use std::sync::Arc;

use futures_util::FutureExt;

use super::body::Driver;
use super::inbox::DriverInbox;
use super::outbox::Posting;
use super::{Shared, Slot};
use crate::core::id::TaskId;
use crate::core::state::stall_pause;
use crate::store::events;
use crate::store::{Claimed, Event, Unit};

/// Runs a claimed task until its end, its last park here, or the loss of its token.
pub(super) async fn drive(
    shared: Arc<Shared>,
    claimed: Claimed,
    inbox: Arc<DriverInbox>,
    slot: Arc<Slot>,
) {
    let (task, attempt, stalls) = (claimed.task, claimed.attempt, claimed.stalls);
    let kind = shared.definitions.get(claimed.kind.as_str()).map_or("", |kind| kind.name);
    let mut guard = Guard {
        shared: Arc::clone(&shared),
        inbox: Arc::clone(&inbox),
        task,
        kind,
        attempt,
        stalls,
        span: events::span(&claimed),
        last: Some(Event::HandBack),
    };
    let span = guard.span.clone();
    let driver = Driver::new(shared, (claimed, span), inbox, slot);
    guard.last = match AssertUnwindSafe(driver.run()).catch_unwind().await {
        Ok(()) => None,
        Err(panic) => {
            let reason = format!(
                "the worker panicked while it drove the task: {}",
                crate::error::panic_text(panic)
            );
            tracing::error!(id = %task, kind, reason, "the worker panicked while it drove the task");
            let due = guard.shared.store.clock().now().after(stall_pause(stalls));
            Some(Event::Stall { reason: crate::error::bounded(&reason), due })
        }
    };
}

/// Says a task's last word for its driver, unless that has come to its end.
struct Guard {
    shared: Arc<Shared>,
    inbox: Arc<DriverInbox>,
    task: TaskId,
    kind: &'static str,
    attempt: u32,
    stalls: u32,
    span: tracing::Span,
    /// What is to be said.
    last: Option<Event>,
}

impl Drop for Guard {
    fn drop(&mut self) {
        let Some(event) = self.last.take() else { return };
        let Self { shared, inbox, task, .. } = self;
        // The token may be another than the driver began with: its future was parked and went on.
        let held = shared.bodies().get(task).cloned();
        let Some((token, _)) = held.filter(|(_, own)| Arc::ptr_eq(own, inbox)) else { return };
        shared.forget_body(*task, token);
        shared.outbox.post(Posting {
            unit: Arc::new(Unit { task: *task, token, renew: false, events: vec![event] }),
            units: 1,
            inbox: Arc::clone(inbox),
            kind: self.kind.to_owned(),
            attempt: self.attempt,
            stalls: self.stalls,
            stretch: None,
            span: self.span.clone(),
        });
    }
}
