//! Sets of children: spawn when you find work, join when you need it.

use std::fmt;
use std::marker::PhantomData;
use std::sync::Arc;

use futures_util::stream::{self, Stream};
use serde::de::DeserializeOwned;

use crate::body::context::{Context, GROWING, current};
use crate::body::handle::JoinHandle;
use crate::body::waiting::Waiting;
use crate::core::id::Local;
use crate::core::policy::FailurePolicy;
use crate::error::{Invalid, JoinError, Misuse};
use crate::store::{Abort, Event};
use crate::task::Kind;
use crate::task::call::Call;

mod collect;
#[cfg(test)]
mod tests;
mod verbs;

pub(crate) use collect::{Given, decode, failure_of, is_lost};
pub use verbs::{JoinAll, JoinNext, JoinNextWithId, JoinSettled, JoinSome};

/// A set of children of one output type, made durable: the habits of tokio's `JoinSet`.
///
/// **Unlike tokio's, dropping it never cancels**: its children run on, and the task does not end before
/// they have. Only [`abort_all`](Self::abort_all), the policy, or the end of the task cancels them.
///
/// A set has a place in its body: the number of its creation, or its [name](Self::named).
pub struct JoinSet<T> {
    context: Result<Arc<Context>, Misuse>,
    set: Local,
    place: String,
    /// How many whole sets have been dealt with under this value: each has counts of its own.
    turns: u32,
    policy: FailurePolicy,
    output: PhantomData<fn() -> T>,
}

impl<T> JoinSet<T> {
    /// An empty set.
    pub fn new() -> Self {
        Self::create(|context| context.place("set"))
    }

    /// An empty set whose place does not depend on the sets created before it.
    ///
    /// The name must be unique in the body (1 to 200 bytes, no control characters): another name ends
    /// the task as [`Misuse`].
    pub fn named(name: &str) -> Self {
        if let Err(refused) = crate::core::names::name("the set's name", name) {
            let set = Self::new();
            set.refuse(refused);
            return set;
        }
        let name = crate::core::names::in_place(name);
        let set = Self::create(|context| context.named_place(&format!("set:{name}")));
        if let Ok(context) = &set.context
            && context.with_set(set.set, |state| std::mem::replace(&mut state.named, true))
        {
            context.refuse(Misuse::DoubledPlace { place: set.place.clone() });
        }
        set
    }

    /// Ends the task for what a verb without an error was given.
    fn refuse(&self, refused: Invalid) {
        if let Ok(context) = &self.context {
            context.refuse(refused.into());
        }
    }

    fn create(place: impl FnOnce(&Context) -> String) -> Self {
        let context = current("JoinSet::spawn");
        let (mut set, mut name) = (Local::ROOT, String::new());
        let policy = FailurePolicy::default();
        if let Ok(context) = &context {
            name = place(context);
            set = context.open_set(&name, policy);
        }
        Self { context, set, place: name, turns: 0, policy, output: PhantomData }
    }

    /// Chooses the failure policy. Default: [`FailurePolicy::FailFast`].
    ///
    /// A percentage that is none (below 0, above 100, not a number) ends the task as [`Misuse`].
    #[must_use]
    pub fn policy(mut self, policy: FailurePolicy) -> Self {
        if let Err(refused) = policy.check() {
            self.refuse(refused);
            return self;
        }
        self.policy = policy;
        if let Ok(context) = &self.context {
            context.with_set(self.set, |state| state.policy = policy);
        }
        self
    }

    /// Lets the children add to the set they are in, with [`spawn_sibling`](crate::spawn_sibling()), and what they
    /// add too. Default: only this body spawns into it.
    ///
    /// What was added is a child of this task like those spawned here: every wait for the set, the policy, the
    /// aborts and the closing join mean it as well. So the number of members is known only once nobody is left to
    /// add one: [`join_all`](Self::join_all), [`join_settled`](Self::join_settled) and the `None` of
    /// [`join_next`](Self::join_next) wait until every member that there ever was has ended.
    ///
    /// ```
    /// use homing::{Homing, JoinSet, task};
    ///
    /// /// Finds the pages that a page links to.
    /// #[task]
    /// async fn page(n: u64) -> homing::Result<u64> {
    ///     for link in [2 * n, 2 * n + 1] {
    ///         if link < 10 {
    ///             homing::spawn_sibling(page(link)).await?;
    ///         }
    ///     }
    ///     Ok(n)
    /// }
    ///
    /// #[task]
    /// async fn crawl() -> homing::Result<u64> {
    ///     let mut pages = JoinSet::new().growing();
    ///     pages.spawn(page(1)).await?;
    ///     Ok(pages.join_all().await?.iter().sum())
    /// }
    ///
    /// # #[tokio::main]
    /// # async fn main() -> Result<(), Box<dyn std::error::Error>> {
    /// let homing = Homing::open("memory:").await?;
    /// homing.worker().register(crawl).register(page).start().await?;
    /// assert_eq!(homing.submit(crawl()).await?.outcome().await?, 45);
    /// # Ok(())
    /// # }
    /// ```
    ///
    /// Said after a spawn it ends the task as [`Misuse`]: write `JoinSet::new().growing()`. A body that is changed
    /// between a set that grows and one that does not has drifted where it had spawned into the set.
    #[must_use]
    pub fn growing(mut self) -> Self {
        let Ok(context) = &self.context else { return self };
        if self.turns > 0 || context.with_set(self.set, |state| state.growing || state.issued > 0) {
            context.refuse(Misuse::LateGrowing { set: self.place.clone() });
            return self;
        }
        // A place of its own, so that a replay which makes another kind of set finds none of the children.
        self.place.push_str(GROWING);
        self.set = context.open_set(&self.place, self.policy);
        context.with_set(self.set, |state| state.growing = true);
        self
    }

    /// Spawns a child.
    ///
    /// # Errors
    /// Outside a task, or when an argument or option is refused. Nothing was spawned then.
    ///
    /// # Durability
    /// Returns once the child is on its way; it is committed before any later step begins. It waits
    /// when [`limits::UNFLUSHED_SPAWNS`](crate::limits::UNFLUSHED_SPAWNS) are on their way. A replay
    /// finds the child again and compares the call with it.
    pub async fn spawn<K: Kind<Output = T>>(
        &mut self,
        call: Call<K>,
    ) -> Result<JoinHandle<T>, Misuse> {
        self.spawn_draft(call.draft).await
    }

    pub(crate) async fn spawn_draft(
        &mut self,
        draft: crate::task::call::Draft,
    ) -> Result<JoinHandle<T>, Misuse> {
        let context = self.context.as_ref().map_err(Clone::clone)?;
        let here = current("JoinSet::spawn")?;
        here.check_owner(Some(context.task), &self.place).await;
        let spawned = context.spawn(self.set, draft).await?;
        Ok(JoinHandle::new(Arc::clone(context), spawned))
    }

    /// Every child so far has been dealt with; what is spawned next begins a fresh set. Where some may
    /// still be open, the closing join waits for their ends.
    fn turn(&mut self, context: &Context, ended: bool) {
        context.with_set(self.set, |state| {
            (state.settled, state.ended) = (true, ended);
            state.ends.give_all(u64::from(state.issued));
        });
        self.turns += 1;
        let place = format!("{}~{}", self.place, self.turns);
        let growing = context.with_set(self.set, |state| state.growing);
        self.set = context.open_set(&place, self.policy);
        context.with_set(self.set, |state| state.growing = growing);
    }

    fn state<R>(&self, read: impl FnOnce(&mut crate::body::context::SetState) -> R) -> Option<R> {
        self.context.as_ref().ok().map(|context| context.with_set(self.set, read))
    }

    /// Children whose outcomes have not been given out. Of a [growing](Self::growing) set only those that this body
    /// has spawned: what members add, the store alone knows.
    pub fn len(&self) -> usize {
        self.state(|state| state.left()).unwrap_or(0) as usize
    }

    /// Whether every child's outcome has been given out. As [`len`](Self::len) it counts the children that this body
    /// has spawned: of a growing set there may be outcomes left, which [`join_next`](Self::join_next) gives.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Cancels every open child spawned so far, and what is below them. Their ends do not count as
    /// losses.
    ///
    /// # Durability
    /// Committed with the next durable operation.
    pub fn abort_all(&mut self) {
        if let Ok(context) = &self.context {
            abort(context, self.set, None, false);
        }
    }
}

/// Sends an abort for what has been spawned so far.
pub(crate) fn abort(context: &Context, set: Local, child: Option<Local>, policy: bool) {
    let below = context.with_set(set, |state| state.issued);
    context.note_abort(set, child, below);
    context.send(Event::Abort(Abort { set, child, below, policy }));
}

impl<T: DeserializeOwned + Send> JoinSet<T> {
    /// The next outcome in the order of completion; `None` when all have been given out. What has
    /// ended already is handed out before the task parks. Of a [growing](Self::growing) set it is `None` once
    /// every member has ended, so that nobody is left to add one, and all have been given out.
    pub fn join_next(&mut self) -> Waiting<'_, JoinNext<'_, T>> {
        Waiting::new(JoinNext { set: self })
    }

    /// As [`join_next`](Self::join_next), with the id of the child: which of the handles' children it was. The id
    /// of one that failed is told by [`JoinError::id`].
    ///
    /// ```
    /// use std::collections::HashMap;
    ///
    /// use homing::{Homing, JoinSet, task};
    ///
    /// #[task]
    /// async fn page(n: u64) -> homing::Result<u64> {
    ///     Ok(n * 10)
    /// }
    ///
    /// #[task]
    /// async fn import() -> homing::Result<u64> {
    ///     let (mut pages, mut names) = (JoinSet::new(), HashMap::new());
    ///     for n in 0..3 {
    ///         names.insert(pages.spawn(page(n)).await?.id(), n);
    ///     }
    ///     let mut right = 0;
    ///     while let Some(next) = pages.join_next_with_id().await {
    ///         let (id, rows) = next?;
    ///         right += u64::from(rows == names[&id] * 10);
    ///     }
    ///     Ok(right)
    /// }
    ///
    /// # #[tokio::main]
    /// # async fn main() -> Result<(), Box<dyn std::error::Error>> {
    /// let homing = Homing::open("memory:").await?;
    /// homing.worker().register(import).register(page).start().await?;
    /// assert_eq!(homing.submit(import()).await?.outcome().await?, 3);
    /// # Ok(())
    /// # }
    /// ```
    ///
    /// # Errors
    /// The child's, or [`JoinError::TimedOut`] with a timeout.
    ///
    /// # Durability
    /// As `join_next`, whose place it shares: one may be written for the other while tasks are parked.
    ///
    /// # Cancel safety
    /// Dropping it consumes nothing.
    pub fn join_next_with_id(&mut self) -> Waiting<'_, JoinNextWithId<'_, T>> {
        Waiting::new(JoinNextWithId { next: JoinNext { set: self } })
    }

    /// The values of all children in the order they were spawned, at most
    /// [`limits::JOIN_ALL`](crate::limits::JOIN_ALL). A loss beyond the set's policy aborts the rest
    /// and is the error. With no children it returns at once.
    ///
    /// Of a [growing](Self::growing) set the values of the children spawned here come first, then those that
    /// members have added, in the order in which they were added: that of the commits.
    pub fn join_all(&mut self) -> Waiting<'_, JoinAll<'_, T>> {
        Waiting::new(JoinAll { set: self })
    }

    /// Every outcome in the order spawned, whatever it is, at most
    /// [`limits::JOIN_ALL`](crate::limits::JOIN_ALL). Of a growing set in the order of [`join_all`](Self::join_all).
    pub fn join_settled(&mut self) -> Waiting<'_, JoinSettled<'_, T>> {
        Waiting::new(JoinSettled { set: self })
    }

    /// The first success; the rest is aborted. An error when no child succeeds.
    pub fn join_first(&mut self) -> Waiting<'_, JoinSome<'_, T, T>> {
        Waiting::new(JoinSome::first(self))
    }

    /// The first `count` successes in the order of completion; the rest is aborted. An error when that
    /// many can no longer be reached.
    pub fn join_some(&mut self, count: usize) -> Waiting<'_, JoinSome<'_, T, Vec<T>>> {
        Waiting::new(JoinSome::some(self, count as u64))
    }

    /// The outcomes in the order of completion, as a stream with flat memory.
    pub fn outcomes(&mut self) -> impl Stream<Item = Result<T, JoinError>> + '_ {
        stream::unfold(self, |set| async {
            let outcome = set.join_next().await?;
            Some((outcome, set))
        })
    }

    /// Gives each outcome to a function, in the order of completion and with flat memory; stops at
    /// the function's first error.
    pub async fn for_each<E, F>(
        &mut self,
        mut each: impl FnMut(Result<T, JoinError>) -> F,
    ) -> Result<(), E>
    where
        F: Future<Output = Result<(), E>>,
    {
        while let Some(outcome) = self.join_next().await {
            each(outcome).await?;
        }
        Ok(())
    }
}

impl<T> Default for JoinSet<T> {
    fn default() -> Self {
        Self::new()
    }
}

impl<T> fmt::Debug for JoinSet<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("JoinSet")
            .field("place", &self.place)
            .field("len", &self.len())
            .finish_non_exhaustive()
    }
}
