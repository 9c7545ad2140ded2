//! Mistakes of the caller: rules of the programming model, and input refused at the door.
//!
//! Every message names the place or field and says what to write instead.

use crate::core::id::{JobId, TaskId};
use crate::core::invalid::Invalid;

/// A broken rule of the programming model: mended in the source. Final for the task it happens in.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum Misuse {
    /// A verb of a body was called where no task runs.
    #[error(
        "`{verb}` was called outside a task: call it in the body of a #[task], or in a function the body awaits; not in a future handed to `tokio::spawn`"
    )]
    OutsideTask {
        /// The verb.
        verb: &'static str,
    },
    /// A client's verb was called in a body.
    #[error("`{verb}` was called inside a task: {}", instead(verb))]
    ClientInside {
        /// The verb.
        verb: &'static str,
    },
    /// A task waits for the job that it belongs to.
    #[error(
        "this task waits for the job {id}, which it belongs to and which ends after it: wait for children with their handles or sets, for the parent's word with `homing::signal`"
    )]
    OwnJob {
        /// The job.
        id: JobId,
    },
    /// A signal of a client's to a task of the body's own job, of which the store knows nothing.
    #[error(
        "no task has the id {id} yet: a child is committed with the next step, so send it a signal from this body with `handle.signal(name, &value).await`"
    )]
    NotYet {
        /// The task.
        id: TaskId,
    },
    /// A second durable operation was begun while one was open in the same branch.
    #[error(
        "`{second}` was begun while `{first}` is open: await one after the other, or use homing's own `join!`, `join_all` or `select!`, which give each branch its own places; a `JoinSet` gives what children return as they end"
    )]
    TwoAtOnce {
        /// The open operation.
        first: String,
        /// The one that was begun.
        second: String,
    },
    /// A durable operation in a stream or set of futures that polls only what its own wakers have woken: homing's
    /// futures wake nobody, so it would hang.
    #[error(
        "`{operation}` is awaited in a stream or set of futures, such as `buffer_unordered`, which would never come back to it: run steps at once with homing's own `join!` or `join_all`, and take what children return as they end from a `JoinSet`"
    )]
    PassedOver {
        /// The operation.
        operation: String,
    },
    /// A durable operation inside a step.
    #[error(
        "`{inner}` was begun inside the step `{step}`: a step holds plain work only, do this beside it"
    )]
    InsideStep {
        /// The step.
        step: String,
        /// The operation.
        inner: String,
    },
    /// A foreign future was awaited together with a durable wait.
    #[error(
        "a foreign future is awaited together with the durable wait `{wait}`: put plain work into a `step`, take a timeout with `.timeout(d)`, wait for several things with `homing::select!`"
    )]
    ForeignFuture {
        /// The open wait.
        wait: String,
    },
    /// A handle or a set of one task in the body of another.
    #[error(
        "`{wait}` belongs to another task: a handle or a set is used in the body that made it; hand values, ids or signals over instead"
    )]
    OtherTask {
        /// The wait, or the set.
        wait: String,
    },
    /// Outcomes of one set are taken in two branches that run beside each other, one of them in their order.
    #[error(
        "the outcomes of `{set}` are taken in two branches at once, where a replay could give them in another order: await its handles in the branch that waits for the set, or before or after the `join!`"
    )]
    SetInBranches {
        /// The set.
        set: String,
    },
    /// More branches than a task may have open at once.
    #[error(
        "{open} branches are open at `{place}`, and {} are allowed at once: spawn children into a `JoinSet`, which takes any number, or join so many after each other",
        crate::limits::BRANCHES
    )]
    TooManyBranches {
        /// The `join!` or `join_all`.
        place: String,
        /// How many are open in the task.
        open: usize,
    },
    /// A place that was given twice.
    #[error(
        "the place `{place}` is taken twice in this body: a name given with `.at(…)` is unique in its set, one given with `JoinSet::named` or to a detached call in the body"
    )]
    DoubledPlace {
        /// The place.
        place: String,
    },
    /// A task added to its set where the set does not grow.
    #[error(
        "`spawn_sibling` was called in a task whose set does not grow: its parent makes the set with `JoinSet::new().growing()` and spawns the task with the set's `spawn`; a child of this task is spawned with `homing::spawn`"
    )]
    NoGrowingSet,
    /// A task added to its set where it is in none.
    #[error(
        "`spawn_sibling` was called in the root of a job, which is in no set: spawn a child with `homing::spawn`, or start a job with `homing::detach`"
    )]
    NoSiblings,
    /// A set that is to grow though children were spawned into it.
    #[error(
        "`growing` was said twice, or after a child was spawned into `{set}`: write `JoinSet::new().growing()`, then spawn"
    )]
    LateGrowing {
        /// The set.
        set: String,
    },
    /// A detached job's id belongs to another call.
    #[error(
        "the id {id} belongs to a job of another kind or with other arguments: choose another id, or prune that job"
    )]
    TakenId {
        /// The id.
        id: JobId,
    },
    /// A transaction of the body's own on a store that is not in PostgreSQL.
    #[error(
        "`transaction` needs a store in PostgreSQL: elsewhere write in a `step`, under `homing::id()`, so that writing twice is writing once"
    )]
    NoTransactions,
    /// A name, place or value that cannot be kept.
    #[error(transparent)]
    Refused(#[from] Invalid),
}

/// What a body writes instead of a client's verb.
fn instead(verb: &str) -> &'static str {
    match verb {
        "outcome" => {
            "a body waits for another job with `homing::job(id).await`, which holds no slot, and for a child with its handle"
        }
        _ => {
            "a body spawns children with `homing::spawn` or starts a new job with `homing::detach`, and waits for that one with `homing::job(id).await`"
        }
    }
}
