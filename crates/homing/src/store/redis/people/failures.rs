//! Failures over all jobs. No index knows what failures have in common: the jobs in which a task failed last are
//! read, and their failed tasks grouped here.

use super::View;
use crate::core::fingerprint::Fingerprint;
use crate::core::id::{JobId, Local, TaskId};
use crate::core::state::State;
use crate::core::time::Time;
use crate::limits;
use crate::store::read::failures::{Alike, FailureFilter, grouped, page_alike};
use crate::store::redis::link::fault::Result;
use crate::store::redis::{pack, task};

/// Jobs that are looked at together, and their tasks.
const TOGETHER: usize = 100;

impl View<'_> {
    pub(in crate::store::redis) async fn failures(
        &self,
        filter: &FailureFilter,
    ) -> Result<Vec<Alike>> {
        Ok(grouped(self.failed(filter.since).await?, filter))
    }

    pub(in crate::store::redis) async fn failed_alike(
        &self,
        wanted: Fingerprint,
        before: Option<(Time, TaskId)>,
        limit: usize,
    ) -> Result<Vec<(Time, TaskId)>> {
        Ok(page_alike(self.failed(None).await?, wanted, before, limit))
    }

    /// The failed tasks of those jobs in which one failed last, [`limits::FAILURES`] at most.
    async fn failed(&self, since: Option<Time>) -> Result<Vec<(Fingerprint, Time, TaskId)>> {
        let least = since.map_or_else(|| "-inf".to_owned(), |since| since.0.to_string());
        let (mut found, mut looked_at, mut from) = (Vec::new(), 0, 0);
        while looked_at < limits::FAILURES {
            let mut ask = redis::cmd("ZREVRANGEBYSCORE");
            ask.arg(self.0.lane.key("failed")).arg("+inf").arg(&least);
            let jobs: Vec<Vec<u8>> =
                self.0.command(ask.arg("LIMIT").arg(from).arg(TOGETHER)).await?;
            for job in &jobs {
                let tasks = self.fallen_of(pack::job(job)?, limits::FAILURES - looked_at).await?;
                looked_at += tasks.len();
                for some in tasks.chunks(TOGETHER) {
                    for task in task::read(self.0, some).await? {
                        if task.row.state == State::Failed
                            && let Some(outcome) = task.row.outcome(task.id)
                            && let Some(fingerprint) = Fingerprint::of_stored(task.id, &outcome)
                            && let Some(ended) = task.row.ended
                        {
                            found.push((fingerprint, ended, task.id));
                        }
                    }
                }
            }
            from += jobs.len();
            if jobs.len() < TOGETHER {
                break;
            }
        }
        Ok(found)
    }

    /// The root of a job, and its children that failed or were cancelled.
    async fn fallen_of(&self, job: JobId, limit: usize) -> Result<Vec<TaskId>> {
        let mut ask = redis::cmd("ZRANGE");
        ask.arg(self.0.lane.fallen(job)).arg(0).arg(limit.saturating_sub(2));
        let members: Vec<Vec<u8>> = self.0.command(&ask).await?;
        let mut tasks = vec![job.root()];
        for member in &members {
            let local = Local(pack::sixteen(member.get(36..).unwrap_or_default())?);
            tasks.push(TaskId { job, local });
        }
        tasks.truncate(limit);
        Ok(tasks)
    }
}
