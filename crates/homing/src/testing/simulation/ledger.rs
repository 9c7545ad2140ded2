//! The ledger: what bodies saw, kept outside every store.
//!
//! Its order is total. What contradicts itself is a fault at once: a step that runs although its result was
//! seen, two answers at one place, two values of one child. What only the end can tell (who had ended by
//! then, and how) is kept as observations for [`verdict`](super::verdict).

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::sync::{Mutex, MutexGuard, PoisonError};

use super::family::{Family, Told};
use super::plan::Limits;
use crate::clock::Clock;
use crate::core::id::{JobId, TaskId, WorkerId};
use crate::core::time::Time;

/// Lines of the trace that are kept.
const TRACE: usize = 300;

/// Above every value that the world sends.
const SAID: u64 = 1 << 32;

/// What has become of a task by a retry of its job.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Fate {
    /// It stays as it had ended: with a value, or as a loss that was borne before.
    Ended,
    Open,
    Gone,
}

/// A place in a task's body.
pub(super) type Spot = (TaskId, String);

/// What one wait told, and what its set was before.
#[derive(Debug, Clone)]
pub(super) struct Observation {
    pub(super) verb: &'static str,
    /// How many successes were asked for.
    pub(super) count: usize,
    pub(super) family: Family,
    /// The child of a handle.
    pub(super) child: Option<TaskId>,
    pub(super) told: Told,
}

/// A value that a body returned, and the sets it left open.
#[derive(Debug, Clone)]
pub(super) struct Returned {
    pub(super) token: u64,
    pub(super) open: Vec<Family>,
    /// Lines the run said.
    pub(super) lines: Vec<String>,
    /// The run had left out a child that the store has.
    pub(super) wrong: bool,
}

#[derive(Debug, Default)]
pub(super) struct Book {
    pub(super) faults: Vec<String>,
    pub(super) trace: VecDeque<String>,
    /// Tasks whose bodies have begun, in that order.
    pub(super) begun: Vec<TaskId>,
    pub(super) runs: u64,
    /// The ids under which their workers went when the runs began.
    workers: BTreeMap<u64, Option<WorkerId>>,
    /// The last run of each task.
    last: BTreeMap<TaskId, u64>,
    tokens: u64,
    tries: BTreeMap<Spot, u32>,
    seen: BTreeMap<Spot, u64>,
    answers: BTreeMap<Spot, String>,
    values: BTreeMap<TaskId, u64>,
    pub(super) observations: BTreeMap<Spot, Observation>,
    pub(super) returned: BTreeMap<TaskId, Vec<Returned>>,
    /// Tasks whose bodies failed for good, and with what.
    pub(super) failed: BTreeMap<TaskId, String>,
    /// Children that a body aborted, and children a wait aborted by its policy.
    pub(super) aborted: BTreeSet<TaskId>,
    pub(super) given_up: BTreeSet<TaskId>,
    /// Signals that somebody waits for, and those that were sent.
    pub(super) wanted: BTreeSet<(TaskId, u8)>,
    pub(super) signals: BTreeMap<u64, Spot>,
    /// What parents have sent to their children, and which of all signals' values were ever told.
    pub(super) said: BTreeMap<Spot, (TaskId, u64)>,
    pub(super) heard: BTreeSet<u64>,
    /// What calls said of time and retries, and how often bodies have failed so far, but not for good. Of a task there may be
    /// several: a run whose last words were refused has called for another in its place.
    pub(super) limits: BTreeMap<TaskId, Vec<Limits>>,
    pub(super) strikes: BTreeMap<TaskId, u32>,
    /// Children that are combinators, those with something that follows by their labels, and the jobs that
    /// have followed a success or a failure.
    pub(super) canvas: BTreeSet<TaskId>,
    pub(super) links: BTreeMap<String, TaskId>,
    pub(super) went: BTreeMap<String, BTreeSet<TaskId>>,
    pub(super) fell: BTreeMap<String, BTreeSet<TaskId>>,
    /// Children that only the first run spawns, none where the store never had it; and tasks that have left one out
    /// which the store has.
    pub(super) left_out: BTreeMap<Spot, Option<TaskId>>,
    pub(super) drifting: BTreeSet<TaskId>,
    /// Jobs that were retried.
    pub(super) retried: BTreeSet<JobId>,
    pub(super) detached: BTreeMap<Spot, JobId>,
    /// Tasks of which the store refused a unit as unfit.
    pub(super) unfit: BTreeSet<TaskId>,
    /// Tasks somebody cancelled.
    pub(super) cancelled: BTreeSet<TaskId>,
}

/// What bodies saw.
#[derive(Debug)]
pub(super) struct Ledger {
    book: Mutex<Book>,
    clock: Clock,
    start: Time,
}

impl Ledger {
    pub(super) fn new(clock: Clock) -> Self {
        let start = clock.now();
        Self { book: Mutex::default(), clock, start }
    }

    pub(super) fn book(&self) -> MutexGuard<'_, Book> {
        self.book.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(super) fn note(&self, line: impl FnOnce() -> String) {
        let at = self.clock.now().since(self.start).as_millis();
        let mut book = self.book();
        if book.trace.len() == TRACE {
            book.trace.pop_front();
        }
        book.trace.push_back(format!("{at:>6} {}", line()));
    }

    pub(super) fn fault(&self, text: String) {
        self.note(|| format!("FAULT {text}"));
        self.book().faults.push(text);
    }

    pub(super) fn is_clean(&self) -> bool {
        self.book().faults.is_empty()
    }

    /// The id under which a run's worker went when it began.
    pub(super) fn worker_of(&self, run: u64) -> Option<WorkerId> {
        self.book().workers.get(&run).copied().flatten()
    }

    /// A body begins; the number of the run.
    pub(super) fn began(&self, task: TaskId, worker: Option<WorkerId>) -> u64 {
        let mut book = self.book();
        if !book.begun.contains(&task) {
            book.begun.push(task);
        }
        book.runs += 1;
        let run = book.runs;
        book.workers.insert(run, worker);
        book.last.insert(task, run);
        run
    }

    /// Whether no later run of a task has begun.
    pub(super) fn is_last(&self, run: u64, task: TaskId) -> bool {
        self.book().last.get(&task) == Some(&run)
    }

    /// How often a body came to a place before, this time not counted.
    pub(super) fn tries(&self, spot: &Spot) -> u32 {
        let mut book = self.book();
        let tries = book.tries.entry(spot.clone()).or_default();
        *tries += 1;
        *tries - 1
    }

    /// Whether a step's result was seen before.
    pub(super) fn was_seen(&self, spot: &Spot) -> bool {
        self.book().seen.contains_key(spot)
    }

    /// A token that nobody had before.
    pub(super) fn token(&self) -> u64 {
        let mut book = self.book();
        book.tokens += 1;
        book.tokens
    }

    /// A step returned its result.
    pub(super) fn saw_step(&self, spot: &Spot, token: u64) {
        let before = *self.book().seen.entry(spot.clone()).or_insert(token);
        if before != token {
            self.fault(format!("the step {spot:?} returned {before} and then {token}"));
        }
    }

    /// A body has failed, but not for good.
    pub(super) fn strikes(&self, task: TaskId) {
        *self.book().strikes.entry(task).or_default() += 1;
    }

    /// The value that a parent sends to a child at a place: the same in every run.
    pub(super) fn says(&self, spot: &Spot, child: TaskId) -> u64 {
        let fresh = (child, SAID + self.token());
        self.book().said.entry(spot.clone()).or_insert(fresh).1
    }

    /// A job is open again. What its tasks saw that are not done is forgotten, because a part of it was taken
    /// back; what those are that are gone, too.
    pub(super) fn reopened(&self, job: JobId, fate: impl Fn(TaskId) -> Fate) {
        let mut book = self.book();
        book.retried.insert(job);
        let fates: BTreeMap<TaskId, Fate> = book
            .begun
            .iter()
            .filter(|task| task.job == job)
            .map(|task| (*task, fate(*task)))
            .collect();
        let is = |task: &TaskId, wanted| fates.get(task) == Some(&wanted);
        let undone = |task: &TaskId| is(task, Fate::Open) || is(task, Fate::Gone);
        book.begun.retain(|task| !is(task, Fate::Gone));
        book.values.retain(|task, _| !undone(task));
        book.seen.retain(|spot, _| !undone(&spot.0));
        book.answers.retain(|spot, _| !undone(&spot.0));
        book.observations.retain(|spot, _| !undone(&spot.0));
        book.detached.retain(|spot, _| !undone(&spot.0));
        book.signals.retain(|_, spot| !undone(&spot.0));
        // A value that was recorded stays: the body does not run again, its closing join does.
        book.returned.retain(|task, _| !is(task, Fate::Gone));
        book.failed.retain(|task, _| !undone(task));
    }

    /// A wait was answered: alike in every run.
    pub(super) fn saw_answer(&self, spot: &Spot, answer: &str) {
        let before =
            self.book().answers.entry(spot.clone()).or_insert_with(|| answer.to_owned()).clone();
        if before != answer {
            self.fault(format!("the answer at {spot:?} was {before} and is {answer}"));
        }
    }

    /// What a body said at a place was refused, and so all that it said later: what it saw from there on is no part
    /// of its story, and another run may see something else.
    pub(super) fn unsaid_from(&self, spot: &Spot) {
        let statement = |path: &str| path.split('.').next().and_then(|n| n.parse::<usize>().ok());
        let from = statement(&spot.1);
        let stays = |other: &Spot| other.0 != spot.0 || statement(&other.1) < from;
        let mut book = self.book();
        book.answers.retain(|other, _| stays(other));
        book.observations.retain(|other, _| stays(other));
    }

    /// A parent or the store told a child's value.
    pub(super) fn saw_value(&self, child: TaskId, token: u64) {
        let (before, returned) = {
            let mut book = self.book();
            let before = *book.values.entry(child).or_insert(token);
            let returned = book.returned.get(&child);
            (before, returned.is_some_and(|all| all.iter().any(|one| one.token == token)))
        };
        if before != token {
            self.fault(format!("the value of {child} was {before} and is {token}"));
        }
        if !returned {
            self.fault(format!("the value {token} of {child} was returned by no run of it"));
        }
    }

    /// A signal's value answered a wait: one wait only, unless a parent that a retry took back has said it again.
    pub(super) fn saw_signal(&self, spot: &Spot, value: u64) {
        let mut book = self.book();
        book.heard.insert(value);
        let again = value > SAID && book.retried.contains(&spot.0.job);
        let before = book.signals.entry(value).or_insert_with(|| spot.clone()).clone();
        drop(book);
        if before != *spot && !again {
            self.fault(format!("the signal {value} answered {before:?} and {spot:?}"));
        }
    }
}
