//! What a commit tells: to this process, with the answer of the script, and to others, by a message.

use std::time::Duration;

use rmpv::ValueRef;

use super::link::fault::{Fault, Result};
use super::pack::{self, List};
use super::{outcome, task};
use crate::core::failure::Failure;
use crate::core::state::State;
use crate::store::events::Swept;
use crate::store::read::unreadable_text;
use crate::store::{Ended, Hints};

/// Says the hints that stand next in a list: whether tasks became ready, whether workers have news, jobs that
/// ended. A commit of another process may be more than that.
pub(super) fn say(hints: &Hints, list: &mut List<'_, '_>, by_another: bool) -> Result<()> {
    let (ready, noticed) = (list.flag()?, list.flag()?);
    let mut jobs = list.list()?;
    let mut ended = Vec::with_capacity(jobs.left() / 3);
    while jobs.left() > 0 {
        ended.push(ended_from(&mut jobs)?);
    }
    hints.say_ended(ended);
    if by_another {
        hints.say_changed();
        return Ok(());
    }
    if ready {
        hints.say_ready();
    }
    if noticed {
        hints.say_noticed();
    }
    Ok(())
}

/// What another process, or another store object of this one, has told. Nothing, if it was this one.
pub(super) fn hear(hints: &Hints, own: [u8; 16], message: &[u8]) -> Result<()> {
    let message: ValueRef<'_> = pack::parse(message)?;
    let mut parts = List::of(&message)?;
    if parts.bytes()? == own { Ok(()) } else { say(hints, &mut parts, true) }
}

/// The next three values: job, state, outcome.
fn ended_from(list: &mut List<'_, '_>) -> Result<Ended> {
    let (job, state) = (list.job()?, state(list.number()?)?);
    let outcome = list.maybe_bytes()?;
    let text = outcome.map(|blob| outcome::text(blob, job.root()));
    Ok(text.map_or_else(|| Ended::unknown(job), |text| Ended::new(job, state, &text)))
}

pub(super) fn state(code: i64) -> Result<State> {
    State::from_code(code).ok_or_else(|| Fault::unreadable(&format!("{code} is no state")))
}

/// Says in the program's own log what upkeep did to tasks.
pub(super) fn say_swept(list: &mut List<'_, '_>) -> Result<()> {
    while list.left() > 0 {
        let mut one = list.list()?;
        let what = one.number()?;
        let id = one.task()?;
        let swept = if what == 2 {
            let text = unreadable_text(id, &task::undecoded(&one.text()?));
            let pause = Duration::from_micros(one.count()?);
            crate::store::events::stands_still(id, None, &text, pause);
            continue;
        } else if what == 0 {
            let (kind, attempt, crashes) = (one.text()?, one.count()?, one.count()?);
            Swept::TakenBack { id, kind, attempt, crashes, worker: one.maybe_worker()? }
        } else {
            let text = outcome::text(one.bytes()?, id);
            Swept::Failed(serde_json::from_str::<Failure>(&text)?)
        };
        swept.say();
    }
    Ok(())
}
