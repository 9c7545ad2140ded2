//! The ready tasks of a claim, in turn, and when the next one is due.
//!
//! A lane is a queue and a kind. The lanes that have pending tasks are found in the ready index, one step each, over
//! those that the worker does not serve: so a thousand kinds without work cost nothing. Each lane is read by itself, and
//! every priority of it, so that no row is passed over that this worker could not take now: not those of other kinds or
//! paused queues, nor those due later. The best of all lanes are taken in turn.

use std::cmp::Reverse;
use std::collections::{BTreeSet, BinaryHeap, VecDeque};

use rusqlite::types::ValueRef;
use rusqlite::{OptionalExtension, Row, params};

use super::fault::Result;
use super::tx::Tx;
use crate::core::id::{TaskId, WorkerId};
use crate::core::time::Time;
use crate::limits;
use crate::store::exchange::Choice;
use crate::store::{Claim, Claimed};

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

/// The first lane from a place on that has pending tasks, behind the first of these.
pub(super) const LANE: &str = concat!(
    "SELECT ",
    ready_columns!(),
    ", queue, kind FROM tasks INDEXED BY ready WHERE state = 0 AND (queue, kind) >= (?1, ?2)
  ORDER BY queue, kind, priority DESC, due, job, local LIMIT 1"
);

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

/// Why a pending task is not ready for a worker.
enum NotNow {
    /// It is due later, as is the rest of its priority.
    Due(i32),
    /// Another worker holds it.
    Held,
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

    /// Begins with its first task, which has been read.
    fn begin(&mut self, first: Ready) {
        self.next = Next::After(first.turn);
        self.read.push_back(first);
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
    /// The first task of each, if it may be taken.
    heads: Vec<Option<Ready>>,
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
    pub(super) fn lanes<'c>(&self, worker: WorkerId, claim: &'c Claim) -> Result<Lanes<'c>> {
        let (mut paused, mut pending, mut heads) = (BTreeSet::new(), Vec::new(), Vec::new());
        if claim.most() == 0 {
            return Ok(Lanes { claim, paused, pending, heads });
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
            let mut rows = find.query(params![queues[queue], kinds[kind]])?;
            let Some(row) = rows.next()? else { break };
            let (found, of): (String, String) =
                (row.get(ready_at::COUNT)?, row.get(ready_at::COUNT + 1)?);
            let there = queue + queues[queue..].partition_point(|own| *own < found);
            if there != queue {
                (queue, kind) = (there, 0);
            }
            if queues.get(queue) == Some(&found) {
                kind = kinds.partition_point(|own| *own < of);
                if kinds.get(kind) == Some(&of) && !paused.contains(&found) {
                    pending.push((queues[queue].as_str(), kinds[kind].as_str()));
                    heads.push(self.ready(row, worker)?.ok());
                    kind += 1;
                }
            }
        }
        Ok(Lanes { claim, paused, pending, heads })
    }

    /// The tasks that a claim takes, in turn, and whether each is fetched ahead.
    pub(super) fn choose(
        &self,
        worker: WorkerId,
        lanes: &mut Lanes<'_>,
        choice: &mut Choice,
    ) -> Result<Vec<(Ready, bool)>> {
        let free = choice.free();
        let firsts = std::mem::take(&mut lanes.heads);
        let mut lanes: Vec<Lane<'_>> = lanes.pending.iter().copied().map(Lane::new).collect();
        // A lane that is alone has them all; of many each is read in part, and only when its turn has come.
        let alone = lanes.len() == 1;
        let part = if alone { free } else { 2 * free / lanes.len().max(1) + 4 };
        let mut heads = BinaryHeap::new();
        for (number, (lane, first)) in lanes.iter_mut().zip(firsts).enumerate() {
            match first.filter(|_| !alone) {
                Some(first) => lane.begin(first),
                None => self.read_on(lane, worker, part)?,
            }
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
            // Of one that is alone the last of the part is the last that the claim takes.
            if lane.read.is_empty() && !choice.is_made() {
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
                let ready = match self.ready(row, worker)? {
                    Ok(ready) => ready,
                    // The rest of this priority is due later: on to the next.
                    Err(NotNow::Due(priority)) => {
                        lane.next = Next::Below(priority);
                        break;
                    }
                    Err(NotNow::Held) => continue,
                };
                let turn = ready.turn;
                lane.read.push_back(ready);
                left -= 1;
                if left == 0 {
                    lane.next = Next::After(turn);
                    break;
                }
            }
        }
        Ok(())
    }

    /// A task as a row shows it, if the worker may take it now.
    fn ready(&self, row: &Row<'_>, worker: WorkerId) -> Result<std::result::Result<Ready, NotNow>> {
        let (priority, due): (i32, Time) = (row.get(ready_at::priority)?, row.get(ready_at::due)?);
        if due > self.now {
            return Ok(Err(NotNow::Due(priority)));
        }
        let holder: Option<WorkerId> = row.get(ready_at::holder)?;
        // Who is gone keeps nothing.
        if let Some(other) = holder.filter(|own| *own != worker)
            && row
                .get::<_, Option<Time>>(ready_at::held_until)?
                .is_some_and(|until| until > self.now)
            && self.knows(other)?
        {
            return Ok(Err(NotNow::Held));
        }
        let (job, local) = (row.get(ready_at::job)?, row.get(ready_at::local)?);
        Ok(Ok(Ready {
            turn: (-priority, due, TaskId { job, local }),
            crashes: row.get(ready_at::crashes)?,
            at_once: row.get(ready_at::at_once)?,
            row: row.get(ready_at::rowid)?,
        }))
    }

    /// The next instant at which a worker with this claim would find something to do. Of one that took so many tasks as it
    /// might, the next upkeep: it looks again anyway, and with a thousand lanes that is what an exchange costs.
    pub(super) fn next_due(
        &self,
        worker: WorkerId,
        lanes: &Lanes<'_>,
        claimed: &[Claimed],
    ) -> Result<Option<Time>> {
        let mut first: Option<Time> = self.sql(TIMER)?.query_row([self.now], |row| row.get(0))?;
        if lanes.pending.is_empty() || lanes.claim.is_full(claimed) {
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
