//! `on_success` and `on_failure`: a call that is followed by a job of its own, however it ends.
//!
//! The call is the child of a task of the kind [`LINK`]. What follows a success is detached by that task's body,
//! with its end. What follows a failure is inserted by the store, in the transaction that ends the task, because
//! the task may end without its body: cancelled, past a deadline, below a parent that failed, given up after
//! crashes.

use super::{Deserialize, Invalid, Link, Result, Serialize, Value, planned};
use crate::call::{Any, AnyCall, Call, Draft, Next, Shape, Stored};
use crate::clock::Time;
use crate::error::Failure;
use crate::id::{JobId, TaskId};
use crate::join_set::JoinSet;
use crate::store::NewJob;
use crate::task::{Kind, Options};

/// The kind of a call with something that follows its end.
pub(crate) const LINK: &str = "homing.link";

#[derive(Serialize, Deserialize)]
pub(super) struct Plan {
    call: Stored,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    on_success: Option<Stored>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    on_failure: Option<Stored>,
}

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
    let mut start = crate::call::Start::Now;
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

#[derive(Deserialize)]
struct Arguments {
    plan: Plan,
}

fn linked_already(draft: &Draft) -> Option<Plan> {
    let text = draft.arguments.as_ref().ok()?;
    serde_json::from_str(text).ok().map(|arguments: Arguments| arguments.plan)
}

pub(super) async fn body(plan: Plan, value: Value) -> Result<Value> {
    let mut set = JoinSet::<Value>::named("link");
    let value = set.spawn_draft(plan.call.draft(&value)).await?.await?;
    if let Some(next) = plan.on_success {
        let next: AnyCall<Value> = Call::<Any<Value>>::of(next.draft(&value));
        crate::verbs::detach(next).await?;
    }
    Ok(value)
}

/// The job that follows a link's end without success, from the link's arguments and its outcome.
///
/// For stores: to be inserted in the transaction that ends the link.
pub(crate) fn fallen(task: TaskId, arguments: &str, outcome: &str, now: Time) -> Option<NewJob> {
    match follower(task, arguments, outcome, now) {
        Ok(job) => job,
        Err(reason) => {
            // Only arguments that no call of this library made come here.
            tracing::error!(%task, reason, "what follows the failure cannot be read, and is not started");
            None
        }
    }
}

fn follower(
    task: TaskId,
    arguments: &str,
    outcome: &str,
    now: Time,
) -> Result<Option<NewJob>, String> {
    let Plan { call, on_failure, .. } =
        crate::encode::parse::<Arguments>(arguments).map(|arguments| arguments.plan)?;
    let Some(next) = on_failure else { return Ok(None) };
    let mut failure: Failure = crate::encode::parse(outcome)?;
    if failure.kind == LINK {
        // Ended as a whole: what people know is the call.
        failure.kind = call.kind;
    }
    let failure = serde_json::to_value(&failure).map_err(|error| error.to_string())?;
    // The failure comes on top of what was checked when the call was made.
    let draft = next.unbounded(&failure);
    let tags = draft.tags.clone();
    let new = draft.fix(now, "default", 0).map_err(|error| error.to_string())?;
    let (id, origin) = (JobId::fresh(), Some(task));
    Ok(Some(NewJob { id, task: new, title: None, key: None, tags, origin }))
}
