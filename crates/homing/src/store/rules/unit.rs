//! What a unit's events do, in the order in which the body said them.

use std::borrow::Cow;

use crate::core::id::TaskId;
use crate::core::state::State;
use crate::core::wait::{self, Answer, SetCounts, Wait};
use crate::store::rules::wake::WaitFacts;
use crate::store::rules::{Birth, Cascade, Ending, Ledger, Row, end, log, wake};
use crate::store::{Abort, Addition, CancelledBy, End, Event, NewChild, Refusal, Signalled, Unit};

/// What became of a unit: the answers of a park that is satisfied already, or why it was refused.
pub(crate) type Applied = Result<Option<Vec<Answer>>, Refusal>;

/// Applies a unit whole or, with a refusal, not at all. Whatever may refuse it is looked at first.
pub(crate) fn apply<'e, L: Ledger<'e>>(
    ledger: &mut L,
    unit: &'e Unit,
) -> Result<Applied, L::Error> {
    if !ledger.take_up(unit.task)? {
        return Ok(Err(Refusal::Lost));
    }
    let applied = match refusal(ledger, unit)? {
        Some(refusal) => Err(refusal),
        None => Ok(carry_out(ledger, unit)?),
    };
    ledger.put_down(unit.task)?;
    Ok(applied)
}

fn refusal<'e, L: Ledger<'e>>(ledger: &mut L, unit: &'e Unit) -> Result<Option<Refusal>, L::Error> {
    let held = ledger.row(unit.task).filter(|row| row.state == State::Running);
    if held.is_none_or(|row| row.token != Some(unit.token)) {
        return Ok(Some(Refusal::Lost));
    }
    for event in &unit.events {
        let refusal = match event {
            Event::Spawn(child) => drift(ledger, unit.task, child)?,
            Event::Add(addition) => no_growth(ledger, unit.task, addition)?,
            Event::Begin
            | Event::Record { .. }
            | Event::Detach(_)
            | Event::Signal(_)
            | Event::Abort(_)
            | Event::Log(_)
            | Event::Progress { .. }
            | Event::Park { .. }
            | Event::End(_)
            | Event::Retry { .. }
            | Event::Stall { .. }
            | Event::HandBack => None,
        };
        if refusal.is_some() {
            return Ok(refusal);
        }
    }
    Ok((!ledger.accept(unit)?).then_some(Refusal::Lost))
}

/// Whether a child exists at the place with another call.
fn drift<'e, L: Ledger<'e>>(
    ledger: &mut L,
    parent: TaskId,
    child: &NewChild,
) -> Result<Option<Refusal>, L::Error> {
    let other = ledger.other_call(parent, child)?;
    let new = &child.task;
    Ok(other.map(|(kind, arguments)| {
        let text = crate::core::replay::drift_text(&kind, &arguments, &new.kind, &new.arguments);
        Refusal::Drift(text)
    }))
}

/// Refuses what would join a set behind a cancellation, or of a parent that has ended.
fn no_growth<'e, L: Ledger<'e>>(
    ledger: &mut L,
    task: TaskId,
    addition: &Addition,
) -> Result<Option<Refusal>, L::Error> {
    let parent = TaskId { job: task.job, local: addition.parent };
    if !ledger.takes_members(parent, addition.set, addition.origin())? {
        return Ok(Some(Refusal::Lost));
    }
    let counts = ledger.counts(parent, addition.set)?;
    Ok(counts.next_added().is_none().then(Addition::too_many))
}

fn carry_out<'e, L: Ledger<'e>>(
    ledger: &mut L,
    unit: &'e Unit,
) -> Result<Option<Vec<Answer>>, L::Error> {
    let worn = unit.renew && ledger.row(unit.task).is_some_and(Row::is_worn);
    if worn && let Some(row) = ledger.change(unit.task) {
        row.renew();
    }
    let now = ledger.now();
    let begins = unit.tells_of_a_beginning()
        && ledger.row(unit.task).is_some_and(|row| row.started.is_none());
    if begins && let Some(row) = ledger.change(unit.task) {
        row.started = Some(now);
    }
    let mut answers = None;
    for event in &unit.events {
        answers = happen(ledger, unit.task, event)?;
    }
    Ok(answers)
}

fn happen<'e, L: Ledger<'e>>(
    ledger: &mut L,
    id: TaskId,
    event: &'e Event,
) -> Result<Option<Vec<Answer>>, L::Error> {
    let now = ledger.now();
    match event {
        // Whichever unit a task says first tells of it.
        Event::Begin => {}
        Event::Record { seq, place, entry } => {
            ledger.record(id, *seq, place, entry)?;
        }
        Event::Spawn(child) => spawn(ledger, id, child)?,
        Event::Add(addition) => add_sibling(ledger, id, addition)?,
        Event::Detach(job) => ledger.detach(job)?,
        Event::Signal(signal) => signal_once(ledger, id, signal)?,
        Event::Abort(abort) => self::abort(ledger, id, *abort)?,
        Event::Log(line) => log::say(ledger, id, Cow::Borrowed(line))?,
        Event::Progress { done, total } => {
            if let Some(row) = ledger.change(id) {
                row.progress = Some((*done, *total));
            }
        }
        Event::Park { waits, resident } => return park(ledger, id, waits, *resident),
        Event::End(how) => finish(ledger, id, how)?,
        Event::Retry { failure, due } => {
            if let Some(row) = ledger.change(id) {
                row.retry(failure, *due);
            }
        }
        Event::Stall { reason, due } => {
            if let Some(row) = ledger.change(id) {
                row.stall(reason.clone(), *due);
            }
        }
        Event::HandBack => {
            if let Some(row) = ledger.change(id) {
                row.hand_back(now);
            }
        }
    }
    Ok(None)
}

fn finish<'e, L: Ledger<'e>>(ledger: &mut L, id: TaskId, how: &'e End) -> Result<(), L::Error> {
    // The worker's own word needs no notice: it knows.
    if let Some(row) = ledger.change(id) {
        row.stop();
    }
    let (state, outcome, cause) = match how {
        End::Succeeded(value) => (State::Succeeded, Cow::Borrowed(value.as_str()), None),
        End::Failed { failure, cause } => {
            let cause = cause.as_ref().map(crate::core::encode::json);
            (State::Failed, Cow::Owned(crate::core::encode::json(failure)), cause)
        }
    };
    end::finish(ledger, id, Ending { state, outcome, by: None, cause }).map(drop)
}

fn spawn<'e, L: Ledger<'e>>(
    ledger: &mut L,
    parent: TaskId,
    child: &'e NewChild,
) -> Result<(), L::Error> {
    let NewChild { local, set, number, task } = child;
    let depth = ledger.row(parent).map_or(0, |row| row.depth) + 1;
    let birth = Birth { parent: parent.local, set: *set, number: *number, depth };
    if ledger.spawn(TaskId { job: parent.job, local: *local }, birth, task)? {
        ledger.change_counts(parent, *set, |counts| counts.spawned += 1)?;
    }
    Ok(())
}

fn add_sibling<'e, L: Ledger<'e>>(
    ledger: &mut L,
    id: TaskId,
    addition: &'e Addition,
) -> Result<(), L::Error> {
    let Addition { seq, place, entry, parent, set, local, task } = addition;
    if !ledger.record(id, *seq, place, entry)? {
        return Ok(());
    }
    let owner = TaskId { job: id.job, local: *parent };
    let Some(number) = ledger.counts(owner, *set)?.next_added() else { return Ok(()) };
    let depth = ledger.row(id).map_or(0, |row| row.depth);
    let birth = Birth { parent: *parent, set: *set, number, depth };
    if ledger.spawn(TaskId { job: id.job, local: *local }, birth, task)? {
        ledger.change_counts(owner, *set, SetCounts::add)?;
    }
    Ok(())
}

fn signal_once<'e, L: Ledger<'e>>(
    ledger: &mut L,
    id: TaskId,
    signal: &'e Signalled,
) -> Result<(), L::Error> {
    let Signalled { seq, place, entry, to, name, value } = signal;
    if ledger.record(id, *seq, place, entry)? {
        self::signal(ledger, TaskId { job: id.job, local: *to }, name, value)?;
    }
    Ok(())
}

/// Keeps a signal for a task, unless the task has succeeded or is unknown. One that fell may run again, by the retry of
/// its job: whoever sent it has that in its record, and does not send it again.
pub(crate) fn signal<'e, L: Ledger<'e>>(
    ledger: &mut L,
    to: TaskId,
    name: &'e str,
    value: &'e str,
) -> Result<(), L::Error> {
    if !ledger.take_up(to)? {
        return if ledger.has_fallen(to)? { ledger.keep_signal(to, name, value) } else { Ok(()) };
    }
    ledger.keep_signal(to, name, value)?;
    wake::wake_waiting(ledger, to)?;
    ledger.put_down(to)
}

fn abort<'e, L: Ledger<'e>>(ledger: &mut L, task: TaskId, abort: Abort) -> Result<(), L::Error> {
    let by = if abort.policy { CancelledBy::Policy } else { CancelledBy::Abort };
    if let Some(local) = abort.child {
        return end::cancel(ledger, TaskId { job: task.job, local }, by).map(drop);
    }
    let (set, below) = (Some(abort.set), abort.below);
    ledger.add_cascade(Cascade { task, set, below, by })
}

fn park<'e, L: Ledger<'e>>(
    ledger: &mut L,
    task: TaskId,
    waits: &[Wait],
    resident: bool,
) -> Result<Option<Vec<Answer>>, L::Error> {
    let answers = wake::answer(ledger, task, waits)?;
    if !answers.is_empty() {
        return Ok(Some(answers));
    }
    for job in wait::open_jobs(waits, &mut WaitFacts { rows: ledger, task })? {
        ledger.watch(task, job)?;
    }
    if let Some(row) = ledger.change(task) {
        row.park(resident);
    }
    ledger.set_waits(task, waits)?;
    Ok(None)
}
