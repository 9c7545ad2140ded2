//! What people watch: tasks, jobs, and the queues with the workers and kinds beside them.
//!
//! The counts of a job come from the counts of its sets and from the rows of open tasks: a job of a
//! million ended tasks is as quick to show as one of ten.

by_name! {
    /// How many children there are in some sets, and how they ended, from sums called `c`.
    sums sum {
        spawned = "c.spawned",
        succeeded = "c.succeeded",
        failed = "c.failed",
        cancelled = "c.cancelled",
    }
}

/// The sums over the sets called `s` that `which` names.
macro_rules! sums_of {
    ($which:literal) => {
        concat!(
            "(SELECT coalesce(sum(spawned), 0)::bigint AS spawned,
        coalesce(sum(succeeded), 0)::bigint AS succeeded, coalesce(sum(failed), 0)::bigint AS failed,
        coalesce(sum(cancelled + aborted), 0)::bigint AS cancelled
      FROM homing.sets AS s WHERE ",
            $which,
            ") AS c"
        )
    };
}

mod failures;
mod jobs;
mod queues;
mod tasks;

#[cfg(test)]
pub(super) use {
    failures::{ALIKE, GROUPS},
    jobs::{FALLEN, OF_KIND},
};

use tokio_postgres::Row;

use super::link::fault::Result;
use super::transaction::columns::count;
use crate::store::read::ChildCounts;

/// Sums whose columns begin with the one called `first`.
fn child_counts(row: &Row, first: usize) -> Result<ChildCounts> {
    Ok(ChildCounts {
        spawned: count(row, first + sum::spawned)?,
        succeeded: count(row, first + sum::succeeded)?,
        failed: count(row, first + sum::failed)?,
        cancelled: count(row, first + sum::cancelled)?,
    })
}
