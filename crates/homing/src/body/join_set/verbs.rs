//! The waits on a set.

use std::fmt;
use std::sync::Arc;

use serde::de::DeserializeOwned;

use super::{JoinSet, abort, decode, failure_of};
use crate::body::context::Context;
use crate::body::waiting::{Durable, Settled};
use crate::core::id::TaskId;
use crate::core::wait::Condition;
use crate::error::{JoinError, Misuse};
use crate::limits;
use crate::store::Child;

/// See [`JoinSet::join_next`].
pub struct JoinNext<'s, T> {
    pub(super) set: &'s mut JoinSet<T>,
}

/// See [`JoinSet::join_next_with_id`].
pub struct JoinNextWithId<'s, T> {
    pub(super) next: JoinNext<'s, T>,
}

/// See [`JoinSet::join_all`].
pub struct JoinAll<'s, T> {
    pub(super) set: &'s mut JoinSet<T>,
}

/// See [`JoinSet::join_settled`].
pub struct JoinSettled<'s, T> {
    pub(super) set: &'s mut JoinSet<T>,
}

/// See [`JoinSet::join_first`] and [`JoinSet::join_some`].
pub struct JoinSome<'s, T, R> {
    set: &'s mut JoinSet<T>,
    count: u64,
    verb: &'static str,
    finish: fn(Vec<T>) -> Option<R>,
}

#[expect(clippy::mismatching_type_param_order, reason = "its result is a child's value")]
impl<'s, T> JoinSome<'s, T, T> {
    pub(super) fn first(set: &'s mut JoinSet<T>) -> Self {
        Self { set, count: 1, verb: "join_first", finish: |values| values.into_iter().next() }
    }
}

impl<'s, T> JoinSome<'s, T, Vec<T>> {
    pub(super) fn some(set: &'s mut JoinSet<T>, count: u64) -> Self {
        Self { set, count, verb: "join_some", finish: Some }
    }
}

impl<T> JoinSet<T> {
    fn owner(&self) -> Option<TaskId> {
        self.context.as_ref().ok().map(|context| context.task)
    }

    fn issued(&self, context: &Context) -> u64 {
        context.with_set(self.set, |state| u64::from(state.issued))
    }

    /// All have ended, or so many are lost.
    fn all(&self, context: &Context, lost: Option<u64>) -> Option<Condition> {
        let (set, over) = (self.set, context.with_set(self.set, |state| state.is_over()));
        let drained = self.grows(context);
        let ended = (!drained).then_some(self.issued(context));
        (!over).then_some(Condition::Set { set, ended, lost, succeeded: None, drained })
    }

    fn grows(&self, context: &Context) -> bool {
        context.with_set(self.set, |state| state.growing)
    }

    /// How many members there ever were. Of a growing set that is asked once nobody is left to add one.
    async fn spawned(&self, context: &Arc<Context>) -> u64 {
        if !self.grows(context) {
            return self.issued(context);
        }
        let (task, set) = (context.task, self.set);
        context.fetch(move |store| async move { store.set(task, set).await }).await.spawned
    }

    /// That a growing set has given out more than a list may have.
    pub(super) async fn overfull(
        &self,
        context: &Arc<Context>,
        verb: &'static str,
        listed: usize,
    ) -> Option<JoinError> {
        let limit = limits::JOIN_ALL;
        if listed as u64 <= limit {
            return None;
        }
        let given = context.with_set(self.set, |state| state.ends.given());
        let children = self.spawned(context).await.saturating_sub(given);
        Some(JoinError::TooMany { verb, children, limit })
    }

    pub(super) fn too_many(&self, context: &Context, verb: &'static str) -> Option<JoinError> {
        let children = context.with_set(self.set, |state| state.left());
        let limit = limits::JOIN_ALL;
        (children > limit).then_some(JoinError::TooMany { verb, children, limit })
    }
}

impl<T: DeserializeOwned + Send> Durable for JoinNext<'_, T> {
    type Output = Option<Result<T, JoinError>>;

    fn name(&self) -> String {
        format!("{}.join_next", self.set.place)
    }

    fn members(&self, context: &Context) -> u64 {
        self.set.issued(context)
    }

    fn owner(&self) -> Option<TaskId> {
        self.set.owner()
    }

    async fn plan(&mut self, context: &Arc<Context>, place: &str) -> Option<Condition> {
        let set = self.set.set;
        let over = context.with_set(set, |state| state.is_over());
        if over || context.next_end(set, false).await {
            return None;
        }
        context.check_members(set, place).await;
        // One more has ended than was given, or nobody is left to add one.
        let ended = Some(context.with_set(set, |state| state.ends.given() + 1));
        let drained = self.set.grows(context);
        Some(Condition::Set { set, ended, lost: None, succeeded: None, drained })
    }

    async fn settle(self, context: &Arc<Context>, settled: Settled) -> Self::Output {
        let next = self.next(context, &settled).await?;
        let moment = || context.moment(&settled.place);
        Some(next.and_then(|child| decode(context, &child, moment)))
    }

    fn misuse(self, misuse: Misuse) -> Self::Output {
        Some(Err(misuse.into()))
    }
}

impl<T: DeserializeOwned + Send> JoinNext<'_, T> {
    /// The child whose outcome is given.
    async fn next(
        self,
        context: &Arc<Context>,
        settled: &Settled,
    ) -> Option<Result<Child, JoinError>> {
        let set = self.set.set;
        if settled.timed_out {
            return Some(Err(context.timed_out(&settled.place, (set, None)).await));
        }
        if context.with_set(set, |state| state.is_over()) {
            return None;
        }
        // How many had ended by then: no more than were given, so nobody is left to add one.
        let ended = settled.value.as_deref().and_then(|ended| ended.parse::<u64>().ok());
        if ended.is_some_and(|ended| context.with_set(set, |state| state.drains(ended))) {
            return None;
        }
        context.take_ends(set, true).await;
        context.next_end(set, true).await;
        match context.with_set(set, |state| state.ends.give_next()) {
            Some(child) => {
                context.check_spawned(set, &settled.place, &child).await;
                Some(Ok(child))
            }
            None => context.drift(&settled.place, "expected an ended child, got none").await,
        }
    }
}

impl<T: DeserializeOwned + Send> Durable for JoinNextWithId<'_, T> {
    type Output = Option<Result<(TaskId, T), JoinError>>;

    fn name(&self) -> String {
        self.next.name()
    }

    fn members(&self, context: &Context) -> u64 {
        self.next.members(context)
    }

    fn owner(&self) -> Option<TaskId> {
        self.next.owner()
    }

    async fn plan(&mut self, context: &Arc<Context>, place: &str) -> Option<Condition> {
        self.next.plan(context, place).await
    }

    async fn settle(self, context: &Arc<Context>, settled: Settled) -> Self::Output {
        let next = self.next.next(context, &settled).await?;
        let moment = || context.moment(&settled.place);
        Some(next.and_then(|child| {
            let id = TaskId { job: context.task.job, local: child.local };
            Ok((id, decode(context, &child, moment)?))
        }))
    }

    fn misuse(self, misuse: Misuse) -> Self::Output {
        Some(Err(misuse.into()))
    }
}

impl<T: DeserializeOwned + Send> Durable for JoinAll<'_, T> {
    type Output = Result<Vec<T>, JoinError>;

    fn name(&self) -> String {
        format!("{}.join_all", self.set.place)
    }

    fn members(&self, context: &Context) -> u64 {
        self.set.issued(context)
    }

    fn owner(&self) -> Option<TaskId> {
        self.set.owner()
    }

    async fn plan(&mut self, context: &Arc<Context>, place: &str) -> Option<Condition> {
        context.check_members(self.set.set, place).await;
        let policy = self.set.policy;
        let too_many = self.set.too_many(context, "join_all").is_some();
        let lost = context.with_set(self.set.set, |state| {
            let known = !(state.growing && policy.is_of_the_whole());
            known.then(|| policy.breaking(u64::from(state.issued), state.ends.lost()))
        });
        self.set.all(context, lost).filter(|_| !too_many)
    }

    async fn settle(self, context: &Arc<Context>, settled: Settled) -> Self::Output {
        let (set, moment) = (self.set.set, context.moment(&settled.place));
        if let Some(error) = self.set.too_many(context, "join_all") {
            return Err(error);
        }
        if settled.timed_out {
            return Err(context.timed_out(&settled.place, (set, None)).await);
        }
        context.take_ends(set, true).await;
        let (before, succeeded) =
            context.with_set(set, |state| (state.ends.lost(), state.ends.succeeded()));
        let spawned = self.set.spawned(context).await;
        let allowed = self.set.policy.allowed(spawned, before);
        let (mut children, mut borne) = (Vec::new(), Vec::new());
        let tally = context
            .tally_spawned(set, &settled.place, allowed, |child| {
                if child.state == crate::core::state::State::Succeeded {
                    children.push(child);
                } else {
                    borne.push(child.local);
                }
                (children.len() + borne.len()) as u64 <= limits::JOIN_ALL
            })
            .await;
        let listed = children.len() + borne.len();
        if let Some(error) = self.set.overfull(context, "join_all", listed).await {
            return Err(error);
        }
        if tally.breaking.is_some() {
            abort(context, set, None, true);
        }
        self.set.turn(context, tally.breaking.is_none());
        if let Some(child) = tally.breaking {
            let failure = Box::new(failure_of(context, &child));
            context.tell_loss(&moment, Some(child.local));
            return Err(JoinError::Failed { failure, moment: Some(Box::new(moment)) });
        }
        if let crate::core::policy::FailurePolicy::Require { successes: needed } = self.set.policy {
            let succeeded = succeeded + tally.succeeded;
            if succeeded < needed {
                context.tell_loss(&moment, None);
                let moment = Some(Box::new(moment));
                return Err(JoinError::TooFew { succeeded, spawned, needed, moment });
            }
        }
        context.bear_losses(borne);
        children.sort_by_key(|child| (child.number, child.local));
        children.iter().map(|child| decode(context, child, || moment.clone())).collect()
    }

    fn misuse(self, misuse: Misuse) -> Self::Output {
        Err(misuse.into())
    }
}

impl<T: DeserializeOwned + Send> Durable for JoinSettled<'_, T> {
    type Output = Result<Vec<Result<T, JoinError>>, JoinError>;

    fn name(&self) -> String {
        format!("{}.join_settled", self.set.place)
    }

    fn members(&self, context: &Context) -> u64 {
        self.set.issued(context)
    }

    fn owner(&self) -> Option<TaskId> {
        self.set.owner()
    }

    async fn plan(&mut self, context: &Arc<Context>, place: &str) -> Option<Condition> {
        context.check_members(self.set.set, place).await;
        let too_many = self.set.too_many(context, "join_settled").is_some();
        self.set.all(context, None).filter(|_| !too_many)
    }

    async fn settle(self, context: &Arc<Context>, settled: Settled) -> Self::Output {
        let (set, moment) = (self.set.set, context.moment(&settled.place));
        if let Some(error) = self.set.too_many(context, "join_settled") {
            return Err(error);
        }
        if settled.timed_out {
            return Err(context.timed_out(&settled.place, (set, None)).await);
        }
        context.take_ends(set, true).await;
        let mut children = Vec::new();
        let keep = |child| {
            children.push(child);
            children.len() as u64 <= limits::JOIN_ALL
        };
        context.tally_spawned(set, &settled.place, u64::MAX, keep).await;
        if let Some(error) = self.set.overfull(context, "join_settled", children.len()).await {
            return Err(error);
        }
        self.set.turn(context, true);
        children.sort_by_key(|child| (child.number, child.local));
        Ok(children.iter().map(|child| decode(context, child, || moment.clone())).collect())
    }

    fn misuse(self, misuse: Misuse) -> Self::Output {
        Err(misuse.into())
    }
}

impl<T: DeserializeOwned + Send, R: Send> Durable for JoinSome<'_, T, R> {
    type Output = Result<R, JoinError>;

    fn name(&self) -> String {
        format!("{}.{}", self.set.place, self.verb)
    }

    fn members(&self, context: &Context) -> u64 {
        self.set.issued(context)
    }

    fn owner(&self) -> Option<TaskId> {
        self.set.owner()
    }

    async fn plan(&mut self, context: &Arc<Context>, place: &str) -> Option<Condition> {
        let (set, count) = (self.set.set, self.count);
        context.check_members(set, place).await;
        context.with_set(set, |state| {
            let succeeded = Some(state.ends.succeeded().saturating_add(count));
            if state.growing {
                let wanted = count > 0 && !state.is_over();
                let (ended, lost, drained) = (None, None, true);
                return wanted.then_some(Condition::Set { set, ended, lost, succeeded, drained });
            }
            let left = state.left();
            let reachable = left >= count && count > 0;
            // More losses than this, and the successes can no longer be reached.
            let lost = Some((state.ends.lost() + left).saturating_sub(count) + 1);
            let (ended, drained) = (Some(u64::from(state.issued)), false);
            reachable.then_some(Condition::Set { set, ended, lost, succeeded, drained })
        })
    }

    async fn settle(self, context: &Arc<Context>, settled: Settled) -> Self::Output {
        let (set, moment) = (self.set.set, context.moment(&settled.place));
        if settled.timed_out {
            return Err(context.timed_out(&settled.place, (set, None)).await);
        }
        context.take_ends(set, true).await;
        let spawned = self.set.spawned(context).await;
        let (mut values, mut lost, mut borne) = (Vec::new(), None, Vec::new());
        let keep = |child: Child| {
            if child.state == crate::core::state::State::Succeeded {
                values.push(child);
            } else {
                borne.push(child.local);
                lost = super::collect::is_lost(&child).then_some(child).or(lost.take());
            }
            (values.len() as u64) < self.count
        };
        if self.count > 0 {
            context.tally_spawned(set, &settled.place, u64::MAX, keep).await;
        }
        let succeeded = values.len() as u64;
        let values: Result<Vec<T>, _> =
            values.iter().map(|child| decode(context, child, || moment.clone())).collect();
        abort(context, set, None, true);
        self.set.turn(context, false);
        let result = (self.finish)(values?).filter(|_| succeeded >= self.count);
        if result.is_some() {
            context.bear_losses(borne);
        } else {
            context.tell_loss(&moment, None);
        }
        match (result, lost) {
            (Some(result), _) => Ok(result),
            (None, Some(child)) if self.count == 1 => {
                let failure = Box::new(failure_of(context, &child));
                Err(JoinError::Failed { failure, moment: Some(Box::new(moment)) })
            }
            (None, _) => {
                let (needed, moment) = (self.count, Some(Box::new(moment)));
                Err(JoinError::TooFew { succeeded, spawned, needed, moment })
            }
        }
    }

    fn misuse(self, misuse: Misuse) -> Self::Output {
        Err(misuse.into())
    }
}

macro_rules! debug {
    ($($name:ident<$($parameter:ident),*>)*) => {
        $(impl<$($parameter),*> fmt::Debug for $name<'_, $($parameter),*> {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.debug_struct(stringify!($name)).field("set", &self.set.place).finish()
            }
        })*
    };
}

debug!(JoinNext<T> JoinAll<T> JoinSettled<T> JoinSome<T, R>);

impl<T> fmt::Debug for JoinNextWithId<'_, T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.next.fmt(f)
    }
}
