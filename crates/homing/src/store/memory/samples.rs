//! What workers have done minute by minute.

use super::Data;
use crate::core::time::Time;
use crate::limits;
use crate::store::read::samples::{Sample, SampleFilter};

impl Data {
    /// Keeps minutes, and forgets what is old.
    pub(super) fn keep_samples(&mut self, samples: Vec<Sample>, now: Time) {
        let old = now.before(limits::SAMPLES_KEPT);
        self.samples.retain(|(minute, _), _| *minute >= old);
        let rows = samples.into_iter().map(|sample| ((sample.minute, sample.worker), sample.text));
        self.samples.extend(rows);
    }

    pub(super) fn samples(&self, filter: &SampleFilter) -> Vec<Sample> {
        let wanted =
            self.samples.iter().filter(|((minute, worker), _)| filter.admits(*minute, *worker));
        let sample = |(&(minute, worker), text): (&(Time, _), &String)| Sample {
            minute,
            worker,
            text: text.clone(),
        };
        wanted.take(filter.rows()).map(sample).collect()
    }
}
