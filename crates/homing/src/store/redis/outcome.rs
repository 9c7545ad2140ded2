//! Outcomes as they are kept: JSON that a worker has made, or of what a failure is made that a script has decided on.
//!
//! The scripts make no JSON. They keep reason, attempt, kind and what else there is to say; who reads it makes of it
//! what every other store has stored.

use rmpv::ValueRef;

use super::link::fault::Result;
use super::pack::{self, List};
use crate::core::failure::{Failure, Reason};
use crate::core::id::TaskId;
use crate::core::state::{CancelledBy, cancelled_text, crashed_text, overdue_text};

/// An outcome that a worker has brought.
pub(super) fn of_worker(json: &str) -> Vec<u8> {
    [b"j", json.as_bytes()].concat()
}

/// An outcome as JSON. One that does not decode is handed on as what it is: whoever reads it says so, of this task.
pub(super) fn text(blob: &[u8], task: TaskId) -> String {
    let raw = |bytes| String::from_utf8_lossy(bytes).into_owned();
    match blob.split_first() {
        Some((b'j', json)) => raw(json),
        Some((b'f', made)) => failure(made, task)
            .map_or_else(|_| raw(blob), |failure| crate::core::encode::json(&failure)),
        _ => raw(blob),
    }
}

/// The failure that a script has decided on.
pub(super) fn failure(blob: &[u8], task: TaskId) -> Result<Failure> {
    let value = pack::parse(blob)?;
    let mut list = List::of(&value)?;
    let (code, attempt, kind) = (list.number()?, list.count()?, list.text()?);
    let more = list.value()?;
    let (reason, text) = match code {
        1 => (Reason::Expired, overdue_text(Reason::Expired).to_owned()),
        2 => (Reason::Deadline, overdue_text(Reason::Deadline).to_owned()),
        3 => (Reason::Crashed, crashed_text(more.as_u64().unwrap_or(0) as u32)),
        _ => (Reason::Cancelled, cancelled(more)?),
    };
    Ok(Failure::new(&kind, task, attempt, reason, &text))
}

/// By whom: the code says it all, or somebody has said who and why.
fn cancelled(more: &ValueRef<'_>) -> Result<String> {
    match more {
        ValueRef::String(said) => pack::text(said.as_bytes()),
        other => {
            let by = other.as_u64().and_then(|code| CancelledBy::from_code(code as i64));
            Ok(cancelled_text(by.unwrap_or(CancelledBy::User)).to_owned())
        }
    }
}
