//! A task's row: how it is born, read and written. What moves it stands in the verbs.
//!
//! Arguments and outcome may be a mebibyte each, so they are not part of what is read to move a task.

use std::ops::{Deref, DerefMut};

use rusqlite::{Connection, OptionalExtension, Row, params};

use super::columns::{count, maybe_text, progress, text, token};
use super::fault::{Fault, Result};
use super::tx::Tx;
use crate::core::id::TaskId;
use crate::core::time::Time;
use crate::store::rules::{self, Birth};
use crate::store::{NewTask, Policy};

/// A task's row without its arguments and outcome: what both stores have of an open task, and its waits.
#[derive(Debug, Clone)]
pub(super) struct Task {
    row: rules::Row,
    /// As JSON.
    pub(super) waits: Option<String>,
    /// The earliest instant the waits name, where the task is about to wait.
    pub(super) wake: Option<Time>,
}

impl Deref for Task {
    type Target = rules::Row;

    fn deref(&self) -> &rules::Row {
        &self.row
    }
}

impl DerefMut for Task {
    fn deref_mut(&mut self) -> &mut rules::Row {
        &mut self.row
    }
}

const READ: &str = "SELECT parent, \"set\", depth, kind, \"key\", state, due, started, expires,
  deadline, attempt, failures, crashes, stalls, worker, claim, parked_worker, parked_claim, holder,
  held_until, waits, reason, progress_done, progress_total, lines, dropped
  FROM tasks WHERE job = ?1 AND local = ?2";

const WRITE: &str = "UPDATE tasks SET state = ?3, due = ?4, expires = ?5, deadline = ?6, timer = ?7,
  attempt = ?8, failures = ?9, crashes = ?10, stalls = ?11, worker = ?12, claim = ?13,
  parked_worker = ?14, parked_claim = ?15, holder = ?16, held_until = ?17, waits = ?18, reason = ?19,
  progress_done = ?20, progress_total = ?21, lines = ?22, dropped = ?23
  WHERE job = ?1 AND local = ?2";

const INSERT: &str =
    "INSERT OR IGNORE INTO tasks (job, local, parent, \"set\", number, placed, depth,
  state, due, attempt, failures, crashes, stalls, priority, queue, kind, \"key\", expires, deadline,
  timer, lines, dropped, created, hash, policy, arguments, tags)
  VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, 0, ?8, 1, 0, 0, 0, ?9, ?10, ?11, ?12, ?13, ?14,
    coalesce(min(?13, ?14), ?13, ?14), 0, 0, ?15, ?16, ?17, ?18, ?19)";

/// As [`INSERT`], for a root with nothing special: half the values to bind.
const INSERT_PLAIN: &str =
    "INSERT OR IGNORE INTO tasks (job, local, depth, state, due, attempt, failures,
  crashes, stalls, priority, queue, kind, lines, dropped, created, hash, arguments)
  VALUES (?1, ?2, 0, 0, ?3, 1, 0, 0, 0, ?4, ?5, ?6, 0, 0, ?7, ?8, ?9)";

impl Task {
    /// Reads a row.
    pub(super) fn read(db: &Connection, id: TaskId) -> Result<Option<Self>> {
        let mut read = db.prepare_cached(READ)?;
        let row = read.query_row(params![id.job, id.local], |row| Self::of(row, id));
        row.optional().map_err(|error| Fault::from(error).of(|| format!("the row of task {id}")))
    }

    fn of(row: &Row<'_>, id: TaskId) -> rusqlite::Result<Self> {
        Ok(Self {
            row: rules::Row {
                id,
                parent: row.get(0)?,
                set: row.get(1)?,
                depth: row.get(2)?,
                kind: text(row, 3)?,
                key: maybe_text(row, 4)?,
                state: row.get(5)?,
                due: row.get(6)?,
                started: row.get(7)?,
                expires: row.get(8)?,
                deadline: row.get(9)?,
                attempt: row.get(10)?,
                failures: row.get(11)?,
                crashes: row.get(12)?,
                stalls: row.get(13)?,
                token: token(row, 14)?,
                parked: token(row, 16)?,
                holder: row.get(18)?,
                held_until: row.get(19)?,
                reason: maybe_text(row, 21)?,
                progress: progress(row, 22)?,
                lines: row.get(24)?,
                dropped: count(row, 25)?,
            },
            waits: maybe_text(row, 20)?,
            wake: None,
        })
    }

    /// Writes what may change while a task is open.
    pub(super) fn write(&self, db: &Connection) -> Result<()> {
        db.prepare_cached(WRITE)?.execute(params![
            self.id.job,
            self.id.local,
            self.state,
            self.due,
            self.expires,
            self.deadline,
            self.row.timer(self.wake),
            self.attempt,
            self.failures,
            self.crashes,
            self.stalls,
            self.token.map(|token| token.worker),
            self.token.map(|token| token.claim as i64),
            self.parked.map(|token| token.worker),
            self.parked.map(|token| token.claim as i64),
            self.holder,
            self.held_until,
            self.waits,
            self.reason,
            self.progress.map(|(done, _)| done as i64),
            self.progress.map(|(_, total)| total as i64),
            self.lines,
            self.dropped as i64
        ])?;
        Ok(())
    }
}

impl Tx<'_> {
    /// Inserts a task. `false` if the id is taken: nothing has changed.
    pub(super) fn insert(
        &mut self,
        id: TaskId,
        new: &NewTask,
        birth: Option<Birth>,
        key: Option<&str>,
    ) -> Result<bool> {
        let now = self.now;
        let due = new.due.unwrap_or(now);
        let plain = key.is_none() && new.expires.is_none() && new.deadline.is_none();
        if birth.is_none() && plain && new.policy == Policy::default() {
            let (job, local) = (id.job, id.local);
            let NewTask { priority, queue, kind, hash, arguments, .. } = new;
            let inserted = self
                .kept(INSERT_PLAIN)?
                .execute(params![job, local, due, priority, queue, kind, now, hash, arguments])?;
            self.effects.ready |= inserted == 1;
            return Ok(inserted == 1);
        }
        let placed = birth.is_some_and(|birth| id.local != birth.set.numbered(birth.number));
        let policy =
            (new.policy != Policy::default()).then(|| crate::core::encode::json(&new.policy));
        let inserted = self.kept(INSERT)?.execute(params![
            id.job,
            id.local,
            birth.map(|birth| birth.parent),
            birth.map(|birth| birth.set),
            birth.map(|birth| birth.number),
            placed.then_some(1),
            birth.map_or(0, |birth| birth.depth),
            due,
            new.priority,
            new.queue,
            new.kind,
            key,
            new.expires,
            new.deadline,
            now,
            new.hash,
            policy,
            new.arguments,
            birth.and_then(|_| super::submit::words(&new.tags))
        ])?;
        self.effects.ready |= inserted == 1;
        Ok(inserted == 1)
    }
}
