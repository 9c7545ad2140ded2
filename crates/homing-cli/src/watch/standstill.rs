//! How long a watched job has stood still.
//!
//! A task that stands still is tried again from time to time and runs for that moment, so a look may find the
//! job at work between two that find it standing. It goes on only when it has been at work for longer than that.

use std::time::Duration;

use homing::Status;
use tokio::time::Instant;

/// A try takes less than this; a job that is at work for longer goes on.
const GOES_ON: Duration = Duration::from_secs(10);

/// The standstill of a job, over many looks.
#[derive(Debug, Default)]
pub(super) struct Standstill {
    /// The first and the last look that found it standing.
    seen: Option<(Instant, Instant)>,
}

impl Standstill {
    /// Takes a look into account. How long the job has stood still, if it does so now.
    pub(super) fn see(&mut self, now: Instant, status: Status) -> Option<Duration> {
        if status == Status::Stalled {
            let (since, last) = self.seen.get_or_insert((now, now));
            *last = now;
            return Some(now - *since);
        }
        self.seen = self.seen.filter(|(_, last)| now - *last <= GOES_ON);
        None
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_try_does_not_end_a_standstill() {
        let (start, mut standstill) = (Instant::now(), Standstill::default());
        let mut see =
            |seconds, status| standstill.see(start + Duration::from_secs(seconds), status);
        let stood = |seconds| Some(Duration::from_secs(seconds));
        assert_eq!(see(0, Status::InProgress), None);
        assert_eq!(see(1, Status::Stalled), stood(0));
        assert_eq!(see(300, Status::Stalled), stood(299));
        assert_eq!(see(301, Status::InProgress), None);
        assert_eq!(see(302, Status::Stalled), stood(301), "it was a try");
        assert_eq!(see(312, Status::InProgress), None);
        assert_eq!(see(313, Status::InProgress), None);
        assert_eq!(see(314, Status::Stalled), stood(0), "it had gone on");
    }
}
