//! Failures over all jobs.

use super::Data;
use crate::core::fingerprint::Fingerprint;
use crate::core::id::TaskId;
use crate::core::state::State;
use crate::core::time::Time;
use crate::store::read::failures::{Alike, FailureFilter, grouped, page_alike};

impl Data {
    fn failed(&self) -> impl Iterator<Item = (Fingerprint, Time, TaskId)> {
        let failed = self.tasks.iter().filter(|(_, row)| row.state == State::Failed);
        failed.filter_map(|(id, row)| {
            let fingerprint = Fingerprint::of_stored(*id, row.outcome.as_deref()?)?;
            Some((fingerprint, row.ended?, *id))
        })
    }

    pub(super) fn failures(&self, filter: &FailureFilter) -> Vec<Alike> {
        grouped(self.failed(), filter)
    }

    pub(super) fn failed_alike(
        &self,
        wanted: Fingerprint,
        before: Option<(Time, TaskId)>,
        limit: usize,
    ) -> Vec<(Time, TaskId)> {
        page_alike(self.failed(), wanted, before, limit)
    }
}
