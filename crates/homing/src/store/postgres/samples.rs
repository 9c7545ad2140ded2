//! What workers have done minute by minute.

use super::Shared;
use super::link::fault::Result;
use super::link::pipeline::values;
use super::transaction::columns::limit;
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

/// One statement, which commits by itself: some of the oldest go, and minutes come in the order of their keys. Told again,
/// a minute is the same.
const KEEP: &str = concat!(
    "WITH now AS (SELECT ",
    super::now!(),
    " AS now), gone AS (DELETE FROM homing.samples WHERE (minute, worker) IN (
       SELECT minute, worker FROM homing.samples WHERE minute < (SELECT now FROM now) - $5::bigint
         ORDER BY minute, worker LIMIT $6 FOR UPDATE SKIP LOCKED))
     INSERT INTO homing.samples (minute, worker, text)
       SELECT minute, worker, text FROM unnest($2::bigint[], $3::uuid[], $4::text[]) AS new (minute, worker, text)
       ORDER BY minute, worker
     ON CONFLICT (minute, worker) DO UPDATE SET text = excluded.text"
);

/// A range of the key. Those of one worker are picked out: they are few for each minute.
const SAMPLES: &str = concat!(
    "SELECT ",
    columns!(),
    " FROM homing.samples WHERE minute >= $1 AND ($2::uuid IS NULL OR (minute, worker) > ($3::bigint, $2::uuid))
    AND minute < $4 AND ($5::uuid IS NULL OR worker = $5) ORDER BY minute, worker LIMIT $6"
);

impl Shared {
    /// Keeps minutes, and forgets some of what is old.
    pub(super) async fn keep_samples(&self, samples: &[Sample]) -> Result<()> {
        let kept = i64::try_from(limits::SAMPLES_KEPT.as_micros()).unwrap_or(i64::MAX);
        let (now, forgotten) = (self.manual_now(), limit(limits::SAMPLES_FORGOTTEN));
        self.transaction(async |session| {
            let minutes: Vec<i64> = samples.iter().map(|sample| sample.minute.0).collect();
            let workers: Vec<WorkerId> = samples.iter().map(|sample| sample.worker).collect();
            let texts: Vec<String> = samples.iter().map(|sample| sample.text.clone()).collect();
            session.one(KEEP, values![now, minutes, workers, texts, kept, forgotten]).await
        })
        .await?;
        Ok(())
    }

    pub(super) async fn samples(&self, filter: &SampleFilter) -> Result<Vec<Sample>> {
        let after: (Option<i64>, Option<WorkerId>) =
            filter.after.map_or((None, None), |(minute, worker)| (Some(minute.0), Some(worker)));
        let values = values![
            filter.from(),
            after.1,
            after.0,
            filter.to(),
            filter.worker,
            limit(filter.rows())
        ];
        let rows = self.read(SAMPLES, values).await?;
        let sample = |row: &tokio_postgres::Row| {
            Ok(Sample {
                minute: row.try_get(at::minute)?,
                worker: row.try_get(at::worker)?,
                text: row.try_get(at::body)?,
            })
        };
        rows.iter().map(sample).collect()
    }
}
