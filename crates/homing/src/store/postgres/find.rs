//! Ids by their beginnings: ranges of the key of tasks.

use super::Shared;
use crate::core::id::{JobId, Local, TaskId};
use crate::store::postgres::link::fault::Result;
use crate::store::postgres::link::pipeline::values;
use crate::store::postgres::transaction::columns::limit;
use crate::store::read::Neighbours;

/// The key begins with the job: from each job to the next, past however many tasks it has.
const JOBS: &str = "WITH RECURSIVE one AS (
    (SELECT job FROM homing.tasks WHERE job >= $1 AND job <= $2 ORDER BY job LIMIT 1)
    UNION ALL SELECT n.job FROM one CROSS JOIN LATERAL (
      SELECT job FROM homing.tasks WHERE job > one.job AND job <= $2 ORDER BY job LIMIT 1) AS n)
  SELECT job FROM one LIMIT $3";

const TASKS: &str = "SELECT local FROM homing.tasks
  WHERE job = $1 AND local >= $2 AND local <= $3 ORDER BY local LIMIT $4";

const NEIGHBOURS: &str = "SELECT
    (SELECT t.job FROM homing.tasks AS t WHERE t.job < asked.job ORDER BY t.job DESC LIMIT 1),
    (SELECT t.job FROM homing.tasks AS t WHERE t.job > asked.job ORDER BY t.job LIMIT 1)
  FROM unnest($1::uuid[]) WITH ORDINALITY AS asked (job, turn) ORDER BY asked.turn";

impl Shared {
    pub(super) async fn jobs_between(
        &self,
        from: JobId,
        to: JobId,
        most: usize,
    ) -> Result<Vec<JobId>> {
        let rows = self.read(JOBS, values![from, to, limit(most)]).await?;
        rows.iter().map(|row| Ok(row.try_get(0)?)).collect()
    }

    pub(super) async fn tasks_between(
        &self,
        job: JobId,
        from: Local,
        to: Local,
        most: usize,
    ) -> Result<Vec<TaskId>> {
        let rows = self.read(TASKS, values![job, from, to, limit(most)]).await?;
        rows.iter().map(|row| Ok(TaskId { job, local: row.try_get(0)? })).collect()
    }

    pub(super) async fn neighbours(&self, jobs: &[JobId]) -> Result<Vec<Neighbours>> {
        let rows = self.read(NEIGHBOURS, values![jobs.to_vec()]).await?;
        rows.iter().map(|row| Ok((row.try_get(0)?, row.try_get(1)?))).collect()
    }
}
