//! Background tasks that spawn further tasks while they run and wait for them: a `JoinSet` that
//! survives crashes and spans machines.

extern crate self as homing;

mod branches;
mod call;
mod client;
mod clock;
mod closing;
mod combine;
mod context;
mod encode;
mod error;
mod handle;
mod id;
mod join_set;
pub mod limits;
pub mod log;
mod replay;
mod state;
mod step;
#[doc(hidden)]
pub mod store;
pub mod task;
#[cfg(feature = "testing")]
pub mod testing;
mod trace;
mod verbs;
#[doc(hidden)]
pub mod wait;
mod waiting;
mod worker;

pub use homing_macros::task;

pub use branches::join_all;
pub use call::Call;
pub use client::{Cursor, Homing, JobHandle, Log, Submit, SubmitNamed};
pub use clock::{Clock, ManualClock, Time};
pub use combine::{Chain, ChainBuilder, Chord, ChordSet, Group, Step, chain, chord, group};
pub use error::{
    Error, Failure, Invalid, JoinError, Misuse, OpenError, OutcomeError, Reason, Result, Retry,
    RetryResult, StartError, SubmitError, TimedOut,
};
pub use handle::{JoinHandle, Joined, spawn};
pub use id::{InvalidId, JobId, TaskId, WorkerId};
pub use join_set::{FailurePolicy, JoinAll, JoinNext, JoinSet, JoinSettled, JoinSome};
pub use state::{Backoff, State as TaskState};
pub use step::{step, step_blocking};
pub use store::Error as StoreError;
pub use store::read::{
    Breach, Counts, JobFilter, JobView, QueueView, Status, TaskView, WorkerView,
};
pub use task::State;
pub use trace::{LogLayer, log_layer};
pub use verbs::{
    Detach, Signal, Sleep, cancelled, detach, id, now, progress, signal, sleep, try_id,
};
pub use waiting::Waiting;
pub use worker::{Worker, WorkerBuilder};

/// For the macros of this crate.
#[doc(hidden)]
pub mod __private {
    pub use crate::branches::{Group, poll_branch, take_branch};
    pub use crate::verbs::say;
    pub use crate::waiting::{Arm, Selectable, Winner, race};
}
