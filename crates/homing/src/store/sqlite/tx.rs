//! A transaction in progress: the connection, the one reading of the clock, and what is kept until the
//! end of the verb.
//!
//! The counts of sets are read once and written back once per verb, and parents are looked at once,
//! whatever the number of children that end. Nothing here outlives the verb.

use std::collections::{BTreeSet, HashMap, HashSet};

use rusqlite::{CachedStatement, Connection, OptionalExtension, Row, params};

use super::Shared;
use super::columns::{count, insert};
use super::fault::Result;
use super::ledger::InHand;
use crate::core::id::{JobId, Local, TaskId, WorkerId};
use crate::core::time::Time;
use crate::core::wait::SetCounts;
use crate::store::Ended;
use crate::store::events::Swept;
use crate::store::rules::wake;

/// What is to be said after the commit.
#[derive(Debug, Default)]
pub(super) struct Effects {
    /// Jobs that ended.
    pub(super) ended: Vec<Ended>,
    /// What upkeep did.
    pub(super) swept: Vec<Swept>,
    /// Whether a task was made claimable.
    pub(super) ready: bool,
    /// Whether a worker has news.
    pub(super) noticed: bool,
    /// Workers that have left or died: their lock files go.
    pub(super) gone: Vec<WorkerId>,
}

impl Effects {
    pub(super) fn extend(&mut self, more: Self) {
        self.ended.extend(more.ended);
        self.swept.extend(more.swept);
        self.ready |= more.ready;
        self.noticed |= more.noticed;
        self.gone.extend(more.gone);
    }
}

/// A set's counts as they will be, and whether the row says something else.
#[derive(Debug, Clone, Copy)]
struct ChangedCounts {
    counts: SetCounts,
    changed: bool,
}

/// What a refused unit must leave as it was.
#[derive(Debug)]
pub(super) struct Before {
    counts: HashMap<(TaskId, Local), ChangedCounts>,
    parents_to_check: BTreeSet<(TaskId, Local)>,
    over: BTreeSet<JobId>,
    ended: usize,
    swept: usize,
}

pub(super) struct Tx<'a> {
    pub(super) db: &'a Connection,
    pub(super) shared: &'a Shared,
    pub(super) now: Time,
    pub(super) effects: Effects,
    /// Whether each unit of an exchange runs under a savepoint of its own.
    pub(super) careful: bool,
    /// Parents and sets whose children ended.
    pub(super) parents_to_check: BTreeSet<(TaskId, Local)>,
    counts: HashMap<(TaskId, Local), ChangedCounts>,
    /// Jobs whose roots ended and that somebody may wait for.
    pub(super) over: BTreeSet<JobId>,
    /// Whether there is any signal at all, once it is known; and any task that waits for a job.
    signals: Option<bool>,
    watchers: Option<bool>,
    /// Kinds of which a job was created in this second, as is written.
    kinds: HashSet<String>,
    /// Rows that rules decide about.
    pub(super) hand: Vec<InHand>,
    kept: Vec<(&'static str, CachedStatement<'a>)>,
}

impl<'a> Tx<'a> {
    pub(super) fn new(db: &'a Connection, shared: &'a Shared) -> Self {
        Self {
            db,
            shared,
            now: shared.clock.now(),
            effects: Effects::default(),
            careful: false,
            parents_to_check: BTreeSet::new(),
            counts: HashMap::new(),
            over: BTreeSet::new(),
            signals: None,
            watchers: None,
            kinds: HashSet::new(),
            hand: Vec::new(),
            kept: Vec::new(),
        }
    }

    /// Ends the verb. Parents are looked at here, once each, however many of their children have ended, and the counts of
    /// their sets are written once.
    pub(super) fn close(mut self) -> Result<Effects> {
        wake::wake_parents(&mut self)?;
        self.write_counts()?;
        debug_assert!(self.hand.is_empty(), "a rule has not put down: {:?}", self.hand);
        Ok(self.effects)
    }

    pub(super) fn sql(&self, sql: &str) -> Result<CachedStatement<'a>> {
        Ok(self.db.prepare_cached(sql)?)
    }

    /// A statement that a verb runs for every row: the connection's cache, which hashes the text at
    /// every look-up, is asked for it once.
    pub(super) fn kept(&mut self, sql: &'static str) -> Result<&mut CachedStatement<'a>> {
        let known = self.kept.iter().position(|(own, _)| std::ptr::eq(*own, sql));
        let index = known.unwrap_or(self.kept.len());
        if known.is_none() {
            self.kept.push((sql, self.db.prepare_cached(sql)?));
        }
        Ok(&mut self.kept[index].1)
    }

    /// The counts of a set; zero if it has never had a child.
    pub(super) fn set_counts(&mut self, task: TaskId, set: Local) -> Result<SetCounts> {
        if let Some(known) = self.counts.get(&(task, set)) {
            return Ok(known.counts);
        }
        let counts = self
            .sql(concat!(
                "SELECT ",
                set_counts_columns!(),
                " FROM sets WHERE job = ?1 AND task = ?2 AND \"set\" = ?3"
            ))?
            .query_row(params![task.job, task.local, set], |row| set_counts(row, 0))
            .optional()?
            .unwrap_or_default();
        self.counts.insert((task, set), ChangedCounts { counts, changed: false });
        Ok(counts)
    }

    /// Changes the counts of a set, in memory: [`write_counts`](Self::write_counts) brings them to the table, before
    /// anything reads them there.
    pub(super) fn count(
        &mut self,
        task: TaskId,
        set: Local,
        how: impl FnOnce(&mut SetCounts),
    ) -> Result<SetCounts> {
        let mut counts = self.set_counts(task, set)?;
        how(&mut counts);
        self.counts.insert((task, set), ChangedCounts { counts, changed: true });
        Ok(counts)
    }

    /// Writes changed counts back; they stay known.
    pub(super) fn write_counts(&mut self) -> Result<()> {
        let mut changed: Vec<_> =
            self.counts.iter_mut().filter(|(_, counted)| counted.changed).collect();
        if changed.is_empty() {
            return Ok(());
        }
        // In the order of the keys, for the pages' sake.
        changed.sort_unstable_by_key(|(key, _)| **key);
        let mut write = None;
        for ((task, set), ChangedCounts { counts, changed }) in changed {
            insert!(|sql| match &mut write {
                Some(write) => write,
                none => none.insert(self.db.prepare_cached(sql)?),
            }, "INSERT OR REPLACE INTO sets (", {
                job = task.job,
                task = task.local,
                set = set,
                spawned = counts.spawned as i64,
                succeeded = counts.succeeded as i64,
                failed = counts.failed as i64,
                cancelled = counts.cancelled as i64,
                aborted = counts.aborted as i64,
                last_end = counts.last_end as i64,
                added = counts.added as i64,
                last_added = counts.last_added as i64,
            }, ") VALUES (", ")")?;
            *changed = false;
        }
        Ok(())
    }

    /// Forgets the counts of a task that is gone.
    pub(super) fn forget_counts(&mut self, task: TaskId) {
        self.counts.retain(|(own, _), _| *own != task);
    }

    /// Children that a task's own body has spawned, over all its sets. There are no others without them.
    pub(super) fn spawned(&mut self, task: TaskId) -> Result<u64> {
        self.write_counts()?;
        let mut sum = self.sql(
            "SELECT coalesce(sum(spawned - added), 0) FROM sets WHERE job = ?1 AND task = ?2",
        )?;
        Ok(sum.query_row(params![task.job, task.local], |row| count(row, 0))?)
    }

    /// Whether any task has a signal: most stores never see one. What a task that fell has not taken stays for a retry.
    pub(super) fn has_signals(&mut self) -> Result<bool> {
        if self.signals.is_none() {
            let mut any = self.sql("SELECT EXISTS (SELECT 1 FROM signals)")?;
            self.signals = Some(any.query_row((), |row| row.get(0))?);
        }
        Ok(self.signals == Some(true))
    }

    /// Whether a task has a signal that it has not taken.
    pub(super) fn is_signalled(&mut self, task: TaskId) -> Result<bool> {
        let mut own =
            self.sql("SELECT EXISTS (SELECT 1 FROM signals WHERE job = ?1 AND task = ?2)")?;
        Ok(own.query_row(params![task.job, task.local], |row| row.get(0))?)
    }

    /// Somebody has sent one in this transaction.
    pub(super) fn signals_sent(&mut self) {
        self.signals = Some(true);
    }

    /// Whether any task waits for another job, as far as is written: few stores ever see one.
    pub(super) fn has_watchers(&mut self) -> Result<bool> {
        if self.watchers.is_none() {
            let mut any = self.sql("SELECT EXISTS (SELECT 1 FROM watchers)")?;
            self.watchers = Some(any.query_row((), |row| row.get(0))?);
        }
        Ok(self.watchers == Some(true))
    }

    /// A task of this transaction waits for a job.
    pub(super) fn watched(&mut self) {
        self.watchers = Some(true);
    }

    /// Notes that a job of a kind is created in this second.
    pub(super) fn note_kind(&mut self, kind: &str) -> Result<()> {
        if !self.kinds.contains(kind) {
            self.sql("INSERT OR IGNORE INTO kinds_by_second (kind, second) VALUES (?1, ?2)")?
                .execute(params![kind, second(self.now)])?;
            self.kinds.insert(kind.to_owned());
        }
        Ok(())
    }

    /// What is kept in memory, as it is before a unit: a savepoint brings back the rows, and [`restore`](Self::restore)
    /// this.
    pub(super) fn before(&self) -> Before {
        let (counts, parents_to_check) = (self.counts.clone(), self.parents_to_check.clone());
        let (over, ended) = (self.over.clone(), self.effects.ended.len());
        Before { counts, parents_to_check, over, ended, swept: self.effects.swept.len() }
    }

    pub(super) fn restore(&mut self, before: Before) {
        self.counts = before.counts;
        self.parents_to_check = before.parents_to_check;
        self.over = before.over;
        self.effects.ended.truncate(before.ended);
        self.effects.swept.truncate(before.swept);
        self.kinds.clear();
        self.hand.clear();
    }
}

/// The second since the Unix epoch in which an instant lies.
fn second(instant: Time) -> i64 {
    instant.0.div_euclid(1_000_000)
}

/// The counts of a set, whose columns begin with the one called `first`.
pub(super) fn set_counts(row: &Row<'_>, first: usize) -> rusqlite::Result<SetCounts> {
    crate::store::columns::set_counts(|column| count(row, first + column))
}
