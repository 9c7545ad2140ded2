//! `spawn_sibling`: a child adds to the set of its parent that it is in itself.
//!
//! The parent's body learns of the new child by the set's ends only, as of all its children. The addition is an
//! entry of the member's record, written by the commit that adds the child, so it happens once over all replays.

use crate::body::context::current;
use crate::core::id::{TaskId, digest};
use crate::core::names::in_place;
use crate::error::Misuse;
use crate::store::{Addition, Entry};
use crate::task::Kind;
use crate::task::call::Call;

/// Adds a task to the [growing](crate::JoinSet::growing) set of the parent that the running task is in: a child of
/// the parent, as the running task is. Returns its id.
///
/// The parent's waits for the set mean it too, whether the parent is parked or not. The running task neither waits
/// for it nor is its end; it inherits the running task's queue and priority, and may add to the set as well. So a
/// crawl whose pages find more pages is one flat set. For an example see [`JoinSet::growing`](crate::JoinSet::growing).
///
/// The set is one of values of one type: a task that brings another is
/// [`JoinError::Undecodable`](crate::JoinError::Undecodable) to the parent.
///
/// # Errors
/// [`Misuse`] outside a task, in the root of a job and in a task whose set does not grow, or when an argument or
/// option is refused. Nothing was added then.
///
/// # Durability
/// Added once, however often the body runs, and committed before any later step begins and before the task ends.
/// A replay finds it again and compares the call with it. A parent that ends, or aborts the running task or the
/// set, cancels what was added before; nothing is added after. A job's retry takes nothing back that was added: the
/// same call at the same place finds it, another call is another member.
///
/// # Cancel safety
/// Dropped before it is ready, it may have added the task or not.
pub async fn spawn_sibling<K: Kind>(call: Call<K>) -> Result<TaskId, Misuse> {
    let context = current("spawn_sibling")?;
    let Some(parent) = context.parent else { return Err(Misuse::NoSiblings) };
    let Some((set, number)) = context.growing else { return Err(Misuse::NoGrowingSet) };
    let own_place = call.draft.place.clone();
    let mut task = call.draft.fix(context.now(), &context.queue, context.priority)?;
    task.policy.grows = true;
    let place = match own_place {
        Some(name) => context.place_once(&format!("sibling@{}", in_place(&name))).await,
        None => context.place(&format!("sibling:{}", task.kind)),
    };
    let _op = context.begin(&place, false).await;
    let (by, origin) = (context.task.local, context.task.local.origin(number));
    let local = set.added(by, origin, &place, (&task.kind, &task.hash));
    let hash = digest(&[task.kind.as_bytes(), &task.hash]);
    let another = || format!("another call than {}({})", task.kind, task.arguments);
    let said = context.is_said(&place, hash, another).await;
    context.settle_lines(said);
    if !said {
        let (entry, parent) = (Entry::Added(hash), parent.local);
        let addition = Addition { seq: 0, place, entry, parent, set, local, task };
        context.record_addition(addition).await;
    }
    Ok(TaskId { job: context.task.job, local })
}
