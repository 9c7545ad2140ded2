//! The raw limit: what the bare writes of a task cost, without homing.
//!
//! Bundled SQLite through rusqlite, WAL, `synchronous=FULL` (NORMAL if the store's URL says so), and the
//! cache and checkpoint settings that homing uses. One table, its rows about as wide as homing's for the
//! same task, its keys and payload those of `throughput` ([`SCHEMA`]).
//!
//! A task is three writes: insert; claim (read the oldest by the index, update each by its key);
//! complete (update with the outcome). A thousand tasks go through all three before the next thousand,
//! each phase of a batch in one transaction.

use std::ops::Range;
use std::path::Path;

use rusqlite::{Connection, Statement, params};
use tokio::time::Instant;

use crate::report::{Figures, Report};
use crate::rounds::Common;
use crate::{Result, figure, tasks};

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

const BATCH: u64 = 1000;
/// Tasks of the measurement beside each run of another bench.
const BESIDE: u64 = 50_000;
/// Tasks of the measurement with one row per transaction.
const SINGLE: u64 = 2000;

/// `limit`: the limit itself, and what fewer writes or smaller transactions would make of it.
pub(crate) async fn run(common: &Common) -> Result<Report> {
    common.store.require_file("a store in memory has no raw limit")?;
    let tasks = common.tasks(BESIDE, 2 * BESIDE);
    let full = common.store.is_full();
    let mut report = common
        .report("limit", Some(tasks), None)
        .setting("batch", BATCH)
        .setting("synchronous", if full { "full" } else { "normal" })
        .setting("single_tasks", SINGLE.min(tasks))
        .note("per_second: three writes a task; two_write: inserted as already running")
        .note("single: three transactions of one row a task");
    for number in 0..=common.runs(5) {
        // Kept here, so that the files go when the run is given up.
        let stores = [common.store.fresh()?, common.store.fresh()?, common.store.fresh()?];
        let [three, two, single] = stores.each_ref().map(|fresh| fresh.path().map(Path::to_owned));
        let (three, two, single) = (three?, two?, single?);
        let measured = tokio::task::spawn_blocking(move || -> Result<Figures> {
            let per_second = batches(&three, full, tasks, true)?;
            Ok(vec![
                ("per_second", per_second),
                ("seconds", tasks as f64 / per_second),
                ("two_write_per_second", batches(&two, full, tasks, false)?),
                ("single_per_second", singly(&single, full, SINGLE.min(tasks))?),
                ("single_commit_p50_ms", commit(&single, full)?),
            ])
        });
        let figures = common.bounded(async { measured.await? }).await?;
        if number > 0 {
            let limit = figures.first().map(|(_, per_second)| *per_second);
            report.add(figures, limit);
        }
    }
    Ok(report)
}

/// Tasks per second as three writes, measured beside another bench.
pub(crate) fn beside(path: &Path, full: bool) -> Result<f64> {
    batches(path, full, BESIDE, true)
}

/// Milliseconds of a transaction that inserts one row, at the median.
pub(crate) fn commit(path: &Path, full: bool) -> Result<f64> {
    let mut table = Table::open(path, full)?;
    let mut samples = Vec::new();
    for number in 0..500 {
        let begun = Instant::now();
        table.insert(number..number + 1, RUNNING)?;
        samples.push(begun.elapsed().as_secs_f64() * 1000.0);
    }
    figure::percentile(&samples, 50.0).ok_or_else(|| "no commit was measured".into())
}

fn batches(path: &Path, full: bool, tasks: u64, claimed: bool) -> Result<f64> {
    let mut table = Table::open(path, full)?;
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

fn singly(path: &Path, full: bool, tasks: u64) -> Result<f64> {
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

const READY: i64 = 0;
const RUNNING: i64 = 1;

/// A queue as bare as it gets. Its clock is a counter as wide as ours, in microseconds.
struct Table {
    db: Connection,
    worker: Id,
    now: i64,
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
        Ok(Self { db, worker: fresh_id(), now: 1_800_000_000_000_000 })
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
        let now = self.now;
        self.transact(INSERT, |insert| {
            let mut ids = Vec::new();
            for number in numbers {
                let (id, text) = (fresh_id(), tasks::text(number));
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
        let now = self.now;
        self.transact(COMPLETE, |complete| {
            for (number, id) in (0..).zip(ids) {
                complete.execute(params![id, now, format!("\"{}\"", tasks::text(number))])?;
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

/// A key as homing makes them.
fn fresh_id() -> Id {
    homing::JobId::fresh().uuid().into_bytes()
}
