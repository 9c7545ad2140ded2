//! The closing join: a task ends after its children.
//!
//! The body's value is remembered first, so that a replay does not run the body again; then the task
//! parks like any other wait until every child whose outcome no wait has given out has ended, or a
//! set's policy is broken. A claim resumes it and its worker ends it, so no end cascades upwards in one
//! transaction.

use std::sync::Arc;

use crate::context::Context;
use crate::error::{Error, JoinError, Result};
use crate::id::Local;
use crate::join_set::{FailurePolicy, failure_of};
use crate::limits;
use crate::store::{Cause, Entry};
use crate::task::Body;
use crate::wait::{Condition, Wait};

/// The place of the value that a body returned.
const RETURNED: &str = "return";

/// Runs a body and then the closing join; a body that has returned before is not run again.
pub(crate) async fn run(context: Arc<Context>, body: impl FnOnce() -> Body<String>) -> Result<String> {
    if let Some((value, seq)) = context.returned().await {
        context.close(seq).await?;
        return Ok(value);
    }
    let value = body().await?;
    if context.has_undelivered() {
        context.record(RETURNED, Entry::Returned(value.clone()));
        let seq = context.reserve();
        context.close(seq).await?;
    }
    Ok(value)
}

/// One set in the closing join.
struct Open {
    set: Local,
    place: String,
    policy: FailurePolicy,
    spawned: u64,
    /// Losses at which the policy may be broken; `None` once they no longer matter.
    threshold: Option<u64>,
}

impl Context {
    /// The value the body returned in an earlier run, and the number of the closing answer.
    async fn returned(self: &Arc<Self>) -> Option<(String, u64)> {
        let last = self.last_recorded();
        if last == 0 {
            return None;
        }
        let task = self.task;
        // It is the last entry, or the last but one when the closing join was answered before.
        let tail = self
            .fetch(move |store| async move { store.record(task, last.saturating_sub(2), 2).await })
            .await;
        tail.into_iter().find_map(|(seq, _, entry)| match entry {
            Entry::Returned(value) => Some((value, seq + 1)),
            _ => None,
        })
    }

    /// Whether there may be children whose outcomes no wait has given out.
    fn has_undelivered(&self) -> bool {
        let undelivered = |set| {
            self.with_set(set, |state| state.settled || u64::from(state.issued) > state.delivered)
        };
        self.unfound() > 0 || self.sets().into_iter().any(undelivered)
    }

    async fn close(self: &Arc<Self>, seq: u64) -> Result<()> {
        let mut open = self.undelivered_sets().await;
        while !open.is_empty() {
            let ended = |open: &Open| Condition::Set {
                set: open.set,
                ended: Some(open.spawned),
                lost: None,
                succeeded: None,
                past: None,
            };
            let mut arms = vec![Condition::All { of: open.iter().map(ended).collect() }];
            let breakable: Vec<usize> =
                (0..open.len()).filter(|n| open[*n].threshold.is_some()).collect();
            arms.extend(breakable.iter().map(|n| Condition::Set {
                set: open[*n].set,
                ended: None,
                lost: open[*n].threshold,
                succeeded: None,
                past: None,
            }));
            let wait = Wait { place: format!("{RETURNED}/close"), seq, arms, members: 0 };
            let answer = self.park(wait).await;
            if answer.arm == 0 {
                for set in &mut open {
                    self.judge(set, true).await?;
                }
                return Ok(());
            }
            if let Some(n) = breakable.get(answer.arm - 1) {
                self.judge(&mut open[*n], false).await?;
            }
        }
        Ok(())
    }

    /// Fails if a set's policy is broken; else raises the threshold above what was seen.
    async fn judge(self: &Arc<Self>, open: &mut Open, ended: bool) -> Result<()> {
        let Some(threshold) = open.threshold else { return Ok(()) };
        let (lost, succeeded, delivered) =
            self.with_set(open.set, |state| (state.lost, state.succeeded, state.delivered));
        let allowed = open.policy.allowed(open.spawned, lost);
        let tally = self.tally(open.set, allowed, |_| true).await;
        let place = format!("{RETURNED}/close");
        let cause = Some(Box::new(Cause { place, set: open.set, child: None }));
        if let Some(child) = tally.breaking {
            let failure = Box::new(failure_of(self, &child));
            return Err(Error::from(JoinError::Failed { failure, cause }));
        }
        if let (FailurePolicy::Require { successes: needed }, true) = (open.policy, ended) {
            let (succeeded, spawned) = (succeeded + tally.succeeded, open.spawned);
            if succeeded < needed && delivered < spawned {
                let error = JoinError::TooFew { succeeded, spawned, needed, cause };
                return Err(Error::from(error));
            }
        }
        open.threshold = Some(threshold.max(lost + tally.lost + 1));
        tracing::trace!(set = %open.place, "the closing join goes on");
        Ok(())
    }

    /// The sets the closing join waits for: those of this run, and those of earlier runs that this one
    /// did not come to.
    async fn undelivered_sets(self: &Arc<Self>) -> Vec<Open> {
        let mut open = Vec::new();
        for set in self.sets() {
            let own = self.with_set(set, |state| {
                let spawned = u64::from(state.issued);
                let allowed = state.policy.allowed(spawned, state.lost);
                let wanted = spawned > 0 && (state.settled || spawned > state.delivered);
                let threshold = (!state.settled).then_some(state.lost + allowed + 1);
                let (place, policy) = (state.place.clone(), state.policy);
                wanted.then_some(Open { set, place, policy, spawned, threshold })
            });
            open.extend(own);
        }
        if self.unfound() > 0 {
            self.add_stored_sets(&mut open).await;
        }
        open
    }

    async fn add_stored_sets(self: &Arc<Self>, open: &mut Vec<Open>) {
        let (task, mut after) = (self.task, None);
        loop {
            let page = self
                .fetch(move |store| async move { store.sets(task, after, limits::PAGE).await })
                .await;
            let Some(last) = page.last() else { return };
            after = Some(last.set);
            for row in &page {
                let (set, spawned) = (row.set, row.counts.spawned);
                if let Some(own) = open.iter_mut().find(|own| own.set == set) {
                    own.spawned = own.spawned.max(spawned);
                } else if self.with_set(set, |state| state.place.is_empty()) {
                    let (place, policy) = (set.to_string(), FailurePolicy::FailFast);
                    open.push(Open { set, place, policy, spawned, threshold: Some(1) });
                }
            }
        }
    }
}
