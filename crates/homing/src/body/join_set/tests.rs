//! The limits of lists, without the children that would fill them.

use futures_util::FutureExt;

use super::{JoinSet, is_lost};
use crate::body::context::{scope, tests};
use crate::core::id::Local;
use crate::core::state::State;
use crate::error::JoinError;
use crate::limits;
use crate::store::{CancelledBy, Child};

/// What somebody else has cancelled is a loss, what the parent has aborted is none.
#[test]
fn a_cancelled_child_is_lost_unless_its_parent_aborted_it() {
    let lost = |state, cancelled_by| {
        is_lost(&Child {
            local: Local([1; 16]),
            number: 0,
            kind: "leaf".to_owned(),
            hash: [0; 16],
            state,
            end: Some(1),
            cancelled_by,
            outcome: None,
        })
    };
    assert!(lost(State::Failed, None) && !lost(State::Succeeded, None));
    assert!(lost(State::Cancelled, Some(CancelledBy::User)));
    assert!(!lost(State::Cancelled, Some(CancelledBy::Abort)));
}

/// Without an error the list would end, or never come.
#[test]
fn a_list_has_a_limit_and_says_so() {
    let context = tests::context(0);
    let set = scope(&context, JoinSet::<u64>::new);
    for (children, more) in [(limits::JOIN_ALL, false), (limits::JOIN_ALL + 1, true)] {
        context.with_set(set.set, |state| state.issued = children as u32);
        let told = set.too_many(&context, "join_all");
        assert_eq!(told.is_some(), more);
        let listed = children as usize;
        let overfull = set.overfull(&context, "join_all", listed).now_or_never().unwrap();
        assert_eq!(overfull.is_some(), more);
        for told in told.into_iter().chain(overfull) {
            let JoinError::TooMany { children: told, .. } = told else { panic!("{told:?}") };
            assert_eq!(told, children);
        }
    }
}
