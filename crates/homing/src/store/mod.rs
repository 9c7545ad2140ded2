//! The port to a store: the verbs of one conversation and what they carry.
//!
//! A store is the truth; everything a worker remembers is a cache of it. The contract of each verb is
//! on the trait; the memory store is its executable form. Every verb is one transaction: it happens
//! whole or not at all, and its future resolves after the commit. (On PostgreSQL an exchange with upkeep
//! to do is several, each harmless without the next; so is a cancellation that goes down a tree, on all.)
//!
//! Sealed and hidden: the set of stores is ours, and this module may change in any release.

use std::fmt;
use std::pin::Pin;
use std::time::Duration;

use serde::{Deserialize, Serialize};

use crate::clock::{Clock, Time};
use crate::error::Failure;
use crate::id::{JobId, Local, TaskId, Token, WorkerId};
use crate::state::{Backoff, State};
use crate::wait::{Answer, SetCounts, Wait};

mod error;
mod hints;
pub mod memory;
#[cfg(feature = "postgres")]
pub mod postgres;
pub mod read;
#[cfg(feature = "sqlite")]
pub mod sqlite;
mod url;

pub use error::Error;
pub use hints::{Ended, Hints};
pub use read::Read;
pub use url::Migration;
pub(crate) use url::{inspect, known, migrate, open};

/// What a verb returns.
pub type Verb<'a, T> = Pin<Box<dyn Future<Output = Result<T, Error>> + Send + 'a>>;

/// A place where tasks live.
pub trait Store: Read + fmt::Debug + Send + Sync + 'static {
    /// Adds jobs. Each is answered by itself and harms no other: an id already taken by the same call
    /// is [`Submitted::Existing`], by another call [`Submitted::Conflict`]; a key held by an open job
    /// names that job. Resending is harmless.
    fn submit(&self, jobs: Vec<NewJob>) -> Verb<'_, Vec<Submitted>>;

    /// Takes what happened on a worker and gives it what to do next. See [`Exchange`].
    fn exchange(&self, exchange: Exchange) -> Verb<'_, Reply>;

    /// Announces a worker or renews its lease. `false`: the store has given the worker up (or never
    /// knew it, unless `first`): its tasks are others' now, it must drop all bodies and take a new id.
    fn heartbeat(&self, heartbeat: Heartbeat) -> Verb<'_, bool>;

    /// Forgets a worker that has handed everything back; what it still holds becomes pending at once,
    /// without counting as a crash.
    fn leave(&self, worker: WorkerId) -> Verb<'_, ()>;

    /// Ends a task and, in bounded transactions that follow, everything below it. The first terminal
    /// write wins: `false` if the task had ended.
    fn cancel(&self, task: TaskId) -> Verb<'_, bool>;

    /// Keeps a value for a task's `signal` wait, and wakes the task if it waits for it. `false` if the
    /// task had ended.
    fn signal(&self, task: TaskId, name: String, value: String) -> Verb<'_, bool>;

    /// Reopens a failed or cancelled job: only what failed runs again (design, section 3).
    /// `false` if the job is open or has succeeded.
    fn retry(&self, job: JobId) -> Verb<'_, bool>;

    /// Stops or resumes claims from a queue.
    fn pause(&self, queue: String, paused: bool) -> Verb<'_, ()>;

    /// Does a bounded part of the upkeep that claims do by themselves: reclaims what dead workers held,
    /// ends what is past its deadline, wakes what is past its timeout, carries cancellations further
    /// down. `true` if there is more to do now.
    fn sweep(&self, max_crashes: u32) -> Verb<'_, bool>;

    /// Removes jobs that ended before an instant, in one bounded transaction.
    fn prune(&self, before: Time) -> Verb<'_, Pruned>;

    /// For tests: the worker's process is dead as far as the store can tell, as of now.
    #[cfg(feature = "testing")]
    fn kill(&self, worker: WorkerId);

    /// Pushes that say "look now".
    fn hints(&self) -> &Hints;

    /// The store's clock.
    fn clock(&self) -> &Clock;

    /// Says here and elsewhere that tasks may have become claimable.
    #[cfg(feature = "postgres")]
    fn nudge(&self) {
        self.hints().say_ready();
    }

    /// The way to transactions of a caller's own, if the store has them.
    #[cfg(feature = "postgres")]
    fn transactions(&self) -> Option<&postgres::Transactions> {
        None
    }
}

/// A task's options that a call may set and its worker obeys; `None` is the kind's default.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Policy {
    /// Retries in a row.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub retries: Option<u32>,
    /// Pauses between them.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub backoff: Option<Backoff>,
    /// Attempts in all.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub max_attempts: Option<u32>,
    /// The longest stretch from claim to park or end.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub timeout: Option<Duration>,
}

/// What roots and children have in common when they are born.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NewTask {
    /// The kind.
    pub kind: String,
    /// Arguments: a canonical JSON object.
    pub arguments: String,
    /// The hash of kind-independent canonical arguments, compared on replay.
    pub hash: [u8; 16],
    /// The queue.
    pub queue: String,
    /// Higher goes first.
    pub priority: i16,
    /// When it may start; `None` is at once.
    pub due: Option<Time>,
    /// Fails if it has not started by then.
    pub expires: Option<Time>,
    /// Fails if it has not ended by then.
    pub deadline: Option<Time>,
    /// What its worker obeys.
    pub policy: Policy,
}

/// A job to be.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NewJob {
    /// Its id.
    pub id: JobId,
    /// Its root.
    pub task: NewTask,
    /// What people read.
    pub title: Option<String>,
    /// Unique among open jobs.
    pub key: Option<String>,
    /// Words to filter by.
    pub tags: Vec<String>,
    /// The task that detached it.
    pub origin: Option<TaskId>,
}

/// What became of a submission.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Submitted {
    /// The job is new.
    New(JobId),
    /// The id or key was known: this is the job it belongs to.
    Existing(JobId),
    /// The id belongs to a job of another kind or with other arguments.
    Conflict(JobId),
}

/// One batch of a worker's conversation with the store, applied in one transaction; in several where
/// PostgreSQL has upkeep to do between the units and the claim.
///
/// Units come first, then upkeep, then the claim, so that a worker is given what its own events made
/// ready. A unit that is refused changes nothing and harms no other unit.
#[derive(Debug, Clone)]
pub struct Exchange {
    /// Who speaks.
    pub worker: WorkerId,
    /// This exchange's number: the claim part of the tokens it mints. Grows by one; a resent exchange
    /// keeps its number.
    pub number: u64,
    /// The number of the last exchange whose reply arrived. Tasks claimed under later ones are handed
    /// out again, and cancellations told by later ones told again.
    pub acknowledged: u64,
    /// What happened, each task's events in program order.
    /// Shared, so that an exchange kept for resending copies none of them.
    pub units: Vec<std::sync::Arc<Unit>>,
    /// What the worker can take.
    pub claim: Claim,
}

/// What a worker can take.
#[derive(Debug, Clone, Default)]
pub struct Claim {
    /// How many tasks; zero claims nothing.
    pub tasks: usize,
    /// Queues it serves.
    pub queues: std::sync::Arc<[String]>,
    /// Kinds it has registered.
    pub kinds: std::sync::Arc<[String]>,
    /// Whether it may take a suspect: one that has crashed its worker twice in a row.
    pub suspect: bool,
    /// Crashes in a row after which a task fails.
    pub max_crashes: u32,
}

/// One task's events since its last unit.
#[derive(Debug, Clone, PartialEq)]
pub struct Unit {
    /// The task.
    pub task: TaskId,
    /// The claim under which it runs.
    pub token: Token,
    /// Whether the task recorded something new and has failures or crashes to forget.
    pub renew: bool,
    /// What happened, in program order.
    pub events: Vec<Event>,
}

/// Something that happened in a body.
#[derive(Debug, Clone, PartialEq)]
pub enum Event {
    /// Something to remember.
    Record {
        /// Its number in the task's record.
        seq: u64,
        /// Its place.
        place: String,
        /// What.
        entry: Entry,
    },
    /// A child. Found again if it exists.
    Spawn(Box<NewChild>),
    /// A job of its own. Found again if it exists.
    Detach(Box<NewJob>),
    /// Children to cancel.
    Abort(Abort),
    /// A line for the job's log.
    Log(LogLine),
    /// How far the task is.
    Progress {
        /// Done so far.
        done: u64,
        /// Of this many.
        total: u64,
    },
    /// Nothing to do until one of these is answered. Last in its unit.
    Park {
        /// The open waits, one per branch.
        waits: Vec<Wait>,
        /// Whether the worker keeps the future.
        resident: bool,
    },
    /// The body is done. Last in its unit.
    End(End),
    /// A failure that will be retried. Last in its unit.
    Retry {
        /// The failure.
        failure: Failure,
        /// When to try again.
        due: Time,
    },
    /// A replay that does not fit its record: spends nothing, tried again later. Last in its unit.
    Stall {
        /// What did not fit.
        reason: String,
        /// When to try again.
        due: Time,
    },
    /// The worker gives the task back, untouched. Last in its unit.
    HandBack,
}

impl Event {
    /// Whether the body is done with when this is said: it is the last it says under its token.
    pub fn ends_the_stretch(&self) -> bool {
        matches!(self, Self::End(_) | Self::Retry { .. } | Self::Stall { .. } | Self::HandBack)
    }
}

/// How a task ends.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum End {
    /// With a value, as JSON.
    Succeeded(String),
    /// With an error.
    Failed {
        /// The error.
        failure: Failure,
        /// The wait that brought it down, for a job's retry.
        cause: Option<Cause>,
    },
}

/// The wait whose answer brought a task down: what a job's retry takes back.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Cause {
    /// The wait's place; records at this place or below are deleted.
    pub place: String,
    /// The set whose failed and policy-aborted children are reopened.
    pub set: Local,
    /// Only this child, where the wait was for one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub child: Option<Local>,
}

/// A child to be.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NewChild {
    /// Its key within the job.
    pub local: Local,
    /// Its set.
    pub set: Local,
    /// Its number in the set, in spawn order.
    pub number: u32,
    /// What it is to do.
    pub task: NewTask,
}

/// What a task remembers at a place. Children are not entries: their rows are the record.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Entry {
    /// A step's result, as JSON.
    Step(String),
    /// The time that `now` told.
    Now(Time),
    /// The instant a wait's timeout ends, fixed when it was first parked.
    Deadline(Time),
    /// How a wait was answered.
    Answer(Answer),
    /// That a job was detached here, and the hash of its call.
    Detached([u8; 16]),
    /// What the body returned; the closing join is still to come.
    Returned {
        /// The value, as JSON.
        value: String,
        /// The sets it waits for.
        open: Vec<crate::closing::OpenSet>,
    },
}

/// Which children to cancel, and why.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Abort {
    /// The set.
    pub set: Local,
    /// Only this child.
    pub child: Option<Local>,
    /// Only children with a lower number: those spawned before the abort.
    pub below: u32,
    /// Whether a failure policy did it, not the body's own word.
    pub policy: bool,
}

/// Who cancelled a task.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum CancelledBy {
    /// Somebody outside the job.
    User = 1,
    /// The parent's `abort`.
    Abort = 2,
    /// The parent's policy.
    Policy = 3,
    /// The end of the parent.
    Parent = 4,
}

impl CancelledBy {
    /// The canceller of a stored code.
    pub fn from_code(code: i64) -> Option<Self> {
        [Self::User, Self::Abort, Self::Policy, Self::Parent]
            .into_iter()
            .find(|by| *by as i64 == code)
    }

    /// Whether the parent itself did it, so that it does not count as a loss.
    pub fn is_parent(self) -> bool {
        matches!(self, Self::Abort | Self::Policy)
    }
}

/// A line of a job's log.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LogLine {
    /// Its identity within the task: a line that exists is not written again.
    pub key: String,
    /// When it was said.
    pub time: Time,
    /// How important it is.
    pub level: crate::log::Level,
    /// What was said.
    pub message: String,
}

/// What an exchange brings back.
#[derive(Debug, Clone, Default)]
pub struct Reply {
    /// Units that changed nothing.
    pub refused: Vec<(TaskId, Refusal)>,
    /// Parks whose waits were satisfied already: the task runs on under its token, with these answers.
    pub ready: Vec<(TaskId, Vec<Answer>)>,
    /// Tasks claimed, under the exchange's token.
    pub claimed: Vec<Claimed>,
    /// Tasks of this worker that were ended by somebody else; said again until an exchange acknowledges
    /// a reply that said so.
    pub cancelled: Vec<(TaskId, Token)>,
    /// When the next thing falls due that this worker could act on, if nothing happens before.
    pub next_due: Option<Time>,
    /// Whether there is more upkeep to do now.
    pub more: bool,
}

/// Why a unit was refused.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Refusal {
    /// The token is not the task's: it was reclaimed, ended or cancelled.
    Lost,
    /// The store cannot hold what the unit carries; the text says why.
    Unfit(String),
    /// A child exists at the place with another kind or other arguments.
    Drift(String),
}

/// A task handed to a worker.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Claimed {
    /// The task.
    pub task: TaskId,
    /// Its parent.
    pub parent: Option<TaskId>,
    /// The claim.
    pub token: Token,
    /// Its kind.
    pub kind: String,
    /// Its arguments, as JSON.
    pub arguments: String,
    /// Inherited by its children.
    pub queue: String,
    /// Inherited by its children.
    pub priority: i16,
    /// What its worker obeys.
    pub policy: Policy,
    /// 1-based.
    pub attempt: u32,
    /// Failures in a row so far.
    pub failures: u32,
    /// Crashes in a row so far.
    pub crashes: u32,
    /// Drift stops in a row so far.
    pub stalls: u32,
    /// Entries in its record, answers below included.
    pub records: u64,
    /// Children spawned so far.
    pub spawned: u64,
    /// Answers recorded by this claim.
    pub answers: Vec<Answer>,
    /// The token under which its future was last parked.
    pub parked: Option<Token>,
}

/// What a worker says of itself.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Heartbeat {
    /// Who.
    pub worker: WorkerId,
    /// Whether this is the first: only then is an unknown worker welcome.
    pub first: bool,
    /// How long it may be silent.
    pub lease: Duration,
    /// What people read: host and process.
    pub name: String,
    /// Kinds it has registered.
    pub kinds: std::sync::Arc<[String]>,
    /// The names of the kinds' arguments, kind by kind.
    pub arguments: std::sync::Arc<[Vec<String>]>,
    /// Queues it serves.
    pub queues: std::sync::Arc<[String]>,
    /// Slots in all.
    pub slots: u32,
    /// Slots taken.
    pub running: u32,
    /// Futures it keeps of parked tasks.
    pub resident: u32,
    /// Tasks its bodies have brought to their ends since the worker started, under whatever id.
    pub ended: u64,
}

/// What one transaction of a prune removed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Pruned {
    /// Jobs gone for good.
    pub jobs: u64,
    /// Whether there is more to remove.
    pub more: bool,
}

/// One page of children on the way to a replay's comparison.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Child {
    /// Its key.
    pub local: Local,
    /// Its number in the set.
    pub number: u32,
    /// Its kind.
    pub kind: String,
    /// The hash of its arguments.
    pub hash: [u8; 16],
    /// Its state.
    pub state: State,
    /// Its number among the ended children of the set.
    pub end: Option<u64>,
    /// Who cancelled it.
    pub cancelled_by: Option<CancelledBy>,
    /// Its value or failure as JSON, once ended.
    pub outcome: Option<String>,
}

/// The counts of one set of a task.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct SetRow {
    /// The set.
    pub set: Local,
    /// Its counts.
    pub counts: SetCounts,
}
