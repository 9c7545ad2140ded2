//! `retry`: a failed job goes on, and only what failed runs again.

use rusqlite::{OptionalExtension, params};

use super::children::{numbered, placed};
use super::fault::{Fault, Result};
use super::task::Task;
use super::tx::Tx;
use crate::id::{JobId, Local, TaskId};
use crate::state::State;
use crate::store::{CancelledBy, Cause};

impl Tx<'_> {
    /// `None` if the job is unknown.
    pub(super) fn retry(&mut self, job: JobId) -> Result<Option<bool>> {
        let Some(root) = Task::read(self.db, job.root())? else { return Ok(None) };
        if !matches!(root.state, State::Failed | State::Cancelled) || self.is_pruning(job)? {
            return Ok(Some(false));
        }
        // Cancellations still on their way down would hit what is reopened.
        while self.cascade()? {}
        let mut open = vec![root.id];
        while let Some(task) = open.pop() {
            let cause = self.reopen(task)?;
            if let Some(cause) = &cause {
                self.forget_answer(task, cause)?;
            }
            for child in self.children_to_reopen(task, cause.as_ref())? {
                self.uncount(&child)?;
                open.push(child.id);
            }
        }
        if let Some(key) = &root.key {
            // Unless another open job has it by now.
            let mut take = self.sql("INSERT OR IGNORE INTO keys (\"key\", job) VALUES (?1, ?2)")?;
            take.execute(params![key, job])?;
        }
        self.write_counts()?;
        self.sql(
            "UPDATE jobs SET errors = EXISTS (SELECT 1 FROM sets WHERE job = ?1 AND failed > 0)
             WHERE id = ?1 AND created = (SELECT created FROM tasks WHERE job = ?1 AND local = ?2)",
        )?
        .execute(params![job, Local::ROOT])?;
        self.effects.ready = true;
        Ok(Some(true))
    }

    fn is_pruning(&self, job: JobId) -> Result<bool> {
        let mut find = self.sql(
            "SELECT pruning FROM jobs WHERE id = ?1
             AND created = (SELECT created FROM tasks WHERE job = ?1 AND local = ?2)",
        )?;
        let pruning = find.query_row(params![job, Local::ROOT], |row| row.get(0)).optional()?;
        Ok(pruning.unwrap_or(false))
    }

    fn reopen(&mut self, task: TaskId) -> Result<Option<Cause>> {
        let Some(row) = Task::read(self.db, task)? else { return Ok(None) };
        self.sql(
            "UPDATE tasks SET state = 0, due = ?3, attempt = attempt + 1, failures = 0, crashes = 0,
               stalls = 0, outcome = NULL, cancelled_by = NULL, ended = NULL, \"end\" = NULL,
               expires = NULL, deadline = NULL, timer = NULL, parked_worker = NULL,
               parked_claim = NULL, cause = NULL WHERE job = ?1 AND local = ?2",
        )?
        .execute(params![task.job, task.local, self.now])?;
        let cause = row.cause.as_deref().map(serde_json::from_str).transpose();
        cause.map_err(|error| Fault::from(error).of(|| format!("why task {task} failed")))
    }

    /// Deletes the answer that brought the task down, and what was recorded on its account.
    fn forget_answer(&self, task: TaskId, cause: &Cause) -> Result<()> {
        let below = format!("{}/", cause.place);
        self.sql(
            "DELETE FROM records WHERE job = ?1 AND task = ?2
             AND (place = ?3 OR substr(place, 1, length(?4)) = ?4
                  OR substr(entry, 1, 12) = '{\"returned\":')",
        )?
        .execute(params![task.job, task.local, cause.place, below])?;
        Ok(())
    }

    fn children_to_reopen(&mut self, task: TaskId, cause: Option<&Cause>) -> Result<Vec<Task>> {
        self.write_counts()?;
        let mut read = self.sql(
            "SELECT \"set\" FROM sets WHERE job = ?1 AND task = ?2 AND failed + cancelled + aborted > 0",
        )?;
        let sets = read.query_map(params![task.job, task.local], |row| row.get(0))?;
        let mut children = Vec::new();
        for set in sets.collect::<rusqlite::Result<Vec<Local>>>()? {
            let of_set = cause.filter(|cause| cause.set == set);
            for local in self.fallen(task, set)? {
                let named =
                    of_set.is_some_and(|cause| cause.child.is_none_or(|child| child == local));
                let row = Task::read(self.db, TaskId { job: task.job, local })?;
                children.extend(row.filter(|row| match (row.state, row.cancelled_by) {
                    (State::Cancelled, Some(CancelledBy::Parent)) => true,
                    (State::Failed, _)
                    | (State::Cancelled, Some(CancelledBy::Policy | CancelledBy::User)) => named,
                    _ => false,
                }));
            }
        }
        Ok(children)
    }

    /// The failed and cancelled children of a set.
    fn fallen(&self, task: TaskId, set: Local) -> Result<Vec<Local>> {
        let sql = (numbered!("state"), placed!("state"));
        let all = self.merged((task, set), (0, usize::MAX), sql, |row| row.get::<_, State>(2))?;
        let fallen = |state| matches!(state, State::Failed | State::Cancelled);
        Ok(all.into_iter().filter(|(_, state)| fallen(*state)).map(|(at, _)| at.local).collect())
    }

    /// Takes an ended child out of its set's counts.
    fn uncount(&mut self, child: &Task) -> Result<()> {
        let (id, state, by) = (child.id, child.state, child.cancelled_by);
        let (Some(parent), Some((set, _))) = (child.parent(), child.set) else { return Ok(()) };
        self.sql("UPDATE tasks SET \"end\" = NULL WHERE job = ?1 AND local = ?2")?
            .execute(params![id.job, id.local])?;
        let last: Option<i64> = self
            .sql(
                "SELECT max(\"end\") FROM tasks INDEXED BY ends
                 WHERE job = ?1 AND \"set\" = ?2 AND \"end\" IS NOT NULL",
            )?
            .query_row(params![id.job, set], |row| row.get(0))?;
        self.change_counts(parent, set, |counts| {
            match state {
                State::Failed => counts.failed = counts.failed.saturating_sub(1),
                _ if by.is_some_and(CancelledBy::is_parent) => {
                    counts.aborted = counts.aborted.saturating_sub(1)
                }
                _ => counts.cancelled = counts.cancelled.saturating_sub(1),
            }
            counts.last_end = last.unwrap_or(0) as u64;
        })?;
        Ok(())
    }
}
