//! Failures over all jobs, by an index that holds nothing else.

use rusqlite::params;

use super::super::columns::{count, limit, task_id};
use super::super::fault::Result;
use super::super::tx::Tx;
use crate::core::fingerprint::Fingerprint;
use crate::core::id::TaskId;
use crate::core::time::Time;
use crate::store::read::failures::{Alike, FailureFilter};

by_name! {
    columns at {
        fingerprint,
        failed = "count(*)",
        first = "min(ended)",
        last = "max(ended)",
    }
}

/// Read of the index alone, an entry for each failed task that is asked for.
pub(in crate::store::sqlite) const GROUPS: &str = concat!(
    "SELECT ",
    columns!(),
    " FROM failures INDEXED BY alike
  WHERE fingerprint >= ?1 AND fingerprint <= ?2 AND ended >= ?3
  GROUP BY fingerprint ORDER BY max(ended) DESC, fingerprint LIMIT ?4"
);

/// Backwards along the index.
pub(in crate::store::sqlite) const ALIKE: &str =
    "SELECT job, local, ended FROM failures INDEXED BY alike
  WHERE fingerprint = ?1 AND (ended, job, local) < (?2, ?3, ?4)
  ORDER BY ended DESC, job DESC, local DESC LIMIT ?5";

impl Tx<'_> {
    pub(in crate::store::sqlite) fn failures(&self, filter: &FailureFilter) -> Result<Vec<Alike>> {
        let (from, to) = Fingerprint::range(filter.kind.as_deref());
        let since = filter.since.unwrap_or(Time(i64::MIN));
        let mut read = self.sql(GROUPS)?;
        let mut rows = read.query(params![from, to, since, limit(filter.rows())])?;
        let mut groups = Vec::new();
        while let Some(row) = rows.next()? {
            let fingerprint = row.get(at::fingerprint)?;
            let Some((_, latest)) = self.failed_alike(fingerprint, None, 1)?.pop() else {
                continue;
            };
            let (first, last) = (row.get(at::first)?, row.get(at::last)?);
            groups.push(Alike { fingerprint, count: count(row, at::failed)?, first, last, latest });
        }
        Ok(groups)
    }

    pub(in crate::store::sqlite) fn failed_alike(
        &self,
        wanted: Fingerprint,
        before: Option<(Time, TaskId)>,
        rows: usize,
    ) -> Result<Vec<(Time, TaskId)>> {
        let (time, task) = before.unwrap_or((Time(i64::MAX), TaskId::LAST));
        let mut read = self.sql(ALIKE)?;
        let values = params![wanted, time, task.job, task.local, limit(rows)];
        let found = read.query_map(values, |row| Ok((row.get(2)?, task_id(row, 0)?)))?;
        Ok(found.collect::<rusqlite::Result<_>>()?)
    }
}
