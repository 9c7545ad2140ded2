//! The durable waits of a body: one shape for all of them.
//!
//! A verb such as `join_all` or `sleep` returns a [`Waiting`], which can be given a timeout and is
//! awaited by itself or in `select!`. Each stands for one [`Condition`]; its timeout is a second one,
//! asked after it, so that a completion beats a deadline.

use std::future::IntoFuture;
use std::marker::PhantomData;
use std::sync::Arc;
use std::time::Duration;

use futures_util::future::BoxFuture;

use crate::body::context::{Context, Halt, Op, current};
use crate::core::id::{Local, TaskId};
use crate::core::replay::TIMED_OUT;
use crate::core::wait::{Answer, Condition};
use crate::error::{JoinError, Misuse, TimedOut};
use crate::limits;

/// What distinguishes one durable wait from another. Implemented by homing only.
#[doc(hidden)]
pub trait Durable: Send {
    /// What the wait brings.
    type Output: Send;
    /// The name its place is made of.
    fn name(&self) -> String;
    /// How many children the set has, for the check on replay.
    fn members(&self, _: &Context) -> u64 {
        0
    }
    /// The task whose children are waited for, where there are any.
    fn owner(&self) -> Option<TaskId> {
        None
    }
    /// What to wait for; `None` if there is nothing to wait for.
    fn plan(
        &mut self,
        context: &Arc<Context>,
        place: &str,
    ) -> impl Future<Output = Option<Condition>> + Send;
    /// Turns the answer into the output.
    fn settle(
        self,
        context: &Arc<Context>,
        settled: Settled,
    ) -> impl Future<Output = Self::Output> + Send;
    /// The output when there is no task to wait in.
    fn misuse(self, misuse: Misuse) -> Self::Output;
}

/// How a wait came to its end.
#[doc(hidden)]
#[derive(Debug)]
pub struct Settled {
    /// The wait's place.
    pub place: String,
    /// Whether its timeout passed first.
    pub timed_out: bool,
    /// What a signal brought, or another wait's answer.
    pub value: Option<String>,
}

/// A durable wait, not yet begun. Await it, give it a [timeout](Self::timeout), or put it into
/// [`select!`](crate::select!).
///
/// # Durability
/// While it waits the task holds no slot, lease, connection or timer; its answer is recorded before the
/// body goes on, and a replay is given the same answer.
///
/// # Cancel safety
/// Dropping it consumes nothing and cancels nothing.
#[must_use = "a wait does nothing unless it is awaited"]
#[derive(Debug)]
pub struct Waiting<'s, W> {
    wait: W,
    timeout: Option<Duration>,
    scope: PhantomData<&'s ()>,
}

impl<W: Durable> Waiting<'_, W> {
    pub(crate) fn new(wait: W) -> Self {
        Self { wait, timeout: None, scope: PhantomData }
    }

    /// Gives up after this long, counted from when the wait was first reached, crashes and restarts
    /// included. What is waited for runs on. Default: waits for ever.
    pub fn timeout(mut self, after: Duration) -> Self {
        self.timeout = Some(after);
        self
    }

    async fn run(mut self) -> W::Output {
        let name = self.wait.name();
        let Ok(context) = current("wait") else {
            return self.wait.misuse(Misuse::OutsideTask { verb: verb(&name) });
        };
        let place = context.place(&name);
        let _op = Box::pin(context.begin(&place, false)).await;
        context.check_owner(self.wait.owner(), &place).await;
        let members = self.wait.members(&context);
        let mut answer = Box::pin(context.answered(&place, members)).await;
        if answer.is_none()
            && let Some(condition) = Box::pin(self.wait.plan(&context, &place)).await
        {
            let mut arms = vec![condition];
            if let Some(after) = self.timeout {
                let time = Box::pin(context.deadline(&place, after)).await;
                arms.push(Condition::At { time });
            }
            answer = Some(context.wait(&place, arms, members).await);
        }
        context.forget_deadline(&place);
        // The futures above live only until they are done; what is parked is the wait itself.
        let (arm, value) = answer.map_or((0, None), |answer| (answer.arm, answer.value));
        Box::pin(self.wait.settle(&context, Settled { place, timed_out: arm > 0, value })).await
    }
}

/// The verb at the end of a wait's name, for the error a misplaced call gets.
fn verb(name: &str) -> &'static str {
    const VERBS: [&str; 10] = [
        "join_next",
        "join_all",
        "join_settled",
        "join_first",
        "join_some",
        "await",
        "sleep",
        "signal",
        "job",
        "select!",
    ];
    VERBS.into_iter().find(|verb| name.contains(verb)).unwrap_or("wait")
}

impl<'s, W: Durable + 's> IntoFuture for Waiting<'s, W> {
    type Output = W::Output;
    type IntoFuture = BoxFuture<'s, W::Output>;

    fn into_future(self) -> Self::IntoFuture {
        Box::pin(self.run())
    }
}

impl Context {
    /// Ends the task where it waits for another task's children: their ends are told to that one only.
    pub(crate) async fn check_owner(&self, owner: Option<TaskId>, place: &str) {
        if owner.is_some_and(|owner| owner != self.task) {
            let misuse = Misuse::OtherTask { wait: place.to_owned() };
            self.halt::<()>(Halt::Misuse(misuse)).await;
        }
    }

    /// Describes a timed-out wait on a set, and remembers the description.
    pub(crate) async fn timed_out(
        self: &Arc<Self>,
        place: &str,
        (set, child): (Local, Option<Local>),
    ) -> JoinError {
        let moment = self.moment(place);
        self.tell_loss(&moment, None);
        let told = format!("{place}{TIMED_OUT}");
        if let Some(timed_out) = self.replayed_as(&told, "what was done in time").await {
            return JoinError::TimedOut(Box::new(timed_out));
        }
        let task = self.task;
        let (done, open, oldest_open) = self
            .fetch(move |store| async move { open_children(&*store, task, set, child).await })
            .await;
        let (place, moment) = (place.to_owned(), Some(moment));
        let timed_out = TimedOut { place, done, open, oldest_open, moment };
        self.record_value(&told, &timed_out);
        JoinError::TimedOut(Box::new(timed_out))
    }
}

/// Counts a set's ended and open children and names the first open ones among the first 10,000.
async fn open_children(
    store: &dyn crate::store::Store,
    task: crate::TaskId,
    set: Local,
    child: Option<Local>,
) -> Result<(u64, u64, Vec<crate::TaskId>), crate::store::Error> {
    let id = |local| crate::TaskId { job: task.job, local };
    if let Some(child) = child {
        return Ok((0, 1, vec![id(child)]));
    }
    if set == Local::ROOT {
        // A signal: there are no children to name.
        return Ok((0, 0, Vec::new()));
    }
    let counts = store.set(task, set).await?;
    let (mut oldest, mut from) = (Vec::new(), 0);
    for _ in 0..10 {
        let page = store.children(task, set, from, limits::PAGE).await?;
        let open = page.iter().filter(|child| !child.state.is_ended()).map(|child| id(child.local));
        oldest.extend(open.take(20 - oldest.len()));
        match page.last() {
            Some(last) if oldest.len() < 20 => from = last.number + 1,
            _ => break,
        }
    }
    Ok((counts.ended(), counts.spawned - counts.ended(), oldest))
}

/// What [`select!`](crate::select!) takes: any durable wait.
#[doc(hidden)]
pub trait Selectable<'s> {
    /// The wait.
    type Wait: Durable;
    /// The wait, with its timeout.
    fn waiting(self) -> Waiting<'s, Self::Wait>;
}

impl<'s, W: Durable> Selectable<'s> for Waiting<'s, W> {
    type Wait = W;
    fn waiting(self) -> Self {
        self
    }
}

/// An arm of a `select!`, whatever it brings.
#[doc(hidden)]
pub trait Arm: Send {
    /// The conditions of the arm: one, and its timeout.
    fn conditions<'a>(
        &'a mut self,
        context: &'a Arc<Context>,
        place: &'a str,
    ) -> BoxFuture<'a, Vec<Condition>>;
    /// How many conditions it has.
    fn width(&self) -> usize;
    /// How many children its set has, for the check on replay.
    fn members(&self, context: &Context) -> u64;
    /// The task whose children it waits for.
    fn owner(&self) -> Option<TaskId>;
}

impl<W: Durable> Arm for Waiting<'_, W> {
    fn conditions<'a>(
        &'a mut self,
        context: &'a Arc<Context>,
        place: &'a str,
    ) -> BoxFuture<'a, Vec<Condition>> {
        Box::pin(async move {
            // Nothing to wait for is satisfied at once; the winner is recorded all the same.
            let nothing = Condition::All { of: Vec::new() };
            let mut arms = vec![Box::pin(self.wait.plan(context, place)).await.unwrap_or(nothing)];
            if let Some(after) = self.timeout {
                arms.push(Condition::At { time: context.deadline(place, after).await });
            }
            arms
        })
    }

    fn width(&self) -> usize {
        1 + usize::from(self.timeout.is_some())
    }

    fn members(&self, context: &Context) -> u64 {
        self.wait.members(context)
    }

    fn owner(&self) -> Option<TaskId> {
        self.wait.owner()
    }
}

/// The winner of a `select!`.
#[doc(hidden)]
pub struct Winner {
    /// Which arm.
    pub index: usize,
    settled: Result<(Arc<Context>, Settled, Op), Misuse>,
}

impl std::fmt::Debug for Winner {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Winner").field("index", &self.index).finish_non_exhaustive()
    }
}

impl Winner {
    /// What the winning arm brings.
    pub async fn settle<W: Durable>(self, arm: Waiting<'_, W>) -> W::Output {
        match self.settled {
            // Open until the body has been told: a branch that is told of a loss meanwhile knows of it.
            Ok((context, settled, _op)) => Box::pin(arm.wait.settle(&context, settled)).await,
            Err(misuse) => arm.wait.misuse(misuse),
        }
    }
}

/// Waits for the first of several arms and records which it was.
#[doc(hidden)]
pub async fn race(arms: &mut [&mut dyn Arm]) -> Winner {
    let context = match current("select!") {
        Ok(context) => context,
        Err(misuse) => return Winner { index: 0, settled: Err(misuse) },
    };
    let place = context.place("select!");
    let op = context.begin(&place, false).await;
    let owners: Vec<_> = arms.iter().map(|arm| arm.owner()).collect();
    for owner in owners {
        context.check_owner(owner, &place).await;
    }
    let members = arms.iter().map(|arm| arm.members(&context)).sum();
    let mut answer = context.answered(&place, members).await;
    if answer.is_none() {
        let mut conditions = Vec::new();
        for (n, arm) in arms.iter_mut().enumerate() {
            conditions.extend(arm.conditions(&context, &format!("{place}/{n}")).await);
        }
        answer = Some(context.wait(&place, conditions, members).await);
    }
    let Some(Answer { mut arm, value, .. }) = answer else { unreachable!("answered above") };
    let mut index = 0;
    while index + 1 < arms.len() && arm >= arms[index].width() {
        arm -= arms[index].width();
        index += 1;
    }
    for arm in 0..arms.len() {
        context.forget_deadline(&format!("{place}/{arm}"));
    }
    let settled = Settled { place: format!("{place}/{index}"), timed_out: arm > 0, value };
    Winner { index, settled: Ok((context, settled, op)) }
}

/// Waits for the first of several durable waits, and runs its handler; the others consume nothing.
///
/// Up to eight arms `pattern = wait => expression`. The first satisfied arm in the order written wins,
/// and the winner is recorded, so a replay takes the same arm. Takes homing's waits only (`join_next`
/// and its kin, handles, [`sleep`](crate::sleep), [`signal`](crate::signal)): plain futures belong into
/// a [`step`](crate::step).
#[macro_export]
macro_rules! select {
    ($($pattern:pat = $wait:expr => $handler:expr),+ $(,)?) => {
        $crate::__select!([a b c d e f g h] [] $({$pattern} {$wait} {$handler})+)
    };
}

#[doc(hidden)]
#[macro_export]
macro_rules! __select {
    ([$name:ident $($names:ident)*] [$($done:tt)*] {$pattern:pat} {$wait:expr} {$handler:expr} $($rest:tt)*) => {
        $crate::__select!([$($names)*] [$($done)* {$name} {$pattern} {$wait} {$handler}] $($rest)*)
    };
    ([$($names:ident)*] [$({$name:ident} {$pattern:pat} {$wait:expr} {$handler:expr})+]) => {{
        $(let mut $name = $crate::__private::Selectable::waiting($wait);)+
        let winner = $crate::__private::race(&mut [$(&mut $name),+]).await;
        $crate::__select_match!(winner; 0; $({$name} {$pattern} {$handler})+)
    }};
}

#[doc(hidden)]
#[macro_export]
macro_rules! __select_match {
    ($winner:ident; $index:expr; {$name:ident} {$pattern:pat} {$handler:expr}) => {{
        let $pattern = $winner.settle($name).await;
        $handler
    }};
    ($winner:ident; $index:expr; {$name:ident} {$pattern:pat} {$handler:expr} $($rest:tt)+) => {
        if $winner.index == $index {
            let $pattern = $winner.settle($name).await;
            $handler
        } else {
            $crate::__select_match!($winner; $index + 1; $($rest)+)
        }
    };
}
