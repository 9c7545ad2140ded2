//! An instant: a number, and how people read it.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use jiff::Timestamp;
use serde::{Deserialize, Serialize, Serializer};

/// An instant of the store's clock, in microseconds since the Unix epoch. Stores and records keep the number;
/// what people and programs are shown of jobs and tasks has [RFC 3339](Self::rfc3339).
#[derive(
    Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize, Default,
)]
#[serde(transparent)]
pub struct Time(pub i64);

impl Time {
    /// Further away than any due time.
    pub const NEVER: Self = Self(i64::MAX);

    /// The instant `duration` later; saturates.
    #[must_use]
    pub fn after(self, duration: Duration) -> Self {
        Self(self.0.saturating_add(i64::try_from(duration.as_micros()).unwrap_or(i64::MAX)))
    }

    /// The instant `duration` earlier; saturates.
    #[must_use]
    pub fn before(self, duration: Duration) -> Self {
        Self(self.0.saturating_sub(i64::try_from(duration.as_micros()).unwrap_or(i64::MAX)))
    }

    /// How much later this instant is than `earlier`; zero if it is not.
    pub fn since(self, earlier: Self) -> Duration {
        Duration::from_micros(u64::try_from(self.0.saturating_sub(earlier.0)).unwrap_or(0))
    }
}

impl Time {
    /// The instant by RFC 3339, in UTC and to the microsecond: `2026-01-31T23:59:59.123456Z`. `None` where no
    /// calendar knows it, as [`NEVER`](Self::NEVER).
    pub fn rfc3339(self) -> Option<String> {
        let time = Timestamp::from_microsecond(self.0).ok()?;
        Some(format!("{time:.6}"))
    }
}

/// Writes an instant for people and programs: by RFC 3339, or as `null` where there is none.
pub(crate) fn rfc3339<S: Serializer>(
    time: &(impl Copy + Into<Option<Time>>),
    to: S,
) -> Result<S::Ok, S::Error> {
    (*time).into().and_then(Time::rfc3339).serialize(to)
}

impl From<Time> for SystemTime {
    fn from(time: Time) -> Self {
        let distance = Duration::from_micros(time.0.unsigned_abs());
        if time.0 < 0 { UNIX_EPOCH - distance } else { UNIX_EPOCH + distance }
    }
}

impl From<SystemTime> for Time {
    fn from(time: SystemTime) -> Self {
        match time.duration_since(UNIX_EPOCH) {
            Ok(since) => Self(0).after(since),
            Err(before) => Self(0).before(before.duration()),
        }
    }
}
