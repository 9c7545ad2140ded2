//! The closing join: a task ends after its children.
//!
//! The body's value is remembered first, so that a replay does not run the body again; then the task
//! parks like any other wait until every child whose outcome no wait has given out has ended, or a
//! set's policy is broken. A claim resumes it and its worker ends it, so no end cascades upwards in one
//! transaction.

use std::sync::Arc;

use crate::body::context::Context;
use crate::body::join_set::{Given, failure_of};
use crate::core::policy::FailurePolicy;
use crate::core::record::{Moment, OpenSet};
use crate::core::wait::{Condition, Wait};
use crate::error::{Error, JoinError, Result};
use crate::store::Entry;
use crate::task::Body;

/// The places of the value that a body returned and of the closing join.
const RETURNED: &str = "return";
const CLOSE: &str = "return/close";

/// Runs a body and then the closing join; a body that has returned before is not run again.
pub(crate) async fn run(
    context: Arc<Context>,
    body: impl FnOnce() -> Body<String>,
) -> Result<String> {
    // What is rare is boxed: it would make every parked body as large as itself.
    if let Some((value, open, seq)) = Box::pin(context.returned()).await {
        Box::pin(context.close(&open, seq)).await?;
        return Ok(value);
    }
    let value = body().await?;
    Box::pin(context.check_replayed()).await;
    let open = context.undelivered_sets();
    if !open.is_empty() {
        context.record(RETURNED, Entry::Returned { value: value.clone(), open: open.clone() });
        let seq = context.reserve();
        Box::pin(context.close(&open, seq)).await?;
    }
    Ok(value)
}

impl Context {
    /// What the body returned in an earlier run, the sets that were open then, and the number of the
    /// closing answer.
    async fn returned(self: &Arc<Self>) -> Option<(String, Vec<OpenSet>, u64)> {
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
            Entry::Returned { value, open } => Some((value, open, seq + 1)),
            Entry::Value(_)
            | Entry::Answer(_)
            | Entry::Added(_)
            | Entry::Detached(_)
            | Entry::Signalled(_) => None,
        })
    }

    /// Parks until every open set has ended, or one has broken its policy.
    async fn close(self: &Arc<Self>, open: &[OpenSet], seq: u64) -> Result<()> {
        self.note_closing();
        let mut arms = vec![Condition::All { of: open.iter().map(OpenSet::ended).collect() }];
        let breakable: Vec<&OpenSet> = open.iter().filter(|set| !set.settled).collect();
        arms.extend(breakable.iter().filter_map(|set| set.broken()));
        let wait = Wait { place: CLOSE.to_owned(), seq, arms, members: 0 };
        let answer = self.park(wait).await;
        for set in breakable {
            self.judge(set, answer.arm == 0, open).await?;
        }
        Ok(())
    }

    /// Fails if a set's policy is broken.
    async fn judge(self: &Arc<Self>, open: &OpenSet, ended: bool, all: &[OpenSet]) -> Result<()> {
        let moment = || Some(Box::new(Moment::closing(RETURNED, all)));
        let (task, set) = (self.task, open.set);
        let counts = self.fetch(move |store| async move { store.set(task, set).await }).await;
        if open.growing && open.policy.is_of_the_whole() && !ended {
            return Ok(());
        }
        if open.growing && ended && counts.ended() <= open.given {
            // It was drained: every outcome was dealt with where it was given out.
            return Ok(());
        }
        let spawned = if open.growing { counts.spawned } else { open.spawned };
        // The counts tell whether the policy is broken; by which child, only a walk over the ends.
        if counts.lost() >= open.policy.breaking(spawned, open.lost) {
            let allowed = open.policy.allowed(spawned, open.lost);
            let given = Given { watermark: open.watermark, beyond: open.passed.clone() };
            let tally = self.tally(set, &given, allowed, |_| true).await;
            if let Some(child) = tally.breaking {
                let failure = Box::new(failure_of(self, &child));
                return Err(Error::from(JoinError::Failed { failure, moment: moment() }));
            }
        }
        let FailurePolicy::Require { successes: needed } = open.policy else { return Ok(()) };
        let succeeded = counts.succeeded;
        if ended && succeeded < needed {
            let moment = moment();
            return Err(Error::from(JoinError::TooFew { succeeded, spawned, needed, moment }));
        }
        Ok(())
    }

    /// The sets the closing join waits for: those with children whose outcomes no wait has given out.
    fn undelivered_sets(self: &Arc<Self>) -> Vec<OpenSet> {
        let open = |set| {
            self.with_set(set, |state| {
                let wanted = (state.settled && !state.ended) || !state.is_over();
                (wanted && state.issued > 0).then(|| OpenSet {
                    set,
                    place: state.place.clone(),
                    policy: state.policy,
                    spawned: u64::from(state.issued),
                    settled: state.settled,
                    growing: state.growing,
                    lost: state.ends.lost(),
                    watermark: state.ends.watermark(),
                    passed: state.ends.lost_beyond(),
                    given: if state.growing { state.ends.given() } else { 0 },
                })
            })
        };
        self.sets().into_iter().filter_map(open).collect()
    }
}
