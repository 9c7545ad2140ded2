//! What a job's retry reopens. How its record is taken back is a statement of each store.

use crate::core::id::Local;
use crate::core::state::State;
use crate::core::wait::SetCounts;
use crate::store::rules::end::count_of;
use crate::store::{CancelledBy, Cause, Retry};

/// Why a job is not reopened whose root is like this, if that is the reason.
pub(crate) fn refusal(root: State) -> Option<Retry> {
    match root {
        State::Failed | State::Cancelled => None,
        State::Succeeded => Some(Retry::Succeeded),
        State::Pending | State::Running | State::Waiting => Some(Retry::Open),
    }
}

/// A child that ended without a value, as a retry sees it.
#[derive(Debug, Clone, Copy)]
pub(crate) struct LostChild {
    pub(crate) local: Local,
    pub(crate) set: Local,
    pub(crate) number: u32,
    pub(crate) end: u64,
    pub(crate) state: State,
    pub(crate) by: Option<CancelledBy>,
}

impl LostChild {
    /// The number of the child of the parent's body that it goes back to.
    pub(crate) fn origin(&self) -> u32 {
        self.local.origin(self.number)
    }

    /// Whether another member of its set has added it.
    pub(crate) fn is_added(&self) -> bool {
        self.number >= crate::limits::CHILDREN
    }

    /// Whether the retry of its parent reopens it. What fell with its parent goes on in any case.
    pub(crate) fn is_reopened(&self, cause: Option<&Cause>) -> bool {
        let hit = |aborts: &[(Local, Option<Local>, u32)]| {
            aborts.iter().any(|(set, child, below)| {
                *set == self.set
                    && child.map_or(self.origin() < *below, |child| child == self.local)
            })
        };
        let lost = |cause: &Cause| {
            let only = |(set, past, beyond): &(Local, u64, Vec<u64>)| {
                *set == self.set && self.end > *past && !beyond.contains(&self.end)
            };
            !cause.given.contains(&self.local)
                && !hit(&cause.aborted_before)
                && (cause.only.is_empty() || cause.only.iter().any(only))
        };
        let aborted = |cause: &Cause| {
            // One that the body had been told of by then was aborted before.
            !cause.given.contains(&self.local) && hit(&cause.aborted)
        };
        match (self.state, self.by) {
            (State::Failed, _) | (State::Cancelled, Some(CancelledBy::User)) => {
                cause.is_some_and(lost)
            }
            (State::Cancelled, Some(CancelledBy::Abort | CancelledBy::Policy)) => {
                cause.is_some_and(aborted)
            }
            (State::Cancelled, Some(CancelledBy::Parent) | None) => true,
            (State::Pending | State::Running | State::Waiting | State::Succeeded, _) => false,
        }
    }

    /// The count of its set that it is in.
    pub(crate) fn count_in<'c>(&self, counts: &'c mut SetCounts) -> &'c mut u64 {
        count_of(counts, self.state, self.by)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A child falls by itself or by its parent's abort, whichever comes first: the body heard of neither. Either way a retry
    /// reopens it if the body goes back to before the abort, and leaves it if not.
    #[test]
    fn an_abort_leaves_what_fell_before_it_came() {
        let set = Local([1; 16]);
        let child = |number, state, by| {
            let local = set.numbered(number);
            LostChild { local, set, number, end: 1, state, by }
        };
        let failed = child(0, State::Failed, None);
        let aborted = child(0, State::Cancelled, Some(CancelledBy::Abort));
        for abort in [(set, None, 1), (set, Some(failed.local), 0)] {
            let since = Cause { aborted: vec![abort], ..Cause::default() };
            let before = Cause { aborted_before: vec![abort], ..Cause::default() };
            for one in [failed, aborted] {
                assert!(one.is_reopened(Some(&since)), "{one:?}");
                assert!(!one.is_reopened(Some(&before)), "{one:?}");
            }
            assert!(child(1, State::Failed, None).is_reopened(Some(&before)), "none of its own");
        }
    }
}
