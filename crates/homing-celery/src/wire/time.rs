//! Instants as Celery writes them: ISO 8601 with an offset, or without one, which means UTC.

use std::time::SystemTime;

use jiff::Timestamp;
use jiff::civil::DateTime;
use jiff::tz::TimeZone;

/// An instant of a message, or what is wrong with it.
pub(crate) fn read_iso(text: &str) -> Result<SystemTime, String> {
    if let Ok(time) = text.parse::<Timestamp>() {
        return Ok(time.into());
    }
    let wrong =
        |_| format!("`{text}` is no instant of ISO 8601, such as 2026-01-31T12:00:00+00:00");
    let local: DateTime = text.parse().map_err(wrong)?;
    let time = local.to_zoned(TimeZone::UTC).map_err(wrong)?;
    Ok(time.timestamp().into())
}

/// An instant as Celery's own workers write it.
pub(crate) fn iso(time: SystemTime) -> String {
    // Beyond the year 9999 there is no such text.
    let time = Timestamp::try_from(time).unwrap_or(Timestamp::MAX);
    let text = time.strftime("%Y-%m-%dT%H:%M:%S%.6f");
    format!("{text}+00:00")
}
