//! Waits and entries of a record, as the scripts decide about them and as this process reads them.

use super::link::fault::Result;
use super::outcome;
use super::pack::{self, List, Pack};
use super::told::state;
use crate::core::time::Time;
use crate::core::wait::{Answer, Condition, Standing, Wait};
use crate::store::Entry;

const SET: u8 = 1;
const CHILD: u8 = 2;
const SIGNAL: u8 = 3;
const JOB: u8 = 4;
const AT: u8 = 5;
const ALL: u8 = 6;

const JSON: u8 = 0;
const ANSWER: u8 = 1;
const RETURNED: u8 = 2;

/// Waits as they are kept: for the scripts, and as JSON for people.
pub(super) fn packed(waits: &[Wait]) -> Vec<u8> {
    let mut pack = Pack::list(2);
    pack.array(waits.len());
    for wait in waits {
        pack.array(4).bytes(&wait.place).number(wait.seq).number(wait.members);
        pack.array(wait.arms.len());
        wait.arms.iter().for_each(|arm| condition(&mut pack, arm));
    }
    pack.bytes(crate::core::encode::json(&waits));
    pack.done()
}

fn condition(pack: &mut Pack, arm: &Condition) {
    match arm {
        Condition::Set { set, ended, lost, succeeded, drained } => {
            pack.array(6).number(SET).bytes(set.0);
            pack.maybe_number(*ended).maybe_number(*lost).maybe_number(*succeeded).flag(*drained);
        }
        Condition::Child { set, child } => {
            pack.array(3).number(CHILD).bytes(set.0).bytes(child.0);
        }
        Condition::Signal { name, .. } => {
            pack.array(2).number(SIGNAL).bytes(name);
        }
        Condition::Job { job } => {
            pack.array(2).number(JOB).bytes(job.as_bytes());
        }
        Condition::At { time } => {
            pack.array(2).number(AT).time(*time);
        }
        Condition::All { of } => {
            pack.array(2).number(ALL).array(of.len());
            for each in of {
                condition(pack, each);
            }
        }
    }
}

/// An entry as it is kept, with its place.
pub(super) fn entry(place: &str, entry: &Entry) -> Vec<u8> {
    if let Entry::Answer(answer) = entry {
        let mut pack = Pack::list(7);
        pack.bytes(place).number(ANSWER).number(answer.arm as u64).number(answer.members);
        pack.maybe(answer.value.as_ref()).maybe(answer.signal.as_ref()).flag(false);
        return pack.done();
    }
    let what = if matches!(entry, Entry::Returned { .. }) { RETURNED } else { JSON };
    let mut pack = Pack::list(3);
    pack.bytes(place).number(what).bytes(crate::core::encode::json(entry));
    pack.done()
}

/// An entry of a task's record.
pub(super) fn entry_from(blob: &[u8], seq: u64) -> Result<(String, Entry)> {
    let value = pack::parse(blob)?;
    let mut list = List::of(&value)?;
    let place = list.text()?;
    if list.number()? != i64::from(ANSWER) {
        return Ok((place, serde_json::from_slice(list.bytes()?)?));
    }
    let answer = answer(place.clone(), seq, &mut list)?;
    Ok((place, Entry::Answer(answer)))
}

/// When an entry was committed: what stands behind it, unless a version wrote it that kept no times.
pub(super) fn recorded_at(blob: &[u8]) -> Option<Time> {
    let mut behind = blob;
    rmpv::decode::read_value_ref(&mut behind).ok()?;
    pack::number(&rmpv::decode::read_value_ref(&mut behind).ok()?).ok().map(Time)
}

fn answer(place: String, seq: u64, list: &mut List<'_, '_>) -> Result<Answer> {
    let (arm, members) = (list.count()?, list.count()?);
    let (value, signal) = (list.maybe_bytes()?, list.maybe_text()?);
    let value = match list.maybe_number()? {
        None => value.map(pack::text).transpose()?,
        // How a job stands: the state of its root, or that there is none; the value is job and outcome.
        Some(code) => Some(crate::core::encode::json(&standing(code, value)?)),
    };
    Ok(Answer { place, seq, arm, members, value, signal })
}

fn standing(code: i64, value: Option<&[u8]>) -> Result<Standing> {
    let Some((job, outcome)) = value.filter(|_| code >= 0).map(|value| value.split_at(16)) else {
        return Ok(Standing::Unknown);
    };
    let outcome = outcome::text(outcome, pack::job(job)?.root());
    Ok(Standing::of(state(code)?, Some(outcome)))
}

/// Answers that a script has recorded: numbers and entries in turn.
pub(super) fn answers(list: &mut List<'_, '_>) -> Result<Vec<Answer>> {
    let mut answers = Vec::with_capacity(list.left() / 2);
    while list.left() > 0 {
        let seq = list.count()?;
        if let (_, Entry::Answer(answer)) = entry_from(list.bytes()?, seq)? {
            answers.push(answer);
        }
    }
    Ok(answers)
}
