//! The raw limit of Redis: each phase of a batch is one script, over one connection, one call at a time.
//!
//! All tasks are fields of one hash, since what counts on Redis is how many commands a script calls; one sorted set
//! finds the next. Other layouts were measured, and were slower.

use std::ops::Range;

use redis::Script;
use redis::aio::MultiplexedConnection;
use tokio::time::{Duration, Instant};

use super::{BATCH, COMMITS, Commit, READY, RUNNING, fresh_id};
use crate::place::Prefix;
use crate::{Result, tasks};

/// The hash, the sorted set of what is ready, the list of what has ended. Asked: state, worker, then an id and arguments
/// for each.
const INSERT: &str = "
local now = redis.call('TIME')
local fields, ready, ids = {}, {}, {}
for at = 3, #ARGV, 2 do
  local id = ARGV[at]
  -- What any queue keeps of a task: queue, kind, priority, state, due, attempt, worker, hash, created, started, ended.
  local row = { 'default', 'noop', 0, tonumber(ARGV[1]), now[1], 1, ARGV[2], id, now[1], false, false }
  fields[#fields + 1] = 'o' .. id
  fields[#fields + 1] = cmsgpack.pack(row)
  fields[#fields + 1] = 'a' .. id
  fields[#fields + 1] = ARGV[at + 1]
  ready[#ready + 1] = 0
  ready[#ready + 1] = id
end
redis.call('HSET', KEYS[1], unpack(fields))
if ARGV[1] == '0' then
  redis.call('ZADD', KEYS[2], unpack(ready))
end
return #ready / 2";

/// Asked: how many, the worker. Answers an id, the row and the arguments of each.
const CLAIM: &str = "
local ids = redis.call('ZPOPMIN', KEYS[2], ARGV[1])
local now, names = redis.call('TIME'), {}
for at = 1, #ids, 2 do
  names[#names + 1] = 'o' .. ids[at]
  names[#names + 1] = 'a' .. ids[at]
end
local found, fields, claimed = redis.call('HMGET', KEYS[1], unpack(names)), {}, {}
for at = 1, #ids, 2 do
  local row = cmsgpack.unpack(found[at])
  row[4], row[7], row[10] = 1, ARGV[2], now[1]
  local packed = cmsgpack.pack(row)
  fields[#fields + 1] = 'o' .. ids[at]
  fields[#fields + 1] = packed
  claimed[#claimed + 1] = ids[at]
  claimed[#claimed + 1] = packed
  claimed[#claimed + 1] = found[at + 1]
end
redis.call('HSET', KEYS[1], unpack(fields))
return claimed";

/// Asked: the worker, then an id and an outcome for each. Refuses what is not that worker's.
const COMPLETE: &str = "
local now, names = redis.call('TIME'), {}
for at = 2, #ARGV, 2 do
  names[#names + 1] = 'o' .. ARGV[at]
end
local found, fields, ended = redis.call('HMGET', KEYS[1], unpack(names)), {}, {}
for at = 2, #ARGV, 2 do
  local row = cmsgpack.unpack(found[at / 2])
  if row[4] == 1 and row[7] == ARGV[1] then
    row[4], row[7], row[11] = 2, false, now[1]
    fields[#fields + 1] = 'o' .. ARGV[at]
    fields[#fields + 1] = cmsgpack.pack(row)
    fields[#fields + 1] = 'v' .. ARGV[at]
    fields[#fields + 1] = ARGV[at + 1]
    ended[#ended + 1] = ARGV[at]
  end
end
redis.call('HSET', KEYS[1], unpack(fields))
redis.call('RPUSH', KEYS[3], unpack(ended))
return #ended";

/// Tasks per second in batches: as three writes, or as two, inserted as already running.
pub(super) async fn batches(
    prefix: &Prefix,
    (tasks, width): (u64, usize),
    claimed: bool,
) -> Result<f64> {
    let mut table = Table { width, ..Table::open(prefix).await? };
    let begun = Instant::now();
    let mut next = 0;
    while next < tasks {
        let numbers = next..tasks.min(next + BATCH);
        next = numbers.end;
        let size = numbers.end - numbers.start;
        let ids = if claimed {
            table.insert(numbers, READY).await?;
            table.claim(size).await?
        } else {
            table.insert(numbers, RUNNING).await?
        };
        table.complete(&ids).await?;
    }
    let seconds = begun.elapsed().as_secs_f64();
    table.verify(tasks).await?;
    Ok(tasks as f64 / seconds)
}

/// Tasks per second as three scripts of one task.
pub(super) async fn singly(prefix: &Prefix, tasks: u64) -> Result<f64> {
    let mut table = Table::open(prefix).await?;
    let begun = Instant::now();
    for number in 0..tasks {
        table.insert(number..number + 1, READY).await?;
        let ids = table.claim(1).await?;
        table.complete(&ids).await?;
    }
    let seconds = begun.elapsed().as_secs_f64();
    table.verify(tasks).await?;
    Ok(tasks as f64 / seconds)
}

/// Scripts that insert one task each, each after a pause.
pub(super) async fn commit(prefix: &Prefix, pause: Duration) -> Result<Commit> {
    let mut table = Table::open(prefix).await?;
    let mut samples = Vec::new();
    for number in 0..COMMITS {
        tokio::time::sleep(pause).await;
        let begun = Instant::now();
        table.insert(number..number + 1, RUNNING).await?;
        samples.push(begun.elapsed().as_secs_f64() * 1000.0);
    }
    Commit::of(&samples)
}

type Id = Vec<u8>;

/// A queue as bare as it gets.
struct Table {
    server: MultiplexedConnection,
    keys: [String; 3],
    worker: Id,
    /// How wide payloads are.
    width: usize,
    insert: Script,
    claim: Script,
    complete: Script,
}

impl Table {
    async fn open(prefix: &Prefix) -> Result<Self> {
        let keys = ["tasks", "ready", "ended"].map(|name| prefix.key(&format!("limit:{name}")));
        Ok(Self {
            server: prefix.connect().await?,
            keys,
            worker: fresh_id().to_vec(),
            width: tasks::WIDTH,
            insert: Script::new(INSERT),
            claim: Script::new(CLAIM),
            complete: Script::new(COMPLETE),
        })
    }

    async fn insert(&mut self, numbers: Range<u64>, state: i64) -> Result<Vec<Id>> {
        let (mut ids, mut call) = (Vec::new(), self.insert.key(&self.keys[..]));
        call.arg(state).arg(if state == RUNNING { &self.worker[..] } else { b"" });
        for number in numbers {
            let id = fresh_id().to_vec();
            let arguments = format!("{{\"text\":\"{}\"}}", tasks::wide(number, self.width));
            call.arg(&id).arg(arguments);
            ids.push(id);
        }
        call.invoke_async::<u64>(&mut self.server).await?;
        Ok(ids)
    }

    async fn claim(&mut self, size: u64) -> Result<Vec<Id>> {
        let mut call = self.claim.key(&self.keys[..]);
        call.arg(size).arg(&self.worker);
        let answer: Vec<Vec<u8>> = call.invoke_async(&mut self.server).await?;
        // All that a worker needs is read.
        Ok(answer.chunks(3).filter_map(|task| task.first().cloned()).collect())
    }

    async fn complete(&mut self, ids: &[Id]) -> Result<()> {
        let mut call = self.complete.key(&self.keys[..]);
        call.arg(&self.worker);
        for (number, id) in (0..).zip(ids) {
            call.arg(id).arg(format!("\"{}\"", tasks::wide(number, self.width)));
        }
        let ended: u64 = call.invoke_async(&mut self.server).await?;
        if ended == ids.len() as u64 {
            return Ok(());
        }
        Err(format!("the limit is wrong: {ended} of {} tasks were this worker's", ids.len()).into())
    }

    async fn verify(&mut self, tasks: u64) -> Result<()> {
        let ended: u64 =
            redis::cmd("LLEN").arg(&self.keys[2]).query_async(&mut self.server).await?;
        if ended == tasks {
            return Ok(());
        }
        Err(format!("the limit is wrong: {ended} of {tasks} tasks were completed").into())
    }
}
