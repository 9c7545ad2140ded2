//! What a transaction has locked and read, and what it is about to write.
//!
//! Every verb that moves tasks works alike: it locks and reads ([`load`](super::load)), the functions
//! over the scene decide, and all is written at once ([`write`](super::write)). Deciding is pure, so a
//! verb costs the same round trips whatever it decides about.

use std::collections::{BTreeMap, BTreeSet, HashMap, HashSet, VecDeque};

use super::bundle::{self, Bundle, Partings};
use super::ended::Ended;
use super::front::Ready;
use super::task::{Newborn, Task};
use crate::clock::Time;
use crate::events::Swept;
use crate::id::{JobId, Local, Map, TaskId, Token};
use crate::state::State;
use crate::store::{CancelledBy, Entry, NewJob};
use crate::wait::{SetCounts, Standing};

/// What is to be said after the commit.
#[derive(Debug, Default)]
pub(super) struct Effects {
    /// Jobs that ended.
    pub(super) ended: Vec<crate::store::Ended>,
    /// What upkeep did.
    pub(super) swept: Vec<Swept>,
    /// Whether a task was made claimable.
    pub(super) ready: bool,
    /// What there is to claim, of all that was locked: whoever came by meanwhile has passed over it.
    pub(super) claimable: Ready,
    /// Whether a worker has news.
    pub(super) noticed: bool,
}

impl Effects {
    /// Tasks were made claimable of which no more is known.
    pub(super) fn ready() -> Self {
        Self { ready: true, claimable: Ready::anything(), ..Self::default() }
    }

    pub(super) fn extend(&mut self, more: Self) {
        self.ended.extend(more.ended);
        self.swept.extend(more.swept);
        self.ready |= more.ready;
        self.claimable.extend(more.claimable);
        self.noticed |= more.noticed;
    }
}

/// A row, and what becomes of it.
#[derive(Debug)]
pub(super) struct Known {
    pub(super) task: Task,
    /// Whether it is born in this transaction: then there is no row yet.
    pub(super) newborn: bool,
    /// Whether the row is to be written.
    pub(super) moved: bool,
    /// Whether all that moved it is its first claim: most claims are.
    pub(super) begun: bool,
    /// The bundle that it is a member of: then there is no row either.
    pub(super) bundle: Option<TaskId>,
}

impl Known {
    pub(super) fn of(task: Task) -> Self {
        Self { task, newborn: false, moved: false, begun: false, bundle: None }
    }

    pub(super) fn newborn(task: Task) -> Self {
        Self { newborn: true, moved: true, ..Self::of(task) }
    }
}

/// Counts as they will be.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct Counted {
    pub(super) counts: SetCounts,
    pub(super) changed: bool,
}

/// Children to cancel in transactions to come: all of a task's, or those of one set below a number.
#[derive(Debug, Clone, Copy)]
pub(super) struct Cascade {
    pub(super) task: TaskId,
    pub(super) set: Option<Local>,
    pub(super) below: u32,
    pub(super) by: CancelledBy,
}

/// A line of a job's log, or the identity of one beyond the limit.
#[derive(Debug)]
pub(super) struct Said<'e> {
    pub(super) task: TaskId,
    pub(super) key: &'e str,
    /// What is written; `None` if the line is only counted.
    pub(super) line: Option<(Time, crate::log::Level, String)>,
}

/// The child's side of a call that is held against a row: another kind or other arguments.
#[derive(Debug, Clone)]
pub(super) struct Sibling {
    pub(super) kind: String,
    pub(super) hash: [u8; 16],
    /// Absent where kind and hash are those that were asked for.
    pub(super) arguments: Option<String>,
}

/// Locked, read, and about to be written.
#[derive(Debug, Default)]
pub(super) struct Scene<'e> {
    pub(super) now: Time,
    pub(super) rows: Map<TaskId, Known>,
    /// Bundles that are locked, by their keys; their members are among the rows.
    pub(super) bundles: BTreeMap<TaskId, Bundle>,
    /// From how many newborn tasks on they are bundled; 0: never.
    pub(super) bundle_from: usize,
    pub(super) sets: HashMap<(TaskId, Local), Counted>,
    /// Children named by waits that have ended.
    pub(super) over: HashSet<TaskId>,
    /// Signals of the tasks here, by their numbers.
    pub(super) signals: BTreeMap<(TaskId, i64), (String, String)>,
    /// Entries of records that waits may have been answered by already.
    pub(super) records: HashMap<(TaskId, u64), (String, Entry)>,
    /// Tasks of which something else than their rows does not decode, and what.
    pub(super) unreadable: HashMap<TaskId, String>,
    /// Tasks with open children: their fall is a cascade.
    pub(super) above: HashSet<TaskId>,
    /// Children that exist where this transaction would spawn.
    pub(super) siblings: HashMap<TaskId, Sibling>,
    /// Cancellations on their way to the children of tasks, as they are committed: of a set, below a number.
    pub(super) descending: Vec<(TaskId, Option<Local>, u32)>,
    /// Roots that exist where this transaction would detach.
    pub(super) roots: HashSet<JobId>,
    /// Who holds the keys that this transaction would take.
    pub(super) holders: HashMap<String, JobId>,
    /// Lines that were said before.
    pub(super) said: HashSet<(TaskId, String)>,
    /// Jobs that waits name, as they are committed.
    pub(super) standing: HashMap<JobId, Standing>,
    /// Jobs that may end here, and the tasks that wait for them.
    pub(super) watchers: BTreeSet<(JobId, TaskId)>,
    /// Numbers for the signals that are sent here.
    pub(super) numbers: VecDeque<i64>,

    pub(super) newborns: Vec<Newborn<'e>>,
    /// Jobs that follow the failures of links.
    pub(super) followers: Vec<NewJob>,
    /// Keys to be taken, and by which jobs.
    pub(super) keys: Vec<(&'e str, JobId)>,
    pub(super) ended: Vec<Ended>,
    pub(super) entries: Vec<(TaskId, u64, &'e str, &'e Entry)>,
    pub(super) answers: Vec<(TaskId, crate::wait::Answer)>,
    /// Signals that are sent here.
    pub(super) sent: Vec<(TaskId, i64, &'e str, &'e str)>,
    pub(super) taken: Vec<(TaskId, i64)>,
    /// Tasks that begin to wait for jobs.
    pub(super) watching: Vec<(JobId, TaskId)>,
    pub(super) cascades: Vec<Cascade>,
    pub(super) notices: Vec<(TaskId, Token)>,
    pub(super) lines: Vec<Said<'e>>,
    /// The text of the line that counts a task's dropped lines.
    pub(super) dropped: HashMap<TaskId, String>,
    pub(super) freed: Vec<(String, JobId)>,
    /// Parents and sets whose children ended.
    pub(super) touched: BTreeSet<(TaskId, Local)>,
    /// Jobs whose roots ended.
    pub(super) jobs_over: BTreeSet<JobId>,
    pub(super) effects: Effects,
}

impl Scene<'_> {
    /// The row of an open task.
    pub(super) fn task(&self, id: TaskId) -> Option<&Task> {
        self.rows.get(&id).map(|known| &known.task).filter(|task| !task.state.is_ended())
    }

    /// The row of an open task, which is to be written.
    pub(super) fn change(&mut self, id: TaskId) -> Option<&mut Task> {
        let known = self.rows.get_mut(&id).filter(|known| !known.task.state.is_ended())?;
        known.moved = true;
        known.begun = false;
        Some(&mut known.task)
    }

    /// What cannot be read of a task.
    pub(super) fn unreadable(&self, id: TaskId) -> Option<&str> {
        let of_row = self.task(id).and_then(|row| Some(row.unreadable.as_ref()?.1.as_str()));
        of_row.or_else(|| self.unreadable.get(&id).map(String::as_str))
    }

    /// Keeps a task of which something cannot be read from harming any other: it is pending, due later and
    /// later, and says why. What is stored stays as it is, so that it goes on once it can be read.
    pub(super) fn stand_still(&mut self, id: TaskId, what: &str) {
        let now = self.now;
        let Some(row) = self.change(id) else { return };
        let reason = crate::store::read::unreadable_text(id, what);
        let pause = crate::state::stall_pause(row.stalls);
        crate::events::stands_still(id, Some((&row.kind, row.attempt)), &reason, pause);
        row.reason = Some(reason);
        row.release(now.after(pause));
        row.stalls = row.stalls.saturating_add(1);
    }

    pub(super) fn add(&mut self, task: Task) {
        // A row that was locked before is the truth.
        self.rows.entry(task.id).or_insert_with(|| Known::of(task));
    }

    /// The counts of a set; zero if it has never had a child.
    pub(super) fn counts(&self, task: TaskId, set: Local) -> SetCounts {
        self.sets.get(&(task, set)).map(|counted| counted.counts).unwrap_or_default()
    }

    pub(super) fn change_counts(&mut self, task: TaskId, set: Local) -> &mut SetCounts {
        let counted = self.sets.entry((task, set)).or_default();
        counted.changed = true;
        &mut counted.counts
    }

    /// Whether something is to be done that only upkeep does, in transactions that follow.
    pub(super) fn needs_upkeep(&self) -> bool {
        let due = |task: &Task| task.timer().is_some_and(|time| time <= self.now);
        !self.cascades.is_empty() || self.rows.values().any(|known| due(&known.task))
    }

    pub(super) fn has_open_children(&self, task: TaskId) -> bool {
        let born_here = |known: &Known| {
            known.newborn && known.task.parent() == Some(task) && !known.task.state.is_ended()
        };
        self.above.contains(&task)
            || (!self.newborns.is_empty() && self.rows.values().any(born_here))
    }

    /// What is to be said once all is committed.
    pub(super) fn effects(self) -> Effects {
        let pending = |known: &&Known| known.task.state == State::Pending;
        let ready = self.rows.values().filter(pending).any(|known| known.moved);
        let places = self.rows.values().filter(pending);
        let places = places.map(|known| (&known.task, bundle::place(&self, known)));
        let mut effects = Effects { ready, claimable: Ready::of(places), ..Effects::default() };
        effects.extend(self.effects);
        effects
    }

    /// The rows that are to be updated, in the order of their ids.
    pub(super) fn moved(&self) -> Vec<&Task> {
        self.written(|known| known.moved && !known.begun && !known.newborn)
    }

    /// As [`moved`](Self::moved), of those that are claimed for the first time.
    pub(super) fn begun(&self) -> Vec<&Task> {
        self.written(|known| known.begun && !known.newborn && known.bundle.is_none())
    }

    /// The tasks that are born, in the order of their ids.
    pub(super) fn born(&self) -> Vec<&Task> {
        self.written(|known| known.newborn)
    }

    /// Those that leave their bundles, in the order of their ids.
    pub(super) fn leaving(&self, partings: &Partings) -> Vec<&Task> {
        self.written(|known| known.bundle.is_some() && partings.leaving.contains(&known.task.id))
    }

    fn written(&self, wanted: impl Fn(&Known) -> bool) -> Vec<&Task> {
        let rows = self.rows.values().filter(|known| wanted(known));
        let mut rows: Vec<&Task> = rows.map(|known| &known.task).collect();
        rows.retain(|task| !task.state.is_ended());
        rows.sort_unstable_by_key(|task| task.id);
        rows
    }
}
