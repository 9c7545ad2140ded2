//! What a transaction has locked and read, and what it is about to write.
//!
//! Every verb that moves tasks works alike: it locks and reads ([`load`](crate::store::postgres::transaction::load)), the functions
//! over the scene decide, and all is written at once ([`write`](crate::store::postgres::transaction::write)). Deciding is pure, so a
//! verb costs the same round trips whatever it decides about.

use std::borrow::Cow;
use std::collections::{BTreeMap, BTreeSet, HashMap, HashSet, VecDeque};

use crate::core::id::{JobId, Local, Map, TaskId, Token};
use crate::core::state::State;
use crate::core::time::Time;
use crate::core::wait::{SetCounts, Standing};
use crate::store::events::Swept;
use crate::store::postgres::ended::Ended;
use crate::store::postgres::hints::scan_starts::Ready;
use crate::store::postgres::transaction::bundle::{self, Bundle, BundleWrites};
use crate::store::postgres::transaction::task::{Newborn, Task};
use crate::store::rules::{Cascade, upkeep};
use crate::store::{Entry, NewJob};

/// What is to be said after the commit.
#[derive(Debug, Default)]
pub(in crate::store::postgres) struct Effects {
    /// Jobs that ended.
    pub(in crate::store::postgres) ended: Vec<crate::store::Ended>,
    /// What upkeep did.
    pub(in crate::store::postgres) swept: Vec<Swept>,
    /// Whether a task was made claimable.
    pub(in crate::store::postgres) ready: bool,
    /// What there is to claim, of all that was locked: whoever came by meanwhile has passed over it.
    pub(in crate::store::postgres) claimable: Ready,
    /// Whether a worker has news.
    pub(in crate::store::postgres) noticed: bool,
}

impl Effects {
    /// Tasks were made claimable of which no more is known.
    pub(in crate::store::postgres) fn ready() -> Self {
        Self { ready: true, claimable: Ready::anything(), ..Self::default() }
    }

    pub(in crate::store::postgres) fn extend(&mut self, more: Self) {
        self.ended.extend(more.ended);
        self.swept.extend(more.swept);
        self.ready |= more.ready;
        self.claimable.extend(more.claimable);
        self.noticed |= more.noticed;
    }
}

/// A row, and what becomes of it.
#[derive(Debug)]
pub(in crate::store::postgres) struct LockedTask {
    pub(in crate::store::postgres) task: Task,
    /// Whether it is born in this transaction: then there is no row yet.
    pub(in crate::store::postgres) newborn: bool,
    /// Whether the row is to be written.
    pub(in crate::store::postgres) moved: bool,
    /// Whether all that moved it is its first claim: most claims are.
    pub(in crate::store::postgres) begun: bool,
    /// The bundle that it is a member of: then there is no row either.
    pub(in crate::store::postgres) bundle: Option<TaskId>,
}

impl LockedTask {
    pub(in crate::store::postgres) fn of(task: Task) -> Self {
        Self { task, newborn: false, moved: false, begun: false, bundle: None }
    }

    pub(in crate::store::postgres) fn newborn(task: Task) -> Self {
        Self { newborn: true, moved: true, ..Self::of(task) }
    }
}

/// Counts as they will be.
#[derive(Debug, Clone, Copy, Default)]
pub(in crate::store::postgres) struct ChangedCounts {
    pub(in crate::store::postgres) counts: SetCounts,
    pub(in crate::store::postgres) changed: bool,
}

/// A line of a job's log, or the identity of one beyond the limit.
#[derive(Debug)]
pub(in crate::store::postgres) struct Said<'e> {
    pub(in crate::store::postgres) task: TaskId,
    pub(in crate::store::postgres) key: Cow<'e, str>,
    /// What is written; `None` if the line is only counted.
    pub(in crate::store::postgres) line: Option<(Time, crate::core::log::Level, String)>,
}

/// The child's side of a call that is held against a row: another kind or other arguments.
#[derive(Debug, Clone)]
pub(in crate::store::postgres) struct Sibling {
    pub(in crate::store::postgres) kind: String,
    pub(in crate::store::postgres) hash: [u8; 16],
    /// Absent where kind and hash are those that were asked for.
    pub(in crate::store::postgres) arguments: Option<String>,
}

/// Locked, read, and about to be written.
#[derive(Debug, Default)]
pub(in crate::store::postgres) struct Tx<'e> {
    pub(in crate::store::postgres) now: Time,
    pub(in crate::store::postgres) rows: Map<TaskId, LockedTask>,
    /// Bundles that are locked, by their keys; their members are among the rows.
    pub(in crate::store::postgres) bundles: BTreeMap<TaskId, Bundle>,
    /// From how many newborn tasks on they are bundled; 0: never.
    pub(in crate::store::postgres) bundle_from: usize,
    pub(in crate::store::postgres) sets: HashMap<(TaskId, Local), ChangedCounts>,
    /// Children named by waits that have ended.
    pub(in crate::store::postgres) over: HashSet<TaskId>,
    /// Tasks that units send signals, and that had failed or were cancelled before.
    pub(in crate::store::postgres) fallen: BTreeSet<TaskId>,
    /// Signals of the tasks here, by their numbers.
    pub(in crate::store::postgres) signals: BTreeMap<(TaskId, i64), (String, String)>,
    /// Entries of records that waits may have been answered by already.
    pub(in crate::store::postgres) records: HashMap<(TaskId, u64), (String, Entry)>,
    /// Tasks of which something else than their rows does not decode, and what.
    pub(in crate::store::postgres) unreadable: HashMap<TaskId, String>,
    /// Tasks with open children: their fall is a cascade.
    pub(in crate::store::postgres) above: HashSet<TaskId>,
    /// Children that exist where this transaction would spawn.
    pub(in crate::store::postgres) siblings: HashMap<TaskId, Sibling>,
    /// Cancellations on their way to the children of tasks, as they are committed: of a set, below a number.
    pub(in crate::store::postgres) descending: Vec<(TaskId, Option<Local>, u32)>,
    /// Roots that exist where this transaction would detach.
    pub(in crate::store::postgres) roots: HashSet<JobId>,
    /// Who holds the keys that this transaction would take.
    pub(in crate::store::postgres) holders: HashMap<String, JobId>,
    /// Lines that were said before.
    pub(in crate::store::postgres) said: HashSet<(TaskId, String)>,
    /// Jobs that waits name, as they are committed.
    pub(in crate::store::postgres) standing: HashMap<JobId, Standing>,
    /// Jobs that may end here, and the tasks that wait for them.
    pub(in crate::store::postgres) watchers: BTreeSet<(JobId, TaskId)>,
    /// Numbers for the signals that are sent here.
    pub(in crate::store::postgres) numbers: VecDeque<i64>,

    pub(in crate::store::postgres) newborns: Vec<Newborn<'e>>,
    /// Jobs that follow the failures of links.
    pub(in crate::store::postgres) followers: Vec<NewJob>,
    /// Keys to be taken, and by which jobs.
    pub(in crate::store::postgres) keys: Vec<(&'e str, JobId)>,
    pub(in crate::store::postgres) ended: Vec<Ended>,
    pub(in crate::store::postgres) entries: Vec<(TaskId, u64, &'e str, &'e Entry)>,
    pub(in crate::store::postgres) answers: Vec<(TaskId, crate::core::wait::Answer)>,
    /// Signals that are sent here.
    pub(in crate::store::postgres) sent: Vec<(TaskId, i64, &'e str, &'e str)>,
    pub(in crate::store::postgres) taken: Vec<(TaskId, i64)>,
    /// Tasks that begin to wait for jobs.
    pub(in crate::store::postgres) watching: Vec<(JobId, TaskId)>,
    pub(in crate::store::postgres) cascades: Vec<Cascade>,
    pub(in crate::store::postgres) notices: Vec<(TaskId, Token)>,
    pub(in crate::store::postgres) lines: Vec<Said<'e>>,
    /// Other texts for lines of tasks, by their keys.
    pub(in crate::store::postgres) rewritten: HashMap<(TaskId, String), String>,
    pub(in crate::store::postgres) freed: Vec<(String, JobId)>,
    /// Parents and sets whose children ended.
    pub(in crate::store::postgres) parents_to_check: BTreeSet<(TaskId, Local)>,
    /// Jobs whose roots ended.
    pub(in crate::store::postgres) jobs_over: BTreeSet<JobId>,
    pub(in crate::store::postgres) effects: Effects,
}

impl Tx<'_> {
    /// The row of an open task.
    pub(in crate::store::postgres) fn task(&self, id: TaskId) -> Option<&Task> {
        self.rows.get(&id).map(|known| &known.task).filter(|task| !task.state.is_ended())
    }

    /// The row of an open task, which is to be written.
    pub(in crate::store::postgres) fn change_task(&mut self, id: TaskId) -> Option<&mut Task> {
        let known = self.rows.get_mut(&id).filter(|known| !known.task.state.is_ended())?;
        known.moved = true;
        known.begun = false;
        Some(&mut known.task)
    }

    /// What cannot be read of a task.
    pub(in crate::store::postgres) fn what_is_unreadable(&self, id: TaskId) -> Option<&str> {
        let of_row = self.task(id).and_then(|row| Some(row.unreadable.as_ref()?.1.as_str()));
        of_row.or_else(|| self.unreadable.get(&id).map(String::as_str))
    }

    /// Keeps a task of which something cannot be read from harming any other: it is pending, due later and
    /// later, and says why. What is stored stays as it is, so that it goes on once it can be read.
    pub(in crate::store::postgres) fn stand_still(&mut self, id: TaskId, what: &str) {
        let now = self.now;
        let Some(row) = self.change_task(id) else { return };
        let known = Some((row.kind.as_str(), row.attempt));
        let (reason, pause) = upkeep::standstill(id, known, row.stalls, what);
        row.stall(reason, now.after(pause));
    }

    pub(in crate::store::postgres) fn add(&mut self, task: Task) {
        // A row that was locked before is the truth.
        self.rows.entry(task.id).or_insert_with(|| LockedTask::of(task));
    }

    /// The counts of a set; zero if it has never had a child.
    pub(in crate::store::postgres) fn counts_of(&self, task: TaskId, set: Local) -> SetCounts {
        self.sets.get(&(task, set)).map(|counted| counted.counts).unwrap_or_default()
    }

    /// Whether something is to be done that only upkeep does, in transactions that follow.
    pub(in crate::store::postgres) fn needs_upkeep(&self) -> bool {
        let due = |task: &Task| task.timer().is_some_and(|time| time <= self.now);
        !self.cascades.is_empty() || self.rows.values().any(|known| due(&known.task))
    }

    /// What is to be said once all is committed.
    pub(in crate::store::postgres) fn effects(self) -> Effects {
        let pending = |known: &&LockedTask| known.task.state == State::Pending;
        let ready = self.rows.values().filter(pending).any(|known| known.moved);
        let places = self.rows.values().filter(pending);
        let places = places.map(|known| (&known.task, bundle::place(&self, known)));
        let mut effects = Effects { ready, claimable: Ready::of(places), ..Effects::default() };
        effects.extend(self.effects);
        effects
    }

    /// The rows that are to be updated, in the order of their ids.
    pub(in crate::store::postgres) fn moved(&self) -> Vec<&Task> {
        self.written(|known| known.moved && !known.begun && !known.newborn)
    }

    /// As [`moved`](Self::moved), of those that are claimed for the first time, by their tokens.
    pub(in crate::store::postgres) fn begun(&self) -> BTreeMap<Token, Vec<&Task>> {
        let begun = self.written(|known| known.begun && !known.newborn && known.bundle.is_none());
        let mut by_token: BTreeMap<Token, Vec<&Task>> = BTreeMap::new();
        for task in begun {
            if let Some(token) = task.token {
                by_token.entry(token).or_default().push(task);
            }
        }
        by_token
    }

    /// The tasks that are born, in the order of their ids.
    pub(in crate::store::postgres) fn born(&self) -> Vec<&Task> {
        self.written(|known| known.newborn)
    }

    /// Those that leave their bundles, in the order of their ids.
    pub(in crate::store::postgres) fn leaving(&self, partings: &BundleWrites) -> Vec<&Task> {
        self.written(|known| known.bundle.is_some() && partings.leaving.contains(&known.task.id))
    }

    fn written(&self, wanted: impl Fn(&LockedTask) -> bool) -> Vec<&Task> {
        let rows = self.rows.values().filter(|known| wanted(known));
        let mut rows: Vec<&Task> = rows.map(|known| &known.task).collect();
        rows.retain(|task| !task.state.is_ended());
        rows.sort_unstable_by_key(|task| task.id);
        rows
    }
}
