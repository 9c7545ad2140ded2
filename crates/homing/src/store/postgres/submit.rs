//! `submit`: jobs come into being.

use std::sync::atomic::{AtomicBool, Ordering};

use super::Shared;
use super::cancel::CLOCK;
use super::fault::Result;
use super::load::Wanted;
use super::pipeline::{Step, add, arrays, values};
use super::scene::Scene;
use crate::id::JobId;
use crate::store::{NewJob, Submitted};

/// What is known of the jobs that ids belong to.
/// Each by its key: nothing but the id limits the rows, so a join might as well read the table.
const KNOWN: &str = "SELECT n.job, t.same FROM unnest($1::uuid[], $2::text[], $3::uuid[])
    AS n (job, kind, hash)
  CROSS JOIN LATERAL (SELECT t.kind = n.kind AND t.hash = n.hash AS same FROM homing.tasks AS t
    WHERE t.job = n.job AND t.local = '00000000-0000-0000-0000-000000000000' OFFSET 0) AS t";

impl Shared {
    pub(super) async fn submit(&self, jobs: &[NewJob]) -> Result<Vec<Submitted>> {
        // The ids of a page are new ones. If one is taken all the same, the transaction runs again.
        let new = jobs.len() > 1 && jobs.iter().all(|job| job.key.is_none());
        let look = AtomicBool::new(!new);
        let done = self.transaction(async |session| {
            let wanted = Wanted::submitting(jobs);
            let mut steps = vec![Step::begin()];
            let whats = wanted.steps(&mut steps);
            let clock = add(&mut steps, Step::new(CLOCK, values![self.manual_now()]));
            let known = look.swap(true, Ordering::Relaxed).then(|| {
                let known = arrays!(jobs, job =>
                    job.id, job.task.kind.as_str(), super::columns::Hash(job.task.hash));
                add(&mut steps, Step::new(KNOWN, known))
            });
            let answers = session.run(steps).await?;
            let mut scene = Scene { bundle_from: self.bundle_from, ..Scene::default() };
            whats.absorb(&answers, &mut scene)?;
            if let Some(row) = answers[clock].first() {
                scene.now = row.try_get(0)?;
            }
            let mut same = std::collections::HashMap::new();
            for row in known.iter().flat_map(|at| &answers[*at]) {
                let job: JobId = row.try_get(0)?;
                scene.roots.insert(job);
                same.insert(job, row.try_get::<_, bool>(1)?);
            }
            let submitted = jobs.iter().map(|job| scene.answer_to(job, &same)).collect::<Vec<_>>();
            super::applied("submit");
            let effects = scene.commit(session).await?;
            Ok((submitted, effects))
        });
        let (submitted, effects) = done.await?;
        self.tell(effects);
        Ok(submitted)
    }
}

impl<'e> Scene<'e> {
    fn answer_to(
        &mut self,
        job: &'e NewJob,
        known: &std::collections::HashMap<JobId, bool>,
    ) -> Submitted {
        if self.roots.contains(&job.id) {
            let mut born = self.newborns.iter().filter_map(|newborn| newborn.job);
            let mut before = || born.find(|other| other.id == job.id);
            let same = known.get(&job.id).copied().unwrap_or_else(|| {
                before().is_some_and(|other| {
                    other.task.kind == job.task.kind && other.task.hash == job.task.hash
                })
            });
            return if same { Submitted::Existing(job.id) } else { Submitted::Conflict(job.id) };
        }
        let holder = job.key.as_ref().and_then(|key| self.holders.get(key)).copied();
        if let Some(holder) = holder {
            return Submitted::Existing(holder);
        }
        Scene::submit(self, job);
        Submitted::New(job.id)
    }
}
