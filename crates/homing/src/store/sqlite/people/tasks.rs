//! Tasks as people see them, and how jobs stand that are waited for.

use rusqlite::{OptionalExtension, Row, params};

use super::super::columns::{above, count, limit, maybe_text, progress, text};
use super::super::fault::Result;
use super::super::ledger::decode;
use super::super::tx::Tx;
use super::OF_TASK;
use crate::core::id::{JobId, Local, TaskId};
use crate::core::state::State;
use crate::store::read::{
    ChildCounts, PageBytes, Settled, TaskView, failure, unreadable_text, words,
};

by_name! {
    columns at {
        parent,
        set = "\"set\"",
        number,
        kind,
        arguments,
        queue,
        priority,
        state,
        attempt,
        failures,
        crashes,
        due,
        created,
        started,
        ended,
        worker,
        waits,
        reason,
        outcome,
        progress_done,
        progress_total,
        stalls,
        expires,
        deadline,
        tags = "coalesce(tags, (SELECT jobs.tags FROM jobs
          WHERE jobs.created = tasks.created AND jobs.id = tasks.job AND tasks.parent IS NULL))",
    }
}

const TASK: &str = concat!("SELECT ", columns!(), " FROM tasks WHERE job = ?1 AND local = ?2");

by_name! {
    outcome_columns settled {
        state,
        outcome,
    }
}

const OUTCOME: &str =
    concat!("SELECT ", outcome_columns!(), " FROM tasks WHERE job = ?1 AND local = ?2");

/// Children in a state. Each but the last reads an index of few rows: of those that run, that wait in the
/// job, that are ready, that fell. Among those that succeeded it takes the first it comes across.
pub(in crate::store::sqlite) fn children_sql(state: State) -> &'static str {
    macro_rules! find {
        ($index:literal, $state:literal) => {
            concat!(
                "SELECT local FROM tasks ",
                $index,
                " WHERE job = ?1 AND parent = ?2 AND ",
                $state,
                " LIMIT ?3"
            )
        };
    }
    match state {
        State::Pending => find!("INDEXED BY ready", "state = 0"),
        State::Running => find!("INDEXED BY running", "state = 1"),
        State::Waiting => find!("INDEXED BY waiting", "state = 2"),
        State::Succeeded => find!("", "state = 3"),
        // The bound that the index has is said again, for the planner's sake.
        State::Failed => find!("INDEXED BY fallen", "state = 4 AND state >= 4"),
        State::Cancelled => find!("INDEXED BY fallen", "state = 5 AND state >= 4"),
    }
}

impl Tx<'_> {
    pub(in crate::store::sqlite) fn task_view(&self, id: TaskId) -> Result<Option<TaskView>> {
        let mut read = self.sql(TASK)?;
        let mut rows = read.query(params![id.job, id.local])?;
        let Some(row) = rows.next()? else { return Ok(None) };
        let mut view = task_view(row, id)?;
        view.children = self.sums(OF_TASK, &[&id.job, &id.local])?;
        if view.state == State::Waiting {
            match decode(maybe_text(row, at::waits)?.as_deref()) {
                Ok(waits) => view.waits = waits,
                Err(fault) => view.reason = Some(unreadable_text(id, &fault.to_string())),
            }
        }
        let outcome = maybe_text(row, at::outcome)?;
        match view.state {
            State::Succeeded => view.value = outcome,
            State::Failed | State::Cancelled => {
                view.failure = outcome.map(|text| failure(&text, &view.kind, id, view.attempt));
            }
            State::Pending | State::Running | State::Waiting => {}
        }
        Ok(Some(view))
    }

    pub(in crate::store::sqlite) fn task_views(&self, tasks: &[TaskId]) -> Result<Vec<TaskView>> {
        tasks.iter().filter_map(|task| self.task_view(*task).transpose()).collect()
    }

    pub(in crate::store::sqlite) fn children_in(
        &self,
        task: TaskId,
        state: State,
        rows: usize,
    ) -> Result<Vec<TaskId>> {
        if state == State::Pending {
            let children = self.sums(OF_TASK, &[&task.job, &task.local])?.spawned;
            if !self.few_are_ready(children)? {
                return self.pending_children(task, rows);
            }
        }
        let mut find = self.sql(children_sql(state))?;
        let found = find.query_map(params![task.job, task.local, limit(rows)], |row| {
            Ok(TaskId { job: task.job, local: row.get(0)? })
        })?;
        Ok(found.collect::<rusqlite::Result<_>>()?)
    }

    /// Whether fewer tasks are ready or scheduled, in all jobs, than a task has children.
    fn few_are_ready(&self, children: u64) -> Result<bool> {
        let mut some = self.sql(
            "SELECT count(*) FROM (SELECT 1 FROM tasks INDEXED BY ready WHERE state = 0 LIMIT ?1)",
        )?;
        let ready = some.query_row([above(children)], |row| count(row, 0))?;
        Ok(ready < children)
    }

    /// The first pending children of a task, read from among its children.
    fn pending_children(&self, task: TaskId, rows: usize) -> Result<Vec<TaskId>> {
        let mut pending = Vec::new();
        for set in self.sets_of(task, None, usize::MAX)? {
            let (mut after, mut more) = (None, set.counts.spawned > set.counts.ended());
            while more && pending.len() < rows {
                let (page, last) = self.states_after(task, set.set, after)?;
                more = !last;
                after = page.last().map(|(cursor, _)| *cursor).or(after);
                let found = page.into_iter().filter(|(_, state)| *state == State::Pending);
                pending.extend(found.map(|(at, _)| TaskId { job: task.job, local: at.local }));
            }
        }
        pending.truncate(rows);
        Ok(pending)
    }

    pub(in crate::store::sqlite) fn outcomes(
        &self,
        jobs: &[JobId],
    ) -> Result<Vec<(JobId, Settled)>> {
        let mut read = self.sql(OUTCOME)?;
        let (mut found, mut bytes) = (Vec::with_capacity(jobs.len()), PageBytes::default());
        for job in jobs {
            let settled = read.query_row(params![job, Local::ROOT], |row| {
                let outcome = maybe_text(row, settled::outcome)?;
                let outcome = outcome.filter(|outcome| bytes.take(outcome.len()));
                Ok(Settled { state: row.get(settled::state)?, outcome })
            });
            found.extend(settled.optional()?.map(|settled| (*job, settled)));
        }
        Ok(found)
    }

    pub(in crate::store::sqlite) fn overdue(&self, jobs: &[JobId]) -> Result<Vec<JobId>> {
        let mut read = self.sql(
            "SELECT EXISTS (SELECT 1 FROM tasks WHERE job = ?1 AND local = ?2 AND state <= 2
               AND (deadline <= ?3 OR (state = 0 AND started IS NULL AND expires <= ?3)))",
        )?;
        let mut overdue = Vec::new();
        for job in jobs {
            if read.query_row(params![job, Local::ROOT, self.now], |row| row.get(0))? {
                overdue.push(*job);
            }
        }
        Ok(overdue)
    }
}

fn task_view(row: &Row<'_>, id: TaskId) -> rusqlite::Result<TaskView> {
    let parent: Option<Local> = row.get(at::parent)?;
    let (set, number): (Option<Local>, Option<u32>) = (row.get(at::set)?, row.get(at::number)?);
    Ok(TaskView {
        id,
        parent: parent.map(|local| TaskId { job: id.job, local }),
        set: set.zip(number),
        kind: text(row, at::kind)?,
        arguments: text(row, at::arguments)?,
        queue: text(row, at::queue)?,
        priority: row.get(at::priority)?,
        state: row.get(at::state)?,
        attempt: row.get(at::attempt)?,
        failures: row.get(at::failures)?,
        crashes: row.get(at::crashes)?,
        due: row.get(at::due)?,
        created: row.get(at::created)?,
        started: row.get(at::started)?,
        ended: row.get(at::ended)?,
        worker: row.get(at::worker)?,
        waits: Vec::new(),
        reason: maybe_text(row, at::reason)?,
        value: None,
        failure: None,
        progress: progress(row, (at::progress_done, at::progress_total))?,
        stalls: row.get(at::stalls)?,
        expires: row.get(at::expires)?,
        deadline: row.get(at::deadline)?,
        tags: maybe_text(row, at::tags)?.map(words).unwrap_or_default(),
        children: ChildCounts::default(),
    })
}
