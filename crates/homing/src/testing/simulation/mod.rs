//! Simulation of whole workers: seeded bodies of every verb, run by several real workers under time that
//! jumps, over a store that by seed refuses, delays, loses and lies.
//!
//! `plan` is what a case says, `generate` makes one from a seed, `body` and `waits` do what a program says
//! with the verbs a user has (`verbs`: those beside waits), `family` is the naive model it holds them against. `line` stands between each
//! worker and the store, `world` kills, freezes and replaces workers. `ledger` keeps what bodies saw
//! outside the store, `verdict` judges it at the end, and `shrink` makes a failing case small.
//!
//! The runtime must be a current-thread one with paused time.

use std::fmt;
use std::sync::Arc;

use serde::{Deserialize, Serialize};

use crate::clock::Clock;
use crate::clock::SimulatedClock;
use crate::core::id::TaskId;
use crate::store::Store;
use crate::{Failure, OpenError, Result, State, task};
use futures_util::future::BoxFuture;

mod arm;
mod body;
mod family;
mod generate;
mod ledger;
mod line;
mod plan;
mod shrink;
mod verbs;
mod verdict;
mod waits;
mod world;

use body::Site;
use plan::{Case, Program};

/// What a simulated body returns.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[doc(hidden)]
pub struct Out {
    /// Whose value it is.
    task: TaskId,
    /// What no other run of any body returns.
    token: u64,
    /// Of all that the run saw.
    sum: u64,
}

/// The kind of nearly all tasks.
#[task(kind = "sim", retries = 1_000, backoff = "50ms")]
async fn sim(program: Program, State(site): State<Site>) -> Result<Out> {
    body::run(&program, site).await
}

/// What follows another in a chain.
#[task(kind = "sim_after", retries = 1_000, backoff = "50ms")]
async fn after(before: Out, program: Program, State(site): State<Site>) -> Result<Out> {
    site.ledger.saw_value(before.task, before.token);
    body::run(&program, site).await
}

/// What follows a group.
#[task(kind = "sim_total", retries = 1_000, backoff = "50ms")]
async fn total(of: Vec<Out>, program: Program, State(site): State<Site>) -> Result<Out> {
    for out in of {
        site.ledger.saw_value(out.task, out.token);
    }
    body::run(&program, site).await
}

/// What follows a success.
#[task(kind = "sim_went", retries = 1_000, backoff = "50ms")]
async fn went(out: Out, label: String, State(site): State<Site>) -> Result<()> {
    site.ledger.saw_value(out.task, out.token);
    site.ledger.book().went.entry(label).or_default().insert(crate::id());
    Ok(())
}

/// What follows a failure.
#[task(kind = "sim_fell", retries = 1_000, backoff = "50ms")]
async fn fell(failure: Failure, label: String, State(site): State<Site>) -> Result<()> {
    site.ledger.note(|| format!("what follows {label} is told: {failure}"));
    site.ledger.book().fell.entry(label).or_default().insert(crate::id());
    Ok(())
}

/// Opens fresh stores.
pub trait Opener {
    /// Pauses the time of the runtime that calls: `tokio::time::pause`.
    fn pause(&self);
    /// An empty store that reads this clock.
    fn open(&self, clock: Clock) -> BoxFuture<'_, Result<Arc<dyn Store>, OpenError>>;
}

/// A run that failed: its seed, what was wrong, the smallest case that fails alike, and its end.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Flaw {
    /// The seed.
    pub seed: u64,
    /// What was found, in the smallest case.
    pub faults: Vec<String>,
    /// The smallest case.
    pub case: String,
    /// What happened in it.
    pub trace: String,
}

impl fmt::Display for Flaw {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let faults = self.faults.join("\n");
        write!(f, "seed {}:\n{faults}\n\n{}\n\n{}", self.seed, self.trace, self.case)
    }
}

/// How much was simulated.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Tally {
    /// Runs of bodies.
    pub runs: u64,
    /// Tasks that began.
    pub tasks: u64,
    /// Answers of waits.
    pub answers: u64,
}

/// Runs the case of a seed; a failing one is made small first, unless `whole`.
///
/// # Errors
/// What was wrong.
pub fn run(seed: u64, opener: &dyn Opener, whole: bool) -> std::result::Result<Tally, Box<Flaw>> {
    let case = generate::case(seed);
    let ledger = play(&case, opener);
    let (faults, tally) = {
        let book = ledger.book();
        let (tasks, answers) = (book.begun.len() as u64, book.observations.len() as u64);
        (book.faults.clone(), Tally { runs: book.runs, tasks, answers })
    };
    if faults.is_empty() {
        return Ok(tally);
    }
    let (case, ledger) =
        if whole { (case, ledger) } else { shrink::smallest(case, ledger, opener) };
    let book = ledger.book();
    let trace: Vec<&str> = book.trace.iter().map(String::as_str).collect();
    Err(Box::new(Flaw {
        seed,
        faults: book.faults.clone(),
        case: format!("{case:#?}"),
        trace: trace.join("\n"),
    }))
}

/// Runs a case on a runtime of its own.
fn play(case: &Case, opener: &dyn Opener) -> Arc<ledger::Ledger> {
    let mut builder = tokio::runtime::Builder::new_current_thread();
    let runtime = builder.enable_all().build();
    let runtime = runtime.unwrap_or_else(|error| panic!("no runtime: {error}"));
    runtime.block_on(async {
        opener.pause();
        let clock = Clock::Simulated(SimulatedClock::starting_now());
        let store = opener.open(clock.clone()).await;
        let store = store.unwrap_or_else(|error| panic!("the store does not open: {error}"));
        world::run(case, store, clock).await
    })
}
