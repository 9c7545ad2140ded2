//! The other verbs of a body: `sleep`, `signal`, `now`, `detach`, `id`, `progress`, `cancelled`, `log!`.

use std::marker::PhantomData;
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use serde::de::DeserializeOwned;
use tokio_util::sync::CancellationToken;

use crate::body::context::{Context, current};
use crate::body::waiting::{Durable, Settled, Waiting};
use crate::core::id::{JobId, Local, TaskId};
use crate::core::log::Level;
use crate::core::names::in_place;
use crate::core::time::Time;
use crate::core::wait::Condition;
use crate::error::{Invalid, JoinError, Misuse};
use crate::store::{Entry, Event, NewJob};
use crate::task::Kind;
use crate::task::call::Call;
use crate::task::job::{JobDraft, job_options};
use futures_util::future::BoxFuture;

/// Parks the task for a while: no slot, no timer.
///
/// # Errors
/// [`Misuse`] outside a task.
///
/// # Durability
/// The instant it ends is fixed when it is first reached; crashes and restarts do not prolong it.
pub fn sleep(duration: Duration) -> Waiting<'static, Sleep> {
    Waiting::new(Sleep { duration })
}

/// See [`sleep`].
#[derive(Debug)]
pub struct Sleep {
    duration: Duration,
}

impl Durable for Sleep {
    type Output = Result<(), Misuse>;

    fn name(&self) -> String {
        "sleep".to_owned()
    }

    async fn plan(&mut self, context: &Arc<Context>, place: &str) -> Option<Condition> {
        let time = context.deadline(place, self.duration).await;
        Some(Condition::At { time })
    }

    async fn settle(self, _: &Arc<Context>, _: Settled) -> Self::Output {
        Ok(())
    }

    fn misuse(self, misuse: Misuse) -> Self::Output {
        Err(misuse)
    }
}

/// Waits for a value that somebody outside sends to this task under a name.
///
/// Sent before the wait, it is kept; each value answers one wait, the oldest first. While a body is parked
/// here, [`Homing::signal`](crate::Homing::signal) refuses what can be no `T`; a value of another type that was
/// sent before is an error of this wait, and the next value answers the next wait.
///
/// # Errors
/// [`JoinError::Signal`] if the value is no `T`: the value is used up, and a body that fails by this error is
/// waiting here again after the job's retry. [`JoinError::TimedOut`] with a timeout,
/// [`JoinError::Misuse`] outside a task, and for a name that no signal can have (1 to 200 bytes, no control
/// characters).
pub fn signal<T: DeserializeOwned + Send>(name: &str) -> Waiting<'static, Signal<T>> {
    let name = crate::core::names::name("the signal's name", name).map(|()| name.to_owned());
    Waiting::new(Signal { name, value: PhantomData })
}

/// See [`signal`].
#[derive(Debug)]
pub struct Signal<T> {
    name: Result<String, Invalid>,
    value: PhantomData<fn() -> T>,
}

impl<T: DeserializeOwned + Send> Durable for Signal<T> {
    type Output = Result<T, JoinError>;

    fn name(&self) -> String {
        format!("signal:{}", self.name.as_deref().unwrap_or_default())
    }

    async fn plan(&mut self, _: &Arc<Context>, _: &str) -> Option<Condition> {
        // Nobody can send what the door refuses.
        let name = self.name.clone().ok()?;
        let schema = crate::core::schema::of::<T>();
        let schema = schema.get("type").is_some().then(|| Box::new(schema));
        Some(Condition::Signal { name, schema })
    }

    async fn settle(self, context: &Arc<Context>, settled: Settled) -> Self::Output {
        let name = match self.name {
            Ok(name) => name,
            Err(refused) => return Err(Misuse::from(refused).into()),
        };
        if settled.timed_out {
            return Err(context.timed_out(&settled.place, (Local::ROOT, None)).await);
        }
        let Some(text) = settled.value else {
            // A signal brings a value. This answer was that of a wait which stood here before.
            let text = "expected another wait, got one for a signal";
            return context.drift(&settled.place, text).await;
        };
        crate::core::encode::parse(&text)
            .map_err(|reason| context.bad_signal(&settled.place, name, reason))
    }

    fn misuse(self, misuse: Misuse) -> Self::Output {
        Err(misuse.into())
    }
}

/// The time of the store's clock, remembered: a replay is told the same.
///
/// # Errors
/// [`Misuse`] outside a task.
///
/// # Durability
/// Committed with the next durable operation.
pub async fn now() -> Result<SystemTime, Misuse> {
    let context = current("now")?;
    let place = context.place("now");
    let _op = context.begin(&place, false).await;
    if let Some(time) = context.replayed_as::<Time>(&place, "`now`").await {
        return Ok(time.into());
    }
    let time = context.now();
    context.record_value(&place, &time);
    Ok(time.into())
}

/// Starts a new job: linked to this task, independent of it, exactly once.
///
/// Give it a title, a unique key or an id before awaiting it. It neither counts as a child nor is it
/// waited for.
///
/// # Durability
/// Committed with the next durable operation. A replay finds the job again and compares the call.
pub fn detach<K: Kind>(call: Call<K>) -> Detach<K> {
    Detach { job: JobDraft::new(call.draft), kind: PhantomData }
}

/// A job about to be detached; see [`detach`].
#[must_use = "nothing is detached until this is awaited"]
#[derive(Debug)]
pub struct Detach<K: Kind> {
    job: JobDraft,
    kind: PhantomData<fn() -> K>,
}

job_options!(
    Detach,
    key: "Waits for the commit.",
    id: "Default: derived from this task and the place. An id that another call has is [`Misuse::TakenId`]. \
        Waits for the commit."
);

impl<K: Kind> Detach<K> {
    async fn run(self) -> Result<JobId, Misuse> {
        let context = current("detach")?;
        let place = match &self.job.call.place {
            Some(name) => context.place_once(&format!("detach@{}", in_place(name))).await,
            None => context.place(&format!("detach:{}", self.job.call.kind)),
        };
        let own = self.job.id.is_some() || self.job.key.is_some();
        let id = || JobId::detached(context.task, &place);
        let job = self.job.fix(context.now(), id, Some(context.task))?;
        let _op = context.begin(&place, false).await;
        let hash = crate::core::id::digest(&[job.task.kind.as_bytes(), &job.task.hash]);
        let another = || format!("another call than {}({})", job.task.kind, job.task.arguments);
        if !context.is_said(&place, hash, another).await {
            context.record(&place, Entry::Detached(hash));
            context.send(Event::Detach(Box::new(job.clone())));
        }
        if own { settled(&context, &place, job).await } else { Ok(job.id) }
    }
}

/// The job that a detached call with a key or an id of its own has become: itself, or the open job that
/// holds the key. Remembered, because the key may be another's by the time of a replay.
async fn settled(context: &Arc<Context>, place: &str, job: NewJob) -> Result<JobId, Misuse> {
    let place = format!("{place}~job");
    if let Some(id) = context.replayed_as(&place, "which job it has become").await {
        return Ok(id);
    }
    let id = job.id;
    let found = loop {
        context.commit().await;
        let root = context.fetch(move |store| async move { store.task(id.root()).await }).await;
        if let Some(root) = root {
            let same = root.kind == job.task.kind && root.arguments == job.task.arguments;
            break if same { id } else { return Err(Misuse::TakenId { id }) };
        }
        let key = job.key.clone().unwrap_or_default();
        let held = context
            .fetch(move |store| {
                let key = key.clone();
                async move { store.holder(key).await }
            })
            .await;
        if let Some(holder) = held {
            break holder;
        }
        // Whoever held the key has ended since: once more.
        context.send(Event::Detach(Box::new(job.clone())));
    };
    context.record_value(&place, &found);
    Ok(found)
}

impl<K: Kind> std::future::IntoFuture for Detach<K> {
    type Output = Result<JobId, Misuse>;
    type IntoFuture = BoxFuture<'static, Self::Output>;

    fn into_future(self) -> Self::IntoFuture {
        Box::pin(self.run())
    }
}

/// The running task's id: stable over crashes, retries and replays, so a good idempotency key for the
/// outside world.
///
/// # Panics
/// Outside a task. [`try_id`] does not.
pub fn id() -> TaskId {
    match try_id() {
        Ok(id) => id,
        Err(misuse) => panic!("{misuse}"),
    }
}

/// The running task's id, or [`Misuse`] outside a task.
pub fn try_id() -> Result<TaskId, Misuse> {
    current("id").map(|context| context.task)
}

/// Tells how far the task is; of a root, it is the job's progress. Outside a task it does nothing.
///
/// Default: ended tasks over spawned ones, of which those that have told their own progress count by their share
/// while they run or wait. See [`JobView::progress`](crate::JobView::progress).
pub fn progress(done: u64, total: u64) {
    if let Ok(context) = current("progress") {
        context.send(Event::Progress { done, total });
    }
}

/// A token that is cancelled when the running task is: for plain work that wants to stop early.
///
/// After it fires the body gets no further answer from homing and is dropped within a grace time.
///
/// # Errors
/// [`Misuse`] outside a task.
pub fn cancelled() -> Result<CancellationToken, Misuse> {
    current("cancelled").map(|context| context.cancelled.clone())
}

/// Writes a line into the job's log; outside a task it does nothing. See [`log!`](crate::log!).
pub fn say(level: Level, message: &str) {
    crate::body::context::say(level, message);
}

/// Writes a line into the job's log: `log!("page {n}")`, or with a level,
/// `log!(Warn, "page {n} was broken")`.
///
/// A replay repeats no line. Lines beyond [`limits::LOG_LINES`](crate::limits::LOG_LINES) of a task are
/// counted and dropped. Outside a task it does nothing.
#[macro_export]
macro_rules! log {
    ($level:ident, $($message:tt)+) => {
        $crate::__private::say($crate::log::Level::$level, &::std::format!($($message)+))
    };
    ($($message:tt)+) => {
        $crate::__private::say($crate::log::Level::Info, &::std::format!($($message)+))
    };
}
