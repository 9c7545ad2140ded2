//! `submit`: jobs come into being.

use std::sync::atomic::{AtomicBool, Ordering};

use super::Shared;
use super::cancel::CLOCK;
use crate::core::id::JobId;
use crate::store::postgres::link::fault::Result;
use crate::store::postgres::link::pipeline::{Statement, add, arrays, values};
use crate::store::postgres::transaction::columns::count;
use crate::store::postgres::transaction::load_plan::LoadPlan;
use crate::store::postgres::transaction::tx::Tx;
use crate::store::{NewJob, Submitted};

/// What is known of the jobs that ids belong to.
/// Each by its key: nothing but the id limits the rows, so a join might as well read the table.
const KNOWN: &str = "SELECT n.job, t.same, n.place - 1
  FROM unnest($1::uuid[], $2::text[], $3::uuid[]) WITH ORDINALITY AS n (job, kind, hash, place)
  CROSS JOIN LATERAL (SELECT t.kind = n.kind AND t.hash = n.hash AS same FROM homing.tasks AS t
    WHERE t.job = n.job AND t.local = '00000000-0000-0000-0000-000000000000' OFFSET 0) AS t";

/// Jobs that hold keys although they are past their expiries or deadlines.
pub(super) const OVERDUE: &str = concat!(
    "SELECT k.key, k.job FROM unnest($2::text[]) AS w (key)
    CROSS JOIN LATERAL (SELECT k.key, k.job FROM homing.keys AS k WHERE k.key = w.key OFFSET 0) AS k
    JOIN homing.open AS o ON o.job = k.job AND o.local = '00000000-0000-0000-0000-000000000000'
  WHERE o.deadline <= ",
    super::now!(),
    " OR (o.state = 0 AND o.started IS NULL AND o.expires <= ",
    super::now!(),
    ")"
);

impl Shared {
    /// A key's holder that is overdue is ended before: no worker may live to do so.
    pub(super) async fn submit(&self, jobs: &[NewJob]) -> Result<Vec<Submitted>> {
        loop {
            match self.try_submit(jobs).await? {
                Ok(submitted) => return Ok(submitted),
                Err(overdue) => self.end_overdue(&overdue).await?,
            }
        }
    }

    /// Or the jobs that are overdue and hold the keys: nothing is submitted then.
    async fn try_submit(
        &self,
        jobs: &[NewJob],
    ) -> Result<std::result::Result<Vec<Submitted>, Vec<JobId>>> {
        // The ids of a page are new ones. If one is taken all the same, the transaction runs again.
        let new = jobs.len() > 1 && jobs.iter().all(|job| job.key.is_none());
        let look = AtomicBool::new(!new);
        let done = self.transaction(async |session| {
            let wanted = LoadPlan::submitting(jobs);
            let mut steps = vec![Statement::begin()];
            // Before the holders are read: a holder that another client ends between the two statements is
            // either overdue still, or no holder any more. The other order would take the ended job for one
            // that holds its key.
            let keys: Vec<&str> = jobs.iter().filter_map(|job| job.key.as_deref()).collect();
            let overdue = (!keys.is_empty())
                .then(|| add(&mut steps, Statement::new(OVERDUE, values![self.manual_now(), keys])));
            let whats = wanted.steps(&mut steps);
            let clock = add(&mut steps, Statement::new(CLOCK, values![self.manual_now()]));
            let known = look.swap(true, Ordering::Relaxed).then(|| {
                let known = arrays!(jobs, job =>
                    job.id, job.task.kind.as_str(), crate::store::postgres::transaction::columns::Hash(job.task.hash));
                add(&mut steps, Statement::new(KNOWN, known))
            });
            let answers = session.run(steps).await?;
            let mut tx = Tx { bundle_from: self.bundle_from, ..Tx::default() };
            whats.absorb(&answers, &mut tx)?;
            if let Some(row) = answers[clock].first() {
                tx.now = row.try_get(0)?;
            }
            // By place: a page may name one id twice, with other arguments.
            let mut same = std::collections::HashMap::new();
            for row in known.iter().flat_map(|at| &answers[*at]) {
                let job: JobId = row.try_get(0)?;
                tx.roots.insert(job);
                same.insert(count(row, 2)? as usize, row.try_get(1)?);
            }
            let held = overdue.map(|at| &answers[at]);
            let overdue = in_the_way(jobs, held.into_iter().flatten(), &tx)?;
            if !overdue.is_empty() {
                session.roll_back().await;
                return Ok(Err(overdue));
            }
            let jobs = jobs.iter().enumerate();
            let submitted: Vec<_> =
                jobs.map(|(at, job)| tx.answer_to(job, same.get(&at).copied())).collect();
            super::applied("submit");
            let effects = tx.commit(session).await?;
            Ok(Ok((submitted, effects)))
        });
        Ok(match done.await? {
            Ok((submitted, effects)) => {
                self.tell(effects);
                Ok(submitted)
            }
            Err(overdue) => Err(overdue),
        })
    }
}

/// The overdue holders of keys that jobs would take. Whether an id is known decides before its key does.
fn in_the_way<'r>(
    jobs: &[NewJob],
    held: impl Iterator<Item = &'r tokio_postgres::Row>,
    tx: &Tx<'_>,
) -> Result<Vec<JobId>> {
    let mut overdue = Vec::new();
    for row in held {
        let key: &str = row.try_get(0)?;
        let wanted = jobs.iter().enumerate().any(|(n, job)| {
            let known = tx.roots.contains(&job.id) || jobs[..n].iter().any(|old| old.id == job.id);
            job.key.as_deref() == Some(key) && !known
        });
        if wanted {
            overdue.push(row.try_get(1)?);
        }
    }
    overdue.sort_unstable();
    overdue.dedup();
    Ok(overdue)
}

impl<'e> Tx<'e> {
    fn answer_to(&mut self, job: &'e NewJob, known: Option<bool>) -> Submitted {
        if self.roots.contains(&job.id) {
            let mut born = self.newborns.iter().filter_map(|newborn| newborn.job);
            let mut before = || born.find(|other| other.id == job.id);
            let same = known.unwrap_or_else(|| {
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
        Tx::submit(self, job);
        Submitted::New(job.id)
    }
}
