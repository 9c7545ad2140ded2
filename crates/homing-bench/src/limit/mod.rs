//! The raw limit: what the bare writes of a task cost, without homing.
//!
//! One table, its rows about as wide as homing's for the same task, its keys and payload those of
//! `throughput`. A task is three writes: insert; claim (find the oldest by the index, update each);
//! complete (update with the outcome). A thousand tasks go through all three before the next thousand,
//! each phase of a batch in one transaction.

use std::time::Duration;

use crate::place::Fresh;
use crate::report::{Figures, Report};
use crate::rounds::Common;
use crate::tasks;
use crate::{Result, figure};

mod postgres;
mod redis;
mod sqlite;

const BATCH: u64 = 1000;
/// Tasks of the measurement beside each run of another bench.
const BESIDE: u64 = 50_000;
/// Tasks of the measurement with one row per transaction.
const SINGLE: u64 = 2000;

const READY: i64 = 0;
const RUNNING: i64 = 1;

/// `limit`: the limit itself, and what fewer writes or smaller transactions would make of it.
pub(crate) async fn run(common: &Common) -> Result<Report> {
    common.store.require_shared("a store in memory has no raw limit")?;
    let tasks = common.tasks(BESIDE, 2 * BESIDE);
    let full = common.store.is_full();
    let durability = common.store.durability();
    let mut report = common
        .report("limit", Some(tasks), None)
        .setting("batch", BATCH)
        .setting("synchronous", durability)
        .setting("single_tasks", SINGLE.min(tasks))
        .note("per_second: three writes a task; two_write: inserted as already running")
        .note("single: three transactions of one row a task");
    for number in 0..=common.runs(5) {
        let figures = common.bounded(figures(common, full, tasks)).await?;
        if number > 0 {
            let limit = figures.first().map(|(_, per_second)| *per_second);
            report.add(figures, limit);
        }
    }
    Ok(report)
}

async fn figures(common: &Common, full: bool, tasks: u64) -> Result<Figures> {
    let single = SINGLE.min(tasks);
    let (three, two, one) =
        (common.store.fresh().await?, common.store.fresh().await?, common.store.fresh().await?);
    let per_second = batches(&three, full, (tasks, tasks::WIDTH), true).await?;
    let mut figures = vec![
        ("per_second", per_second),
        ("seconds", tasks as f64 / per_second),
        ("two_write_per_second", batches(&two, full, (tasks, tasks::WIDTH), false).await?),
        ("single_per_second", singly(&one, full, single).await?),
        ("single_commit_p50_ms", commit(&one, full, Duration::ZERO).await?.p50),
    ];
    if let Some(schema) = common.store.fresh().await?.schema() {
        let alone = postgres::batches(schema, 1, (tasks, tasks::WIDTH), true).await?;
        figures.push(("one_connection_per_second", alone));
    }
    Ok(figures)
}

/// Tasks per second as three writes, measured beside another bench.
pub(crate) async fn beside(fresh: &Fresh, full: bool) -> Result<f64> {
    batches(fresh, full, (BESIDE, tasks::WIDTH), true).await
}

/// The same, of so many tasks with payloads of so many bytes.
pub(crate) async fn wide(fresh: &Fresh, full: bool, of: (u64, usize)) -> Result<f64> {
    batches(fresh, full, of, true).await
}

async fn batches(fresh: &Fresh, full: bool, of: (u64, usize), claimed: bool) -> Result<f64> {
    if let Some(prefix) = fresh.prefix() {
        return redis::batches(prefix, of, claimed).await;
    }
    match fresh.schema() {
        Some(schema) => postgres::batches(schema, postgres::CONNECTIONS, of, claimed).await,
        None => on_file(fresh, move |path| sqlite::batches(path, full, of, claimed)).await,
    }
}

async fn singly(fresh: &Fresh, full: bool, tasks: u64) -> Result<f64> {
    if let Some(prefix) = fresh.prefix() {
        return redis::singly(prefix, tasks).await;
    }
    match fresh.schema() {
        Some(schema) => postgres::singly(schema, tasks).await,
        None => on_file(fresh, move |path| sqlite::singly(path, full, tasks)).await,
    }
}

/// Transactions that are measured one by one.
const COMMITS: u64 = 300;

/// Milliseconds of a transaction that inserts one row.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Commit {
    pub(crate) p50: f64,
    pub(crate) p99: f64,
}

impl Commit {
    fn of(samples: &[f64]) -> Result<Self> {
        let at = |percent| figure::percentile(samples, percent).ok_or("no commit was measured");
        Ok(Self { p50: at(50.0)?, p99: at(99.0)? })
    }
}

/// Transactions of one row, one after the other, each after a pause in which the machine has nothing to do.
pub(crate) async fn commit(fresh: &Fresh, full: bool, pause: Duration) -> Result<Commit> {
    if let Some(prefix) = fresh.prefix() {
        return redis::commit(prefix, pause).await;
    }
    match fresh.schema() {
        Some(schema) => postgres::commit(schema, pause).await,
        None => on_file(fresh, move |path| sqlite::commit(path, full, pause)).await,
    }
}

async fn on_file<T: Send + 'static>(
    fresh: &Fresh,
    measure: impl FnOnce(&std::path::Path) -> Result<T> + Send + 'static,
) -> Result<T> {
    let path = fresh.path().ok_or("the store has no file")?.to_owned();
    tokio::task::spawn_blocking(move || measure(&path)).await?
}

/// A key as homing makes them.
fn fresh_id() -> [u8; 16] {
    homing::JobId::fresh().uuid().into_bytes()
}
