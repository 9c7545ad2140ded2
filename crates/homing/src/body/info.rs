//! What a body may ask about the task it runs, and what it may say to the tasks next to it: `info`,
//! `parent`, and signals to a child or to the parent.
//!
//! Nothing here reads the store: a claim brings along what is told. A signal is an event among the body's
//! others, remembered in the commit that sends it, so that it is sent once over all replays.

use std::sync::Arc;

use serde::Serialize;

use crate::body::context::{Context, current};
use crate::core::id::{TaskId, digest};
use crate::error::Misuse;
use crate::store::{Entry, Signalled};
use crate::task::call;

/// What a body may ask about the task it runs. See [`info`](fn@info).
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct Info {
    /// The task, as [`homing::id`](crate::id()) says it.
    pub id: TaskId,
    /// The task that spawned it; a root has none.
    pub parent: Option<TaskId>,
    /// The root of its job: itself, if it has no parent.
    pub root: TaskId,
    /// How many tasks stand above it; 0 for a root.
    pub depth: u32,
    /// Its kind.
    pub kind: String,
    /// The attempt that runs, 1-based. **Another one after every retry**: see [`info`](fn@info).
    pub attempt: u32,
    /// Its queue, which its children inherit.
    pub queue: String,
    /// Its priority, which its children inherit.
    pub priority: i16,
}

/// What is known about the running task: its parent, its root, the attempt, the queue, the priority.
///
/// Reads nothing: all of it came with the task. It works in the body of a task and in every function that
/// the body awaits.
///
/// **`attempt` is not the same on every replay.** A retry raises it; a crash, a restart and an eviction do
/// not. A body that spawned other children by it would stand still as drift; use it for plain work
/// and inside of steps, for instance to choose a pause with [`Error::retry_after`](crate::Error::retry_after).
/// All else stays as it is for the whole life of the task.
///
/// ```
/// use homing::{Homing, task};
///
/// #[task]
/// async fn page() -> homing::Result<bool> {
///     let info = homing::info()?;
///     Ok(info.parent == Some(info.root) && info.depth == 1 && info.attempt == 1)
/// }
///
/// #[task]
/// async fn import() -> homing::Result<bool> {
///     Ok(homing::spawn(page()).await?.await?)
/// }
///
/// # #[tokio::main]
/// # async fn main() -> Result<(), Box<dyn std::error::Error>> {
/// let homing = Homing::open("memory:").await?;
/// homing.worker().register(import).register(page).start().await?;
/// assert!(homing.submit(import()).await?.outcome().await?);
/// # Ok(())
/// # }
/// ```
///
/// # Errors
/// [`Misuse`] outside a task.
pub fn info() -> Result<Info, Misuse> {
    let context = current("info")?;
    Ok(Info {
        id: context.task,
        parent: context.parent,
        root: context.task.job.root(),
        depth: context.depth,
        kind: context.kind.clone(),
        attempt: context.attempt,
        queue: context.queue.clone(),
        priority: context.priority,
    })
}

/// The task that spawned the running one, to send it signals; a root has none.
///
/// # Errors
/// [`Misuse`] outside a task.
pub fn parent() -> Result<Option<Parent>, Misuse> {
    let context = current("parent")?;
    Ok(context.parent.map(|id| Parent { id, context }))
}

/// The task that spawned the running one. See [`parent`].
#[derive(Debug, Clone)]
pub struct Parent {
    id: TaskId,
    context: Arc<Context>,
}

impl Parent {
    /// Its id.
    pub fn id(&self) -> TaskId {
        self.id
    }

    /// Sends a value to the parent, which takes it with [`signal`](crate::signal()).
    ///
    /// ```
    /// use homing::{Homing, task};
    ///
    /// #[task]
    /// async fn page() -> homing::Result<()> {
    ///     if let Some(parent) = homing::parent()? {
    ///         parent.signal("found", &7).await?;
    ///     }
    ///     Ok(())
    /// }
    ///
    /// #[task]
    /// async fn import() -> homing::Result<u64> {
    ///     homing::spawn(page()).await?;
    ///     Ok(homing::signal::<u64>("found").await?)
    /// }
    ///
    /// # #[tokio::main]
    /// # async fn main() -> Result<(), Box<dyn std::error::Error>> {
    /// let homing = Homing::open("memory:").await?;
    /// homing.worker().register(import).register(page).start().await?;
    /// assert_eq!(homing.submit(import()).await?.outcome().await?, 7);
    /// # Ok(())
    /// # }
    /// ```
    ///
    /// # Errors
    /// A name or value that is refused. Nothing was sent then.
    ///
    /// # Durability
    /// Sent once, however often the body runs, and committed before any later step begins. A parent that has
    /// ended takes no signals: then nothing happens.
    ///
    /// # Cancel safety
    /// Dropped before it is ready, it may have sent the value or not.
    pub async fn signal<V: Serialize + ?Sized>(&self, name: &str, value: &V) -> Result<(), Misuse> {
        send(&self.context, "parent", self.id, (name, value)).await
    }
}

/// Sends a value to a task next to the running one, or finds that an earlier run has done so.
pub(crate) async fn send<V: Serialize + ?Sized>(
    context: &Arc<Context>,
    whom: &str,
    to: TaskId,
    (name, value): (&str, &V),
) -> Result<(), Misuse> {
    call::name("the signal's name", name)?;
    let value = crate::core::encode::value("the signal's value", value)?;
    let place = context.place(&format!("{whom}.signal:{name}"));
    let _op = context.begin(&place, false).await;
    let hash = digest(&[&to.local.0, name.as_bytes(), value.as_bytes()]);
    let another = || format!("another value or task than {value} for {to}");
    let said = context.is_said(&place, hash, another).await;
    context.settle_lines(said);
    if !said {
        let (entry, name) = (Entry::Signalled(hash), name.to_owned());
        let signal = Signalled { seq: 0, place, entry, to: to.local, name, value };
        context.record_signal(signal).await;
    }
    Ok(())
}
