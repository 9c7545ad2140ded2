//! The end of a task. Its parent, and the tasks that wait for its job, are looked at by
//! [`wake_parents`](super::wake::wake_parents) in the same transaction.

use std::borrow::Cow;

use crate::core::failure::{Failure, Reason};
use crate::core::fingerprint::Fingerprint;
use crate::core::id::{Local, TaskId};
use crate::core::link::job_after_failure;
use crate::core::state::{State, cancelled_text};
use crate::core::wait::SetCounts;
use crate::store::events::Swept;
use crate::store::rules::{Cascade, Ledger, log};
use crate::store::{CancelledBy, Ended};

/// How a task ends.
#[derive(Debug)]
pub(crate) struct Ending<'e> {
    pub(crate) state: State,
    pub(crate) outcome: Cow<'e, str>,
    pub(crate) by: Option<CancelledBy>,
    /// Why it failed, as JSON: what a retry takes back.
    pub(crate) cause: Option<String>,
}

impl Ending<'_> {
    /// What the failure of a task that fails by itself has in common with others.
    pub(crate) fn fingerprint(&self, id: TaskId) -> Option<Fingerprint> {
        match self.state {
            State::Failed => Fingerprint::of_stored(id, &self.outcome),
            State::Succeeded
            | State::Cancelled
            | State::Pending
            | State::Running
            | State::Waiting => None,
        }
    }
}

/// The count that a child is in which ended like this.
pub(crate) fn count_of(counts: &mut SetCounts, state: State, by: Option<CancelledBy>) -> &mut u64 {
    match state {
        State::Succeeded => &mut counts.succeeded,
        State::Failed => &mut counts.failed,
        State::Cancelled | State::Pending | State::Running | State::Waiting => {
            if by.is_some_and(CancelledBy::is_parent) {
                &mut counts.aborted
            } else {
                &mut counts.cancelled
            }
        }
    }
}

/// Counts the end of a child at its parent. Returns its number.
pub(crate) fn count_end<'e, L: Ledger<'e>>(
    ledger: &mut L,
    (parent, set): (TaskId, Local),
    (state, by): (State, Option<CancelledBy>),
) -> Result<u64, L::Error> {
    let counts = ledger.change_counts(parent, set, |counts| {
        *count_of(counts, state, by) += 1;
        counts.last_end += 1;
    })?;
    ledger.parents_to_check().insert((parent, set));
    Ok(counts.last_end)
}

/// Ends a task that was taken up. The first terminal write wins: `false` if it has ended before.
pub(crate) fn finish<'e, L: Ledger<'e>>(
    ledger: &mut L,
    id: TaskId,
    ending: Ending<'e>,
) -> Result<bool, L::Error> {
    let failed = ending.state != State::Succeeded;
    let falls = failed && ledger.has_open_children(id)?;
    let Some(row) = ledger.change(id) else { return Ok(false) };
    debug_assert!(row.state.may_become(ending.state), "{} -> {}", row.state, ending.state);
    let child = row.parent().zip(row.set);
    if let Some(token) = row.stop() {
        ledger.queue_cancellation_notice(id, token)?;
    }
    if !failed {
        // A retry's body still wants what it was sent: whoever sent it does not say it again.
        ledger.forget_signals(id)?;
    }
    if falls {
        let by = CancelledBy::Parent;
        ledger.add_cascade(Cascade { task: id, set: None, below: u32::MAX, by })?;
    }
    let end = if let Some(place) = child {
        Some(count_end(ledger, place, (ending.state, ending.by))?)
    } else {
        ledger.end_job(id, Ended::new(id.job, ending.state, &ending.outcome))?;
        None
    };
    let link = if failed { ledger.link_arguments(id)? } else { None };
    let follower =
        link.and_then(|link| job_after_failure(id, &link, &ending.outcome, ledger.now()));
    ledger.end(id, end, ending)?;
    follower.map_or(Ok(()), |job| ledger.follow(job))?;
    Ok(true)
}

/// Ends a task from outside its body. `false` if it has ended before.
pub(crate) fn fail<'e, L: Ledger<'e>>(
    ledger: &mut L,
    id: TaskId,
    reason: Reason,
    text: &str,
    by: Option<CancelledBy>,
) -> Result<bool, L::Error> {
    if !ledger.take_up(id)? {
        return Ok(false);
    }
    let Some(row) = ledger.row(id) else { return Ok(false) };
    let failure = Failure::new(&row.kind, id, row.attempt, reason, text);
    let state = if by.is_some() { State::Cancelled } else { State::Failed };
    if by.is_none() {
        let line = crate::core::log::ended(&failure, ledger.now());
        log::say(ledger, id, Cow::Owned(line))?;
    }
    let outcome = Cow::Owned(crate::core::encode::json(&failure));
    let ended = finish(ledger, id, Ending { state, outcome, by, cause: None })?;
    ledger.put_down(id)?;
    if ended && by.is_none() {
        ledger.tell(Swept::Failed(failure));
    }
    Ok(ended)
}

/// Cancels a task, as a step of a cascade or because its parent aborts it alone.
pub(crate) fn cancel<'e, L: Ledger<'e>>(
    ledger: &mut L,
    id: TaskId,
    by: CancelledBy,
) -> Result<bool, L::Error> {
    fail(ledger, id, Reason::Cancelled, cancelled_text(by), Some(by))
}
