//! `exchange`: units, upkeep and the claim, in one script.

use std::sync::Arc;

use rmpv::ValueRef;

use super::link::connect::Link;
use super::link::fault::{Fault, Result};
use super::link::script::{EXCHANGE, EXCHANGE_WHEN_FULL};
use super::pack::{self, List, Pack};
use super::task::{Birth, Row};
use super::{outcome, submit, waits};
use crate::core::id::{TaskId, Token};
use crate::core::replay::drift_text;
use crate::core::state::stall_pause;
use crate::core::time::Time;
use crate::store::events;
use crate::store::read::{Partly, unreadable_text};
use crate::store::{
    Abort, Addition, CancelledBy, Cause, Claim, Claimed, End, Event, Exchange, NewChild, NewTask,
    Refusal, Reply, Unit,
};

pub(super) async fn exchange(link: &Link, exchange: &Exchange) -> Result<Reply> {
    let mut reply = Reply::default();
    let mut rest = exchange.units.as_slice();
    loop {
        let (part, count) = part_of(rest);
        let (units, later) = rest.split_at(count);
        rest = later;
        let claim = rest.is_empty().then_some(&exchange.claim);
        run(link, exchange, (units, &part), claim, &mut reply).await?;
        if claim.is_some() {
            return Ok(reply);
        }
    }
}

/// Units of an exchange that one script takes at most, by their events and by their bytes. A script holds up everybody
/// else. Each part is whole by itself: a resend finds its units applied.
const EVENTS: usize = 1000;
const BYTES: usize = 1024 * 1024;

/// The first units, packed, and how many they are.
fn part_of(units: &[Arc<Unit>]) -> (Pack, usize) {
    let (mut pack, mut count, mut events) = (Pack::default(), 0, 0);
    for unit in units {
        if count > 0 && (events >= EVENTS || pack.len() >= BYTES) {
            break;
        }
        pack_unit(&mut pack, unit);
        (count, events) = (count + 1, events + 1 + unit.events.len());
    }
    (pack, count)
}

/// Runs one script of an exchange, and adds its answer to the reply. The last one brings the claim.
async fn run(
    link: &Link,
    exchange: &Exchange,
    (units, part): (&[Arc<Unit>], &Pack),
    wanted: Option<&Claim>,
    reply: &mut Reply,
) -> Result<()> {
    let mut request = Pack::list(5);
    request.bytes(exchange.worker.as_bytes()).number(exchange.number);
    request.number(exchange.acknowledged).array(UNIT * units.len()).part(part.written());
    match wanted {
        Some(wanted) => claim(&mut request, wanted),
        None => drop(request.flag(false)),
    }
    let mut unreadable = Vec::new();
    let read = |value: &ValueRef<'_>| {
        self::reply(value, exchange, units, (reply, &mut unreadable, link.clock.now()))
    };
    let request = request.done();
    let ((), follows) = match link.run(&EXCHANGE, &request, read).await {
        Err(fault) if fault.is_of_memory() => {
            end_what_ends(link, exchange).await?;
            return Err(fault);
        }
        done => done?,
    };
    submit::follow(link, follows).await;
    if unreadable.is_empty() { Ok(()) } else { stand_still(link, exchange, &unreadable).await }
}

/// The server has no memory left and refuses scripts. Ends may exceed it, or a full store could not be emptied: they are
/// applied, and the exchange is told that the server is full. When it is sent again they are found done.
async fn end_what_ends(link: &Link, exchange: &Exchange) -> Result<()> {
    let ends = |unit: &&Arc<Unit>| matches!(*unit.events, [Event::End(_) | Event::HandBack]);
    let units: Vec<_> = exchange.units.iter().filter(ends).cloned().collect();
    let mut rest = units.as_slice();
    while !rest.is_empty() {
        let (part, count) = part_of(rest);
        let (units, later) = rest.split_at(count);
        rest = later;
        let mut request = Pack::list(5);
        request.bytes(exchange.worker.as_bytes()).number(exchange.number);
        request.number(exchange.acknowledged).array(UNIT * units.len());
        request.part(part.written()).flag(false);
        link.run(&EXCHANGE_WHEN_FULL, &request.done(), |_| Ok(())).await?;
    }
    Ok(())
}

/// Claimed tasks of which something does not decode stand still, before their worker could hear of the claim.
async fn stand_still(link: &Link, exchange: &Exchange, units: &[Arc<Unit>]) -> Result<()> {
    let (part, count) = part_of(units);
    let mut request = Pack::list(5);
    request.bytes(exchange.worker.as_bytes()).number(exchange.number);
    request.number(exchange.acknowledged).array(UNIT * count).part(part.written()).flag(false);
    link.run(&EXCHANGE, &request.done(), |_| Ok(())).await.map(drop)
}

fn claim(pack: &mut Pack, claim: &Claim) {
    let Claim { tasks, ahead, search, queues, kinds, suspect, max_crashes } = claim;
    pack.array(7).number(*tasks as u64).number(*ahead as u64);
    pack.texts(queues.iter());
    pack.texts(kinds.iter());
    pack.flag(*suspect).number(*max_crashes).flag(*search);
}

/// Values that a unit is in a list of units.
const UNIT: usize = 6;

/// A unit as `unit.lua` reads it. One list of all values costs the script less than lists in a list; so a unit that only
/// ends its task well, as most do, has the outcome in the place of its events.
fn pack_unit(pack: &mut Pack, unit: &Unit) {
    let Unit { task, token, renew, events } = unit;
    pack.task(*task).bytes(token.worker.as_bytes()).number(token.claim);
    pack.flag(*renew).flag(unit.tells_of_a_beginning());
    if let [Event::End(End::Succeeded(value))] = &**events {
        pack.bytes(outcome::of_worker(value));
        return;
    }
    pack.array(events.len());
    for event in events {
        pack_event(pack, *task, event);
    }
}

fn instants(pack: &mut Pack, task: &NewTask) {
    pack.maybe_time(task.due).maybe_time(task.expires).maybe_time(task.deadline);
}

/// An event: what it is, and what it says. `unit.lua` reads it.
fn pack_event(pack: &mut Pack, task: TaskId, event: &Event) {
    match event {
        Event::Begin => pack.array(1).number(1),
        Event::Record { seq, place, entry } => {
            pack.array(3).number(2).number(*seq).bytes(waits::entry(place, entry))
        }
        Event::Spawn(child) => spawn(pack, task, child),
        Event::Add(addition) => add(pack, addition),
        Event::Detach(job) => {
            submit::job(pack.array(1 + submit::JOB).number(5), job);
            pack
        }
        Event::Signal(signal) => {
            pack.array(6).number(6).number(signal.seq);
            pack.bytes(waits::entry(&signal.place, &signal.entry)).bytes(signal.to.0);
            pack.bytes(&signal.name).bytes(&signal.value)
        }
        Event::Abort(Abort { set, child, below, policy }) => {
            let by = if *policy { CancelledBy::Policy } else { CancelledBy::Abort };
            pack.array(5).number(7).bytes(set.0).maybe(child.map(|child| child.0));
            pack.number(*below).number(by as i64)
        }
        Event::Log(line) => {
            pack.array(5).number(8).bytes(&line.key).time(line.time);
            pack.number(line.level as i64).bytes(&line.message)
        }
        Event::Progress { done, total } => {
            let mut partly = Partly::default();
            partly.add(Some((*done, *total)));
            let both = [done.to_be_bytes(), total.to_be_bytes()].concat();
            pack.array(3).number(9).bytes(both).number(partly.millionths())
        }
        Event::Park { waits, resident } => {
            pack.array(4).number(10).bytes(waits::packed(waits)).flag(*resident);
            pack.maybe_time(crate::core::wait::earliest(waits))
        }
        Event::End(End::Succeeded(value)) => {
            pack.array(2).number(11).bytes(outcome::of_worker(value))
        }
        Event::End(End::Failed { failure, cause }) => {
            let failure = crate::core::encode::json(failure);
            pack.array(3).number(12).bytes(outcome::of_worker(&failure));
            pack.maybe(cause.as_ref().map(|own| self::cause(own)))
        }
        Event::Retry { failure, due } => {
            pack.array(3).number(13).bytes(failure.to_string()).time(*due)
        }
        Event::Stall { reason, due } => pack.array(3).number(14).bytes(reason).time(*due),
        Event::HandBack => pack.array(1).number(15),
    };
}

fn spawn<'p>(pack: &'p mut Pack, task: TaskId, child: &NewChild) -> &'p mut Pack {
    let NewChild { local, set, number, task: new } = child;
    pack.array(8).number(3).bytes(local.0).bytes(set.0).number(*number);
    pack.bytes(submit::birth(new, Some((task.local, *set, *number))));
    instants(pack, new);
    pack
}

fn add<'p>(pack: &'p mut Pack, addition: &Addition) -> &'p mut Pack {
    let Addition { seq, place, entry, parent, set, local, task } = addition;
    pack.array(11).number(4).number(*seq).bytes(waits::entry(place, entry));
    pack.bytes(parent.0).bytes(set.0).bytes(local.0);
    pack.bytes(submit::birth(task, Some((*parent, *set, 0)))).number(addition.origin());
    instants(pack, task);
    pack
}

/// What a retry takes back, as `retry.lua` reads it.
fn cause(cause: &Cause) -> Vec<u8> {
    let Cause { places, since, grown, only, given, aborted, aborted_before, bad_signals } = cause;
    let mut pack = Pack::list(8);
    pack.texts(places.iter());
    pack.maybe_number(*since).array(grown.len());
    for (set, kept) in grown {
        pack.array(2).bytes(set.0).number(*kept);
    }
    pack.array(only.len());
    for (set, past, beyond) in only {
        pack.array(3).bytes(set.0).number(*past).array(beyond.len());
        for end in beyond {
            pack.number(*end);
        }
    }
    pack.texts(given.iter().map(|local| local.0));
    for aborts in [aborted, aborted_before] {
        pack.array(aborts.len());
        for (set, one, below) in aborts {
            pack.array(3).bytes(set.0).maybe(one.map(|one| one.0)).number(*below);
        }
    }
    pack.texts(bad_signals.iter());
    pack.done()
}

fn reply(
    value: &ValueRef<'_>,
    exchange: &Exchange,
    units: &[Arc<Unit>],
    (reply, unreadable, now): (&mut Reply, &mut Vec<Arc<Unit>>, Time),
) -> Result<()> {
    let mut list = List::of(value)?;
    if list.left() == 1 {
        return Err(Fault::Stale);
    }
    let unit = |list: &mut List<'_, '_>| {
        let at: usize = list.count()?;
        let unit = at.checked_sub(1).and_then(|at| units.get(at));
        unit.ok_or_else(|| Fault::unreadable(&"an answer to no unit"))
    };
    let mut refused = list.list()?;
    while refused.left() > 0 {
        let mut one = refused.list()?;
        let unit = unit(&mut one)?;
        reply.refused.push((unit.task, refusal(unit, &mut one.list()?)?));
    }
    let mut ready = list.list()?;
    while ready.left() > 0 {
        let mut one = ready.list()?;
        let unit = unit(&mut one)?;
        reply.ready.push((unit.task, waits::answers(&mut one.list()?)?));
    }
    let mut cancelled = list.list()?;
    while cancelled.left() > 0 {
        let mut one = cancelled.list()?;
        let (task, claim) = (one.task()?, one.count()?);
        reply.cancelled.push((task, Token { worker: exchange.worker, claim }));
    }
    let mut claimed = list.list()?;
    while claimed.left() > 0 {
        let (task, claim) = (claimed.task()?, claimed.count()?);
        let token = Token { worker: exchange.worker, claim };
        let handed = HandedOut {
            birth: claimed.bytes()?,
            row: claimed.bytes()?,
            begun: claimed.flag()?,
            answers: claimed.value()?,
        };
        match claimed_from(task, token, &handed) {
            Ok(claimed) => reply.claimed.push(claimed),
            Err(fault) => {
                let stalls = Row::from(handed.row).map_or(0, |row| row.stalls);
                unreadable.push(Arc::new(standing(task, token, stalls, (fault, now))?));
            }
        }
    }
    reply.left = list.flag()?;
    reply.next_due = list.maybe_time()?;
    Ok(())
}

/// What a worker would say of a task of which something does not decode, if it had been given the task.
fn standing(task: TaskId, token: Token, stalls: u32, (fault, now): (Fault, Time)) -> Result<Unit> {
    let Fault::Unreadable(what) = fault else { return Err(fault) };
    let (reason, pause) = (unreadable_text(task, &what), stall_pause(stalls));
    events::stands_still(task, None, &reason, pause);
    let events = vec![Event::Stall { reason, due: now.after(pause) }];
    Ok(Unit { task, token, renew: false, events })
}

fn refusal(unit: &Arc<Unit>, list: &mut List<'_, '_>) -> Result<Refusal> {
    Ok(match list.number()? {
        0 => Refusal::Lost,
        1 => {
            let at: usize = list.count()?;
            let (kind, arguments) = (list.text()?, list.text()?);
            match unit.events.get(at - 1) {
                Some(Event::Spawn(child)) => {
                    let NewTask { kind: new, arguments: to, .. } = &child.task;
                    Refusal::Drift(drift_text(&kind, &arguments, new, to))
                }
                _ => Refusal::Lost,
            }
        }
        _ => Addition::too_many(),
    })
}

/// What a script hands out of a task.
struct HandedOut<'v, 'b> {
    birth: &'v [u8],
    row: &'v [u8],
    begun: bool,
    /// `false`, if there are none.
    answers: &'v ValueRef<'b>,
}

fn claimed_from(task: TaskId, token: Token, handed: &HandedOut<'_, '_>) -> Result<Claimed> {
    let (birth, row) = (Birth::from(handed.birth)?, Row::from(handed.row)?);
    let policy = birth.policy()?;
    let answers = match handed.answers {
        ValueRef::Boolean(false) => Vec::new(),
        answers => waits::answers(&mut List::of(answers)?)?,
    };
    let expires = row.expires.filter(|_| !handed.begun);
    Ok(Claimed {
        task,
        parent: birth.parent,
        set: birth.set,
        depth: row.depth,
        token,
        kind: birth.kind,
        arguments: birth.arguments,
        queue: birth.queue,
        priority: birth.priority,
        due: row.due,
        not_after: [expires, row.deadline].into_iter().flatten().min(),
        policy,
        attempt: row.attempt,
        failures: row.failures,
        crashes: row.crashes,
        stalls: row.stalls,
        records: row.records,
        spawned: row.own_children,
        answers,
        parked: row.parked.filter(|parked| parked.worker == token.worker),
    })
}

/// A worker's part of a request.
pub(super) fn of(bytes: impl AsRef<[u8]>) -> Pack {
    let mut pack = pack::Pack::list(1);
    pack.bytes(bytes);
    pack
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::core::id::{JobId, WorkerId};

    /// A large exchange goes in parts of whole units, all of them and in their order; a unit that is too large by itself
    /// goes alone.
    #[test]
    fn a_large_exchange_is_cut_between_units() {
        let token = Token { worker: WorkerId::from_bytes([1; 16]), claim: 1 };
        let line = |n: usize| Event::Progress { done: n as u64, total: 10_000 };
        let units: Vec<_> = [300, 300, 300, 300, 4096, 1, 1]
            .iter()
            .enumerate()
            .map(|(n, events)| {
                let task = JobId::from_bytes([n as u8; 16]).root();
                Arc::new(Unit {
                    task,
                    token,
                    renew: false,
                    events: (0..*events).map(line).collect(),
                })
            })
            .collect();
        let (mut rest, mut parts, mut whole) = (units.as_slice(), Vec::new(), Vec::new());
        while !rest.is_empty() {
            let (part, count) = part_of(rest);
            let mut values = part.written();
            for unit in &rest[..count] {
                let first = [rmpv::decode::read_value_ref(&mut values).unwrap()];
                assert_eq!(List::of_all(&first).task().unwrap(), unit.task);
                for _ in 1..UNIT {
                    rmpv::decode::read_value_ref(&mut values).unwrap();
                }
            }
            assert!(values.is_empty(), "a part is whole units");
            parts.push(count);
            whole.extend_from_slice(&rest[..count]);
            rest = &rest[count..];
        }
        assert_eq!(parts, [4, 1, 2]);
        assert_eq!(whole.len(), units.len());
    }
}
