//! `prune`: finished jobs go for good.

use super::Data;
use crate::core::id::JobId;
use crate::core::time::Time;
use crate::limits;
use crate::store::{Pruned, Removed};

impl Data {
    pub(super) fn prune(&mut self, before: Time) -> Pruned {
        let mut old: Vec<(Time, JobId)> = self
            .jobs
            .keys()
            .filter_map(|job| Some((self.tasks.get(&job.root())?.ended?, *job)))
            .filter(|(ended, job)| *ended < before && !self.is_settling(*job))
            .collect();
        old.sort_unstable();
        let more = old.len() > limits::PRUNE_JOBS;
        old.truncate(limits::PRUNE_JOBS);
        for (_, job) in &old {
            self.forget(*job);
        }
        Pruned { jobs: old.len() as u64, more }
    }

    /// `None` if the job is unknown.
    pub(super) fn remove(&mut self, job: JobId, now: Time) -> Option<Removed> {
        if !self.tasks.get(&job.root())?.state.is_ended() {
            return Some(Removed::Open);
        }
        if self.is_settling(job) && self.cascade(now) {
            return Some(Removed::More);
        }
        self.forget(job);
        Some(Removed::Gone)
    }

    fn forget(&mut self, job: JobId) {
        self.jobs.remove(&job);
        self.tasks.remove_job(job);
        self.sets.retain(|(id, _), _| id.job != job);
        self.records.retain(|(id, _), _| id.job != job);
        self.signals.retain(|(id, _), _| id.job != job);
        self.logs.retain(|(own, _), _| *own != job);
        self.failed_attempts.retain(|(task, _)| task.job != job);
        self.log_keys.retain(|(id, _)| id.job != job);
    }

    /// Whether a cancellation is still on its way down the job.
    fn is_settling(&self, job: JobId) -> bool {
        self.cascades.values().any(|cascade| cascade.task.job == job)
    }
}
