//! The ends that need no row to be read, and what the rules of an end need of this store alone.

use rusqlite::{OptionalExtension, params};

use super::fault::Result;
use super::tx::Tx;
use crate::core::id::{JobId, Local, TaskId, Token};
use crate::core::state::State;
use crate::store::rules::end;
use crate::store::{End, Ended, Event, Unit};

/// Ends a running root that nothing else hangs on. What a running row has nothing of is not named, so
/// that the indexes over it are not touched.
const DONE_ROOT: &str =
    "UPDATE tasks SET state = 3, outcome = ?5, ended = ?6, worker = NULL, claim = NULL
  WHERE job = ?1 AND local = ?2 AND state = 1 AND +worker = ?3 AND +claim = ?4
    AND \"key\" IS NULL AND timer IS NULL AND started IS NOT NULL";

/// Of which set a child is, if its end needs no more of its row. The `+` keeps SQLite from the index of running tasks, in
/// which the row is one of all that its worker holds: by its key it is found at once.
const BIRTH: &str = "SELECT parent, \"set\", rowid FROM tasks
  WHERE job = ?1 AND local = ?2 AND state = 1 AND +worker = ?3 AND +claim = ?4 AND timer IS NULL
    AND started IS NOT NULL";

/// As [`DONE_ROOT`], for a child.
const DONE_CHILD: &str = "UPDATE tasks SET state = 3, outcome = ?2, ended = ?3, \"end\" = ?4,
  worker = NULL, claim = NULL WHERE rowid = ?1";

/// The row of a job, whose key begins with its root's time.
macro_rules! own_job {
    () => {
        "id = ?1 AND created = (SELECT created FROM tasks WHERE job = ?1 AND local = ?2)"
    };
}
pub(super) use own_job;

const FALLEN: &str = concat!("UPDATE jobs SET fallen = ?3 WHERE ", own_job!());
const ERRORS: &str = concat!("UPDATE jobs SET errors = 1 WHERE errors = 0 AND ", own_job!());

impl Tx<'_> {
    /// Ends a task whose unit says nothing but that it succeeded, without reading its row: most tasks. What it
    /// does is what [`end::finish`] would do with a row that has nothing of which the statements ask.
    /// `false` if there is more to it, a wrong token included; then nothing has changed.
    pub(super) fn end_without_reading(&mut self, unit: &Unit) -> Result<bool> {
        let [Event::End(End::Succeeded(value))] = &unit.events[..] else { return Ok(false) };
        if unit.renew || self.has_signals()? && self.is_signalled(unit.task)? {
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
        let end = end::count_end(self, (parent, set), (State::Succeeded, None))?;
        self.kept(DONE_CHILD)?.execute(params![row, value, now, end as i64])?;
        Ok(true)
    }

    /// A task that parks later in this transaction sees the job ended.
    pub(super) fn job_ended(&mut self, job: JobId) -> Result<()> {
        if self.has_watchers()? {
            self.over.insert(job);
        }
        Ok(())
    }

    /// Keeps with the job, for people, how its root fell or that a task below that failed.
    pub(super) fn mark_job(&self, task: TaskId, state: State) -> Result<()> {
        let fell = matches!(state, State::Failed | State::Cancelled);
        if task.is_root() && fell {
            self.sql(FALLEN)?.execute(params![task.job, Local::ROOT, state])?;
        } else if state == State::Failed {
            self.sql(ERRORS)?.execute(params![task.job, Local::ROOT])?;
        }
        Ok(())
    }
}
