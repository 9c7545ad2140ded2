//! The ready tasks of a claim, in turn, and when the next one is due.
//!
//! A lane is a queue and a kind. The lanes that have pending tasks are found in the ready index, one step each, over
//! those that the worker does not serve: so a thousand kinds without work cost nothing. Each lane is read by itself, and
//! every priority of it, so that no row is passed over that this worker could not take now: not those of other kinds or
//! paused queues, nor those due later. The best of all lanes are taken in turn.

use std::cmp::Reverse;
use std::collections::{BTreeSet, BinaryHeap, VecDeque};

use rusqlite::types::ValueRef;
use rusqlite::{OptionalExtension, params};

use super::fault::Result;
use super::tx::Tx;
use crate::core::id::{TaskId, WorkerId};
use crate::core::time::Time;
use crate::limits;
use crate::store::Claim;
use crate::store::exchange::Choice;

/// The first lane from a place on that has pending tasks.
pub(super) const LANE: &str = "SELECT queue, kind FROM tasks INDEXED BY ready
  WHERE state = 0 AND (queue, kind) >= (?1, ?2) ORDER BY queue, kind LIMIT 1";

by_name! {
    ready_columns ready_at {
        priority,
        due,
        job,
        local,
        crashes,
        holder,
        held_until,
        at_once,
        rowid,
    }
}

/// One lane from a priority downwards, in the order of the index. At the first task that is due later the reader goes on
/// with the next priority: the rest of this one is due later still.
pub(super) const READY: &str = concat!(
    "SELECT ",
    ready_columns!(),
    " FROM tasks INDEXED BY ready WHERE state = 0 AND queue = ?1 AND kind = ?2 AND priority < ?3
  ORDER BY priority DESC, due, job, local"
);

/// As [`READY`], within a priority from a task on.
pub(super) const READY_AFTER: &str = concat!(
    "SELECT ",
    ready_columns!(),
    " FROM tasks INDEXED BY ready WHERE state = 0 AND queue = ?1 AND kind = ?2 AND priority = ?3
    AND (due, job, local) > (?4, ?5, ?6) ORDER BY due, job, local"
);

/// The next priority that a lane has tasks of.
pub(super) const NEXT: &str = "SELECT priority FROM tasks INDEXED BY ready
  WHERE state = 0 AND queue = ?1 AND kind = ?2 AND priority < ?3 ORDER BY priority DESC LIMIT 1";

/// When the first task of a priority falls due that nobody else holds.
pub(super) const DUE: &str = "SELECT due FROM tasks INDEXED BY ready
  WHERE state = 0 AND queue = ?1 AND kind = ?2 AND priority = ?3 AND due > ?4
    AND crashes < ?5 AND (holder IS NULL OR holder = ?6 OR held_until <= ?4
      OR NOT EXISTS (SELECT 1 FROM workers WHERE id = holder))
  ORDER BY due LIMIT 1";

by_name! {
    held_columns held {
        queue,
        kind,
        held_until,
    }
}

/// When the first hold of another worker ends. A worker that is gone holds nothing.
pub(super) const HELD: &str = concat!(
    "SELECT ",
    held_columns!(),
    " FROM tasks INDEXED BY held
  WHERE state = 0 AND holder IS NOT NULL AND held_until > ?1 AND holder <> ?2 AND crashes < ?3
    AND EXISTS (SELECT 1 FROM workers WHERE id = holder)
  ORDER BY held_until"
);

/// What must begin at once and is ready.
pub(super) const DIRECT: &str = "SELECT queue, kind FROM tasks INDEXED BY direct
  WHERE state = 0 AND (crashes > 0 OR at_once) AND due <= ?1 AND (crashes < 2 OR ?3)
    AND (holder IS NULL OR holder = ?2 OR held_until <= ?1
      OR NOT EXISTS (SELECT 1 FROM workers WHERE id = holder))";

/// Instants to come. Upkeep has acted on those that have come, or is told to go on at once.
pub(super) const TIMER: &str = "SELECT min(timer) FROM tasks INDEXED BY timers WHERE timer > ?1";

/// Priority turned round, due time and id: the order of claims.
pub(super) type Turn = (i32, Time, TaskId);

/// A ready task.
pub(super) struct Ready {
    pub(super) turn: Turn,
    crashes: u32,
    at_once: bool,
    /// The number of its row.
    pub(super) row: i64,
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

/// Where a claim looks: its lanes that have pending tasks. Paused queues are left out.
pub(super) struct Lanes<'c> {
    pub(super) claim: &'c Claim,
    paused: BTreeSet<String>,
    pending: Vec<(&'c str, &'c str)>,
}

impl Lanes<'_> {
    fn serve(&self, queue: ValueRef<'_>, kind: ValueRef<'_>) -> bool {
        let (queue, kind) = (queue.as_str().unwrap_or_default(), kind.as_str().unwrap_or_default());
        self.claim.serves(queue, kind) && !self.paused.contains(queue)
    }
}

impl Tx<'_> {
    /// Whether there are tasks left that this worker could take if it began them at once.
    pub(super) fn leaves(
        &self,
        worker: WorkerId,
        lanes: &Lanes<'_>,
        suspects: bool,
    ) -> Result<bool> {
        let mut read = self.sql(DIRECT)?;
        let mut rows = read.query(params![self.now, worker, suspects])?;
        while let Some(row) = rows.next()? {
            if lanes.serve(row.get_ref(0)?, row.get_ref(1)?) {
                return Ok(true);
            }
        }
        Ok(false)
    }

    /// Found by steps from one lane to the next: no more steps than there are such lanes and lanes between them,
    /// nor than the claim has. Once for an exchange, after its upkeep: a claim makes no lane.
    pub(super) fn lanes<'c>(&self, claim: &'c Claim) -> Result<Lanes<'c>> {
        let (mut paused, mut pending) = (BTreeSet::new(), Vec::new());
        if claim.most() == 0 {
            return Ok(Lanes { claim, paused, pending });
        }
        let mut read = self.sql("SELECT queue FROM paused")?;
        for name in read.query_map((), |row| row.get(0))? {
            paused.insert(name?);
        }
        let (queues, kinds) = (&claim.queues, &claim.kinds);
        let mut find = self.sql(LANE)?;
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
                    pending.push((queues[queue].as_str(), kinds[kind].as_str()));
                    kind += 1;
                }
            }
        }
        Ok(Lanes { claim, paused, pending })
    }

    /// The tasks that a claim takes, in turn, and whether each is fetched ahead.
    pub(super) fn choose(
        &self,
        worker: WorkerId,
        lanes: &Lanes<'_>,
        choice: &mut Choice,
    ) -> Result<Vec<(Ready, bool)>> {
        let free = choice.free();
        let mut lanes: Vec<Lane<'_>> = lanes.pending.iter().copied().map(Lane::new).collect();
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
                let (priority, due): (i32, Time) =
                    (row.get(ready_at::priority)?, row.get(ready_at::due)?);
                if due > self.now {
                    // The rest of this priority is due later: on to the next.
                    lane.next = Next::Below(priority);
                    break;
                }
                let holder: Option<WorkerId> = row.get(ready_at::holder)?;
                let free_to_take = match holder.filter(|own| *own != worker) {
                    // Who is gone keeps nothing.
                    Some(other) => {
                        let until: Option<Time> = row.get(ready_at::held_until)?;
                        until.is_none_or(|until| until <= self.now) || !self.knows(other)?
                    }
                    None => true,
                };
                if !free_to_take {
                    continue;
                }
                let (job, local) = (row.get(ready_at::job)?, row.get(ready_at::local)?);
                let turn = (-priority, due, TaskId { job, local });
                lane.read.push_back(Ready {
                    turn,
                    crashes: row.get(ready_at::crashes)?,
                    at_once: row.get(ready_at::at_once)?,
                    row: row.get(ready_at::rowid)?,
                });
                left -= 1;
                if left == 0 {
                    lane.next = Next::After(turn);
                    break;
                }
            }
        }
        Ok(())
    }

    /// The next instant at which a worker with this claim would find something to do.
    pub(super) fn next_due(&self, worker: WorkerId, lanes: &Lanes<'_>) -> Result<Option<Time>> {
        let mut first: Option<Time> = self.sql(TIMER)?.query_row([self.now], |row| row.get(0))?;
        if lanes.pending.is_empty() {
            return Ok(first);
        }
        let crashes = if lanes.claim.suspect { u32::MAX } else { limits::SUSPECT };
        for lane in &lanes.pending {
            first = first.into_iter().chain(self.next_in(*lane, worker, crashes)?).min();
        }
        Ok(first.into_iter().chain(self.next_held(lanes, worker, crashes)?).min())
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
    fn next_held(&self, lanes: &Lanes<'_>, worker: WorkerId, crashes: u32) -> Result<Option<Time>> {
        let mut find = self.sql(HELD)?;
        let mut rows = find.query(params![self.now, worker, crashes])?;
        while let Some(row) = rows.next()? {
            if lanes.serve(row.get_ref(held::queue)?, row.get_ref(held::kind)?) {
                return Ok(Some(row.get(held::held_until)?));
            }
        }
        Ok(None)
    }
}
