//! Background tasks that spawn further tasks while they run and wait for them: a `JoinSet` that
//! survives crashes and spans machines.
//!
//! A [`task`](macro@task) is a plain `async fn`. Applied to arguments it makes a [`Call`]; a call is
//! [submitted](Homing::submit) as a job of its own or [spawned](fn@spawn) by a running task as a child. The
//! body says `spawn` when it finds work and `join` when it needs it; the wait holds no slot, is woken by
//! an event and survives `kill -9` of anything: the body is replayed from what it remembers.
//!
//! ```
//! use homing::{Homing, JoinSet, step, task};
//!
//! #[task]
//! async fn write_page(page: Vec<u64>) -> homing::Result<u64> {
//!     Ok(page.iter().sum())
//! }
//!
//! #[task]
//! async fn import(pages: u64) -> homing::Result<u64> {
//!     let mut writes = JoinSet::new();
//!     for n in 0..pages {
//!         // Remembered: a crash does not fetch it again.
//!         let page = step("fetch", || async move { Ok(vec![n; 3]) }).await?;
//!         writes.spawn(write_page(page)).await?;
//!     }
//!     let sums = writes.join_all().await?; // parked: no slot held, woken by the last child
//!     Ok(sums.iter().sum())
//! }
//!
//! # #[tokio::main]
//! # async fn main() -> Result<(), Box<dyn std::error::Error>> {
//! let homing = Homing::open("memory:").await?; // or `sqlite:jobs.db`, `postgres://HOST/DATABASE`
//! homing.worker().register(import).register(write_page).start().await?;
//! let sum = homing.submit(import(4)).title("nightly import").await?.outcome().await?;
//! assert_eq!(sum, 18);
//! # Ok(())
//! # }
//! ```
//!
//! Inside a body: [`step`](fn@step), [`spawn`](fn@spawn), [`JoinSet`], [`sleep`], [`signal`], [`select!`],
//! [`join!`], [`join_all`], [`detach`], [`id`](fn@id), [`now`], [`progress`], [`log!`], [`cancelled`]. Outside:
//! [`Homing`] and [`JobHandle`]. What a body may do, and why, is told in `docs/concepts/semantics.md` of
//! the repository; every default and limit is in [`limits`].
//!
//! Features: `sqlite` (on by default), `postgres` and `redis` are the stores beside memory; with `postgres` come
//! `Homing::submit_in` and `transaction`, and with `sqlx` the former takes sqlx's transactions too.
//! `eyre` takes reports of eyre's as errors. `testing` has the conformance suite that every store passes.

#![cfg_attr(
    not(any(feature = "sqlite", feature = "postgres")),
    allow(dead_code, reason = "the memory store alone needs less")
)]

extern crate self as homing;

mod body;
mod client;
mod clock;
mod core;
mod error;
pub mod limits;
mod point;
#[doc(hidden)]
pub mod store;
pub mod task;
#[cfg(feature = "testing")]
pub mod testing;
mod worker;

pub use crate::core::drift::Drift;
pub use crate::core::fingerprint::{Fingerprint, InvalidFingerprint};
pub use crate::core::log;
#[doc(hidden)]
pub use crate::core::wait;
pub use homing_macros::task;

pub use crate::core::id::{InvalidId, JobId, TaskId, WorkerId};
pub use crate::core::policy::FailurePolicy;
pub use crate::core::state::{Backoff, State as TaskState};
pub use crate::core::time::Time;
pub use body::branches::join_all;
pub use body::combine::{
    Chain, ChainBuilder, Chord, ChordSet, Group, Link, Members, Run, chain, chord, group, replace,
    run,
};
pub use body::handle::{JoinHandle, Joined, spawn};
pub use body::info::{Info, Parent, info, parent};
pub use body::job_wait::{JobEnd, job};
pub use body::join_set::{JoinAll, JoinNext, JoinNextWithId, JoinSet, JoinSettled, JoinSome};
pub use body::overdue::overdue;
pub use body::sibling::spawn_sibling;
pub use body::step::{step, step_blocking};
pub use body::tags::tags;
pub use body::trace::{LogLayer, log_layer};
#[cfg(feature = "postgres")]
pub use body::transaction::transaction;
pub use body::verbs::{
    Detach, Signal, Sleep, cancelled, detach, id, now, progress, signal, sleep, try_id,
};
pub use body::waiting::Waiting;
pub use client::{
    Amend, Because, Cancel, Cursor, EntryKind, EntryView, FailureGroup, FindError, Homing,
    IdPrefix, JobHandle, Log, SetKey, SetView, Signalled, Submission, Submit, SubmitAllError, Why,
};
#[cfg(feature = "testing")]
pub use clock::SimulatedClock;
pub use clock::{Clock, ManualClock};
pub use error::{
    AmendError, Error, Failure, Invalid, JoinError, Misuse, OpenError, OutcomeError, Reason,
    RemoveError, Result, Retry, RetryError, RetryResult, StartError, StepError, SubmitError,
    TimedOut,
};
pub use store::Error as StoreError;
#[cfg(feature = "postgres")]
pub use store::postgres::Within;
pub use store::read::{
    ActionFilter, ActionView, Breach, ChildCounts, Counts, FailureFilter, Histogram, JobFilter,
    JobView, KindView, QueueView, SampleFilter, SampleView, Status, StoreView, TaskView,
    WorkSample, WorkerView,
};
pub use store::retention::Retention;
pub use store::{Migration, Retried};
pub use task::State;
pub use task::call::{Any, AnyCall, Call, Lacks, Next, Partial, Shape, Whole};
pub use worker::{Verdict, Verified, Worker, WorkerBuilder};

/// For the macros of this crate.
#[doc(hidden)]
pub mod __private {
    pub use crate::body::branches::{Group, poll_branch, take_branch};
    pub use crate::body::verbs::say;
    pub use crate::body::waiting::{Arm, Selectable, Winner, race};
}

/// The README's example is compiled and run.
#[cfg(doctest)]
#[doc = include_str!("../../../README.md")]
#[derive(Debug)]
pub struct Readme;

/// The guide's programs are compiled, and those that have a `main` are run.
#[cfg(doctest)]
#[doc = include_str!("../../../docs/guides/bodies.md")]
#[derive(Debug)]
pub struct Bodies;

/// The guide's programs are compiled.
#[cfg(all(doctest, feature = "postgres"))]
#[doc = include_str!("../../../docs/guides/postgres.md")]
#[derive(Debug)]
pub struct Postgres;

/// The guide's programs are compiled and run.
#[cfg(doctest)]
#[doc = include_str!("../../../docs/guides/canvas.md")]
#[derive(Debug)]
pub struct Canvas;

/// The guide's programs are compiled.
#[cfg(doctest)]
#[doc = include_str!("../../../docs/guides/operating.md")]
#[derive(Debug)]
pub struct Operating;

/// The guide's programs are compiled.
#[cfg(doctest)]
#[doc = include_str!("../../../docs/guides/deploying.md")]
#[derive(Debug)]
pub struct Deploying;
