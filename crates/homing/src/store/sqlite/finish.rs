//! The end of a task, and the wake-up of its parent in the same transaction.

use rusqlite::{OptionalExtension, params};

use super::columns::{maybe_text, task_id};
use super::fault::{Fault, Result};
use super::task::Task;
use super::tx::Tx;
use crate::core::id::{JobId, Local, TaskId, Token};
use crate::core::link::{LINK, job_after_failure};
use crate::core::state::State;
use crate::core::time::Time;
use crate::core::wait::{self, Facts, SetCounts, Standing, Wait};
use crate::limits;
use crate::store::rules::resumed;
use crate::store::{CancelledBy, End, Ended, Event, Unit};

const END: &str = "UPDATE tasks SET state = ?3, outcome = ?4, cancelled_by = ?5, cause = ?6,
  ended = ?7, \"end\" = ?8, worker = NULL, claim = NULL, holder = NULL, held_until = NULL,
  waits = NULL, timer = NULL, failures = ?9, crashes = ?10, stalls = ?11, progress_done = ?12,
  progress_total = ?13, lines = ?14, dropped = ?15
  WHERE job = ?1 AND local = ?2";

/// Ends a running root that nothing else hangs on. What a running row has nothing of is not named, so
/// that the indexes over it are not touched.
const DONE_ROOT: &str =
    "UPDATE tasks SET state = 3, outcome = ?5, ended = ?6, worker = NULL, claim = NULL
  WHERE job = ?1 AND local = ?2 AND state = 1 AND +worker = ?3 AND +claim = ?4
    AND \"key\" IS NULL AND timer IS NULL";

const BIRTH: &str = "SELECT parent, \"set\", rowid FROM tasks
  WHERE job = ?1 AND local = ?2 AND state = 1 AND +worker = ?3 AND +claim = ?4 AND timer IS NULL";

/// As [`DONE_ROOT`], for a child.
const DONE_CHILD: &str = "UPDATE tasks SET state = 3, outcome = ?2, ended = ?3, \"end\" = ?4,
  worker = NULL, claim = NULL WHERE rowid = ?1";

impl Tx<'_> {
    /// Ends a task whose unit says nothing but that it succeeded, without reading its row: most tasks.
    /// `false` if there is more to it, a wrong token included; then nothing has changed.
    pub(super) fn done(&mut self, unit: &Unit) -> Result<bool> {
        let [Event::End(End::Succeeded(value))] = &unit.events[..] else { return Ok(false) };
        if unit.renew || self.has_signals()? {
            return Ok(false);
        }
        let (now, TaskId { job, local }) = (self.now, unit.task);
        let Token { worker, claim } = unit.token;
        if unit.task.is_root() {
            let values = params![job, local, worker, claim as i64, value, now];
            let ended = self.kept(DONE_ROOT)?.execute(values)? == 1;
            if ended {
                self.effects.ended.push(Ended::new(job, State::Succeeded, value));
                self.job_ended(job)?;
            }
            return Ok(ended);
        }
        let birth: Option<(Local, Local, i64)> = self
            .kept(BIRTH)?
            .query_row(params![job, local, worker, claim as i64], |row| {
                Ok((row.get(0)?, row.get(1)?, row.get(2)?))
            })
            .optional()?;
        let Some((parent, set, row)) = birth else { return Ok(false) };
        let parent = TaskId { job, local: parent };
        let end = self.count_end(parent, set, State::Succeeded, None)?;
        self.kept(DONE_CHILD)?.execute(params![row, value, now, end as i64])?;
        Ok(true)
    }

    /// Ends a task that is open, and writes its row. The first terminal write wins.
    pub(super) fn finish(
        &mut self,
        row: &mut Task,
        state: State,
        outcome: &str,
        by: Option<CancelledBy>,
        cause: Option<String>,
    ) -> Result<bool> {
        if row.state.is_ended() {
            return Ok(false);
        }
        debug_assert!(row.state.may_become(state), "{} -> {state}", row.state);
        row.state = state;
        if let Some(token) = row.stop() {
            self.queue_cancellation_notice(row.id, token)?;
            self.effects.noticed = true;
        }
        if self.has_signals()? {
            let mut forget = self.sql("DELETE FROM signals WHERE job = ?1 AND task = ?2")?;
            forget.execute(params![row.id.job, row.id.local])?;
        }
        if state != State::Succeeded && self.spawned(row.id)? > 0 {
            self.add_cascade(row.id, None, u32::MAX, CancelledBy::Parent)?;
        }
        let end = if let Some((parent, set)) = row.parent().zip(row.set) {
            Some(self.count_end(parent, set, state, by)?)
        } else {
            self.end_job(row, outcome)?;
            None
        };
        self.sql(END)?.execute(params![
            row.id.job,
            row.id.local,
            state,
            outcome,
            by,
            cause,
            self.now,
            end.map(|end| end as i64),
            row.failures,
            row.crashes,
            row.stalls,
            row.progress.map(|(done, _)| done as i64),
            row.progress.map(|(_, total)| total as i64),
            row.lines,
            row.dropped as i64
        ])?;
        if row.kind == LINK && state != State::Succeeded {
            self.follow(row.id, outcome)?;
        }
        Ok(true)
    }

    /// Starts what follows the failure of a link.
    fn follow(&mut self, link: TaskId, outcome: &str) -> Result<()> {
        let arguments: String = self
            .sql("SELECT arguments FROM tasks WHERE job = ?1 AND local = ?2")?
            .query_row(params![link.job, link.local], |row| row.get(0))?;
        if let Some(job) = job_after_failure(link, &arguments, outcome, self.now) {
            self.submit(&job)?;
        }
        Ok(())
    }

    /// Keeps for a worker that a task has ended under its hands.
    fn queue_cancellation_notice(&self, task: TaskId, token: Token) -> Result<()> {
        self.sql(
            "INSERT INTO notices (worker, number, job, local, claim)
             SELECT ?1, coalesce(max(number), 0) + 1, ?2, ?3, ?4 FROM notices WHERE worker = ?1",
        )?
        .execute(params![token.worker, task.job, task.local, token.claim as i64])?;
        Ok(())
    }

    /// Counts the end. Returns its number.
    fn count_end(
        &mut self,
        parent: TaskId,
        set: Local,
        state: State,
        by: Option<CancelledBy>,
    ) -> Result<u64> {
        let counts = self.change_counts(parent, set, |counts| {
            match state {
                State::Succeeded => counts.succeeded += 1,
                State::Failed => counts.failed += 1,
                _ if by.is_some_and(CancelledBy::is_parent) => counts.aborted += 1,
                _ => counts.cancelled += 1,
            }
            counts.last_end += 1;
        })?;
        if state == State::Failed {
            let root = parent.job.root();
            self.sql(
                "UPDATE jobs SET errors = 1 WHERE errors = 0 AND id = ?1
                 AND created = (SELECT created FROM tasks WHERE job = ?1 AND local = ?2)",
            )?
            .execute(params![root.job, root.local])?;
        }
        self.parents_to_check.insert((parent, set));
        Ok(counts.last_end)
    }

    fn end_job(&mut self, root: &Task, outcome: &str) -> Result<()> {
        if let Some(key) = &root.key {
            let mut free = self.sql("DELETE FROM keys WHERE \"key\" = ?1 AND job = ?2")?;
            free.execute(params![key, root.id.job])?;
        }
        self.effects.ended.push(Ended::new(root.id.job, root.state, outcome));
        self.job_ended(root.id.job)
    }

    /// Looks once at each parent whose children ended, and at whoever waits for a job that did, and wakes it
    /// if that satisfies it.
    pub(super) fn wake_parents(&mut self) -> Result<()> {
        for (parent, set) in std::mem::take(&mut self.parents_to_check) {
            match self.waits_of(parent) {
                Ok(Some(waits)) if wait::concerns(&waits, set) => {
                    self.wake_if_satisfied(parent, &waits)?;
                }
                Ok(_) => {}
                Err(fault) => self.stand_still(parent, fault)?,
            }
        }
        for job in std::mem::take(&mut self.over) {
            for waiter in self.forget_watchers(job)? {
                match self.waits_of(waiter) {
                    Ok(Some(waits)) => self.wake_if_satisfied(waiter, &waits)?,
                    Ok(None) => {}
                    Err(fault) => self.stand_still(waiter, fault)?,
                }
            }
        }
        Ok(())
    }

    /// Who parks later in this transaction sees the job ended.
    fn job_ended(&mut self, job: JobId) -> Result<()> {
        if self.has_watchers()? {
            self.over.insert(job);
        }
        Ok(())
    }

    /// Those that wait for a job that has ended, or did once.
    fn forget_watchers(&self, job: JobId) -> Result<Vec<TaskId>> {
        let mut find =
            self.sql("DELETE FROM watchers WHERE job = ?1 RETURNING waiter_job, waiter")?;
        let rows = find.query_map([job], |row| task_id(row, 0))?;
        Ok(rows.collect::<rusqlite::Result<_>>()?)
    }

    /// What a task waits for, if it is waiting.
    pub(super) fn waits_of(&self, task: TaskId) -> Result<Option<Vec<Wait>>> {
        let mut read = self.sql("SELECT state, waits FROM tasks WHERE job = ?1 AND local = ?2")?;
        let row: Option<(State, Option<String>)> = read
            .query_row(params![task.job, task.local], |row| Ok((row.get(0)?, maybe_text(row, 1)?)))
            .optional()?;
        match row {
            Some((State::Waiting, waits)) => Ok(Some(decode(waits.as_deref())?)),
            _ => Ok(None),
        }
    }

    /// Keeps a task of which something cannot be read from harming any other: it is pending, due later and
    /// later, and says why. What is stored stays as it is, so that it goes on once it can be read. Any
    /// other fault is passed on.
    pub(super) fn stand_still(&mut self, task: TaskId, fault: Fault) -> Result<()> {
        if !fault.is_unreadable() {
            return Err(fault);
        }
        let (job, local) = (task.job, task.local);
        let mut read = self.sql("SELECT stalls FROM tasks WHERE job = ?1 AND local = ?2")?;
        let stalls: u32 = read.query_row(params![job, local], |row| row.get(0)).unwrap_or_default();
        let reason = crate::store::read::unreadable_text(task, &fault.to_string());
        let pause = crate::core::state::stall_pause(stalls);
        crate::store::events::stands_still(task, None, &reason, pause);
        let due = self.now.after(pause);
        self.sql(
            "UPDATE tasks SET state = 0, worker = NULL, claim = NULL, holder = NULL, held_until = NULL,
               parked_worker = NULL, parked_claim = NULL, due = ?3, stalls = ?4, reason = ?5,
               timer = (SELECT min(time) FROM (SELECT deadline AS time
                 UNION ALL SELECT iif(started IS NULL, expires, NULL)) WHERE time > ?6)
             WHERE job = ?1 AND local = ?2 AND state < 3",
        )?
        .execute(params![job, local, due, stalls.saturating_add(1), reason, self.now])?;
        Ok(())
    }

    /// Makes a waiting task runnable if its waits are satisfied.
    pub(super) fn wake_if_satisfied(&mut self, task: TaskId, waits: &[Wait]) -> Result<()> {
        if !wait::satisfied(waits, &mut WaitFacts { tx: self, task })? {
            return Ok(());
        }
        self.sql(
            "UPDATE tasks SET state = 0, due = ?3, held_until = iif(holder IS NULL, NULL, ?4),
               timer = deadline WHERE job = ?1 AND local = ?2",
        )?
        .execute(params![
            task.job,
            task.local,
            resumed(self.now),
            self.now.after(limits::HOLD)
        ])?;
        self.effects.ready = true;
        Ok(())
    }
}

/// Waits as they are stored.
pub(super) fn decode(waits: Option<&str>) -> Result<Vec<Wait>> {
    let Some(text) = waits else { return Ok(Vec::new()) };
    serde_json::from_str(text).map_err(|error| Fault::from(error).of(|| "its waits".to_owned()))
}

/// A waiting task's view of the store.
pub(super) struct WaitFacts<'t, 'a> {
    pub(super) tx: &'t mut Tx<'a>,
    pub(super) task: TaskId,
}

impl Facts for WaitFacts<'_, '_> {
    type Error = Fault;

    fn set(&mut self, set: Local) -> Result<SetCounts> {
        self.tx.set_counts(self.task, set)
    }

    fn child_ended(&mut self, child: Local) -> Result<bool> {
        let mut read = self.tx.sql("SELECT state FROM tasks WHERE job = ?1 AND local = ?2")?;
        let state: Option<State> =
            read.query_row(params![self.task.job, child], |row| row.get(0)).optional()?;
        Ok(state.is_some_and(State::is_ended))
    }

    fn signal(&mut self, name: &str, take: bool) -> Result<Option<String>> {
        let (job, task) = (self.task.job, self.task.local);
        let found: Option<(i64, String)> = self
            .tx
            .sql(
                "SELECT number, value FROM signals WHERE job = ?1 AND task = ?2 AND name = ?3
                 ORDER BY number LIMIT 1",
            )?
            .query_row(params![job, task, name], |row| Ok((row.get(0)?, row.get(1)?)))
            .optional()?;
        if let Some((number, _)) = found.as_ref().filter(|_| take) {
            let mut forget =
                self.tx.sql("DELETE FROM signals WHERE job = ?1 AND task = ?2 AND number = ?3")?;
            forget.execute(params![job, task, number])?;
        }
        Ok(found.map(|(_, value)| value))
    }

    fn job(&mut self, job: JobId) -> Result<Standing> {
        let mut read =
            self.tx.sql("SELECT state, outcome FROM tasks WHERE job = ?1 AND local = ?2")?;
        let root = read
            .query_row(params![job, Local::ROOT], |row| Ok(Standing::of(row.get(0)?, row.get(1)?)));
        Ok(root.optional()?.unwrap_or(Standing::Unknown))
    }

    fn now(&self) -> Time {
        self.tx.now
    }
}
