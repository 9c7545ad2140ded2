//! Time: the one place where production code reads it, and the clock that tests turn by hand.
//!
//! Stores keep instants as microseconds since the Unix epoch. Nothing here decides who lives: leases
//! and locks do.

use crate::core::time::Time;
use std::sync::Arc;
use std::sync::atomic::{AtomicI64, Ordering};
use std::time::{Duration, SystemTime};

use tokio::sync::watch;

/// Where a store and its workers read the time.
#[derive(Debug, Clone, Default)]
pub enum Clock {
    /// The machine's clock. Not for runtimes whose time a test has paused: see
    /// [`StartError::PausedTime`](crate::StartError::PausedTime).
    #[default]
    System,
    /// A clock that a test turns.
    Manual(ManualClock),
    /// A clock that goes with the paused time of a test's runtime.
    #[cfg(feature = "testing")]
    Simulated(SimulatedClock),
    /// The clock of the server that all of a store's processes have in common.
    Server(ServerClock),
}

impl Clock {
    /// The time now.
    pub fn now(&self) -> Time {
        match self {
            Self::System => system_now(),
            Self::Manual(clock) => *clock.now.borrow(),
            #[cfg(feature = "testing")]
            Self::Simulated(clock) => clock.now(),
            Self::Server(clock) => clock.now(),
        }
    }

    /// Waits until the clock shows `time`.
    pub async fn until(&self, time: Time) {
        match self {
            Self::System => tokio::time::sleep(time.since(system_now())).await,
            Self::Manual(clock) => {
                // The sender lives in the clock that is borrowed here, so the channel cannot close.
                let _ = clock.now.subscribe().wait_for(|now| *now >= time).await;
            }
            #[cfg(feature = "testing")]
            Self::Simulated(clock) => {
                // The timers of the runtime are as fine as a millisecond.
                while clock.now() < time {
                    tokio::time::sleep(time.since(clock.now())).await;
                }
            }
            Self::Server(clock) => {
                // What is known of the server's clock may change meanwhile.
                while clock.now() < time {
                    tokio::time::sleep(time.since(clock.now())).await;
                }
            }
        }
    }
}

impl Clock {
    /// Whether a test tells the time: then a store must not ask a server for it.
    #[cfg(any(feature = "postgres", feature = "redis"))]
    pub(crate) fn is_told(&self) -> bool {
        match self {
            Self::Manual(_) => true,
            #[cfg(feature = "testing")]
            Self::Simulated(_) => true,
            Self::System | Self::Server(_) => false,
        }
    }

    /// Whether all that waits for it must run on the runtime whose time it goes with.
    pub(crate) fn is_simulated(&self) -> bool {
        match self {
            #[cfg(feature = "testing")]
            Self::Simulated(_) => true,
            Self::System | Self::Manual(_) | Self::Server(_) => false,
        }
    }
}

#[expect(clippy::disallowed_methods, reason = "the one place that reads the machine's clock")]
fn system_now() -> Time {
    let now = Time::from(SystemTime::now());
    #[cfg(feature = "testing")]
    let now = Time(now.0.saturating_add(*AHEAD));
    now
}

/// By how many microseconds a test lets this machine's clock be wrong: `HOMING_CLOCK_AHEAD`, in seconds.
#[cfg(feature = "testing")]
static AHEAD: std::sync::LazyLock<i64> = std::sync::LazyLock::new(|| {
    let seconds = std::env::var("HOMING_CLOCK_AHEAD").ok().and_then(|text| text.parse().ok());
    seconds.map_or(0, |seconds: i64| seconds.saturating_mul(1_000_000))
});

/// A stopwatch for intervals that concern this process alone. It is tokio's, so that it stands still with
/// the paused time of a simulation; elsewhere the two are one.
pub(crate) fn monotonic() -> std::time::Instant {
    tokio::time::Instant::now().into_std()
}

/// Whether tokio's time stands still here, as a test has paused it: then timers fire at once wherever nothing
/// else is to do, and what waits by them for the machine's clock, or for a test's, spins.
#[expect(clippy::disallowed_methods, reason = "the one place that reads the machine's clock")]
pub(crate) fn is_paused() -> bool {
    let told = tokio::time::Instant::now();
    let real = std::time::Instant::now();
    // A stopwatch may be coarse. Once the machine's has moved, tokio's has, unless it is paused.
    while std::time::Instant::now() == real {
        std::hint::spin_loop();
    }
    tokio::time::Instant::now() == told
}

/// A clock that stands still until it is turned.
#[derive(Debug, Clone)]
pub struct ManualClock {
    now: Arc<watch::Sender<Time>>,
}

impl ManualClock {
    /// A clock that shows `start`.
    pub fn starting_at(start: Time) -> Self {
        Self { now: Arc::new(watch::Sender::new(start)) }
    }

    /// What it shows.
    pub fn now(&self) -> Time {
        *self.now.borrow()
    }

    /// Turns the clock forward and wakes whoever waits for an instant now past.
    pub fn advance(&self, by: Duration) {
        self.now.send_modify(|now| *now = now.after(by));
    }

    /// Sets the clock, backwards too: clocks do jump.
    pub fn set(&self, to: Time) {
        self.now.send_replace(to);
    }
}

impl Default for ManualClock {
    /// A clock that shows the first instant of 2026.
    fn default() -> Self {
        Self::starting_at(Time(1_767_225_600_000_000))
    }
}

/// A clock that goes with the time of the tokio runtime it was made on, which a simulation pauses: it jumps
/// to the next timer whenever nothing else is left to do.
///
/// A store's own threads and runtimes have no part in that runtime: they see what it showed when somebody on the
/// runtime last looked.
#[cfg(feature = "testing")]
#[derive(Debug, Clone)]
pub struct SimulatedClock {
    base: tokio::time::Instant,
    /// The runtime it was made on, if it was one. The time of others goes its own way.
    runtime: Option<tokio::runtime::Id>,
    shown: Arc<AtomicI64>,
}

#[cfg(feature = "testing")]
impl SimulatedClock {
    /// A clock that shows the first instant of 2026 now. Made on the runtime whose time it follows.
    pub fn starting_now() -> Self {
        let start = ManualClock::default().now();
        let shown = Arc::new(AtomicI64::new(start.0));
        Self { base: tokio::time::Instant::now(), runtime: runtime(), shown }
    }

    fn now(&self) -> Time {
        if runtime().is_some_and(|here| Some(here) == self.runtime) {
            let now = ManualClock::default().now().after(self.base.elapsed());
            self.shown.fetch_max(now.0, Ordering::SeqCst);
        }
        Time(self.shown.load(Ordering::SeqCst))
    }
}

#[cfg(feature = "testing")]
fn runtime() -> Option<tokio::runtime::Id> {
    tokio::runtime::Handle::try_current().ok().map(|handle| handle.id())
}

/// A server's clock, followed from here.
///
/// It goes on with this process's stopwatch from the last reading of the server's clock, so the machine's
/// own clock has no part in it: it may be wrong by years, and may jump. It differs from the server's by
/// no more than one round trip, and by the drift of two oscillators since the last reading.
#[derive(Debug, Clone)]
pub struct ServerClock {
    base: std::time::Instant,
    /// What the server's clock showed at `base`.
    shown: Arc<AtomicI64>,
}

impl ServerClock {
    /// A clock that has not been read yet: it shows this machine's time.
    #[allow(dead_code, reason = "for stores with a server")]
    pub(crate) fn unread() -> Self {
        Self { base: monotonic(), shown: Arc::new(AtomicI64::new(system_now().0)) }
    }

    fn now(&self) -> Time {
        Time(self.shown.load(Ordering::Relaxed)).after(self.base.elapsed())
    }

    /// Takes a reading: what the server showed at some moment between two of this process's. The clock is
    /// moved only as far as the reading proves it wrong, so that it does not tremble.
    #[allow(dead_code, reason = "for stores with a server")]
    pub(crate) fn read(&self, asked: std::time::Instant, heard: std::time::Instant, server: Time) {
        let earliest = server.before(heard.saturating_duration_since(self.base)).0;
        let latest = server.before(asked.saturating_duration_since(self.base)).0;
        let shown = self.shown.load(Ordering::Relaxed);
        self.shown.store(shown.clamp(earliest, latest), Ordering::Relaxed);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_servers_clock_is_moved_only_as_far_as_it_is_wrong() {
        let clock = ServerClock::unread();
        let (asked, heard) = (clock.base, clock.base + Duration::from_millis(10));
        clock.read(asked, heard, Time(1_000_000));
        let shown = || clock.shown.load(Ordering::Relaxed);
        assert_eq!(shown(), 1_000_000, "a machine that is ahead");
        clock.read(asked, heard, Time(1_005_000));
        assert_eq!(shown(), 1_000_000, "within what the round trip leaves open");
        clock.read(asked, heard, Time(2_000_000));
        assert_eq!(shown(), 1_990_000, "a machine that is behind");
    }

    #[test]
    fn instants_are_written_by_rfc_3339() {
        let told = [Time(0), Time(-1), Time(1_769_903_999_123_456)].map(Time::rfc3339);
        let wanted = [
            "1970-01-01T00:00:00.000000Z",
            "1969-12-31T23:59:59.999999Z",
            "2026-01-31T23:59:59.123456Z",
        ];
        assert_eq!(told.map(Option::unwrap), wanted);
        assert_eq!((Time::NEVER.rfc3339(), Time(i64::MIN).rfc3339()), (None, None));
    }
}
