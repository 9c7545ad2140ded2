//! The audit: every breach of an invariant that a scan finds. Slow, for tests and the curious.

use rusqlite::{OptionalExtension, Row, params};

use super::children::{BEHIND_PLACE, numbered, placed};
use super::columns::{count, maybe_text, task_id, text};
use super::fault::Result;
use super::ledger::decode;
use super::tx::{Tx, set_counts};
use crate::core::id::{JobId, Local, TaskId};
use crate::core::state::State;
use crate::core::time::Time;
use crate::core::wait::{self, SetCounts};
use crate::store::columns::whose_set;
use crate::store::read::Breach;
use crate::store::rules::wake::WaitFacts;
use crate::store::{CancelledBy, Entry, Policy};

/// What the audit looks at of an open task.
struct Open {
    id: TaskId,
    parent: Option<Local>,
    state: State,
    held: bool,
    timer: Option<Time>,
    waits: Option<String>,
    parent_state: Option<State>,
}

by_name! {
    columns at {
        job,
        local,
        parent,
        state,
        held = "worker IS NOT NULL",
        timer,
        waits,
        parent_state =
            "(SELECT state FROM tasks AS up WHERE up.job = tasks.job AND up.local = tasks.parent)",
    }
}

/// Open tasks, and ended ones that are still held.
const OPEN: &str = concat!(
    "SELECT ",
    columns!(),
    " FROM tasks WHERE state < 3 OR worker IS NOT NULL ORDER BY job, local"
);

impl Open {
    fn of(row: &Row<'_>) -> rusqlite::Result<Self> {
        Ok(Self {
            id: TaskId { job: row.get(at::job)?, local: row.get(at::local)? },
            parent: row.get(at::parent)?,
            state: row.get(at::state)?,
            held: row.get(at::held)?,
            timer: row.get(at::timer)?,
            waits: maybe_text(row, at::waits)?,
            parent_state: row.get(at::parent_state)?,
        })
    }
}

const SETS: &str =
    concat!("SELECT ", whose_set_columns!(), " FROM sets ORDER BY job, task, \"set\"");

by_name! {
    end_columns end {
        state,
        cancelled_by,
    }
}

impl Tx<'_> {
    pub(super) fn audit(&mut self) -> Result<Vec<Breach>> {
        let mut breaches = Vec::new();
        let mut scan = self.sql(OPEN)?;
        let mut rows = scan.query(())?;
        while let Some(row) = rows.next()? {
            self.look_at(&Open::of(row)?, &mut breaches)?;
        }
        self.compare_counts(&mut breaches)?;
        self.decode_all(&mut breaches)?;
        self.look_for_kinds(&mut breaches)?;
        Ok(breaches)
    }

    /// Jobs that the list of their kind would not find.
    fn look_for_kinds(&self, breaches: &mut Vec<Breach>) -> Result<()> {
        let mut scan = self.sql(
            "SELECT id FROM jobs WHERE kind IS NOT NULL AND NOT EXISTS
               (SELECT 1 FROM kinds_by_second AS by_second
                WHERE by_second.kind = jobs.kind AND second = jobs.created / 1000000)",
        )?;
        for id in scan.query_map((), |row| row.get::<_, JobId>(0))? {
            let what = "the list of its kind leaves it out".to_owned();
            breaches.push(Breach { task: id?.root(), what });
        }
        Ok(())
    }

    /// What is stored of open tasks and does not decode: they stand still, or will.
    fn decode_all(&self, breaches: &mut Vec<Breach>) -> Result<()> {
        let mut scan = self.sql(
            "SELECT job, local, policy FROM tasks WHERE state < 3 AND policy IS NOT NULL
             ORDER BY job, local",
        )?;
        let mut rows = scan.query(())?;
        while let Some(row) = rows.next()? {
            if let Err(error) = serde_json::from_str::<Policy>(&text(row, 2)?) {
                let what = format!("its policy does not decode: {error}");
                breaches.push(Breach { task: task_id(row, 0)?, what });
            }
        }
        let mut scan = self.sql(
            "SELECT r.job, r.task, r.seq, r.entry FROM records AS r
             JOIN tasks AS t ON t.job = r.job AND t.local = r.task
             WHERE t.state < 3 ORDER BY r.job, r.task, r.seq",
        )?;
        let mut rows = scan.query(())?;
        while let Some(row) = rows.next()? {
            if let Err(error) = serde_json::from_str::<Entry>(&text(row, 3)?) {
                let seq = count(row, 2)?;
                let what = format!("entry {seq} of its record does not decode: {error}");
                breaches.push(Breach { task: task_id(row, 0)?, what });
            }
        }
        Ok(())
    }

    fn look_at(&mut self, task: &Open, breaches: &mut Vec<Breach>) -> Result<()> {
        let mut breach =
            |what: &str| breaches.push(Breach { task: task.id, what: what.to_owned() });
        let overdue = task.timer.is_some_and(|time| time <= self.now);
        match decode(task.waits.as_deref()) {
            Ok(waits) => {
                let waiting = task.state == State::Waiting && !overdue;
                if waiting && wait::satisfied(&waits, &mut WaitFacts { rows: self, task: task.id })?
                {
                    breach("waiting, yet satisfied");
                }
            }
            Err(fault) => breach(&fault.to_string()),
        }
        if (task.state == State::Running) != task.held {
            breach("running without a token, or a token without running");
        }
        let orphan = task.parent_state.is_some_and(State::is_ended) && !task.state.is_ended();
        if orphan && !self.is_falling(task)? {
            breach("open below an ended parent");
        }
        Ok(())
    }

    /// Whether a cancellation on its way down will reach the task.
    fn is_falling(&self, task: &Open) -> Result<bool> {
        let job = task.id.job;
        let mut cascading =
            self.sql("SELECT EXISTS (SELECT 1 FROM cascades WHERE job = ?1 AND task = ?2)")?;
        let mut up = self.sql("SELECT parent FROM tasks WHERE job = ?1 AND local = ?2")?;
        let mut next = task.parent;
        while let Some(parent) = next {
            if cascading.query_row(params![job, parent], |row| row.get(0))? {
                return Ok(true);
            }
            next = up.query_row(params![job, parent], |row| row.get(0)).optional()?.flatten();
        }
        Ok(false)
    }

    fn compare_counts(&mut self, breaches: &mut Vec<Breach>) -> Result<()> {
        let mut scan = self.sql(SETS)?;
        let mut rows = scan.query(())?;
        while let Some(row) = rows.next()? {
            let task = TaskId { job: row.get(whose_set::job)?, local: row.get(whose_set::task)? };
            let set: Local = row.get(whose_set::set)?;
            let counts = set_counts(row, whose_set::counts)?;
            if counts != self.recount(task, set, counts)? {
                let what = format!("the counts of set {set} differ from its rows");
                breaches.push(Breach { task, what });
            }
        }
        Ok(())
    }

    fn recount(&self, task: TaskId, set: Local, stored: SetCounts) -> Result<SetCounts> {
        let SetCounts { last_end, last_added, .. } = stored;
        let mut counts = SetCounts { last_end, last_added, ..SetCounts::default() };
        let sql = (numbered!(end_columns!()), placed!(end_columns!()));
        let read = |_, row: &Row<'_>| {
            let by: Option<CancelledBy> = row.get(BEHIND_PLACE + end::cancelled_by)?;
            Ok((row.get(BEHIND_PLACE + end::state)?, by))
        };
        for (at, (state, by)) in self.merged((task, set), (0, usize::MAX), sql, read)? {
            counts.spawned += 1;
            counts.added += u64::from(at.number >= crate::limits::CHILDREN);
            match state {
                State::Succeeded => counts.succeeded += 1,
                State::Failed => counts.failed += 1,
                State::Cancelled if by.is_some_and(CancelledBy::is_parent) => counts.aborted += 1,
                State::Cancelled => counts.cancelled += 1,
                State::Pending | State::Running | State::Waiting => {}
            }
        }
        Ok(counts)
    }
}
