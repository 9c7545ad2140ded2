//! The claim: what a worker is given.
//!
//! A lane is a queue and a kind. The lanes that have pending tasks are found in the ready index, one step each, over
//! those that the worker does not serve: so a thousand kinds without work cost nothing. Each lane is read by itself, and
//! every priority of it, so that no row is passed over that this worker could not take now: not those of other kinds or
//! paused queues, nor those due later. The best of all lanes are taken in turn.

use std::cmp::Reverse;
use std::collections::{BTreeSet, BinaryHeap, VecDeque};

use rusqlite::{OptionalExtension, Row, params};

use super::columns::{count, task_id, token};
use super::fault::{Fault, Result};
use super::ledger::decode;
use super::tx::Tx;
use crate::core::id::{Local, TaskId, Token, WorkerId};
use crate::core::time::Time;
use crate::limits;
use crate::store::exchange::Choice;
use crate::store::rules::wake;
use crate::store::{Claim, Claimed, Policy, Reply};

/// The first lane from a place on that has pending tasks.
pub(super) const LANE: &str = "SELECT queue, kind FROM tasks INDEXED BY ready
  WHERE state = 0 AND (queue, kind) >= (?1, ?2) ORDER BY queue, kind LIMIT 1";

pub(super) const READY: &str =
    "SELECT priority, due, job, local, crashes, holder, held_until, at_once, rowid
  FROM tasks INDEXED BY ready WHERE state = 0 AND queue = ?1 AND kind = ?2 AND priority < ?3
  ORDER BY priority DESC, due, job, local";

/// As [`READY`], within a priority from a task on.
pub(super) const READY_AFTER: &str =
    "SELECT priority, due, job, local, crashes, holder, held_until, at_once, rowid
  FROM tasks INDEXED BY ready WHERE state = 0 AND queue = ?1 AND kind = ?2 AND priority = ?3
    AND (due, job, local) > (?4, ?5, ?6) ORDER BY due, job, local";

pub(super) const NEXT: &str = "SELECT priority FROM tasks INDEXED BY ready
  WHERE state = 0 AND queue = ?1 AND kind = ?2 AND priority < ?3 ORDER BY priority DESC LIMIT 1";

pub(super) const DUE: &str = "SELECT due FROM tasks INDEXED BY ready
  WHERE state = 0 AND queue = ?1 AND kind = ?2 AND priority = ?3 AND due > ?4
    AND crashes < ?5 AND (holder IS NULL OR holder = ?6 OR held_until <= ?4
      OR NOT EXISTS (SELECT 1 FROM workers WHERE id = holder))
  ORDER BY due LIMIT 1";

pub(super) const HELD: &str = "SELECT held_until, queue, kind FROM tasks INDEXED BY held
  WHERE state = 0 AND holder IS NOT NULL AND held_until > ?1 AND holder <> ?2 AND crashes < ?3
    AND EXISTS (SELECT 1 FROM workers WHERE id = holder)
  ORDER BY held_until";

pub(super) const AGAIN: &str = "SELECT job, local, claim, rowid FROM tasks INDEXED BY running
  WHERE state = 1 AND worker = ?1 AND claim > ?2 ORDER BY job, local";

/// What must begin at once and is ready.
pub(super) const DIRECT: &str = "SELECT queue, kind FROM tasks INDEXED BY direct
  WHERE state = 0 AND (crashes > 0 OR at_once) AND due <= ?1 AND (crashes < 2 OR ?3)
    AND (holder IS NULL OR holder = ?2 OR held_until <= ?1
      OR NOT EXISTS (SELECT 1 FROM workers WHERE id = holder))";

pub(super) const TIMER: &str = "SELECT min(timer) FROM tasks INDEXED BY timers WHERE timer > ?1";

// By the row's number, which every index knows: saves two descents by the key.
const READ: &str = "SELECT kind, arguments, queue, priority, policy, attempt, failures, crashes,
  stalls, parked_worker, parked_claim, waits, started, timer, parent, depth, \"set\", number, due,
  expires, deadline
  FROM tasks WHERE rowid = ?1";

/// A future that another worker has parked is older than what this one may record: its right ends. The
/// worker's own keeps it, as the reply may be lost and the task handed out again.
const TAKE: &str = "UPDATE tasks SET state = 1, worker = ?2, claim = ?3, holder = NULL,
  held_until = NULL, waits = NULL, timer = deadline,
  started = coalesce(started, iif(?5 AND expires IS NOT NULL, NULL, ?4)),
  parked_claim = iif(parked_worker = ?2, parked_claim, NULL),
  parked_worker = iif(parked_worker = ?2, parked_worker, NULL)
  WHERE rowid = ?1";

/// As [`TAKE`], for a task that has never run and has no instant to be looked at: the columns left
/// out are as they should be, and their indexes are not touched.
const TAKE_FIRST: &str =
    "UPDATE tasks SET state = 1, worker = ?2, claim = ?3, started = ?4 WHERE rowid = ?1";

/// What a claim has to know of a row beside what its worker gets.
struct ClaimedRow {
    waits: Option<String>,
    started: bool,
    timer: bool,
}

/// Priority turned round, due time and id: the order of claims.
type Turn = (i32, Time, TaskId);

/// A ready task.
struct Ready {
    turn: Turn,
    crashes: u32,
    at_once: bool,
    /// The number of its row.
    row: i64,
}

/// A queue and a kind, and what was read of its ready tasks.
struct Lane<'c> {
    of: (&'c str, &'c str),
    read: VecDeque<Ready>,
    next: Next,
}

/// Where the ready tasks of a lane go on.
enum Next {
    /// At the priorities below.
    Below(i32),
    /// Behind a task.
    After(Turn),
    Nothing,
}

impl<'c> Lane<'c> {
    fn new(of: (&'c str, &'c str)) -> Self {
        Self { of, read: VecDeque::new(), next: Next::Below(HIGHEST) }
    }

    fn head(&self) -> Option<Turn> {
        self.read.front().map(|ready| ready.turn)
    }
}

/// Above every priority.
const HIGHEST: i32 = i16::MAX as i32 + 1;

impl Tx<'_> {
    /// Tasks whose claim was in a reply that never arrived.
    pub(super) fn hand_out_again(
        &mut self,
        worker: WorkerId,
        acknowledged: u64,
        reply: &mut Reply,
    ) -> Result<()> {
        let mut find = self.sql(AGAIN)?;
        let rows = find.query_map(params![worker, Token::last_of(acknowledged) as i64], |row| {
            Ok((task_id(row, 0)?, count(row, 2)?, row.get(3)?))
        })?;
        for (task, claim, number) in rows.collect::<rusqlite::Result<Vec<_>>>()? {
            match self.claimed(task, number, Token { worker, claim }) {
                Ok((mut claimed, _)) => {
                    self.count_up(&mut claimed)?;
                    reply.claimed.push(claimed);
                }
                Err(fault) => self.stand_still(task, fault)?,
            }
        }
        Ok(())
    }

    pub(super) fn claim(
        &mut self,
        worker: WorkerId,
        number: u64,
        claim: &Claim,
        reply: &mut Reply,
    ) -> Result<()> {
        let free = claim.most().saturating_sub(reply.claimed.len());
        if claim.most() == 0 {
            return Ok(());
        }
        let mut choice = claim.choice(free);
        for (ready, ahead) in self.choose(worker, claim, &mut choice, free)? {
            let token = Token::of(worker, number, ahead);
            match self.take(ready.turn.2, ready.row, token) {
                Ok(claimed) => reply.claimed.push(claimed),
                // An answer that was recorded before stands: it is found by the next claim.
                Err(fault) => self.stand_still(ready.turn.2, fault)?,
            }
        }
        reply.left = claim.ahead > 0 && self.leaves(worker, claim, choice.takes_suspects())?;
        Ok(())
    }

    /// Whether there are tasks left that this worker could take if it began them at once.
    fn leaves(&self, worker: WorkerId, claim: &Claim, suspects: bool) -> Result<bool> {
        let mut read = self.sql(DIRECT)?;
        let mut rows = read.query(params![self.now, worker, suspects])?;
        let paused = self.paused()?;
        while let Some(row) = rows.next()? {
            let (queue, kind) = (row.get_ref(0)?.as_str(), row.get_ref(1)?.as_str());
            let (queue, kind) = (queue.unwrap_or_default(), kind.unwrap_or_default());
            if claim.serves(queue, kind) && !paused.contains(queue) {
                return Ok(true);
            }
        }
        Ok(false)
    }

    /// Gives a task to a worker, with the answers to its waits.
    fn take(&mut self, task: TaskId, row: i64, token: Token) -> Result<Claimed> {
        let (mut claimed, found) = self.claimed(task, row, token)?;
        // Most tasks run for the first time and have nothing to be looked up.
        if found.started || found.timer {
            claimed.answers = wake::answer(self, task, &decode(found.waits.as_deref())?)?;
            if !claimed.answers.is_empty() {
                self.renew(&mut claimed)?;
            }
            self.count_up(&mut claimed)?;
        }
        let (plain, now) = (!found.started && !found.timer, self.now);
        let take = self.kept(if plain { TAKE_FIRST } else { TAKE })?;
        if plain {
            take.execute(params![row, token.worker, token.claim as i64, now])?;
        } else {
            let Token { worker, claim } = token;
            take.execute(params![row, worker, claim as i64, now, token.is_ahead()])?;
        }
        Ok(claimed)
    }

    fn paused(&self) -> Result<BTreeSet<String>> {
        let mut read = self.sql("SELECT queue FROM paused")?;
        let paused = read.query_map((), |row| row.get(0))?;
        Ok(paused.collect::<rusqlite::Result<_>>()?)
    }

    /// The lanes with pending tasks that a claim is for, without paused queues. Found by steps from one to the next: no
    /// more steps than there are such lanes and lanes between them, nor than the claim has.
    fn lanes<'c>(&self, claim: &'c Claim) -> Result<Vec<(&'c str, &'c str)>> {
        let paused = self.paused()?;
        let (queues, kinds) = (&claim.queues, &claim.kinds);
        let mut find = self.sql(LANE)?;
        let mut lanes = Vec::new();
        let (mut queue, mut kind) = (0, 0);
        while queue < queues.len() && !kinds.is_empty() {
            if kind == kinds.len() || paused.contains(&queues[queue]) {
                (queue, kind) = (queue + 1, 0);
                continue;
            }
            let found = find.query_row(params![queues[queue], kinds[kind]], |row| {
                let (found, of): (String, String) = (row.get(0)?, row.get(1)?);
                Ok((found, of))
            });
            let Some((found, of)) = found.optional()? else { break };
            let there = queue + queues[queue..].partition_point(|own| *own < found);
            if there != queue {
                (queue, kind) = (there, 0);
            }
            if queues.get(queue) == Some(&found) {
                kind = kinds.partition_point(|own| *own < of);
                if kinds.get(kind) == Some(&of) && !paused.contains(&found) {
                    lanes.push((queues[queue].as_str(), kinds[kind].as_str()));
                    kind += 1;
                }
            }
        }
        Ok(lanes)
    }

    /// The tasks that a claim takes, in turn, and whether each is fetched ahead.
    fn choose(
        &self,
        worker: WorkerId,
        claim: &Claim,
        choice: &mut Choice,
        free: usize,
    ) -> Result<Vec<(Ready, bool)>> {
        let mut lanes: Vec<Lane<'_>> = self.lanes(claim)?.into_iter().map(Lane::new).collect();
        // A lane that is alone has them all; of many each is read in part, and further when its turn has come.
        let part = if lanes.len() > 1 { 2 * free / lanes.len() + 4 } else { free };
        let mut heads = BinaryHeap::new();
        for (number, lane) in lanes.iter_mut().enumerate() {
            self.read_on(lane, worker, part)?;
            heads.extend(lane.head().map(|turn| Reverse((turn, number))));
        }
        let mut chosen = Vec::new();
        while !choice.is_made()
            && let Some(Reverse((_, number))) = heads.pop()
        {
            let lane = &mut lanes[number];
            if let Some(ready) = lane.read.pop_front()
                && let Some(ahead) = choice.takes(ready.crashes, ready.at_once)
            {
                chosen.push((ready, ahead));
            }
            if lane.read.is_empty() {
                self.read_on(lane, worker, part)?;
            }
            heads.extend(lane.head().map(|turn| Reverse((turn, number))));
        }
        Ok(chosen)
    }

    /// Reads the next ready tasks of a lane that are free to take, so many at most.
    fn read_on(&self, lane: &mut Lane<'_>, worker: WorkerId, most: usize) -> Result<()> {
        let (queue, kind) = lane.of;
        let mut left = most;
        while left > 0 {
            let mut find;
            let (mut rows, rest) = match lane.next {
                Next::Below(priority) => {
                    find = self.sql(READY)?;
                    (find.query(params![queue, kind, priority])?, Next::Nothing)
                }
                Next::After((turned, due, TaskId { job, local })) => {
                    find = self.sql(READY_AFTER)?;
                    let rows = find.query(params![queue, kind, -turned, due, job, local])?;
                    (rows, Next::Below(-turned))
                }
                Next::Nothing => return Ok(()),
            };
            lane.next = rest;
            while let Some(row) = rows.next()? {
                let (priority, due): (i32, Time) = (row.get(0)?, row.get(1)?);
                if due > self.now {
                    // The rest of this priority is due later: on to the next.
                    lane.next = Next::Below(priority);
                    break;
                }
                let holder: Option<WorkerId> = row.get(5)?;
                let free_to_take = match holder.filter(|own| *own != worker) {
                    // Who is gone keeps nothing.
                    Some(other) => {
                        row.get::<_, Option<Time>>(6)?.is_none_or(|until| until <= self.now)
                            || !self.knows(other)?
                    }
                    None => true,
                };
                if !free_to_take {
                    continue;
                }
                let turn = (-priority, due, task_id(row, 2)?);
                let (crashes, at_once) = (row.get(4)?, row.get(7)?);
                lane.read.push_back(Ready { turn, crashes, at_once, row: row.get(8)? });
                left -= 1;
                if left == 0 {
                    lane.next = Next::After(turn);
                    break;
                }
            }
        }
        Ok(())
    }

    /// A task as its worker gets it, and what the claim has to know besides.
    fn claimed(&mut self, task: TaskId, row: i64, token: Token) -> Result<(Claimed, ClaimedRow)> {
        let mut rows = self.kept(READ)?.query([row])?;
        let Some(row) = rows.next()? else {
            return Err(rusqlite::Error::QueryReturnedNoRows.into());
        };
        let policy: Option<String> = row.get(4)?;
        let found = ClaimedRow {
            waits: row.get(11)?,
            started: row.get::<_, Option<Time>>(12)?.is_some(),
            timer: row.get::<_, Option<Time>>(13)?.is_some(),
        };
        let mut claimed = of(row, task, token)?;
        if let Some(text) = policy {
            claimed.policy = serde_json::from_str(&text)
                .map_err(|error| Fault::from(error).of(|| "its policy".to_owned()))?;
        }
        Ok((claimed, found))
    }

    /// An answer is progress: it renews the budgets of retries and crashes.
    fn renew(&self, claimed: &mut Claimed) -> Result<()> {
        (claimed.failures, claimed.crashes, claimed.stalls) = (0, 0, 0);
        let mut renew = self.sql(
            "UPDATE tasks SET failures = 0, crashes = 0, stalls = 0, at_once = 0 WHERE job = ?1 AND local = ?2",
        )?;
        renew.execute(params![claimed.task.job, claimed.task.local])?;
        Ok(())
    }

    /// Adds how much a task has recorded and spawned.
    fn count_up(&mut self, claimed: &mut Claimed) -> Result<()> {
        let task = claimed.task;
        let mut last =
            self.sql("SELECT coalesce(max(seq), 0) FROM records WHERE job = ?1 AND task = ?2")?;
        claimed.records = last.query_row(params![task.job, task.local], |row| count(row, 0))?;
        claimed.spawned = self.spawned(task)?;
        Ok(())
    }

    /// The next instant at which a worker with this claim would find something to do.
    pub(super) fn next_due(&self, worker: WorkerId, claim: &Claim) -> Result<Option<Time>> {
        let mut first: Option<Time> = self.sql(TIMER)?.query_row([self.now], |row| row.get(0))?;
        if claim.most() == 0 {
            return Ok(first);
        }
        let lanes = self.lanes(claim)?;
        let crashes = if claim.suspect { u32::MAX } else { limits::SUSPECT };
        for lane in &lanes {
            first = first.into_iter().chain(self.next_in(*lane, worker, crashes)?).min();
        }
        Ok(first.into_iter().chain(self.next_held(&lanes, worker, crashes)?).min())
    }

    /// The first due time to come in a lane.
    fn next_in(&self, lane: (&str, &str), worker: WorkerId, crashes: u32) -> Result<Option<Time>> {
        let mut next = self.sql(NEXT)?;
        let mut find = self.sql(DUE)?;
        let mut below = HIGHEST;
        let mut first = None;
        while let Some(priority) =
            next.query_row(params![lane.0, lane.1, below], |row| row.get(0)).optional()?
        {
            below = priority;
            let values = params![lane.0, lane.1, priority, self.now, crashes, worker];
            let due: Option<Time> = find.query_row(values, |row| row.get(0)).optional()?;
            first = first.into_iter().chain(due).min();
        }
        Ok(first)
    }

    /// The first instant at which another worker's hold on resumed work ends.
    fn next_held(
        &self,
        lanes: &[(&str, &str)],
        worker: WorkerId,
        crashes: u32,
    ) -> Result<Option<Time>> {
        let mut find = self.sql(HELD)?;
        let mut rows = find.query(params![self.now, worker, crashes])?;
        while let Some(row) = rows.next()? {
            let (queue, kind) = (row.get_ref(1)?.as_str(), row.get_ref(2)?.as_str());
            if lanes.iter().any(|lane| Ok(lane.0) == queue && Ok(lane.1) == kind) {
                return Ok(Some(row.get(0)?));
            }
        }
        Ok(None)
    }
}

fn of(row: &Row<'_>, task: TaskId, token: Token) -> rusqlite::Result<Claimed> {
    let started: Option<Time> = row.get(12)?;
    let expires = row.get::<_, Option<Time>>(19)?.filter(|_| started.is_none());
    Ok(Claimed {
        task,
        parent: row.get(14)?,
        set: row.get::<_, Option<Local>>(16)?.zip(row.get(17)?),
        depth: row.get(15)?,
        token,
        kind: row.get(0)?,
        arguments: row.get(1)?,
        queue: row.get(2)?,
        priority: row.get(3)?,
        due: row.get(18)?,
        not_after: expires.into_iter().chain(row.get::<_, Option<Time>>(20)?).min(),
        policy: Policy::default(),
        attempt: row.get(5)?,
        failures: row.get(6)?,
        crashes: row.get(7)?,
        stalls: row.get(8)?,
        records: 0,
        spawned: 0,
        answers: Vec::new(),
        parked: self::token(row, (9, 10))?.filter(|parked| parked.worker == token.worker),
    })
}
