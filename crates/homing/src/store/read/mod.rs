//! Reading: what replays page through, and what people watch. Nothing here writes.
//!
//! Every list is paged by key, so that a page costs the same wherever it stands.

use serde::Serialize;

use super::{Child, SetRow, Verb};
use crate::core::failure::{Failure, Reason};
use crate::core::fingerprint::Fingerprint;
use crate::core::id::{JobId, Local, TaskId, WorkerId};
use crate::core::log::Line;
use crate::core::parameter::Parameter;
use crate::core::state::State;
use crate::core::time::{Time, rfc3339};
use crate::core::wait::SetCounts;
use crate::store::Entry;

pub mod actions;
mod counts;
pub mod failures;
mod filter;
mod job;
pub(crate) mod samples;
mod task;
pub(crate) mod verbs;

pub use actions::{ActionFilter, ActionView};
pub use counts::Counts;
pub(crate) use counts::{Partly, progress};
use failures::Alike;
pub use failures::FailureFilter;
pub use filter::JobFilter;
pub use job::{JobView, Status};
pub use samples::{Histogram, SampleFilter, SampleView, WorkSample};
pub use task::{ChildCounts, TaskView};

/// The ids of jobs next to one: lower, higher.
pub type Neighbours = (Option<JobId>, Option<JobId>);

/// What the engine reads: replays, the closing join, bodies that ask for a task or a key, and whoever waits for an
/// outcome. Small, by key, and never held up by what people read.
pub trait Records: Send + Sync {
    /// Entries of a task's record with numbers above `after`, in order, at most `limit` and no more than
    /// a page may hold.
    fn record(&self, task: TaskId, after: u64, limit: usize)
    -> Verb<'_, Vec<(u64, String, Entry)>>;
    /// Numbered and placed children of a set by number, from `from`, at most `limit`: what a replay compares
    /// its calls with, and their states. How they ended is left out.
    fn children(&self, task: TaskId, set: Local, from: u32, limit: usize) -> Verb<'_, Vec<Child>>;
    /// Children of a set by end number, above `after`, with their outcomes, at most `limit` and no more than
    /// a page may hold.
    fn ends(&self, task: TaskId, set: Local, after: u64, limit: usize) -> Verb<'_, Vec<Child>>;
    /// One child.
    fn child(&self, task: TaskId, child: Local) -> Verb<'_, Option<Child>>;
    /// The counts of one set.
    fn set(&self, task: TaskId, set: Local) -> Verb<'_, SetCounts>;
    /// The sets of a task with keys above `after`, at most `limit`.
    fn sets(&self, task: TaskId, after: Option<Local>, limit: usize) -> Verb<'_, Vec<SetRow>>;
    /// Those of the jobs whose roots are open and past their expiries or deadlines.
    fn overdue(&self, jobs: Vec<JobId>) -> Verb<'_, Vec<JobId>>;
    /// State and outcome of the roots of jobs; unknown ones are left out. Once the outcomes reach
    /// [`limits::PAGE_BYTES`](crate::limits::PAGE_BYTES), those of further jobs are absent and are to be asked
    /// for again.
    fn outcomes(&self, jobs: Vec<JobId>) -> Verb<'_, Vec<(JobId, Settled)>>;
    /// The open job that holds a key.
    fn holder(&self, key: String) -> Verb<'_, Option<JobId>>;
    /// One task, or `None`.
    fn task(&self, task: TaskId) -> Verb<'_, Option<TaskView>>;
    /// As [`task`](Self::task), of many; unknown ones are left out.
    fn tasks(&self, tasks: Vec<TaskId>) -> Verb<'_, Vec<TaskView>>;
}

/// What people read, and programs that show it to them. May take as long as what is asked for is large.
pub trait Read: Send + Sync {
    /// One job's record, or `None`.
    fn job(&self, job: JobId) -> Verb<'_, Option<JobView>>;
    /// Jobs with ids from one to another, both included, in order, at most `limit`: a look into the key for
    /// each, however many tasks they have.
    fn jobs_between(&self, from: JobId, to: JobId, limit: usize) -> Verb<'_, Vec<JobId>>;
    /// Tasks of a job with keys from one to another, both included, in order, at most `limit`.
    fn tasks_between(
        &self,
        job: JobId,
        from: Local,
        to: Local,
        limit: usize,
    ) -> Verb<'_, Vec<TaskId>>;
    /// For each id the next lower and the next higher one that jobs have.
    fn neighbours(&self, jobs: Vec<JobId>) -> Verb<'_, Vec<Neighbours>>;
    /// Jobs, newest first.
    fn jobs(&self, filter: JobFilter) -> Verb<'_, Vec<JobView>>;
    /// Lines of a job's log with numbers above `after`, at most `limit`.
    fn log(&self, job: JobId, after: u64, limit: usize) -> Verb<'_, Vec<Line>>;
    /// The number of the last line of a job's log; 0 if there is none.
    fn last_line(&self, job: JobId) -> Verb<'_, u64>;
    /// The last `limit` lines of a task that tell why its attempts failed or crashed, why it was ended or why it stands still, in order.
    fn failed_attempts(&self, task: TaskId, limit: usize) -> Verb<'_, Vec<Line>>;
    /// As [`Records::record`], with the instants at which the entries were committed.
    fn history(&self, task: TaskId, after: u64, limit: usize) -> Verb<'_, Vec<Recorded>>;
    /// Children of a task in a state, over all its sets, at most `limit`. Which come first is the
    /// store's choice: the one that costs least.
    fn children_in(&self, task: TaskId, state: State, limit: usize) -> Verb<'_, Vec<TaskId>>;
    /// Failed tasks over all jobs, those alike together, those that failed last first. A failure that was passed on
    /// counts where it began.
    fn failures(&self, filter: FailureFilter) -> Verb<'_, Vec<Alike>>;
    /// Failed tasks that are alike and failed before one of them, the last first, at most `limit`.
    fn failed_alike(
        &self,
        wanted: Fingerprint,
        before: Option<(Time, TaskId)>,
        limit: usize,
    ) -> Verb<'_, Vec<(Time, TaskId)>>;
    /// What people have done, the newest first.
    fn actions(&self, filter: ActionFilter) -> Verb<'_, Vec<ActionView>>;
    /// What workers have done minute by minute, by minute and worker.
    fn samples(&self, filter: SampleFilter) -> Verb<'_, Vec<samples::Sample>>;
    /// Queues that hold pending tasks or are paused.
    fn queues(&self) -> Verb<'_, Vec<QueueView>>;
    /// The queues and kinds of pending tasks that are no suspects: each pair once, in order, at most a page.
    /// A look into an index for each pair.
    fn pending_kinds(&self) -> Verb<'_, Vec<(String, String)>>;
    /// Workers that have not left.
    fn workers(&self) -> Verb<'_, Vec<WorkerView>>;
    /// Kinds that a worker has ever registered.
    fn kinds(&self) -> Verb<'_, Vec<KindView>>;
    /// Every breach of an invariant that a scan of open tasks finds. Always empty, or a defect.
    fn audit(&self) -> Verb<'_, Vec<Breach>>;
}

/// An entry of a task's record, and when it was committed.
#[derive(Debug, Clone, PartialEq)]
pub struct Recorded {
    /// Its number, from 1.
    pub seq: u64,
    /// Its place in the body.
    pub place: String,
    /// What is remembered.
    pub entry: Entry,
    /// When it was committed, by the store's clock; `None` if a version wrote it that kept no times.
    pub time: Option<Time>,
}

impl Recorded {
    /// What a replay needs of it.
    pub(crate) fn timeless(self) -> (u64, String, Entry) {
        (self.seq, self.place, self.entry)
    }
}

/// Whether a page has as many rows or bytes as a page may have, so that there may be more.
pub(crate) fn is_full(rows: usize, bytes: usize) -> bool {
    rows >= crate::limits::PAGE || bytes >= crate::limits::PAGE_BYTES
}

/// The bytes of the outcomes on a page.
pub(crate) fn bytes_of(page: &[Child]) -> usize {
    page.iter().filter_map(|child| child.outcome.as_ref()).map(String::len).sum()
}

/// Counts the bytes of a page that is being filled.
#[derive(Debug, Default)]
pub(crate) struct PageBytes(usize);

impl PageBytes {
    /// Adds a row. Whether there was room for it: the page then ends before the row.
    pub(crate) fn take(&mut self, bytes: usize) -> bool {
        let room = self.0 < crate::limits::PAGE_BYTES;
        self.0 += bytes;
        room
    }
}

/// What people and bodies are told of a task of which a stored value does not decode.
#[cfg(any(feature = "sqlite", feature = "postgres", feature = "redis"))]
pub(crate) fn unreadable_text(task: TaskId, what: &str) -> String {
    format!(
        "what is stored of task {task} cannot be read: {what}; it stands still, and goes on once the row \
         is mended or a version that can read it takes over"
    )
}

/// A stored failure; one that does not decode is shown as such.
pub(crate) fn failure(text: &str, kind: &str, task: TaskId, attempt: u32) -> Failure {
    serde_json::from_str(text).unwrap_or_else(|error| {
        let message = format!("its stored failure does not decode: {error}");
        Failure::new(kind, task, attempt, Reason::Error, &message)
    })
}

/// A stored list of words; one that does not decode is shown as it stands.
#[cfg(feature = "sqlite")]
pub(crate) fn words(text: String) -> Vec<String> {
    serde_json::from_str(&text).unwrap_or_else(|_| vec![text])
}

/// Where a job's root stands.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Settled {
    /// The root's state.
    pub state: State,
    /// The value or failure as JSON, once ended.
    pub outcome: Option<String>,
}

/// A queue as people see it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[non_exhaustive]
pub struct QueueView {
    /// Its name.
    pub name: String,
    /// Tasks that could be claimed now.
    pub ready: u64,
    /// Tasks due later.
    pub scheduled: u64,
    /// Since when the oldest ready task could have been claimed.
    #[serde(serialize_with = "rfc3339")]
    pub oldest: Option<Time>,
    /// How many of all these stand still: see [`Status::Stalled`].
    pub stalled: u64,
    /// Whether claims are stopped.
    pub paused: bool,
}

/// A worker as people see it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[non_exhaustive]
pub struct WorkerView {
    /// Its id.
    pub id: WorkerId,
    /// Host and process.
    pub name: String,
    /// Kinds it has registered.
    pub kinds: Vec<String>,
    /// Queues it serves.
    pub queues: Vec<String>,
    /// Slots in all.
    pub slots: u32,
    /// Tasks it holds now.
    pub running: u32,
    /// Parked futures it kept at the last heartbeat.
    pub resident: u32,
    /// Tasks it had brought to their ends at the last heartbeat, since it started. Between two
    /// heartbeats the difference is its throughput.
    pub ended: u64,
    /// When it was first heard of.
    #[serde(serialize_with = "rfc3339")]
    pub started: Time,
    /// When it was last heard of.
    #[serde(serialize_with = "rfc3339")]
    pub heartbeat: Time,
    /// Whether it lives, as far as the store can tell. Whoever next asks the store for work gives the
    /// tasks of a dead one to others.
    pub alive: bool,
}

/// A kind as people see it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[non_exhaustive]
pub struct KindView {
    /// Its name.
    pub name: String,
    /// Its arguments, as the last worker to start has them.
    pub arguments: Vec<Parameter>,
}

/// A store as people see it, before it is opened.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[non_exhaustive]
pub struct StoreView {
    /// Its URL, without a password.
    pub url: String,
    /// The version of its schema; `None` if there is no store yet.
    pub version: Option<i64>,
    /// The version that this program works with; 0 for a store without a schema.
    pub known: i64,
    /// What it takes on the disk, in bytes, where that is known.
    pub bytes: Option<u64>,
    /// What an acknowledged task survives, where that depends on how a server is set.
    pub durability: Option<String>,
}

/// A broken invariant.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[non_exhaustive]
pub struct Breach {
    /// The task it concerns.
    pub task: TaskId,
    /// What is wrong with it.
    pub what: String,
}
