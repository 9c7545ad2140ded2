//! What a body commits by itself, in a transaction of its own that the worker has no part in. PostgreSQL alone has such
//! transactions.

use std::sync::Arc;

use super::{CURRENT, Context, CountGuard, refuse_inside};
use crate::error::Misuse;
use crate::store::{Entry, Event, Store, Unit};

/// As [`refuse_inside`], but for a verb that is one with the body's own transaction.
pub(crate) fn refuse_beside_transaction(verb: &'static str) -> Result<(), Misuse> {
    let transacting = CURRENT.try_with(|context| context.lock().transactions > 0);
    if transacting.unwrap_or(false) { Ok(()) } else { refuse_inside(verb) }
}

impl Context {
    /// What is to be remembered at a place by a commit that the worker has no part in. Everything said
    /// before must be committed.
    pub(crate) fn record_elsewhere(&self, place: &str, entry: Entry) -> Option<Unit> {
        let mut inner = self.lock();
        inner.next_seq += 1;
        let record = Event::Record { seq: inner.next_seq, place: place.to_owned(), entry };
        let (token, renew) = (inner.token?, inner.renewable);
        Some(Unit { task: self.task, token, renew, events: vec![record] })
    }

    /// That commit has happened.
    pub(crate) fn recorded_elsewhere(&self) {
        let mut inner = self.lock();
        inner.recall.is_past();
        (inner.renewable, inner.failures) = (false, 0);
    }

    /// Marks that a transaction of the body's own is open.
    pub(crate) fn transacting(&self) -> CountGuard<'_> {
        CountGuard::new(self, |inner| &mut inner.transactions)
    }

    /// The store, for what the worker has no part in.
    pub(crate) fn store(&self) -> &Arc<dyn Store> {
        &self.store
    }
}

#[cfg(test)]
mod tests {
    use super::super::scope;
    use super::super::tests::context;
    use super::*;
    use crate::clock::{Clock, ManualClock};
    use crate::core::id::{Token, WorkerId};
    use crate::store::Claimed;
    use crate::store::memory::Memory;

    /// What a transaction of the body's own records stands under the claim that the body goes on under, once, and
    /// begins its budget anew.
    #[test]
    fn a_transaction_records_under_the_claim_that_resumed_the_body() {
        let token = Token::at_once(WorkerId::fresh(), 1);
        let claimed = Claimed { records: 2, failures: 1, ..Claimed::first("body", token) };
        let store = Arc::new(Memory::new(Clock::Manual(ManualClock::default())));
        let context = Context::new(&claimed, store);
        let next = Token::at_once(token.worker, 2);
        context.hold_token(next);
        let entry = || Entry::Value("1".to_owned());
        let unit = context.record_elsewhere("transaction:pay#1", entry()).unwrap();
        let place = "transaction:pay#1".to_owned();
        assert_eq!((unit.token, unit.renew), (next, true));
        assert_eq!(unit.events, [Event::Record { seq: 3, place, entry: entry() }]);
        assert!(context.lock().is_replaying());
        context.recorded_elsewhere();
        assert!(!context.lock().is_replaying());
        assert_eq!(context.failures(), 0);
        assert!(!context.record_elsewhere("transaction:pay#2", entry()).unwrap().renew);
    }

    /// A verb that is one with a transaction of the body's own is refused beside one.
    #[test]
    fn a_verb_of_a_transaction_needs_one() {
        assert!(refuse_beside_transaction("submit_in").is_ok(), "outside a task");
        let context = context(0);
        let refused = || scope(&context, || refuse_beside_transaction("submit_in")).is_err();
        let transacting = context.transacting();
        assert!(!refused());
        drop(transacting);
        assert!(refused());
        assert!(context.lock().halt.is_some());
    }
}
