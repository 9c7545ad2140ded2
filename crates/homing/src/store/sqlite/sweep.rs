//! Upkeep: dead workers, due instants, cancellations on their way down.

use rusqlite::{OptionalExtension, Row, params};

use super::children::{Cursor, STATES};
use super::columns::{limit, task_id, text};
use super::fault::Result;
use super::tx::Tx;
use crate::core::id::{Local, TaskId, WorkerId};
use crate::limits;
use crate::store::CancelledBy;
use crate::store::columns::cascade;
use crate::store::rules::{end, upkeep, wake};

/// Instants that have come, the earliest first. The tasks are then acted on in the order of their ids.
pub(super) const DUE_TIMERS: &str =
    "SELECT job, local FROM tasks INDEXED BY timers WHERE timer <= ?1
  ORDER BY timer LIMIT ?2";

/// Instants acted on by one transaction.
const TIMERS_AT_ONCE: usize = 1000;
/// Children a transaction looks at on behalf of cascades, ended ones included.
const LOOKED_AT: usize = 50_000;

/// Children still to be cancelled: all of a task's, or those of one set below a number.
#[derive(Debug)]
struct Cascade {
    number: i64,
    task: TaskId,
    set: Option<Local>,
    below: u32,
    by: CancelledBy,
    /// The set it has come to, and the last child looked at there.
    at: Option<(Local, Cursor)>,
}

by_name! {
    /// How far a cancellation has come.
    reached_columns reached {
        at_set,
        at_number,
        at_local,
    }
}

/// One at a time, the oldest first. How far it has come is kept in its row.
const FIRST_CASCADE: &str = concat!(
    "SELECT ",
    cascade_columns!(),
    ", ",
    reached_columns!(),
    " FROM cascades ORDER BY number LIMIT 1"
);

impl Cascade {
    fn of(row: &Row<'_>) -> rusqlite::Result<Self> {
        let set: Option<Local> = row.get(cascade::COUNT + reached::at_set)?;
        let at = match set {
            Some(set) => {
                let (number, local) = (
                    row.get(cascade::COUNT + reached::at_number)?,
                    row.get(cascade::COUNT + reached::at_local)?,
                );
                Some((set, Cursor { number, local }))
            }
            None => None,
        };
        Ok(Self {
            number: row.get(cascade::number)?,
            task: TaskId { job: row.get(cascade::job)?, local: row.get(cascade::task)? },
            set: row.get(cascade::set)?,
            below: row.get(cascade::below)?,
            by: row.get(cascade::by)?,
            at,
        })
    }
}

/// What a transaction may still do for cascades.
struct Budget {
    cancel: usize,
    look: usize,
}

impl Tx<'_> {
    pub(super) fn sweep(&mut self, max_crashes: u32) -> Result<bool> {
        self.reclaim_dead_workers(max_crashes)?;
        let fired = self.fire_timers()?;
        Ok(self.cascade()? || fired)
    }

    /// Gives up workers whose lock nobody holds, and takes back what they held.
    fn reclaim_dead_workers(&mut self, max_crashes: u32) -> Result<()> {
        if !self.shared.looks_for_dead() {
            return Ok(());
        }
        for worker in self.dead()? {
            let name = self.name_of(worker)?;
            self.forget_worker(worker)?;
            for task in self.held_by(worker)? {
                let crashed = upkeep::crash(self, task, (worker, &name), max_crashes);
                wake::contain(self, task, crashed)?;
            }
        }
        Ok(())
    }

    /// Workers whose lock nobody holds. A worker takes its lock before its row is committed, so one whose row is seen here
    /// has had it: no worker is taken for dead while it starts.
    pub(super) fn dead(&self) -> Result<Vec<WorkerId>> {
        let mut read = self.sql("SELECT id FROM workers ORDER BY id")?;
        let mut dead = Vec::new();
        for worker in read.query_map((), |row| row.get(0))? {
            let worker = worker?;
            if self.shared.locks.is_dead(worker)? {
                dead.push(worker);
            }
        }
        Ok(dead)
    }

    fn name_of(&self, worker: WorkerId) -> Result<String> {
        let mut read = self.sql("SELECT name FROM workers WHERE id = ?1")?;
        let name = read.query_row([worker], |row| text(row, 0)).optional()?;
        Ok(name.unwrap_or_else(|| worker.to_string()))
    }

    /// What a worker holds: never more than it has slots and fetches ahead.
    pub(super) fn held_by(&self, worker: WorkerId) -> Result<Vec<TaskId>> {
        let mut find = self.sql(
            "SELECT job, local FROM tasks INDEXED BY running
             WHERE state = 1 AND worker = ?1 ORDER BY job, local",
        )?;
        let rows = find.query_map([worker], |row| task_id(row, 0))?;
        Ok(rows.collect::<rusqlite::Result<_>>()?)
    }

    /// Acts on instants that have come. `true` if there may be more.
    fn fire_timers(&mut self) -> Result<bool> {
        let mut find = self.sql(DUE_TIMERS)?;
        let rows =
            find.query_map(params![self.now, limit(TIMERS_AT_ONCE)], |row| task_id(row, 0))?;
        let mut tasks: Vec<TaskId> = rows.collect::<rusqlite::Result<_>>()?;
        tasks.sort_unstable();
        for task in &tasks {
            let fired = upkeep::fire_timer(self, *task);
            wake::contain(self, *task, fired)?;
        }
        Ok(tasks.len() == TIMERS_AT_ONCE)
    }

    /// Cancels up to [`limits::CASCADE`] children, top down. `true` if there are more. The bound is for the others: there
    /// is one writer, and it takes their requests between two such transactions.
    pub(super) fn cascade(&mut self) -> Result<bool> {
        let mut budget = Budget { cancel: limits::CASCADE, look: LOOKED_AT };
        while let Some(mut cascade) = self.first_cascade()? {
            if self.cancel_children(&mut cascade, &mut budget)? {
                let (set, at) = cascade.at.unzip();
                let mut keep = self.sql(
                    "UPDATE cascades SET at_set = ?2, at_number = ?3, at_local = ?4 WHERE number = ?1",
                )?;
                keep.execute(params![
                    cascade.number,
                    set,
                    at.map(|at| at.number),
                    at.map(|at| at.local)
                ])?;
                return Ok(true);
            }
            self.sql("DELETE FROM cascades WHERE number = ?1")?.execute([cascade.number])?;
        }
        Ok(false)
    }

    fn first_cascade(&self) -> Result<Option<Cascade>> {
        let mut read = self.sql(FIRST_CASCADE)?;
        Ok(read.query_row((), Cascade::of).optional()?)
    }

    /// Takes a cascade further. `true` if there is more to do when the budget is spent.
    fn cancel_children(&mut self, cascade: &mut Cascade, budget: &mut Budget) -> Result<bool> {
        for set in self.open_sets(cascade)? {
            let mut at = cascade.at.filter(|(own, _)| *own == set).map(|(_, at)| at);
            let mut more = true;
            while more {
                let (mut page, last) = self.states_after(cascade.task, set, at)?;
                let passed = page.last().map(|(child, _)| *child);
                page.retain(|(child, _)| child.local.origin(child.number) < cascade.below);
                more = !last;
                for (child, state) in page {
                    if !state.is_ended() {
                        if budget.cancel == 0 {
                            cascade.at = at.map(|at| (set, at));
                            return Ok(true);
                        }
                        budget.cancel -= 1;
                        let id = TaskId { job: cascade.task.job, local: child.local };
                        let cancelled = end::cancel(self, id, cascade.by);
                        wake::contain(self, id, cancelled)?;
                    }
                    at = Some(child);
                }
                // Of the children that come later only those that members have added may be meant.
                at = passed.map(|child| {
                    let beyond = child.number.max(limits::CHILDREN - 1);
                    if child.number < cascade.below {
                        child
                    } else {
                        Cursor { number: beyond, ..child }
                    }
                });
                budget.look = budget.look.saturating_sub(STATES);
                if more && budget.look == 0 {
                    cascade.at = at.map(|at| (set, at));
                    return Ok(true);
                }
            }
        }
        Ok(false)
    }

    /// The sets that a cascade has not passed and that have open children.
    fn open_sets(&mut self, cascade: &Cascade) -> Result<Vec<Local>> {
        self.write_counts()?;
        let mut read = self.sql(
            "SELECT \"set\" FROM sets WHERE job = ?1 AND task = ?2 AND \"set\" >= ?3
               AND (?4 IS NULL OR \"set\" = ?4)
               AND spawned > succeeded + failed + cancelled + aborted ORDER BY \"set\"",
        )?;
        let from = cascade.at.map_or(Local::ROOT, |(set, _)| set);
        let task = cascade.task;
        let rows =
            read.query_map(params![task.job, task.local, from, cascade.set], |row| row.get(0))?;
        Ok(rows.collect::<rusqlite::Result<_>>()?)
    }
}
