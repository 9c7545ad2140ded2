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

use crate::clock::Clock;
use crate::core::id::{JobId, Local, TaskId, WorkerId};
use crate::core::state::State;
use crate::core::time::Time;
use crate::core::wait::SetCounts;

#[cfg(any(feature = "sqlite", feature = "postgres"))]
#[macro_use]
mod columns;
#[cfg(any(feature = "postgres", feature = "redis"))]
pub mod certificates;
mod error;
pub(crate) mod events;
mod exchange;
mod hints;
pub mod memory;
#[cfg(feature = "postgres")]
pub mod postgres;
pub mod read;
#[cfg(feature = "redis")]
pub mod redis;
pub mod retention;
mod retry;
#[cfg(any(feature = "sqlite", feature = "postgres"))]
mod rules;
mod signal;
#[cfg(feature = "sqlite")]
pub mod sqlite;
mod url;

pub use crate::core::log::LogLine;
pub use crate::core::new_task::{NewJob, NewTask, Policy};
pub use crate::core::record::Entry;
pub use crate::core::state::CancelledBy;
pub use error::{Error, OpenError};
pub use exchange::{
    Abort, Addition, Claim, Claimed, End, Event, Exchange, NewChild, Refusal, Reply, Signalled,
    Unit,
};
pub use hints::{Ended, Hints};
pub use read::actions::NewAction;
pub use read::samples::Sample;
pub use read::{Read, Records};
pub use retry::{Cause, Retried, Retry};
pub use signal::Sent;
pub use url::Migration;
pub(crate) use url::{inspect, known, migrate, open};

/// What a verb returns. Nothing is done before it is polled: a verb may be made first, and something else be done before it.
pub type Verb<'a, T> = Pin<Box<dyn Future<Output = Result<T, Error>> + Send + 'a>>;

/// A place where tasks live.
///
/// # What a store owes
///
/// This is all that the worker and the client rely on. The memory store is it, executable; the conformance suite, the
/// random histories (each store against the memory store, row by row) and the simulation hold a store to it.
///
/// **Every verb** returns after its commit. An error means that nothing was changed, or that nobody knows: whoever calls
/// sends the same again. Each is one transaction, but for these: `remove`, `prune`, `sweep` and a `retry` of many tasks
/// may be one for each bounded part of what they do. `cancel` and `exchange` end what they are told to end in one, and what
/// falls with it follows in bounded parts, of which any process does the next; a store may give the upkeep and the claim of
/// an exchange transactions of their own. So each verb may be repeated:
///
/// | verb | told again |
/// |---|---|
/// | `submit` | finds the job by its id: `Existing` |
/// | `exchange` | the same number: each unit is idempotent or refused as `Lost`; what was claimed under numbers above `acknowledged` is handed out again under its old token; cancellations told under such numbers are told again |
/// | `heartbeat`, `keep_samples` | renew, and write, once more |
/// | `leave`, `pause`, `remove`, `prune`, `sweep` | go on with what is left, or do nothing |
/// | `cancel` | `false`: the first terminal write wins |
/// | `signal` | keeps the value once more: a client does not resend it |
/// | `retry` | `Open`: what had failed is open |
/// | `amend` | the same once more, until the task is claimed; then it stands still no longer |
/// | `begin_action`, `end_action` | write a second line; end the line once more |
///
/// **In an exchange** units take effect first, in the order given; then upkeep, which may be a bounded part of what is
/// due (`Reply::next_due`); then the claim, which sees both. A worker that the store has given up, or never knew, is
/// given nothing.
///
/// **A unit** is applied whole or refused whole, and its refusal harms no other. `Lost`: its token is not the row's,
/// or the row is not running. `Drift`: it spawns a child at a key that holds another call. `Unfit`: the store cannot
/// hold what it says. Within a unit events take effect in order; `Park`, `End`, `Retry`, `Stall` and `HandBack` are last.
///
/// | event | told again in a later unit of the same run, or by a replay |
/// |---|---|
/// | `Begin` | it has begun: nothing |
/// | `Record` | the number is taken: nothing |
/// | `Spawn` | the child is there: nothing, if kind and arguments are the same |
/// | `Add`, `Signal` | the entry at its number is there: nothing |
/// | `Detach` | as `submit` |
/// | `Abort` | spares children with higher numbers, so those spawned since |
/// | `Log` | the line's key is there: nothing |
/// | `Progress` | the last one counts |
/// | `Park` | its waits were answered at once: the same answers, from the record; it had parked: `Lost` |
/// | `End`, `Retry`, `Stall`, `HandBack` | the token is gone: `Lost` |
///
/// A unit's `Signal` is kept for a task that is open or has fallen, which a retry may run again; for one that has succeeded
/// or is unknown it is its entry alone.
///
/// **An end**, whoever brings it about, numbers itself in its set, counts there, and looks once at the parent's waits,
/// in the same transaction; a root's looks at the waits of other jobs' tasks for it and frees its key. A parked task
/// whose waits hold becomes pending at once, for 50 ms only for the worker that has its future. Children of a task that
/// ended without success are cancelled in bounded transactions that follow, top down, whoever dies meanwhile.
///
/// **A claim** takes tasks that are due, of queues that are served and not paused and of registered kinds, by priority
/// and then by due time; suspects only alone. It records the answers of the waits that hold, each once, at the numbers
/// the waits reserved, and hands them over with the task. A task is running exactly while its row has a token.
pub trait Store: Records + Read + fmt::Debug + Send + Sync + 'static {
    /// Adds jobs. Each is answered by itself and harms no other: an id already taken by the same call
    /// is [`Submitted::Existing`], by another call [`Submitted::Conflict`]; a key held by an open job
    /// names that job, unless it is past its expiry or its deadline: then it is ended first, and the key is
    /// free. Resending is harmless.
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
    /// write wins: `false` if the task had ended. The text says who wants it and why, if anybody has said.
    fn cancel(&self, task: TaskId, text: Option<String>) -> Verb<'_, bool>;

    /// Keeps a value for a task's `signal` wait, and wakes the task if it waits for it. Whether it does, and
    /// whether it takes such a value, is seen in the same transaction.
    fn signal(&self, task: TaskId, name: String, value: String) -> Verb<'_, Sent>;

    /// Reopens a failed or cancelled job: what failed runs again, as each failed task's [`Cause`] says. A
    /// `preview` only says what would be reopened; it carries cancellations on their way down to their ends
    /// as the verb itself does. A due holder of the job's key is ended first, as by [`submit`](Self::submit).
    fn retry(&self, job: JobId, preview: bool) -> Verb<'_, Retry>;

    /// Puts other arguments in the place of those of a task that stands still, and makes it due. What calls are
    /// compared with stays as it was.
    fn amend(&self, task: TaskId, arguments: String) -> Verb<'_, Amended>;

    /// Keeps that somebody is about to do something, and forgets some of what is older than it is kept. Returns its
    /// number.
    fn begin_action(&self, action: NewAction) -> Verb<'_, u64>;

    /// Keeps what became of it.
    fn end_action(&self, number: u64, result: String) -> Verb<'_, ()>;

    /// Keeps what a worker has done in minutes that are over, and forgets some of what is older than it is kept. A
    /// minute that is kept already is written again.
    fn keep_samples(&self, samples: Vec<Sample>) -> Verb<'_, ()>;

    /// Stops or resumes claims from a queue.
    fn pause(&self, queue: String, paused: bool) -> Verb<'_, ()>;

    /// Does a bounded part of the upkeep that claims do by themselves: reclaims what dead workers held,
    /// ends what is past its deadline, wakes what is past its timeout, carries cancellations further
    /// down. `true` if there is more to do now.
    fn sweep(&self, max_crashes: u32) -> Verb<'_, bool>;

    /// Removes jobs that ended before an instant, in one bounded transaction.
    fn prune(&self, before: Time) -> Verb<'_, Pruned>;

    /// Removes a job that has ended, or a bounded part of it: resending goes on with the rest.
    fn remove(&self, job: JobId) -> Verb<'_, Removed>;

    /// A worker of this process is gone and could not [`leave`](Self::leave): nothing shows any more that it
    /// lives. Where a lease decides there is nothing to do.
    fn abandon(&self, worker: WorkerId) {
        let _ = worker;
    }

    /// For tests: the worker's process is dead as far as the store can tell, as of now.
    #[cfg(feature = "testing")]
    fn kill(&self, worker: WorkerId);

    /// For tests: the parking of an open task whose future may go on.
    #[cfg(feature = "testing")]
    fn parking(&self, task: TaskId) -> Verb<'_, Option<crate::core::id::Token>>;

    /// Pushes that say "look now".
    fn hints(&self) -> &Hints;

    /// The store's clock.
    fn clock(&self) -> &Clock;

    /// Says here and elsewhere that tasks may have become claimable.
    fn nudge(&self) {
        self.hints().say_ready();
    }

    /// The way to transactions of a caller's own, if the store has them.
    #[cfg(feature = "postgres")]
    fn transactions(&self) -> Option<&postgres::Transactions> {
        None
    }
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
    /// The kinds' arguments as texts, kind by kind. See [`Parameter`](crate::core::parameter::Parameter).
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

/// What became of other arguments for a task.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Amended {
    /// The task has them and is due.
    Done,
    /// The task does not stand still: nothing was changed.
    NotStalled,
    /// The task has ended: nothing was changed.
    Ended,
}

/// What became of the removal of a job.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Removed {
    /// Nothing is left of it.
    Gone,
    /// There is more to remove.
    More,
    /// The job is open: nothing was removed.
    Open,
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

impl Child {
    /// Whether another member of its set has added it, not the parent's body.
    pub(crate) fn is_added(&self) -> bool {
        self.number >= crate::limits::CHILDREN
    }
}

/// The counts of one set of a task.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct SetRow {
    /// The set.
    pub set: Local,
    /// Its counts.
    pub counts: SetCounts,
}
