//! A task's row: how it is born, read and written. What moves it stands in the verbs.
//!
//! Arguments and outcome may be a mebibyte each, so they are not part of what is read to move a task.

use std::ops::{Deref, DerefMut};

use rusqlite::{Connection, OptionalExtension, Row, params};

use super::columns::{count, insert, maybe_text, progress, text, token, update};
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

by_name! {
    columns at {
        parent = "parent",
        set = "\"set\"",
        depth = "depth",
        kind = "kind",
        key = "\"key\"",
        state = "state",
        due = "due",
        started = "started",
        expires = "expires",
        deadline = "deadline",
        attempt = "attempt",
        failures = "failures",
        crashes = "crashes",
        stalls = "stalls",
        worker = "worker",
        claim = "claim",
        parked_worker = "parked_worker",
        parked_claim = "parked_claim",
        holder = "holder",
        held_until = "held_until",
        waits = "waits",
        reason = "reason",
        progress_done = "progress_done",
        progress_total = "progress_total",
        lines = "lines",
        dropped = "dropped",
        at_once = "at_once",
    }
}

const READ: &str = concat!("SELECT ", columns!(), " FROM tasks WHERE job = ?1 AND local = ?2");

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
                parent: row.get(at::parent)?,
                set: row.get(at::set)?,
                depth: row.get(at::depth)?,
                kind: text(row, at::kind)?,
                key: maybe_text(row, at::key)?,
                state: row.get(at::state)?,
                attempt: row.get(at::attempt)?,
                failures: row.get(at::failures)?,
                crashes: row.get(at::crashes)?,
                stalls: row.get(at::stalls)?,
                due: row.get(at::due)?,
                started: row.get(at::started)?,
                expires: row.get(at::expires)?,
                deadline: row.get(at::deadline)?,
                token: token(row, (at::worker, at::claim))?,
                parked: token(row, (at::parked_worker, at::parked_claim))?,
                holder: row.get(at::holder)?,
                held_until: row.get(at::held_until)?,
                reason: maybe_text(row, at::reason)?,
                progress: progress(row, (at::progress_done, at::progress_total))?,
                lines: row.get(at::lines)?,
                dropped: count(row, at::dropped)?,
                at_once: row.get(at::at_once)?,
            },
            waits: maybe_text(row, at::waits)?,
            wake: None,
        })
    }

    /// Writes what may change while a task is open.
    pub(super) fn write(&self, db: &Connection) -> Result<()> {
        update!(|sql| db.prepare_cached(sql)?, "UPDATE tasks SET ", {
            state = self.state,
            due = self.due,
            expires = self.expires,
            deadline = self.deadline,
            timer = self.row.timer(self.wake),
            attempt = self.attempt,
            failures = self.failures,
            crashes = self.crashes,
            stalls = self.stalls,
            worker = self.token.map(|token| token.worker),
            claim = self.token.map(|token| token.claim as i64),
            parked_worker = self.parked.map(|token| token.worker),
            parked_claim = self.parked.map(|token| token.claim as i64),
            holder = self.holder,
            held_until = self.held_until,
            waits = self.waits,
            reason = self.reason,
            progress_done = self.progress.map(|(done, _)| done as i64),
            progress_total = self.progress.map(|(_, total)| total as i64),
            lines = self.lines,
            dropped = self.dropped as i64,
            at_once = self.at_once,
            started = self.started,
        }, " WHERE job = ? AND local = ?", [self.id.job, self.id.local])?;
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
        // A root with nothing special: half the values to bind.
        let inserted = if birth.is_none() && plain && new.policy == Policy::default() {
            insert!(|sql| self.kept(sql)?, "INSERT OR IGNORE INTO tasks (", {
                job = id.job,
                local = id.local,
                due = due,
                priority = new.priority,
                queue = new.queue,
                kind = new.kind,
                created = now,
                hash = new.hash,
                arguments = new.arguments,
            }, ", depth, state, attempt, failures, crashes, stalls, lines, dropped) VALUES (",
            ", 0, 0, 1, 0, 0, 0, 0, 0)")?
        } else {
            let policy =
                (new.policy != Policy::default()).then(|| crate::core::encode::json(&new.policy));
            let placed = birth.is_some_and(|birth| id.local != birth.set.numbered(birth.number));
            insert!(|sql| self.kept(sql)?, "INSERT OR IGNORE INTO tasks (", {
                job = id.job,
                local = id.local,
                parent = birth.map(|birth| birth.parent),
                set = birth.map(|birth| birth.set),
                number = birth.map(|birth| birth.number),
                placed = placed.then_some(1),
                depth = birth.map_or(0, |birth| birth.depth),
                due = due,
                priority = new.priority,
                queue = new.queue,
                kind = new.kind,
                key = key,
                expires = new.expires,
                deadline = new.deadline,
                timer = [new.expires, new.deadline].into_iter().flatten().min(),
                created = now,
                hash = new.hash,
                policy = policy,
                arguments = new.arguments,
                tags = birth.and_then(|_| super::submit::words(&new.tags)),
            }, ", state, attempt, failures, crashes, stalls, lines, dropped) VALUES (",
            ", 0, 1, 0, 0, 0, 0, 0)")?
        };
        self.effects.ready |= inserted == 1;
        Ok(inserted == 1)
    }
}
