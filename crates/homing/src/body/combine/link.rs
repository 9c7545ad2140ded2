//! `on_success` and `on_failure`: a call that is followed by a job of its own, however it ends.
//!
//! The call is the child of a task of the kind [`LINK`]. That task's body detaches the job that follows a success,
//! with its end. The store inserts the job that follows a failure, in the transaction that ends the task, because
//! the task may end without its body: cancelled, past a deadline, below a parent that failed, given up after
//! crashes.

use super::{Invalid, Link, Result, Value, planned};
use crate::body::join_set::JoinSet;
use crate::core::link::{LINK, Plan, linked_already};
use crate::error::Failure;
use crate::task::call::{Any, AnyCall, Call, Draft, Next, Shape, Stored};
use crate::task::{Kind, Options};

impl<K: Kind, L: Shape> Call<K, L> {
    /// Starts a job when this call has succeeded, given its value; a whole call is not given it.
    ///
    /// The job is detached: exactly one, a job of its own, for which nobody waits. Whoever is to wait
    /// writes [`chain`](crate::chain). It is recorded together with the success. A call may have several.
    pub fn on_success<N: Next<K::Output>>(self, next: N) -> Call<Link<K::Output>, L> {
        linked(self, next.next().draft, |plan| &mut plan.on_success)
    }

    /// Starts a job when this call has failed for good, given the [`Failure`]; a whole call is not given it.
    ///
    /// It is started whatever ends the call: an error after its last retry, a panic, an expiry or a deadline,
    /// crashes, a cancellation of the call, of its job or of a task above it. It is recorded in the
    /// transaction that records the end, so no crash loses it, and it is detached: a job of its own, which
    /// outlives the cancelled one. After a retry of the job, a further failure starts a further one. A
    /// call may have several.
    ///
    /// The failure is that of the innermost call that failed. Where it was cancelled or came to the
    /// deadline of the whole, what is below may still be on its way to its end.
    ///
    /// ```
    /// use homing::{Failure, chord, task};
    ///
    /// #[task]
    /// async fn tell(failure: Failure, whom: String) -> homing::Result<()> {
    ///     println!("{whom}: {failure}");
    ///     Ok(())
    /// }
    ///
    /// # #[task] async fn count(page: u32) -> homing::Result<u64> { Ok(page.into()) }
    /// # #[task] async fn sum(of: Vec<u64>) -> homing::Result<u64> { Ok(of.iter().sum()) }
    /// let call = chord((0..10).map(count), sum::with())
    ///     .on_failure(tell::with("ops".to_owned()).queue("mail"));
    /// # drop(call);
    /// ```
    pub fn on_failure<N: Next<Failure>>(self, next: N) -> Call<Link<K::Output>, L> {
        linked(self, next.next().draft, |plan| &mut plan.on_failure)
    }
}

/// The call with what follows it: beside what follows it already, if there is room.
fn linked<K: Kind, L: Shape>(
    call: Call<K, L>,
    next: Draft,
    slot: fn(&mut Plan) -> &mut Option<Stored>,
) -> Call<Link<K::Output>, L> {
    let mut draft = call.draft;
    let known = linked_already(&draft).filter(|_| draft.kind == LINK);
    let known = known.and_then(|mut plan| slot(&mut plan).is_none().then_some(plan));
    let outer = (draft.place.take(), std::mem::take(&mut draft.tags));
    let (queue, priority) = (draft.options.queue.clone(), draft.options.priority);
    let mut options = Options { queue, priority, ..Options::default() };
    let mut start = crate::task::call::Start::Now;
    if known.is_some() {
        (options, start) = (draft.options.clone(), draft.start);
    }
    let plan = known.map_or_else(
        || Ok(Plan { call: Stored::of(draft)?, on_success: None, on_failure: None }),
        Ok,
    );
    let plan = plan.and_then(|mut plan| {
        *slot(&mut plan) = Some(Stored::of(next)?);
        Ok::<_, Invalid>(plan)
    });
    let mut call: Call<Link<K::Output>, L> = planned("call with what follows it", plan);
    (call.draft.place, call.draft.tags) = outer;
    (call.draft.options, call.draft.start) = (options, start);
    call
}

pub(super) async fn body(plan: Plan, value: Value) -> Result<Value> {
    let mut set = JoinSet::<Value>::named("link");
    let value = set.spawn_draft(plan.call.draft(&value)).await?.await?;
    if let Some(next) = plan.on_success {
        let next: AnyCall<Value> = Call::<Any<Value>>::of(next.draft(&value));
        crate::body::verbs::detach(next).await?;
    }
    Ok(value)
}
