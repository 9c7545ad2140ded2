//! What workers have done minute by minute.

use rusqlite::params;

use super::columns::{limit, text};
use super::fault::Result;
use super::tx::Tx;
use crate::core::id::WorkerId;
use crate::limits;
use crate::store::read::samples::{Sample, SampleFilter};

by_name! {
    columns at {
        minute,
        worker,
        body = "text",
    }
}

/// Some of the oldest: each worker's minute takes more with it than it adds.
const FORGET: &str = "DELETE FROM samples WHERE (minute, worker) IN (
  SELECT minute, worker FROM samples WHERE minute < ?1 ORDER BY minute, worker LIMIT ?2)";

/// Told again, a minute is the same.
const KEEP: &str = "INSERT INTO samples (minute, worker, text) VALUES (?1, ?2, ?3)
  ON CONFLICT (minute, worker) DO UPDATE SET text = excluded.text";

/// A range of the key. Those of one worker are picked out: they are few for each minute.
const SAMPLES: &str = concat!(
    "SELECT ",
    columns!(),
    " FROM samples WHERE (minute, worker) > (?1, ?2) AND minute < ?3 AND (?4 IS NULL OR worker = ?4)
  ORDER BY minute, worker LIMIT ?5"
);

impl Tx<'_> {
    /// Keeps minutes, and forgets some of what is old.
    pub(super) fn keep_samples(&mut self, samples: &[Sample]) -> Result<()> {
        let old = self.now.before(limits::SAMPLES_KEPT);
        self.sql(FORGET)?.execute(params![old, limit(limits::SAMPLES_FORGOTTEN)])?;
        let mut keep = self.sql(KEEP)?;
        for Sample { minute, worker, text } in samples {
            keep.execute(params![minute, worker, text])?;
        }
        Ok(())
    }

    pub(super) fn samples(&self, filter: &SampleFilter) -> Result<Vec<Sample>> {
        let mut read = self.sql(SAMPLES)?;
        let after = filter.after.filter(|(minute, _)| *minute >= filter.from());
        // No id is empty, so that this one is below them all.
        let nobody: &[u8] = &[];
        let worker = after.as_ref().map_or(nobody, |(_, worker)| worker.as_bytes().as_slice());
        let values =
            params![filter.from(), worker, filter.to(), filter.worker, limit(filter.rows())];
        let found = read.query_map(values, |row| {
            let worker: WorkerId = row.get(at::worker)?;
            Ok(Sample { minute: row.get(at::minute)?, worker, text: text(row, at::body)? })
        })?;
        Ok(found.collect::<rusqlite::Result<_>>()?)
    }
}
