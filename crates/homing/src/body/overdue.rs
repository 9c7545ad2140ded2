//! `overdue`: a soft timeout, which a body may act on.

use tokio_util::sync::CancellationToken;

use crate::body::context::current;
use crate::error::Misuse;

/// A token that fires when the running stretch has lasted for the task's
/// [`soft_timeout`](crate::Call::soft_timeout): the body may catch it and finish in its own way, before the
/// [`timeout`](crate::Call::timeout) ends the stretch as a failure.
///
/// Both count the same thing: one stretch, from a claim to the next park or end. So both limit plain work
/// and steps. A wait is limited with `.timeout(..)`, or together with others by a [`sleep`](crate::sleep()) in
/// [`select!`](crate::select!); those answers are recorded. Without a `soft_timeout` the token never fires.
/// Every wait that parked begins another stretch: ask again after it.
///
/// ```
/// use std::time::Duration;
///
/// use homing::{Homing, step, task};
///
/// async fn fetch() -> u64 {
///     std::future::pending().await
/// }
///
/// #[task(soft_timeout = "20ms", timeout = "1m")]
/// async fn page() -> homing::Result<Option<u64>> {
///     // In a step, so that a replay finds the same.
///     let rows = step("fetch", || async {
///         let overdue = homing::overdue()?;
///         Ok(overdue.run_until_cancelled(fetch()).await)
///     });
///     Ok(rows.await?)
/// }
///
/// # #[tokio::main]
/// # async fn main() -> Result<(), Box<dyn std::error::Error>> {
/// let homing = Homing::open("memory:").await?;
/// homing.worker().register(page).start().await?;
/// assert_eq!(homing.submit(page()).await?.outcome().await?, None);
/// # Ok(())
/// # }
/// ```
///
/// # Errors
/// [`Misuse`] outside a task. Code on other threads, as that of [`step_blocking`](crate::step_blocking), is
/// given a token that was asked for before.
///
/// # Durability
/// **Whether it fired is not remembered.** A replay runs against a clock of its own: what the body decides by
/// it belongs into a step, whose result is remembered.
///
/// # Cancel safety
/// A token may be dropped and asked for again at any time.
pub fn overdue() -> Result<CancellationToken, Misuse> {
    current("overdue").map(|context| context.overdue())
}
