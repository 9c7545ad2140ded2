//! Failures over all jobs, by an index that holds nothing else.

use super::super::Shared;
use crate::core::fingerprint::Fingerprint;
use crate::core::id::TaskId;
use crate::core::time::Time;
use crate::store::postgres::link::fault::Result;
use crate::store::postgres::link::pipeline::values;
use crate::store::postgres::transaction::columns::{count, limit};
use crate::store::read::failures::{Alike, FailureFilter};

by_name! {
    columns at {
        fingerprint = "g.fingerprint",
        failed = "g.failed",
        first = "g.first",
        last = "g.last",
        job = "l.job",
        local = "l.local",
    }
}

/// Read of the index alone, an entry for each failed task that is asked for.
pub(in crate::store::postgres) const GROUPS: &str = concat!(
    "SELECT ",
    columns!(),
    " FROM (SELECT fingerprint, count(*) AS failed, min(ended) AS first, max(ended) AS last
      FROM homing.ended WHERE fingerprint >= $1 AND fingerprint <= $2 AND ended >= $3
      GROUP BY fingerprint ORDER BY last DESC, fingerprint LIMIT $4) AS g
    CROSS JOIN LATERAL (SELECT e.job, e.local FROM homing.ended AS e
      WHERE e.fingerprint = g.fingerprint AND e.ended = g.last
      ORDER BY e.job DESC, e.local DESC LIMIT 1) AS l
    ORDER BY g.last DESC, g.fingerprint"
);

/// Backwards along the index.
pub(in crate::store::postgres) const ALIKE: &str = "SELECT job, local, ended FROM homing.ended
    WHERE fingerprint = $1 AND (ended, job, local) < ($2, $3, $4)
    ORDER BY ended DESC, job DESC, local DESC LIMIT $5";

impl Shared {
    pub(in crate::store::postgres) async fn failures(
        &self,
        filter: &FailureFilter,
    ) -> Result<Vec<Alike>> {
        let (from, to) = Fingerprint::range(filter.kind.as_deref());
        let since = filter.since.unwrap_or(Time(i64::MIN));
        let rows = self.read(GROUPS, values![from, to, since, limit(filter.rows())]).await?;
        let mut groups = Vec::with_capacity(rows.len());
        for row in &rows {
            groups.push(Alike {
                fingerprint: row.try_get(at::fingerprint)?,
                count: count(row, at::failed)?,
                first: row.try_get(at::first)?,
                last: row.try_get(at::last)?,
                latest: TaskId { job: row.try_get(at::job)?, local: row.try_get(at::local)? },
            });
        }
        Ok(groups)
    }

    pub(in crate::store::postgres) async fn failed_alike(
        &self,
        wanted: Fingerprint,
        before: Option<(Time, TaskId)>,
        rows: usize,
    ) -> Result<Vec<(Time, TaskId)>> {
        let (time, task) = before.unwrap_or((Time(i64::MAX), TaskId::LAST));
        let found =
            self.read(ALIKE, values![wanted, time, task.job, task.local, limit(rows)]).await?;
        let one = |row: &tokio_postgres::Row| {
            Ok((row.try_get(2)?, TaskId { job: row.try_get(0)?, local: row.try_get(1)? }))
        };
        found.iter().map(one).collect()
    }
}
