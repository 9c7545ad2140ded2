//! Single children: `spawn` and what it returns.

use std::fmt;
use std::future::IntoFuture;
use std::marker::PhantomData;
use std::sync::Arc;

use serde::Serialize;
use serde::de::DeserializeOwned;

use crate::body::context::{Context, Spawned, current};
use crate::body::join_set::{abort, decode};
use crate::body::waiting::{Durable, Selectable, Settled, Waiting};
use crate::core::id::{Local, TaskId};
use crate::core::policy::FailurePolicy;
use crate::core::wait::Condition;
use crate::error::{JoinError, Misuse};
use crate::task::Kind;
use crate::task::call::Call;
use futures_util::future::BoxFuture;

/// Spawns a child of the running task.
///
/// Works in the body of a task and in every function it awaits. The task does not end before its
/// children have: one whose handle was dropped is waited for at the end, and its failure fails the task.
///
/// # Errors
/// Outside a task, or when an argument or option is refused. Nothing was spawned then.
///
/// # Durability
/// As for [`JoinSet::spawn`](crate::JoinSet::spawn).
pub async fn spawn<K: Kind>(call: Call<K>) -> Result<JoinHandle<K::Output>, Misuse> {
    let context = current("spawn")?;
    let place = context.named_place(&format!("spawn:{}", call.draft.kind));
    let set = context.open_set(&place, FailurePolicy::FailFast);
    let spawned = context.spawn(set, call.draft).await?;
    Ok(JoinHandle::new(context, spawned))
}

/// A spawned child: await it for its value.
///
/// **Unlike tokio's, dropping it changes nothing**: the child runs on, and the task waits for it before
/// it ends. [`abort`](Self::abort) cancels it.
pub struct JoinHandle<T> {
    context: Arc<Context>,
    spawned: Spawned,
    output: PhantomData<fn() -> T>,
}

impl<T> JoinHandle<T> {
    pub(crate) fn new(context: Arc<Context>, spawned: Spawned) -> Self {
        Self { context, spawned, output: PhantomData }
    }

    /// The child's id.
    pub fn id(&self) -> TaskId {
        self.spawned.child
    }

    /// Sends a value to the child, which takes it with [`signal`](crate::signal()). It may be sent right after
    /// the spawn: the child is committed first.
    ///
    /// ```
    /// use homing::{Homing, task};
    ///
    /// #[task]
    /// async fn page() -> homing::Result<u64> {
    ///     Ok(homing::signal::<u64>("rows").await?)
    /// }
    ///
    /// #[task]
    /// async fn import() -> homing::Result<u64> {
    ///     let page = homing::spawn(page()).await?;
    ///     page.signal("rows", &7).await?;
    ///     Ok(page.await?)
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
    /// Sent once, however often the body runs, and committed before any later step begins. A child that has
    /// ended takes no signals: then nothing happens.
    ///
    /// # Cancel safety
    /// Dropped before it is ready, it may have sent the value or not.
    pub async fn signal<V: Serialize + ?Sized>(&self, name: &str, value: &V) -> Result<(), Misuse> {
        let Spawned { child, place, .. } = &self.spawned;
        crate::body::info::send(&self.context, place, *child, (name, value)).await
    }

    /// Cancels the child, unless it has ended, and everything below it. It does not count as a loss.
    ///
    /// # Durability
    /// Committed with the next durable operation.
    pub fn abort(&self) {
        abort(&self.context, self.spawned.set, Some(self.spawned.child.local), false);
    }
}

impl<T: DeserializeOwned + Send> JoinHandle<T> {
    /// Gives up waiting after this long, counted from when the wait was first reached. The child runs
    /// on.
    pub fn timeout(self, after: std::time::Duration) -> Waiting<'static, Joined<T>> {
        self.waiting().timeout(after)
    }
}

impl<T> fmt::Debug for JoinHandle<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("JoinHandle").field("id", &self.spawned.child).finish_non_exhaustive()
    }
}

impl<T: DeserializeOwned + Send + 'static> IntoFuture for JoinHandle<T> {
    type Output = Result<T, JoinError>;
    type IntoFuture = BoxFuture<'static, Self::Output>;

    fn into_future(self) -> Self::IntoFuture {
        self.waiting().into_future()
    }
}

/// `(&handle).await` keeps the handle, which may be awaited again: it brings the same outcome.
impl<T: DeserializeOwned + Send + 'static> IntoFuture for &JoinHandle<T> {
    type Output = Result<T, JoinError>;
    type IntoFuture = BoxFuture<'static, Self::Output>;

    fn into_future(self) -> Self::IntoFuture {
        self.waiting().into_future()
    }
}

impl<T: DeserializeOwned + Send> Selectable<'static> for JoinHandle<T> {
    type Wait = Joined<T>;

    fn waiting(self) -> Waiting<'static, Joined<T>> {
        (&self).waiting()
    }
}

impl<T: DeserializeOwned + Send> Selectable<'static> for &JoinHandle<T> {
    type Wait = Joined<T>;

    fn waiting(self) -> Waiting<'static, Joined<T>> {
        let Spawned { set, child, place } = &self.spawned;
        let (owner, place, set, child) = (self.context.task, place.clone(), *set, child.local);
        Waiting::new(Joined { owner, place, set, child, output: PhantomData })
    }
}

/// The wait for one child.
#[derive(Debug)]
pub struct Joined<T> {
    owner: TaskId,
    place: String,
    set: Local,
    child: Local,
    output: PhantomData<fn() -> T>,
}

impl<T: DeserializeOwned + Send> Durable for Joined<T> {
    type Output = Result<T, JoinError>;

    fn name(&self) -> String {
        format!("{}.await", self.place)
    }

    fn owner(&self) -> Option<TaskId> {
        Some(self.owner)
    }

    async fn plan(&mut self, _: &Arc<Context>, _: &str) -> Option<Condition> {
        Some(Condition::Child { set: self.set, child: self.child })
    }

    async fn settle(self, context: &Arc<Context>, settled: Settled) -> Self::Output {
        if settled.timed_out {
            return Err(context.timed_out(&settled.place, (self.set, Some(self.child))).await);
        }
        let (task, local) = (context.task, self.child);
        let child = context.fetch(move |store| async move { store.child(task, local).await }).await;
        let Some(child) = child.filter(|child| child.state.is_ended()) else {
            return context.drift(&settled.place, "expected an ended child, got none").await;
        };
        context.take_ends(self.set, false).await;
        context.with_set(self.set, |state| state.ends.give_one(&child));
        decode(context, &child, || context.moment(&settled.place))
    }

    fn misuse(self, misuse: Misuse) -> Self::Output {
        Err(misuse.into())
    }
}
