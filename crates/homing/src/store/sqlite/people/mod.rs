//! What people watch: tasks, jobs, and the queues with the workers and kinds beside them.
//!
//! The counts of a job come from the counts of its sets and from indexes that hold open tasks only: a
//! job of a million tasks is as quick to show as one of ten.

use rusqlite::{Row, ToSql};

use super::columns::count;
use super::fault::Result;
use super::tx::Tx;
use crate::store::read::ChildCounts;

by_name! {
    /// How many children there are in some sets, and how they ended.
    sums sum {
        spawned = "coalesce(sum(spawned), 0)",
        succeeded = "coalesce(sum(succeeded), 0)",
        failed = "coalesce(sum(failed), 0)",
        cancelled = "coalesce(sum(cancelled + aborted), 0)",
    }
}

mod failures;
mod jobs;
mod queues;
mod tasks;

#[cfg(test)]
pub(super) use {
    failures::{ALIKE, GROUPS},
    jobs::{FALLEN, JOBS, OF_KIND, WITH_ERRORS},
    tasks::children_sql,
};

/// The sums over the sets of a job.
const OF_JOB: &str = concat!("SELECT ", sums!(), " FROM sets WHERE job = ?1");

/// The sums over the sets of a task.
const OF_TASK: &str = concat!("SELECT ", sums!(), " FROM sets WHERE job = ?1 AND task = ?2");

impl Tx<'_> {
    fn sums(&self, sql: &str, whose: &[&dyn ToSql]) -> Result<ChildCounts> {
        let of = |row: &Row<'_>| {
            Ok(ChildCounts {
                spawned: count(row, sum::spawned)?,
                succeeded: count(row, sum::succeeded)?,
                failed: count(row, sum::failed)?,
                cancelled: count(row, sum::cancelled)?,
            })
        };
        Ok(self.sql(sql)?.query_row(whose, of)?)
    }
}
