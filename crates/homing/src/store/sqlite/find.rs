//! Ids by their beginnings: ranges of the key of tasks.

use rusqlite::{OptionalExtension, params};

use super::columns::limit;
use super::fault::Result;
use super::tx::Tx;
use crate::core::id::{JobId, Local, TaskId};
use crate::store::read::Neighbours;

/// The key begins with the job: from each job to the next, past however many tasks it has.
const FIRST: &str = "SELECT job FROM tasks WHERE job >= ?1 AND job <= ?2 ORDER BY job LIMIT 1";
const NEXT: &str = "SELECT job FROM tasks WHERE job > ?1 AND job <= ?2 ORDER BY job LIMIT 1";
const BEFORE: &str = "SELECT job FROM tasks WHERE job < ?1 ORDER BY job DESC LIMIT 1";

impl Tx<'_> {
    pub(super) fn jobs_between(&self, from: JobId, to: JobId, most: usize) -> Result<Vec<JobId>> {
        let (mut first, mut next) = (self.sql(FIRST)?, self.sql(NEXT)?);
        let mut jobs: Vec<JobId> = Vec::new();
        while jobs.len() < most {
            let found = match jobs.last() {
                None => first.query_row([from, to], |row| row.get(0)),
                Some(last) => next.query_row([*last, to], |row| row.get(0)),
            };
            let Some(job) = found.optional()? else { break };
            jobs.push(job);
        }
        Ok(jobs)
    }

    pub(super) fn tasks_between(
        &self,
        job: JobId,
        from: Local,
        to: Local,
        most: usize,
    ) -> Result<Vec<TaskId>> {
        let mut find = self.sql(
            "SELECT local FROM tasks WHERE job = ?1 AND local >= ?2 AND local <= ?3
             ORDER BY local LIMIT ?4",
        )?;
        let found = find.query_map(params![job, from, to, limit(most)], |row| {
            Ok(TaskId { job, local: row.get(0)? })
        })?;
        Ok(found.collect::<rusqlite::Result<_>>()?)
    }

    pub(super) fn neighbours(&self, jobs: &[JobId]) -> Result<Vec<Neighbours>> {
        let (mut before, mut after) = (self.sql(BEFORE)?, self.sql(NEXT)?);
        let highest = JobId::from_bytes([0xff; 16]);
        let mut found = Vec::with_capacity(jobs.len());
        for job in jobs {
            let lower = before.query_row([job], |row| row.get(0)).optional()?;
            let higher = after.query_row([*job, highest], |row| row.get(0)).optional()?;
            found.push((lower, higher));
        }
        Ok(found)
    }
}
