//! What upkeep does to one task. Which tasks it does it to, each store finds in its own way.

use std::borrow::Cow;
use std::time::Duration;

use crate::core::failure::Reason;
use crate::core::id::{TaskId, WorkerId};
use crate::core::state::{State, crashed_text, overdue_text, stall_pause};
use crate::store::events::Swept;
use crate::store::rules::{Ledger, end, log, resumed, wake};

/// Takes a task back from a worker that is dead. It fails of one crash too many.
pub(crate) fn crash<'e, L: Ledger<'e>>(
    ledger: &mut L,
    id: TaskId,
    (worker, name): (WorkerId, &str),
    max_crashes: u32,
) -> Result<(), L::Error> {
    if !ledger.take_up(id)? {
        return Ok(());
    }
    let now = ledger.now();
    let held = ledger.row(id).and_then(|row| Some((row.token?, row.attempt)));
    let held = held.filter(|(token, _)| token.worker == worker);
    if held.is_some_and(|(token, _)| token.is_ahead()) {
        // Nobody knows whether it had begun. The next worker that takes it begins it at once.
        if let Some(row) = ledger.change(id) {
            row.at_once = true;
            row.release(resumed(now));
        }
    } else if let Some((token, attempt)) = held {
        let line = crate::core::log::crashed(attempt, token, name, now);
        log::say(ledger, id, Cow::Owned(line))?;
        if let Some(row) = ledger.change(id) {
            row.crashes += 1;
            row.stop();
            let (kind, crashes) = (row.kind.clone(), row.crashes);
            let poisonous = crashes >= max_crashes;
            if !poisonous {
                row.release(resumed(now));
            }
            let worker = Some(worker);
            ledger.tell(Swept::TakenBack { id, kind, attempt, crashes, worker });
            if poisonous {
                end::fail(ledger, id, Reason::Crashed, &crashed_text(crashes), None)?;
            }
        }
    }
    ledger.put_down(id)
}

/// Takes a task back from a worker that leaves.
pub(crate) fn leave<R: super::Rows>(
    rows: &mut R,
    id: TaskId,
    worker: WorkerId,
) -> Result<(), R::Error> {
    if !rows.take_up(id)? {
        return Ok(());
    }
    let now = rows.now();
    let held = rows.row(id).and_then(|row| row.token);
    if held.is_some_and(|token| token.worker == worker)
        && let Some(row) = rows.change(id)
    {
        row.release(resumed(now));
    }
    rows.put_down(id)
}

/// Acts on an instant of a task that has come.
pub(crate) fn fire_timer<'e, L: Ledger<'e>>(ledger: &mut L, id: TaskId) -> Result<(), L::Error> {
    if !ledger.take_up(id)? {
        return Ok(());
    }
    let waiting = ledger.row(id).is_some_and(|row| row.state == State::Waiting);
    if !end_if_overdue(ledger, id)? && waiting {
        wake::wake_waiting(ledger, id)?;
    }
    ledger.put_down(id)
}

/// Ends a task that is past its expiry or its deadline.
pub(crate) fn end_if_overdue<'e, L: Ledger<'e>>(
    ledger: &mut L,
    id: TaskId,
) -> Result<bool, L::Error> {
    if !ledger.take_up(id)? {
        return Ok(false);
    }
    let now = ledger.now();
    let reason = ledger.row(id).and_then(|row| row.overdue(now));
    let ended = match reason {
        Some(reason) => end::fail(ledger, id, reason, overdue_text(reason), None)?,
        None => false,
    };
    ledger.put_down(id)?;
    Ok(ended)
}

/// Why a task stands still of which something cannot be read, and for how long. The program's own log is told.
/// Kind and attempt are absent where the row is what cannot be read.
pub(crate) fn standstill(
    id: TaskId,
    known: Option<(&str, u32)>,
    stalls: u32,
    what: &str,
) -> (String, Duration) {
    let reason = crate::store::read::unreadable_text(id, what);
    let pause = stall_pause(stalls);
    crate::store::events::stands_still(id, known, &reason, pause);
    (reason, pause)
}
