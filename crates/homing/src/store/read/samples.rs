//! What workers have done minute by minute: what stores keep of it, what is asked for, and how it is shown.
//!
//! A store keeps a row for each worker and minute and does not look into it, so that nobody shares a row and a minute is one
//! small write whatever the number of tasks.

use std::time::Duration;

use serde::{Deserialize, Serialize};

use crate::core::id::WorkerId;
use crate::core::time::{Time, rfc3339};
use crate::store;

/// A worker's minute, as a store keeps it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Sample {
    /// When the minute began.
    pub minute: Time,
    /// Whose it is.
    pub worker: WorkerId,
    /// All the rest, as JSON.
    pub text: String,
}

/// What a worker has done in a minute. See [`Homing::samples`](crate::Homing::samples).
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[non_exhaustive]
pub struct SampleView {
    /// When the minute began, by the store's clock: a whole minute.
    #[serde(serialize_with = "rfc3339")]
    pub minute: Time,
    /// Whose it is.
    pub worker: WorkerId,
    /// The worker's name: host and process.
    pub name: String,
    /// Its slots.
    pub slots: u32,
    /// How long its slots were taken, added up over the slots, as its heartbeats saw it: 60 s are one slot on average.
    #[serde(serialize_with = "seconds")]
    pub busy: Duration,
    /// Parked futures in its memory at the end of the minute.
    pub resident: u32,
    /// What it did, by queue and kind. Beyond [`limits::SAMPLE_PARTS`](crate::limits::SAMPLE_PARTS) the smallest are
    /// added up under an empty queue and kind.
    pub work: Vec<WorkSample>,
}

/// What a worker has done in a minute for the tasks of one queue and kind.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
#[non_exhaustive]
pub struct WorkSample {
    /// The queue.
    pub queue: String,
    /// The kind.
    pub kind: String,
    /// Stretches begun: a task that parks begins another when it goes on, and so does one that is tried again.
    pub begun: u64,
    /// Tasks that ended with a value.
    pub succeeded: u64,
    /// Tasks that failed for good.
    pub failed: u64,
    /// Attempts that failed and are tried again.
    pub retried: u64,
    /// Stretches that ended by parking.
    pub parked: u64,
    /// Bodies that stood still: drift, or a value that does not decode.
    pub stalled: u64,
    /// How long tasks could have been claimed before they began for the first time.
    pub wait: Histogram,
    /// How long stretches took, from the claim until the store had their end.
    pub run: Histogram,
}

impl WorkSample {
    /// Adds another one's figures.
    pub fn add(&mut self, other: &Self) {
        self.begun += other.begun;
        self.succeeded += other.succeeded;
        self.failed += other.failed;
        self.retried += other.retried;
        self.parked += other.parked;
        self.stalled += other.stalled;
        self.wait.merge(&other.wait);
        self.run.merge(&other.run);
    }

    /// Tasks that ended, by the worker's doing: cancelled ones are ended by others.
    pub fn ended(&self) -> u64 {
        self.succeeded + self.failed
    }
}

/// Durations, counted in twelve buckets: up to each of [`BOUNDS`](Self::BOUNDS), and longer ones.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize)]
#[serde(transparent)]
pub struct Histogram([u64; 12]);

impl Histogram {
    /// The longest durations of all buckets but the last.
    pub const BOUNDS: [Duration; 11] = [
        Duration::from_millis(1),
        Duration::from_millis(5),
        Duration::from_millis(25),
        Duration::from_millis(100),
        Duration::from_millis(500),
        Duration::from_secs(1),
        Duration::from_secs(5),
        Duration::from_secs(30),
        Duration::from_mins(2),
        Duration::from_mins(10),
        Duration::from_hours(1),
    ];

    /// How many are in each bucket.
    pub fn counts(&self) -> [u64; 12] {
        self.0
    }

    /// How many there are.
    pub fn total(&self) -> u64 {
        self.0.iter().sum()
    }

    /// The bound that so many of a hundred do not exceed; `None` where there are none, or where it is beyond the
    /// last bound.
    ///
    /// ```
    /// # use homing::Histogram;
    /// assert_eq!(Histogram::default().within(50), None);
    /// ```
    pub fn within(&self, percent: u64) -> Option<Duration> {
        let wanted = (self.total() * percent).div_ceil(100).max(1);
        let mut seen = 0;
        let bucket = self.0.iter().position(|count| {
            seen += count;
            seen >= wanted
        });
        Self::BOUNDS.get(bucket?).copied()
    }

    pub(crate) fn count(&mut self, duration: Duration) {
        let bucket = Self::BOUNDS.partition_point(|bound| *bound < duration);
        self.0[bucket] += 1;
    }

    fn merge(&mut self, other: &Self) {
        for (own, other) in self.0.iter_mut().zip(other.0) {
            *own += other;
        }
    }

    /// Without the empty buckets behind the last that is none.
    fn short(&self) -> &[u64] {
        let end = self.0.iter().rposition(|count| *count > 0).map_or(0, |last| last + 1);
        &self.0[..end]
    }

    fn long(short: &[u64]) -> Self {
        let mut all = [0; 12];
        for (own, count) in all.iter_mut().zip(short) {
            *own = *count;
        }
        Self(all)
    }
}

/// What is in a sample's text.
#[derive(Serialize, Deserialize)]
struct Text {
    name: String,
    slots: u32,
    /// In microseconds.
    busy: u64,
    resident: u32,
    work: Vec<Part>,
}

/// A queue, a kind, the counters in the order of the fields, the two histograms.
type Part = (String, String, [u64; 6], Vec<u64>, Vec<u64>);

impl Sample {
    /// As a store keeps it.
    pub(crate) fn of(view: &SampleView) -> Self {
        let part = |work: &WorkSample| {
            let WorkSample {
                queue, kind, begun, succeeded, failed, retried, parked, stalled, ..
            } = work;
            let counters = [*begun, *succeeded, *failed, *retried, *parked, *stalled];
            let (wait, run) = (work.wait.short().to_vec(), work.run.short().to_vec());
            (queue.clone(), kind.clone(), counters, wait, run)
        };
        let text = Text {
            name: view.name.clone(),
            slots: view.slots,
            busy: u64::try_from(view.busy.as_micros()).unwrap_or(u64::MAX),
            resident: view.resident,
            work: view.work.iter().map(part).collect(),
        };
        Self { minute: view.minute, worker: view.worker, text: crate::core::encode::json(&text) }
    }

    /// As people see it.
    pub(crate) fn view(self) -> Result<SampleView, store::Error> {
        let Self { minute, worker, text } = self;
        let read: Result<Text, _> = serde_json::from_str(&text);
        let Text { name, slots, busy, resident, work } = read.map_err(|error| {
            let reason = format!("the sample of worker {worker} does not decode: {error}");
            store::Error::Failed { reason }
        })?;
        let part = |(queue, kind, counters, wait, run): Part| {
            let [begun, succeeded, failed, retried, parked, stalled] = counters;
            let (wait, run) = (Histogram::long(&wait), Histogram::long(&run));
            WorkSample {
                queue,
                kind,
                begun,
                succeeded,
                failed,
                retried,
                parked,
                stalled,
                wait,
                run,
            }
        };
        let work = work.into_iter().map(part).collect();
        let busy = Duration::from_micros(busy);
        Ok(SampleView { minute, worker, name, slots, busy, resident, work })
    }
}

fn seconds<S: serde::Serializer>(duration: &Duration, to: S) -> Result<S::Ok, S::Error> {
    duration.as_secs_f64().serialize(to)
}

/// Which samples to list.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct SampleFilter {
    /// Only minutes that began at this instant or later.
    pub since: Option<Time>,
    /// Only minutes that began before this instant.
    pub until: Option<Time>,
    /// Only those of a worker.
    pub worker: Option<WorkerId>,
    /// Only those behind this one: minute and worker of the last of the page before.
    pub after: Option<(Time, WorkerId)>,
    /// How many at most, the oldest first; zero, or more than [`limits::PAGE`](crate::limits::PAGE), is that.
    pub limit: usize,
}

impl SampleFilter {
    /// Rows of the page.
    pub(crate) fn rows(&self) -> usize {
        if self.limit == 0 { crate::limits::PAGE } else { self.limit.min(crate::limits::PAGE) }
    }

    /// The first minute that may be asked for, as an instant.
    pub(crate) fn from(&self) -> Time {
        let after = self.after.map_or(Time(i64::MIN), |(minute, _)| minute);
        self.since.unwrap_or(Time(i64::MIN)).max(after)
    }

    /// The instant before which all are.
    pub(crate) fn to(&self) -> Time {
        self.until.unwrap_or(Time::NEVER)
    }

    /// Whether a sample is asked for.
    pub(crate) fn admits(&self, minute: Time, worker: WorkerId) -> bool {
        self.since.is_none_or(|since| minute >= since)
            && self.until.is_none_or(|until| minute < until)
            && self.worker.is_none_or(|wanted| worker == wanted)
            && self.after.is_none_or(|after| (minute, worker) > after)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn durations_are_counted_up_to_their_bounds() {
        let mut all = Histogram::default();
        for millis in [0, 1, 2, 26, 3_600_000, 3_600_001] {
            all.count(Duration::from_millis(millis));
        }
        assert_eq!(all.counts(), [2, 1, 0, 1, 0, 0, 0, 0, 0, 0, 1, 1]);
        assert_eq!(all.within(50), Some(Duration::from_millis(5)));
        assert_eq!([all.within(80), all.within(100)], [Some(Duration::from_hours(1)), None]);
    }

    #[test]
    fn samples_are_read_as_they_were() {
        let mut work = WorkSample {
            queue: "q".to_owned(),
            kind: "k".to_owned(),
            begun: 3,
            ..WorkSample::default()
        };
        work.wait.count(Duration::from_secs(2));
        work.run.count(Duration::from_hours(2));
        let view = SampleView {
            minute: Time(60_000_000),
            worker: WorkerId::fresh(),
            name: "host:1".to_owned(),
            slots: 8,
            busy: Duration::from_millis(90_500),
            resident: 2,
            work: vec![work],
        };
        let kept = Sample::of(&view);
        assert!(kept.text.len() < 140, "{}", kept.text);
        assert_eq!(kept.view().unwrap(), view);
        let broken = Sample { text: "{}".to_owned(), ..Sample::of(&view) };
        assert!(broken.view().unwrap_err().to_string().contains("does not decode"));
    }
}
