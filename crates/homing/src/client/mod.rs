//! The client: opens a store, submits jobs, re-opens them by id, reads and steers.

use std::fmt;
use std::future::IntoFuture;
use std::marker::PhantomData;
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use serde::de::DeserializeOwned;

use crate::body::context::refuse_inside;
use crate::clock::Clock;
use crate::core::id::{JobId, TaskId};
use crate::error::{Invalid, OpenError, RemoveError, SubmitError};
use crate::store::read::{
    Breach, JobFilter, JobView, KindView, QueueView, StoreView, TaskView, WorkerView,
};
use crate::store::retention::{self, Retention};
use crate::store::{self, Migration, NewJob, Store, Submitted};
use crate::task::Kind;
use crate::task::call::{Call, Draft, name};
use crate::task::job::{JobDraft, job_options};
use crate::worker::WorkerBuilder;
use futures_util::future::BoxFuture;

mod actions;
mod amend;
mod cancel;
mod failures;
mod find;
mod job;
mod many;
mod named;
mod outcomes;
mod record;
mod samples;
mod signals;
mod tree;
mod why;
#[cfg(feature = "postgres")]
mod within;

use actions::done;
pub use amend::Amend;
pub use cancel::Cancel;
pub use failures::FailureGroup;
pub use find::{FindError, IdPrefix};
pub use job::{JobHandle, Log};
pub use many::{Submission, SubmitAllError};
use outcomes::{Fresh, Outcomes};
pub use record::{EntryKind, EntryView};
pub use signals::Signalled;
pub use tree::{Cursor, SetKey, SetView};
pub use why::{Because, Why};

/// A store of tasks, opened: the door to everything outside a body. Cheap to clone.
#[derive(Debug, Clone)]
pub struct Homing {
    store: Arc<dyn Store>,
    outcomes: Arc<Outcomes>,
    /// For whom things are done.
    actor: Option<Arc<str>>,
}

impl Homing {
    /// Opens the store that a URL names, and brings its schema up to date.
    ///
    /// - `memory:` forgets everything with the process; for tests and trials.
    /// - `sqlite:PATH` is one file, shared by any number of processes of one machine. Options:
    ///   see `docs/concepts/storage.md`.
    /// - `postgres://HOST/DATABASE` is a schema of a database, shared by any number of machines; with the
    ///   feature `postgres`. Options: see `docs/guides/postgres.md`.
    ///
    /// # Errors
    /// An unknown store or option, a schema newer than this program, a file that is no store.
    pub async fn open(url: &str) -> Result<Self, OpenError> {
        Self::open_with(url, Clock::System).await
    }

    /// As [`open`](Self::open), with a clock of one's own: for tests.
    pub async fn open_with(url: &str, clock: Clock) -> Result<Self, OpenError> {
        Ok(Self::over(store::open(url, clock, true).await?))
    }

    /// Opens a store that is there and up to date; neither creates nor migrates one. For tools, where a
    /// slip in the URL must not make an empty store.
    ///
    /// # Errors
    /// As [`open`](Self::open); and [`store::Error::Missing`], which a store in memory always is, or
    /// [`store::Error::OlderSchema`].
    pub async fn open_existing(url: &str) -> Result<Self, OpenError> {
        Ok(Self::over(store::open(url, Clock::System, false).await?))
    }

    /// What there is at a URL: whether there is a store, and which version its schema has. Changes
    /// nothing.
    ///
    /// # Errors
    /// An unknown store or option; a file that is no store. A newer schema is none: it is shown.
    pub async fn inspect(url: &str) -> Result<StoreView, OpenError> {
        store::inspect(url).await
    }

    /// Creates the store that a URL names or brings its schema up to date, and does nothing else.
    ///
    /// [`open`](Self::open) does so too where it may. On PostgreSQL the role that workers use need not be
    /// allowed to: then this is run beforehand with one that is.
    ///
    /// # Errors
    /// As [`open`](Self::open).
    ///
    /// # Durability
    /// All steps are one transaction; any number of processes may run it at once.
    pub async fn migrate(url: &str) -> Result<Migration, OpenError> {
        store::migrate(url).await
    }

    #[doc(hidden)]
    pub fn over(store: Arc<dyn Store>) -> Self {
        Self { outcomes: Arc::new(Outcomes::new(&store)), store, actor: None }
    }

    #[doc(hidden)]
    pub fn store(&self) -> &Arc<dyn Store> {
        &self.store
    }

    /// A worker on this store; register tasks and start it.
    pub fn worker(&self) -> WorkerBuilder {
        WorkerBuilder::new(Arc::clone(&self.store))
    }

    /// Submits a call as a new job, once awaited.
    pub fn submit<K: Kind>(&self, call: Call<K>) -> Submit<K> {
        Submit::new(self, call.draft, "submit")
    }

    /// A handle on a job submitted earlier, by any process. Whether the id is known shows at the first
    /// verb.
    pub fn job<T>(&self, id: JobId) -> JobHandle<T> {
        JobHandle::new(self.clone(), id, None)
    }

    /// Jobs, newest first, one page.
    pub async fn jobs(&self, filter: JobFilter) -> Result<Vec<JobView>, store::Error> {
        // No store has such a text in a row, and not every store can be asked for it.
        let texts = [&filter.kind, &filter.title, &filter.tag, &filter.queue];
        if texts.into_iter().flatten().any(|text| text.contains('\0')) {
            return Ok(Vec::new());
        }
        self.store.jobs(filter).await
    }

    /// One task. One that is past its expiry or its deadline is ended first.
    ///
    /// # Errors
    /// [`store::Error::Unknown`] if there is none with the id.
    pub async fn task(&self, id: impl Into<TaskId>) -> Result<TaskView, store::Error> {
        let id = id.into();
        let unknown = store::Error::Unknown { id };
        let task = self.store.task(id).await?.ok_or(unknown.clone())?;
        let now = self.store.clock().now();
        let expired = task.started.is_none() && task.expires.is_some_and(|time| time <= now);
        let late = task.deadline.is_some_and(|time| time <= now);
        if task.state.is_ended() || !(expired || late) {
            return Ok(task);
        }
        self.keep_up().await;
        self.store.task(id).await?.ok_or(unknown)
    }

    /// Queues that hold pending tasks or are paused.
    pub async fn queues(&self) -> Result<Vec<QueueView>, store::Error> {
        self.store.queues().await
    }

    /// Workers that have not left.
    pub async fn workers(&self) -> Result<Vec<WorkerView>, store::Error> {
        self.store.workers().await
    }

    /// Kinds that a worker has ever registered.
    pub async fn kinds(&self) -> Result<Vec<KindView>, store::Error> {
        self.store.kinds().await
    }

    /// Stops claims from a queue; what runs runs on.
    pub async fn pause(&self, queue: &str) -> Result<(), SubmitError> {
        name("the queue", queue)?;
        let act = self.store.pause(queue.to_owned(), true);
        Ok(self.noted(("pause", queue), act, done).await?)
    }

    /// Resumes claims from a queue.
    pub async fn unpause(&self, queue: &str) -> Result<(), SubmitError> {
        name("the queue", queue)?;
        let act = self.store.pause(queue.to_owned(), false);
        Ok(self.noted(("unpause", queue), act, done).await?)
    }

    /// Does some of the upkeep that is due: no worker may live to do it. How many crashes are too many is
    /// for workers to say.
    async fn keep_up(&self) {
        for _ in 0..UPKEEP {
            // What is not done here and now is done by whoever comes next: nobody's verb fails for it.
            if !self.store.sweep(u32::MAX).await.unwrap_or(false) {
                break;
            }
        }
    }

    /// Removes jobs that ended longer ago than `age`, in bounded transactions; never an open job.
    /// Returns how many. A removed job's id and key are free again.
    pub async fn prune(&self, age: Duration) -> Result<u64, store::Error> {
        let act = retention::prune(&*self.store, self.store.clock().now().before(age));
        let target = format!("older than {} s", age.as_secs());
        self.noted(("prune", target), act, |jobs| format!("removed {jobs} jobs")).await
    }

    /// Removes the ended jobs whose time is over, once. Returns how many. [`WorkerBuilder::retention`] makes a
    /// worker do it by itself.
    ///
    /// # Errors
    /// A refused retention; the store fails.
    pub async fn retain(&self, retention: &Retention) -> Result<u64, SubmitError> {
        retention.check()?;
        Ok(retention::apply(&self.store, retention).await?)
    }

    /// Removes a job that has ended, with everything below it, its record and its log. Its id is free again.
    ///
    /// # Errors
    /// [`RemoveError::Open`] if it has not ended, and then nothing is removed; the store fails or does not know
    /// it.
    ///
    /// # Durability
    /// A large job goes in several bounded transactions, its root last. Should this process die meanwhile, the
    /// rest is there to be removed again, by this or by [`prune`](Self::prune), and cannot be retried.
    pub async fn remove(&self, job: JobId) -> Result<(), RemoveError> {
        let act = async {
            match retention::remove(&*self.store, job).await? {
                Some(true) => Ok(()),
                Some(false) => Err(RemoveError::Open { id: job }),
                None => Err(store::Error::Unknown { id: job.root() }.into()),
            }
        };
        self.noted(("remove", job), act, done).await
    }

    /// Looks for broken invariants. Always empty, or a defect of homing.
    pub async fn check(&self) -> Result<Vec<Breach>, store::Error> {
        self.store.audit().await
    }

    /// The time of the store's clock.
    pub fn now(&self) -> SystemTime {
        self.store.clock().now().into()
    }
}

/// Rounds of upkeep that one verb of the client's does at most.
const UPKEEP: u32 = 20;

fn accepted<T>(
    homing: &Homing,
    submitted: Submitted,
    fresh: Option<Fresh>,
) -> Result<JobHandle<T>, SubmitError> {
    match submitted {
        Submitted::New(id) => Ok(JobHandle::new(homing.clone(), id, fresh.map(Arc::new))),
        Submitted::Existing(id) => Ok(homing.job(id)),
        Submitted::Conflict(id) => Err(SubmitError::Conflict { id }),
    }
}

/// A submission about to be sent; see [`Homing::submit`] and [`Homing::submit_named`].
///
/// # Durability
/// Awaiting it returns after the commit: the job will be run to a recorded outcome.
#[must_use = "nothing is submitted until this is awaited"]
pub struct Submit<K: Kind> {
    homing: Homing,
    job: JobDraft,
    verb: &'static str,
    /// Whether some worker must have registered the kind, with these arguments.
    must_be_known: bool,
    kind: PhantomData<fn() -> K>,
}

job_options!(Submit, key: "", id: "Default: a fresh one.");

impl<K: Kind> Submit<K> {
    fn new(homing: &Homing, call: Draft, verb: &'static str) -> Self {
        let job = JobDraft::new(call);
        Self { homing: homing.clone(), job, verb, must_be_known: false, kind: PhantomData }
    }

    async fn run(self) -> Result<JobHandle<K::Output>, SubmitError> {
        refuse_inside(self.verb)?;
        let (homing, job) = self.fix().await?;
        let (id, kind) = (job.id, job.task.kind.clone());
        let mut fresh = homing.outcomes.expect([id].into_iter());
        let act = async {
            let submitted = homing.store.submit(vec![job]).await?;
            let submitted = submitted.into_iter().next().unwrap_or(Submitted::New(id));
            accepted(&homing, submitted, fresh.pop())
        };
        let told = |handle: &JobHandle<K::Output>| match handle.id() {
            own if own == id => kind,
            other => format!("{kind}: {other} holds its key"),
        };
        homing.noted(("submit", id), act, told).await
    }

    /// The job as it is to be stored, once it is known to be one.
    async fn fix(self) -> Result<(Homing, NewJob), SubmitError> {
        if self.must_be_known {
            named::check(&self.homing, &self.job.call).await?;
        }
        let job = fix(self.job, &self.homing)?;
        Ok((self.homing, job))
    }
}

/// A job that is submitted from outside.
fn fix(job: JobDraft, homing: &Homing) -> Result<NewJob, Invalid> {
    if let Some(value) = job.call.place {
        let reason =
            "a submitted job has no place in a body: give it an id, `.id(JobId::named(…))`";
        return Err(Invalid::Value { field: "the place", value, reason });
    }
    job.fix(homing.store.clock().now(), JobId::fresh, None)
}

impl<K: Kind> fmt::Debug for Submit<K> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Submit").field(&self.job).finish()
    }
}

impl<K: Kind> IntoFuture for Submit<K> {
    type Output = Result<JobHandle<K::Output>, SubmitError>;
    type IntoFuture = BoxFuture<'static, Self::Output>;

    fn into_future(self) -> Self::IntoFuture {
        Box::pin(self.run())
    }
}

/// What a value of an outcome must be.
#[doc(hidden)]
pub trait Value: DeserializeOwned {}
impl<T: DeserializeOwned> Value for T {}
