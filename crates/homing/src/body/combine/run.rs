//! A call that is a value, run: as a verb of a body, and as what follows a task that returns one.

use super::{Result, Run, Stored, Value};
use crate::body::join_set::JoinSet;
use crate::task::call::{Call, Draft, Partial};
use crate::task::{Kind, Options};

/// Runs another call in the place of the running task: its value is the task's.
///
/// Used at the end of a body: `homing::replace(write_page(page)).await`. The task waits for what replaces
/// it without a slot, and fails with it.
///
/// ```
/// # use homing::task;
/// # #[task] async fn halve(n: u64) -> homing::Result<u64> { Ok(n / 2) }
/// #[task]
/// async fn collatz(n: u64) -> homing::Result<u64> {
///     match n {
///         1 => Ok(1),
///         n if n % 2 == 0 => homing::replace(halve(n)).await,
///         n => homing::replace(homing::chain(halve(3 * n + 1)).then(collatz::with()).call()).await,
///     }
/// }
/// ```
///
/// # Errors
/// As [`spawn`](fn@crate::spawn), and the failure of the call.
pub async fn replace<K: Kind>(call: Call<K>) -> Result<K::Output> {
    Ok(crate::body::handle::spawn(call).await?.await?)
}

/// What follows a task that returns a call, to run that call: its value is what the call brings.
///
/// ```
/// # use homing::{AnyCall, task, chain};
/// # #[task] async fn halve(n: u64) -> homing::Result<u64> { Ok(n / 2) }
/// #[task]
/// async fn plan(n: u64) -> homing::Result<AnyCall<u64>> {
///     Ok(if n < 10 { halve(n).any() } else { chain(halve(n)).then(halve::with()).call().any() })
/// }
///
/// let call = chain(plan(12)).then(homing::run()).call(); // brings 3
/// # drop(call);
/// ```
pub fn run<K: Kind>() -> Partial<Call<K>, Run<K::Output>> {
    let mut draft =
        Draft::new(Run::<K::Output>::NAME, Ok(r#"{"plan":null}"#.to_owned()), Options::default());
    draft.lacks = Some(super::VALUE.to_owned());
    Call::of(draft)
}

pub(super) async fn body((): (), call: Stored) -> Result<Value> {
    let mut set = JoinSet::<Value>::named("run");
    Ok(set.spawn_draft(call.draft(&Value::Null)).await?.await?)
}
