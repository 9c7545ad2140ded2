//! How fast a job goes, and how long it will take.

use std::collections::VecDeque;
use std::time::Duration;

use homing::JobView;
use tokio::time::Instant;

use crate::words;

/// The time that the pace is measured over.
const SPAN: Duration = Duration::from_secs(10);
/// The least time: before it nothing is said.
const LEAST: Duration = Duration::from_secs(1);

/// The latest looks: when, how many tasks had ended, and the progress.
#[derive(Debug, Default)]
pub(super) struct Pace {
    looks: VecDeque<(Instant, u64, f64)>,
}

impl Pace {
    /// Takes a look in.
    pub(super) fn see(&mut self, now: Instant, ended: u64, progress: f64) {
        self.looks.push_back((now, ended, progress));
        while self.looks.get(1).is_some_and(|(then, ..)| now.duration_since(*then) >= SPAN) {
            self.looks.pop_front();
        }
    }

    fn span(&self) -> Option<(Duration, u64, f64, f64)> {
        let ((from, before, lower), (to, ended, progress)) =
            (self.looks.front()?, self.looks.back()?);
        let span = to.duration_since(*from);
        (span >= LEAST).then(|| (span, ended.saturating_sub(*before), progress - lower, *progress))
    }

    /// Tasks ended a second.
    pub(super) fn rate(&self) -> Option<f64> {
        self.span().map(|(span, ended, ..)| ended as f64 / span.as_secs_f64())
    }

    /// How long it will take if no more is found to do; `None` while it does not advance.
    pub(super) fn left(&self) -> Option<Duration> {
        let (span, _, advance, progress) = self.span()?;
        let left = (100.0 - progress) / advance * span.as_secs_f64();
        (advance > 0.0).then(|| Duration::try_from_secs_f64(left).ok()).flatten()
    }

    /// Both, in words.
    pub(super) fn words(&self) -> String {
        let Some(rate) = self.rate() else { return String::new() };
        let rate = if rate < 10.0 {
            format!("{rate:.1} tasks/s")
        } else {
            format!("{} tasks/s", words::number(rate.round() as u64))
        };
        match self.left() {
            Some(left) => format!("{rate}, about {} left", about(left)),
            None => rate,
        }
    }
}

/// An estimate is no better than a second.
fn about(left: Duration) -> String {
    let seconds = left.as_secs_f64().ceil() as u64;
    if seconds < 10 {
        format!("{seconds} s")
    } else {
        words::duration(Duration::from_secs(seconds))
    }
}

/// How a job has ended, in a line.
pub(super) fn outcome(job: &JobView) -> String {
    let took = job.started.zip(job.ended).map(|(from, to)| words::duration(to.since(from)));
    let after = took.map(|took| format!(" after {took}")).unwrap_or_default();
    let why = job.failure.as_ref().map(|failure| format!(": {}", failure.message));
    let why = words::line(&why.unwrap_or_default(), 500);
    format!("{}{after}, {}{why}", job.status, words::states(&job.counts))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_pace_is_that_of_the_last_seconds() {
        let (start, mut pace) = (Instant::now(), Pace::default());
        let at = |seconds| start + Duration::from_secs(seconds);
        pace.see(at(0), 0, 0.0);
        assert_eq!((pace.rate(), pace.words()), (None, String::new()));
        pace.see(at(2), 200, 20.0);
        assert_eq!(pace.words(), "100 tasks/s, about 8 s left");
        // It stalls: after a while nothing is left of the fast start.
        for second in 3..20 {
            pace.see(at(second), 200, 20.0);
        }
        assert_eq!((pace.left(), pace.words()), (None, "0.0 tasks/s".to_owned()));
        // More is found than is done.
        pace.see(at(20), 300, 10.0);
        assert_eq!((pace.left(), pace.words()), (None, "10 tasks/s".to_owned()));
    }
}
