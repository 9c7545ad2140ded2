//! A body's own tags, and those that its job handed down.

use std::sync::Arc;

use crate::body::context::current;
use crate::error::Misuse;
use crate::store::Store;

/// The tags of the running task: those its job was submitted with, which every task of the job has, and then
/// those of its own call. Works in the body of a task and in every function it awaits.
///
/// Tags are written once and never change, so that a replay is told the same. They are read from the store when
/// they are asked for; nobody else pays for them.
///
/// ```
/// # use homing::{Homing, task};
/// #[task]
/// async fn report() -> homing::Result<Vec<String>> {
///     Ok(homing::spawn(part().tags(["part"])).await?.await?)
/// }
///
/// #[task]
/// async fn part() -> homing::Result<Vec<String>> {
///     Ok(homing::tags().await?)
/// }
/// # #[tokio::main(flavor = "current_thread")]
/// # async fn main() -> Result<(), Box<dyn std::error::Error>> {
/// # let homing = Homing::open("memory:").await?;
/// # homing.worker().register(report).register(part).start().await?;
/// let job = homing.submit(report().tags(["nightly"])).await?;
/// assert_eq!(job.outcome().await?, ["nightly", "part"]);
/// # Ok(())
/// # }
/// ```
///
/// # Errors
/// [`Misuse`] outside a task.
pub async fn tags() -> Result<Vec<String>, Misuse> {
    let context = current("tags")?;
    let (root, own) = (context.task.job.root(), context.task);
    let wanted = if own == root { vec![root] } else { vec![root, own] };
    let read = move |store: Arc<dyn Store>| {
        let wanted = wanted.clone();
        async move { store.tasks(wanted).await }
    };
    let views = context.fetch(read).await;
    let mut tags: Vec<String> = Vec::new();
    for tag in views.into_iter().flat_map(|view| view.tags) {
        if !tags.contains(&tag) {
            tags.push(tag);
        }
    }
    Ok(tags)
}
