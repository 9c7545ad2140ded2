//! A task as it is kept: its birth, its row, and what scripts and people make of them.

use super::link::connect::{Link, key_of};
use super::link::fault::{Fault, Result};
use super::link::keys::field;
use super::outcome;
use super::pack::{self, List};
use crate::core::id::{Local, TaskId, Token};
use crate::core::new_task::Policy;
use crate::core::state::{CancelledBy, State};
use crate::core::time::Time;
use crate::core::wait::{SetCounts, Wait};
use crate::store::Child;
use crate::store::read::unreadable_text;

/// What a task has from its birth on.
#[derive(Debug, Clone)]
pub(super) struct Birth {
    pub(super) parent: Option<Local>,
    pub(super) set: Option<(Local, u32)>,
    pub(super) kind: String,
    pub(super) queue: String,
    pub(super) priority: i16,
    pub(super) hash: [u8; 16],
    policy: Vec<u8>,
    pub(super) tags: Vec<String>,
    pub(super) arguments: String,
}

impl Birth {
    pub(super) fn from(blob: &[u8]) -> Result<Self> {
        let value = pack::parse(blob)?;
        let mut list = List::of(&value)?;
        let parent = list.maybe_local()?;
        let (set, number) = (list.maybe_local()?, list.count()?);
        Ok(Self {
            parent,
            set: set.map(|set| (set, number)),
            kind: list.text()?,
            queue: list.text()?,
            priority: list.count()?,
            hash: list.bytes().and_then(pack::sixteen)?,
            policy: list.bytes()?.to_vec(),
            // They are for people alone.
            tags: words(list.bytes()?).unwrap_or_default(),
            arguments: list.text()?,
        })
    }
}

impl Birth {
    /// What its worker obeys.
    pub(super) fn policy(&self) -> Result<Policy> {
        words(&self.policy).map_err(|fault| fault.of(|| "its policy".to_owned()))
    }
}

/// What a script has found, in the words of this process.
pub(super) fn undecoded(what: &str) -> String {
    format!("{what}: a stored value does not decode")
}

/// JSON, of which none is the default.
fn words<T: Default + serde::de::DeserializeOwned>(json: &[u8]) -> Result<T> {
    if json.is_empty() { Ok(T::default()) } else { Ok(serde_json::from_slice(json)?) }
}

/// What of a task moves.
#[derive(Debug, Clone)]
pub(super) struct Row {
    pub(super) state: State,
    pub(super) due: Time,
    pub(super) attempt: u32,
    pub(super) failures: u32,
    pub(super) crashes: u32,
    pub(super) stalls: u32,
    pub(super) token: Option<Token>,
    pub(super) parked: Option<Token>,
    reason: Option<String>,
    pub(super) progress: Option<(u64, u64)>,
    /// Its share of its job's progress, in millionths.
    pub(super) share: u64,
    pub(super) started: Option<Time>,
    /// The highest number in its record.
    pub(super) records: u64,
    pub(super) own_children: u64,
    pub(super) sets: u32,
    pub(super) first_signal: u64,
    pub(super) last_signal: u64,
    pub(super) end: Option<u64>,
    pub(super) by: Option<CancelledBy>,
    pub(super) ended: Option<Time>,
    pub(super) outcome: Option<Vec<u8>>,
    pub(super) expires: Option<Time>,
    pub(super) deadline: Option<Time>,
    pub(super) wake: Option<Time>,
    pub(super) created: Time,
    pub(super) depth: u32,
}

impl Row {
    /// Reads what `row_blob` of `rows.lua` has written: what every row has, and a list of places and values of what few
    /// have.
    pub(super) fn from(blob: &[u8]) -> Result<Self> {
        let values = pack::parse_all(blob)?;
        let list = &mut List::of_all(&values);
        let (state, due, created) =
            (super::told::state(list.number()?)?, list.time()?, list.time()?);
        let (depth, claim) = (list.count()?, list.count()?);
        let worker = list.maybe_worker()?;
        let mut row = Self {
            state,
            due,
            attempt: 1,
            failures: 0,
            crashes: 0,
            stalls: 0,
            token: worker.map(|worker| Token { worker, claim }),
            parked: None,
            reason: None,
            progress: None,
            share: 0,
            started: list.maybe_time()?,
            records: list.count()?,
            own_children: 0,
            sets: 0,
            first_signal: 0,
            last_signal: 0,
            end: list.maybe_number()?.map(i64::cast_unsigned),
            by: None,
            ended: list.maybe_time()?,
            outcome: list.maybe_bytes()?.map(<[u8]>::to_vec),
            expires: None,
            deadline: None,
            wake: None,
            created,
            depth,
        };
        if list.left() > 0 {
            row.read_rare(&mut list.list()?)?;
        }
        Ok(row)
    }

    /// By the places of `RARE` in `rows.lua`. What only the scripts go by is passed over.
    fn read_rare(&mut self, list: &mut List<'_, '_>) -> Result<()> {
        let (mut parked_by, mut parked_claim) = (None, 0);
        while list.left() > 0 {
            match list.number()? {
                1 => self.attempt = list.count()?,
                2 => self.failures = list.count()?,
                3 => self.crashes = list.count()?,
                4 => self.stalls = list.count()?,
                6 => parked_by = list.maybe_worker()?,
                7 => parked_claim = list.count()?,
                10 => self.reason = list.maybe_text()?,
                11 => self.progress = list.maybe_bytes()?.map(progress),
                12 => self.share = list.count()?,
                17 => self.own_children = list.count()?,
                18 => self.sets = list.count()?,
                19 => self.first_signal = list.count()?,
                20 => self.last_signal = list.count()?,
                21 => self.by = list.maybe_number()?.and_then(CancelledBy::from_code),
                22 => self.expires = list.maybe_time()?,
                23 => self.deadline = list.maybe_time()?,
                24 => self.wake = list.maybe_time()?,
                _ => drop(list.value()?),
            }
        }
        self.parked = parked_by.map(|worker| Token { worker, claim: parked_claim });
        Ok(())
    }

    /// Until when it must have begun.
    fn expiry(&self) -> Option<Time> {
        self.expires.filter(|_| self.started.is_none() && self.state == State::Pending)
    }

    pub(super) fn is_overdue(&self, now: Time) -> bool {
        let is_past = |time: Option<Time>| time.is_some_and(|time| time <= now);
        !self.state.is_ended() && (is_past(self.expiry()) || is_past(self.deadline))
    }

    /// Whether an instant of it has come that nobody has acted on yet.
    pub(super) fn is_due_to_be_looked_at(&self, now: Time) -> bool {
        let wake = self.wake.filter(|_| self.state == State::Waiting);
        self.is_overdue(now) || wake.is_some_and(|time| time <= now)
    }

    /// Its outcome as JSON.
    pub(super) fn outcome(&self, task: TaskId) -> Option<String> {
        self.outcome.as_ref().map(|blob| outcome::text(blob, task))
    }

    /// What people are told of why it stands still.
    pub(super) fn reason(&self, task: TaskId) -> Option<String> {
        let reason = self.reason.as_ref()?;
        // A script that has found something unreadable has named it.
        Some(match reason.strip_prefix('\0') {
            Some(what) => unreadable_text(task, &undecoded(what)),
            None => reason.clone(),
        })
    }
}

/// Done and total, eight bytes each.
fn progress(bytes: &[u8]) -> (u64, u64) {
    let number = |bytes: &[u8]| bytes.iter().fold(0, |sum, byte| sum << 8 | u64::from(*byte));
    let (done, total) = bytes.split_at(bytes.len() / 2);
    (number(done), number(total))
}

/// The counts of a set, and how many numbers its body has given.
pub(super) fn counts(blob: &[u8]) -> Result<(SetCounts, u32)> {
    let value = pack::parse(blob)?;
    let mut list = List::of(&value)?;
    let counts = SetCounts {
        spawned: list.count()?,
        succeeded: list.count()?,
        failed: list.count()?,
        cancelled: list.count()?,
        aborted: list.count()?,
        last_end: list.count()?,
        added: list.count()?,
        last_added: list.count()?,
    };
    Ok((counts, list.count()?))
}

/// The waits of a task, from what is kept for people.
pub(super) fn waits(blob: &[u8]) -> Result<Vec<Wait>> {
    let read = || {
        let value = pack::parse(blob)?;
        let mut list = List::of(&value)?;
        list.value()?;
        Ok(serde_json::from_slice(list.bytes()?)?)
    };
    read().map_err(|fault: Fault| fault.of(|| "its waits".to_owned()))
}

/// A task, whole.
#[derive(Debug, Clone)]
pub(super) struct Task {
    pub(super) id: TaskId,
    pub(super) birth: Birth,
    pub(super) row: Row,
}

impl Task {
    pub(super) fn from(id: TaskId, birth: &[u8], row: &[u8]) -> Result<Self> {
        Ok(Self { id, birth: Birth::from(birth)?, row: Row::from(row)? })
    }

    /// As a child of its set.
    pub(super) fn child(&self) -> Option<Child> {
        let (_, number) = self.birth.set?;
        Some(Child {
            local: self.id.local,
            number,
            kind: self.birth.kind.clone(),
            hash: self.birth.hash,
            state: self.row.state,
            end: self.row.end,
            cancelled_by: self.row.by,
            outcome: self.row.outcome(self.id),
        })
    }
}

/// Tasks of one job, those that there are, in the order asked.
pub(super) async fn read(link: &Link, tasks: &[TaskId]) -> Result<Vec<Task>> {
    let Some(first) = tasks.first() else { return Ok(Vec::new()) };
    let names = tasks.iter().flat_map(|task| [field(b'b', task.local), field(b'o', task.local)]);
    let names: Vec<_> = names.collect();
    let found = link.fields(&key_of(link, *first), &names).await?;
    let mut read = Vec::with_capacity(tasks.len());
    for (task, blobs) in tasks.iter().zip(found.chunks_exact(2)) {
        // One that does not decode is as good as not there; the audit names it.
        if let [Some(birth), Some(row)] = blobs
            && let Ok(found) = Task::from(*task, birth, row)
        {
            read.push(found);
        }
    }
    Ok(read)
}
