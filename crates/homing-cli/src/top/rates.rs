//! Throughput: tasks ended a second, from what workers tell with their heartbeats.

use std::collections::{HashMap, VecDeque};
use std::time::Duration;

use homing::{Time, WorkerId, WorkerView};

/// Looks that the curve shows.
const CURVE: usize = 120;
/// Heartbeats of a worker that its rate spans, the first and the last included.
const BEATS: usize = 3;

/// What workers have told so far.
#[derive(Debug, Default)]
pub(crate) struct Rates {
    /// Of each worker the latest heartbeats: when, and how many tasks it had ended.
    beats: HashMap<WorkerId, VecDeque<(Time, u64)>>,
    curve: VecDeque<u64>,
}

impl Rates {
    /// Takes in what the workers told last.
    pub(crate) fn hear(&mut self, workers: &[WorkerView]) {
        self.beats.retain(|id, _| workers.iter().any(|worker| worker.id == *id && worker.alive));
        for worker in workers.iter().filter(|worker| worker.alive) {
            let beats = self.beats.entry(worker.id).or_default();
            if beats.back().is_none_or(|(time, _)| *time < worker.heartbeat) {
                beats.push_back((worker.heartbeat, worker.ended));
            }
            while beats.len() > BEATS {
                beats.pop_front();
            }
        }
        if let Some(rate) = self.total() {
            self.curve.push_back(rate.round() as u64);
        }
        while self.curve.len() > CURVE {
            self.curve.pop_front();
        }
    }

    /// Tasks a second of one worker; `None` before its second heartbeat.
    pub(crate) fn of(&self, worker: WorkerId) -> Option<f64> {
        let beats = self.beats.get(&worker)?;
        let ((from, before), (to, now)) = (beats.front()?, beats.back()?);
        let span = to.since(*from);
        (span > Duration::ZERO).then(|| now.saturating_sub(*before) as f64 / span.as_secs_f64())
    }

    /// Tasks a second of all workers; `None` before any has told twice.
    pub(crate) fn total(&self) -> Option<f64> {
        self.beats.keys().filter_map(|id| self.of(*id)).reduce(|sum, rate| sum + rate)
    }

    /// The totals of the latest looks, rounded, at most so many.
    pub(crate) fn curve(&self, most: usize) -> Vec<u64> {
        self.curve.iter().skip(self.curve.len().saturating_sub(most)).copied().collect()
    }
}
