//! From ended children to outcomes: pages of them, counted against a policy.

use std::sync::Arc;

use serde::de::DeserializeOwned;

use crate::body::context::Context;
use crate::core::id::{Local, TaskId};
use crate::core::record::Moment;
use crate::core::state::State;
use crate::error::{Failure, JoinError, Reason};
use crate::limits;
use crate::store::read::{bytes_of, is_full};
use crate::store::{CancelledBy, Child};

/// The failure an ended child left.
pub(crate) fn failure_of(context: &Context, child: &Child) -> Failure {
    let stored = child.outcome.as_deref().and_then(|text| serde_json::from_str(text).ok());
    stored.unwrap_or_else(|| {
        let id = TaskId { job: context.task.job, local: child.local };
        Failure::new(&child.kind, id, 0, Reason::Error, "its failure does not decode")
    })
}

/// An ended child's outcome.
pub(crate) fn decode<T: DeserializeOwned>(
    context: &Context,
    child: &Child,
    moment: impl FnOnce() -> Moment,
) -> Result<T, JoinError> {
    let id = TaskId { job: context.task.job, local: child.local };
    if child.state == State::Succeeded {
        let text = child.outcome.as_deref().unwrap_or("null");
        return crate::core::encode::parse(text)
            .map_err(|reason| JoinError::Undecodable { id, reason });
    }
    if child.cancelled_by.is_some_and(CancelledBy::is_parent) {
        context.bear_losses([child.local]);
        return Err(JoinError::Aborted { id });
    }
    let (failure, moment) = (Box::new(failure_of(context, child)), moment());
    context.tell_loss(&moment, Some(child.local));
    Err(JoinError::Failed { failure, moment: Some(Box::new(moment)) })
}

/// Whether a child counts as lost.
pub(crate) fn is_lost(child: &Child) -> bool {
    match child.state {
        State::Failed => true,
        State::Cancelled => !child.cancelled_by.is_some_and(CancelledBy::is_parent),
        State::Pending | State::Running | State::Waiting | State::Succeeded => false,
    }
}

/// What a walk over a set's undelivered ends has seen.
#[derive(Debug, Default)]
pub(crate) struct Tally {
    pub(crate) lost: u64,
    pub(crate) succeeded: u64,
    pub(crate) last_end: u64,
    /// The loss that is one too many.
    pub(crate) breaking: Option<Box<Child>>,
}

/// The ends of a set that were given out, as a walk passes over them.
#[derive(Debug)]
pub(crate) struct Given {
    /// Every end up to this number.
    pub(crate) watermark: u64,
    /// And these beyond it, in order.
    pub(crate) beyond: Vec<u64>,
}

impl Context {
    /// Ended children of a set whose end number is above `after`, one page.
    pub(crate) async fn ends(self: &Arc<Self>, set: Local, after: u64) -> Vec<Child> {
        let task = self.task;
        self.fetch(move |store| async move { store.ends(task, set, after, limits::PAGE).await })
            .await
    }

    /// The ends of a set that this run was given.
    pub(crate) fn given(&self, set: Local) -> Given {
        self.with_set(set, |state| Given {
            watermark: state.ends.watermark(),
            beyond: state.ends.given_beyond(),
        })
    }

    /// As [`tally`](Self::tally), of the ends that this run was not given yet. The task has drifted where one of them is of a
    /// child that the run has not spawned: it is told of none.
    pub(crate) async fn tally_spawned(
        self: &Arc<Self>,
        set: Local,
        place: &str,
        allowed: u64,
        mut each: impl FnMut(Child) -> bool,
    ) -> Tally {
        let mut stranger = None;
        let keep = |child: Child| {
            if self.with_set(set, |state| state.has_spawned(set, &child)) {
                return each(child);
            }
            stranger = Some(child);
            false
        };
        let tally = self.tally(set, &self.given(set), allowed, keep).await;
        for child in stranger.iter().chain(tally.breaking.as_deref()) {
            self.check_spawned(set, place, child).await;
        }
        tally
    }

    /// Walks the ends that no wait has given out, in order, until `allowed` losses are exceeded or
    /// `each` has enough.
    pub(crate) async fn tally(
        self: &Arc<Self>,
        set: Local,
        given: &Given,
        allowed: u64,
        mut each: impl FnMut(Child) -> bool,
    ) -> Tally {
        let mut tally = Tally { last_end: given.watermark, ..Tally::default() };
        loop {
            let page = self.ends(set, tally.last_end).await;
            let last_page = !is_full(page.len(), bytes_of(&page));
            for child in page {
                tally.last_end = child.end.unwrap_or(tally.last_end);
                if given.beyond.binary_search(&tally.last_end).is_ok() {
                    continue;
                }
                tally.succeeded += u64::from(child.state == State::Succeeded);
                if is_lost(&child) {
                    tally.lost += 1;
                    if tally.lost > allowed {
                        tally.breaking = Some(Box::new(child));
                        return tally;
                    }
                }
                if !each(child) {
                    return tally;
                }
            }
            if last_page {
                return tally;
            }
        }
    }
}
