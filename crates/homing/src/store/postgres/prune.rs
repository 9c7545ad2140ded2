//! `prune`: finished jobs go for good.
//!
//! A transaction removes a bounded number of rows, so a large job takes several. Its root goes last: until
//! then the job is still there, with its counts, and its id is not free.

use super::Shared;
use crate::core::id::JobId;
use crate::core::time::Time;
use crate::limits;
use crate::store::postgres::link::fault::Result;
use crate::store::postgres::link::pipeline::{Session, Statement, values};
use crate::store::postgres::transaction::bundle::dissolve;
use crate::store::postgres::transaction::columns::limit;
use crate::store::{Pruned, Removed};

/// Roots that ended long ago, in the order of the index `settled`. A job that is being cancelled waits: a cascade would
/// come to children that are gone.
pub(super) const OLD: &str = "SELECT e.job FROM homing.ended AS e
  WHERE e.\"set\" IS NULL AND e.ended < $1
    AND NOT EXISTS (SELECT FROM homing.cascades AS c WHERE c.job = e.job)
  ORDER BY e.ended, e.job LIMIT $2";

/// A job that somebody retries meanwhile is skipped. How many rows each has, as far as that matters.
const HOLD: &str = "SELECT j.job,
    (SELECT count(*) FROM (SELECT FROM homing.tasks AS t WHERE t.job = j.job LIMIT $2) AS t)
    + (SELECT count(*) FROM (SELECT FROM homing.logs AS l WHERE l.job = j.job LIMIT $2) AS l)
    + (SELECT count(*) FROM (SELECT FROM homing.records AS r WHERE r.job = j.job LIMIT $2) AS r)
    + (SELECT count(*) FROM (SELECT FROM homing.unsaid AS u WHERE u.job = j.job LIMIT $2) AS u)
  FROM homing.tasks AS j
  WHERE j.job = ANY ($1::uuid[]) AND j.local = '00000000-0000-0000-0000-000000000000'
  ORDER BY j.job FOR UPDATE OF j SKIP LOCKED";

/// Under the lock: whether the jobs are still over.
const OVER: &str = "SELECT e.job FROM homing.ended AS e
  WHERE e.job = ANY ($1::uuid[]) AND e.\"set\" IS NULL AND e.ended < $2
  ORDER BY e.ended, e.job";

/// Removes jobs whole.
const WHOLE: [&str; 7] = [
    "DELETE FROM homing.tasks WHERE job = ANY ($1::uuid[])",
    "DELETE FROM homing.ended WHERE job = ANY ($1::uuid[])",
    "DELETE FROM homing.sets WHERE job = ANY ($1::uuid[])",
    "DELETE FROM homing.records WHERE job = ANY ($1::uuid[])",
    "DELETE FROM homing.signals WHERE job = ANY ($1::uuid[])",
    "DELETE FROM homing.logs WHERE job = ANY ($1::uuid[])",
    "DELETE FROM homing.unsaid WHERE job = ANY ($1::uuid[])",
];

/// From here on the job cannot be retried: a part of it is gone, though its root still stands.
const MARK: &str = "UPDATE homing.tasks SET pruning = true
  WHERE job = $1 AND local = '00000000-0000-0000-0000-000000000000' AND pruning IS NULL";

/// Removes rows of a large job, at most `$2` of each table.
const SOME: [&str; 4] = [
    "WITH gone AS (DELETE FROM homing.tasks WHERE job = $1 AND local IN
       (SELECT local FROM homing.tasks WHERE job = $1 AND parent IS NOT NULL LIMIT $2)
       RETURNING job, local)
     DELETE FROM homing.ended AS e USING gone AS g WHERE e.job = g.job AND e.local = g.local",
    "DELETE FROM homing.logs WHERE job = $1 AND number IN
       (SELECT number FROM homing.logs WHERE job = $1 LIMIT $2)",
    "DELETE FROM homing.records WHERE job = $1 AND (task, seq) IN
       (SELECT task, seq FROM homing.records WHERE job = $1 LIMIT $2)",
    "DELETE FROM homing.unsaid WHERE job = $1 AND (task, key) IN
       (SELECT task, key FROM homing.unsaid WHERE job = $1 LIMIT $2)",
];

/// Whether a job has ended, and whether cancellations are on their way down it.
const STANDS: &str = "SELECT EXISTS (SELECT FROM homing.ended AS e
      WHERE e.job = t.job AND e.local = t.local),
    EXISTS (SELECT FROM homing.cascades AS c WHERE c.job = t.job)
  FROM homing.tasks AS t
  WHERE t.job = $1 AND t.local = '00000000-0000-0000-0000-000000000000'";

impl Shared {
    /// `None` if the job is unknown.
    pub(super) async fn remove(&self, job: JobId) -> Result<Option<Removed>> {
        let rows = self.read(STANDS, values![job]).await?;
        let Some(row) = rows.first() else { return Ok(None) };
        if !row.try_get::<_, bool>(0)? {
            return Ok(Some(Removed::Open));
        }
        if row.try_get(1)? {
            self.cascade().await?;
            return Ok(Some(Removed::More));
        }
        let removed = self.transaction(async |session| {
            let pruned = Pruned { jobs: 0, more: false };
            take(session, vec![job], Time::NEVER, pruned).await
        });
        // Nothing is removed of a job that somebody retries meanwhile, or removes too.
        Ok(Some(if removed.await?.jobs == 1 { Removed::Gone } else { Removed::More }))
    }

    pub(super) async fn prune(&self, before: Time) -> Result<Pruned> {
        self.transaction(async |session| prune(session, before).await).await
    }
}

async fn prune(session: &Session<'_>, before: Time) -> Result<Pruned> {
    let old = session.one(OLD, values![before, limit(limits::PRUNE_JOBS + 1)]).await?;
    let mut old = old.iter().map(|row| Ok(row.try_get(0)?)).collect::<Result<Vec<JobId>>>()?;
    let pruned = Pruned { jobs: 0, more: old.len() > limits::PRUNE_JOBS };
    old.truncate(limits::PRUNE_JOBS);
    if old.is_empty() {
        return Ok(pruned);
    }
    take(session, old, before, pruned).await
}

/// Removes those of the jobs that ended before an instant, as many rows as one transaction may.
async fn take(
    session: &Session<'_>,
    old: Vec<JobId>,
    before: Time,
    mut pruned: Pruned,
) -> Result<Pruned> {
    let answers = session
        .run(vec![
            Statement::begin(),
            Statement::new(HOLD, values![old.clone(), limit(limits::PRUNE_ROWS)]),
            Statement::new(OVER, values![old, before]),
        ])
        .await?;
    let mut rows = std::collections::HashMap::new();
    for row in &answers[1] {
        rows.insert(row.try_get::<_, JobId>(0)?, row.try_get::<_, i64>(1)?);
    }
    let (mut whole, mut large, mut left) = (Vec::new(), None, limit(limits::PRUNE_ROWS));
    for row in &answers[2] {
        let job: JobId = row.try_get(0)?;
        let Some(rows) = rows.get(&job) else { continue };
        if *rows > left {
            pruned.more = true;
            large = Some(job).filter(|_| left > 0);
            break;
        }
        left -= rows;
        whole.push(job);
    }
    pruned.jobs = whole.len() as u64;
    let mut steps = Vec::new();
    if !whole.is_empty() {
        steps.push(dissolve::roots(&whole));
        steps.extend(WHOLE.iter().map(|sql| Statement::new(sql, values![whole.clone()])));
    }
    if let Some(job) = large {
        steps.push(Statement::new(MARK, values![job]));
        let part = left / SOME.len() as i64 + 1;
        steps.extend(SOME.iter().map(|sql| Statement::new(sql, values![job, part])));
    }
    super::applied("prune");
    steps.push(Statement::plain("COMMIT"));
    session.run(steps).await?;
    Ok(pruned)
}
