//! What a simulated body is to do: a program, as plain data.
//!
//! A program is the argument of the one kind the simulation has, so a child's program is part of its
//! parent's, and a whole case (programs, workers, faults) is a value that can be printed and shrunk.
//! Sets and handles are named by number, modulo those there are: whatever is taken out of a program,
//! the rest still means something. Nothing here runs anything.

use serde::{Deserialize, Serialize};

use crate::FailurePolicy;

/// Longer than every other pause of a program, in milliseconds.
pub(super) const LONGEST: u64 = 3_000;

/// The body of one task.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub(super) struct Program {
    /// What it does, in order.
    pub(super) body: Vec<Statement>,
}

/// One thing a body does.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub(super) enum Statement {
    /// Creates a set.
    Set {
        /// Whether it has a name of its own.
        named: bool,
        /// How many losses it bears.
        policy: FailurePolicy,
        /// Whether its children may add to it.
        growing: bool,
    },
    /// Spawns a child and keeps its handle.
    Spawn {
        /// Into which set; none is `homing::spawn`.
        set: Option<usize>,
        /// Whether it has a place of its own.
        at: bool,
        /// What its call says of time and retries.
        limits: Limits,
        /// What it does.
        child: Program,
    },
    /// Spawns a child in the first run only: a body that drifts.
    Fewer {
        /// Into which set.
        set: usize,
        /// What it does.
        child: Program,
    },
    /// Spawns a combinator of calls.
    Canvas {
        /// Into which set; none is `homing::spawn`.
        set: Option<usize>,
        /// Which combinator.
        shape: Shape,
        /// What its calls do; it has at least one.
        calls: Vec<Program>,
    },
    /// `homing::replace`: a child whose value or failure is passed on.
    Replace(Program),
    /// Adds a task to the set that the running one is in, if that grows.
    Sibling {
        /// Whether it has a place of its own.
        at: bool,
        /// What it does.
        sibling: Program,
    },
    /// Sends the child of a handle the signal that only parents send.
    Tell(usize),
    /// A step that minds its soft timeout, for so many milliseconds.
    Overdue(u64),
    /// Waits for one thing.
    Wait(Wait, Ending),
    /// Waits for the first of two things.
    Select(Wait, Wait, Ending),
    /// Runs branches beside each other: two by `join!`, others by `join_all`.
    Branches(Vec<Program>),
    /// Aborts the child of a handle.
    Abort(usize),
    /// Aborts what a set has.
    AbortAll(usize),
    /// A step.
    Step {
        /// How often it fails before it succeeds.
        fails: u32,
        /// How long its work takes, in milliseconds.
        takes: u64,
    },
    /// A step that blocks.
    Blocking,
    /// A transaction of the body's own, where the store has such; elsewhere a step.
    Transaction,
    /// Asks for the time.
    Now,
    /// Starts a job of its own.
    Detach {
        /// Its key, if it has one.
        key: Option<u8>,
        /// What it does.
        child: Program,
    },
    /// Writes a line into the log.
    Log,
    /// Says how far it is.
    Progress,
    /// Plain I/O outside a step, of so many milliseconds.
    Plain(u64),
    /// Fails, so many times.
    Fail {
        /// How.
        how: Failing,
        /// How often, before it goes on.
        times: u32,
    },
}

/// What a call says of time and retries: milliseconds.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Limits {
    /// The longest life.
    pub(super) deadline: Option<u64>,
    /// The longest time until it starts.
    pub(super) expires: Option<u64>,
    /// The longest stretch. Only together with few retries, or it would go on for ever.
    pub(super) timeout: Option<u64>,
    /// After how much of a stretch the body is told.
    pub(super) soft_timeout: Option<u64>,
    /// Retries in a row.
    pub(super) retries: Option<u32>,
    /// Its priority.
    pub(super) priority: Option<i16>,
}

/// A combinator.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub(super) enum Shape {
    /// One call after the other, each given the value before.
    Chain,
    /// A group, and a call that is given its values.
    Chord,
    /// The same as a chain of a group and a call.
    Group,
    /// A call with what follows its success and its failure.
    Link,
}

/// How a body fails.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub(super) enum Failing {
    /// With an error that is retried.
    Retried,
    /// With an error that says when to try again.
    After,
    /// By a panic.
    Panic,
    /// For good.
    Fatal,
}

/// What a wait is for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub(super) enum Wait {
    /// A handle, by reference.
    Handle(usize),
    /// A handle, taken.
    Taken(usize),
    /// `join_next`.
    Next(usize),
    /// `join_next_with_id`.
    NextId(usize),
    /// `join_all`.
    All(usize),
    /// `join_settled`.
    Settled(usize),
    /// `join_first`.
    First(usize),
    /// `join_some`.
    Some(usize, usize),
    /// A signal.
    Signal(u8),
    /// A sleep of so many milliseconds.
    Sleep(u64),
    /// The end of a job that the body has detached.
    Job(usize),
}

/// How a wait may end beside its answer.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Ending {
    /// Its timeout, in milliseconds.
    pub(super) timeout: Option<u64>,
    /// Whether an error ends the body.
    pub(super) passed_on: bool,
}

/// A whole case.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Case {
    /// The seed it was made from; the chance of faults and pauses hangs on it too.
    pub(super) seed: u64,
    /// The jobs that are submitted.
    pub(super) jobs: Vec<Program>,
    /// The workers that run them.
    pub(super) workers: Vec<Crew>,
    /// What happens to workers and jobs, one after the other.
    pub(super) script: Vec<Incident>,
    /// What happens after the jobs that fell have been retried; none: they are not.
    pub(super) again: Option<Vec<Incident>>,
    /// What the store does to the workers' verbs.
    pub(super) faults: Faults,
}

/// A worker's settings.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Crew {
    /// Its slots.
    pub(super) slots: usize,
    /// Parked futures it keeps.
    pub(super) resident: usize,
    /// For how many milliseconds it keeps them.
    pub(super) resident_age: u64,
}

/// Something that happens to a worker or a job, after a pause of so many milliseconds.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Incident {
    /// The pause before.
    pub(super) after: u64,
    /// What happens.
    pub(super) what: What,
}

/// What happens.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum What {
    /// The worker dies; the store hears of it at once or by its lease. Another takes its place.
    Kill {
        /// Which.
        worker: usize,
        /// Whether the store is told.
        told: bool,
        /// Until the other comes.
        back: u64,
    },
    /// Nothing of the worker's reaches the store, and nothing comes back, for so long.
    Freeze {
        /// Which.
        worker: usize,
        /// Whether its bodies stand still too.
        whole: bool,
        /// How long.
        lasts: u64,
    },
    /// The worker leaves in order and another takes its place.
    Replace {
        /// Which.
        worker: usize,
        /// How long it waits for what runs.
        patience: u64,
        /// Until the other comes.
        back: u64,
    },
    /// Somebody cancels a task that has begun.
    Cancel(usize),
}

/// How often the store fails the workers, each of so many thousand.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(super) struct Faults {
    /// Exchanges that never arrive.
    pub(super) requests: u64,
    /// Replies that never arrive.
    pub(super) replies: u64,
    /// Exchanges or replies that are late.
    pub(super) late: u64,
    /// Tasks taken back from a worker while it speaks of them.
    pub(super) revoked: u64,
    /// Units that the store cannot hold.
    pub(super) unfit: u64,
    /// Units that are said to have drifted.
    pub(super) drift: u64,
    /// Hints that are swallowed.
    pub(super) hints: u64,
    /// Heartbeats answered with `false`.
    pub(super) heartbeats: u64,
    /// Reads that fail.
    pub(super) reads: u64,
}
