//! The raw limit of SQLite: bundled, through rusqlite, WAL, `synchronous=FULL` (NORMAL if the store's URL
//! says so), and the cache and checkpoint settings that homing uses.

use std::ops::Range;
use std::path::Path;

use rusqlite::{Connection, Statement, params};
use tokio::time::{Duration, Instant};

use super::{BATCH, COMMITS, Commit, READY, RUNNING, fresh_id};
use crate::{Result, tasks};

/// What any queue keeps of a task, and the one index that finds the next.
const SCHEMA: &str = "
CREATE TABLE tasks (
  id BLOB PRIMARY KEY,
  queue TEXT NOT NULL,
  kind TEXT NOT NULL,
  priority INTEGER NOT NULL,
  state INTEGER NOT NULL,        -- 0 ready, 1 running, 2 ended
  due INTEGER NOT NULL,
  attempt INTEGER NOT NULL,
  worker BLOB,
  hash BLOB NOT NULL,
  created INTEGER NOT NULL,
  started INTEGER,
  ended INTEGER,
  arguments TEXT NOT NULL,
  outcome TEXT
) STRICT, WITHOUT ROWID;
CREATE INDEX ready ON tasks (queue, priority DESC, due, id) WHERE state = 0;";

const INSERT: &str = "INSERT INTO tasks
  (id, queue, kind, priority, state, due, attempt, hash, created, arguments)
  VALUES (?1, 'default', 'noop', 0, ?2, ?3, 1, ?1, ?3, ?4)";
const SELECT: &str = "SELECT id, kind, attempt, arguments FROM tasks
  WHERE state = 0 AND queue = 'default' ORDER BY priority DESC, due, id LIMIT ?1";
const CLAIM: &str = "UPDATE tasks SET state = 1, worker = ?2, started = ?3 WHERE id = ?1";
const COMPLETE: &str =
    "UPDATE tasks SET state = 2, worker = NULL, ended = ?2, outcome = ?3 WHERE id = ?1";

/// Transactions that insert one row each, each after a pause.
pub(super) fn commit(path: &Path, full: bool, pause: Duration) -> Result<Commit> {
    let mut table = Table::open(path, full)?;
    let mut samples = Vec::new();
    for number in 0..COMMITS {
        std::thread::sleep(pause);
        let begun = Instant::now();
        table.insert(number..number + 1, RUNNING)?;
        samples.push(begun.elapsed().as_secs_f64() * 1000.0);
    }
    Commit::of(&samples)
}

/// Tasks per second in batches: as three writes, or as two, inserted as already running.
pub(super) fn batches(
    path: &Path,
    full: bool,
    (tasks, width): (u64, usize),
    claimed: bool,
) -> Result<f64> {
    let mut table = Table { width, ..Table::open(path, full)? };
    let begun = Instant::now();
    let mut next = 0;
    while next < tasks {
        let numbers = next..tasks.min(next + BATCH);
        next = numbers.end;
        let size = numbers.end - numbers.start;
        let ids = if claimed {
            table.insert(numbers, READY)?;
            table.claim(size)?
        } else {
            table.insert(numbers, RUNNING)?
        };
        table.complete(&ids)?;
    }
    let seconds = begun.elapsed().as_secs_f64();
    table.verify(tasks)?;
    Ok(tasks as f64 / seconds)
}

/// Tasks per second as three transactions of one row.
pub(super) fn singly(path: &Path, full: bool, tasks: u64) -> Result<f64> {
    let mut table = Table::open(path, full)?;
    let begun = Instant::now();
    for number in 0..tasks {
        table.insert(number..number + 1, READY)?;
        let ids = table.claim(1)?;
        table.complete(&ids)?;
    }
    let seconds = begun.elapsed().as_secs_f64();
    table.verify(tasks)?;
    Ok(tasks as f64 / seconds)
}

type Id = [u8; 16];

/// A queue as bare as it gets. Its clock is a counter as wide as ours, in microseconds.
struct Table {
    db: Connection,
    worker: Id,
    now: i64,
    /// How wide payloads are.
    width: usize,
}

impl Table {
    fn open(path: &Path, full: bool) -> Result<Self> {
        let db = Connection::open(path)?;
        db.pragma_update(None, "journal_mode", "wal")?;
        db.pragma_update(None, "synchronous", if full { "full" } else { "normal" })?;
        db.pragma_update(None, "cache_size", -64 * 1024)?;
        db.pragma_update(None, "wal_autocheckpoint", 4000)?;
        if !db.table_exists(None, "tasks")? {
            db.execute_batch(SCHEMA)?;
        }
        Ok(Self { db, worker: fresh_id(), now: 1_800_000_000_000_000, width: tasks::WIDTH })
    }

    /// One transaction of one prepared statement.
    fn transact<T>(
        &mut self,
        sql: &str,
        work: impl FnOnce(&mut Statement<'_>) -> Result<T>,
    ) -> Result<T> {
        self.now += 1000;
        let tx = self.db.transaction()?;
        let done = work(&mut *tx.prepare_cached(sql)?)?;
        tx.commit()?;
        Ok(done)
    }

    fn insert(&mut self, numbers: Range<u64>, state: i64) -> Result<Vec<Id>> {
        let (now, width) = (self.now, self.width);
        self.transact(INSERT, |insert| {
            let mut ids = Vec::new();
            for number in numbers {
                let (id, text) = (fresh_id(), tasks::wide(number, width));
                insert.execute(params![id, state, now, format!("{{\"text\":\"{text}\"}}")])?;
                ids.push(id);
            }
            Ok(ids)
        })
    }

    fn claim(&mut self, size: u64) -> Result<Vec<Id>> {
        let (now, worker) = (self.now, self.worker);
        let tx = self.db.transaction()?;
        let mut claimed: Vec<(Id, String, i64, String)> = Vec::new();
        {
            let mut select = tx.prepare_cached(SELECT)?;
            let mut rows = select.query([size as i64])?;
            while let Some(row) = rows.next()? {
                claimed.push((row.get(0)?, row.get(1)?, row.get(2)?, row.get(3)?));
            }
            let mut claim = tx.prepare_cached(CLAIM)?;
            for (id, ..) in &claimed {
                claim.execute(params![id, worker, now])?;
            }
        }
        tx.commit()?;
        Ok(claimed.into_iter().map(|(id, ..)| id).collect())
    }

    fn complete(&mut self, ids: &[Id]) -> Result<()> {
        let (now, width) = (self.now, self.width);
        self.transact(COMPLETE, |complete| {
            for (number, id) in (0..).zip(ids) {
                complete.execute(params![
                    id,
                    now,
                    format!("\"{}\"", tasks::wide(number, width))
                ])?;
            }
            Ok(())
        })
    }

    fn verify(&self, tasks: u64) -> Result<()> {
        let count = "SELECT count(*) FROM tasks WHERE state = 2 AND outcome IS NOT NULL";
        let ended: i64 = self.db.query_row(count, (), |row| row.get(0))?;
        if ended == tasks as i64 {
            return Ok(());
        }
        Err(format!("the limit is wrong: {ended} of {tasks} tasks were completed").into())
    }
}
