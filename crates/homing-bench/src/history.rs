//! `history`: throughput in stores that hold finished tasks, empty and full runs interleaved.
//!
//! A full store is seeded once, in bulk, and used by all runs: what each adds is little beside what is
//! there. An empty one is fresh for every run.

use homing::Homing;
use tokio::time::Instant;
use tokio_postgres::Client;

use crate::place::Fresh;
use crate::report::Report;
use crate::rounds::{Common, progress};
use crate::{Result, seed, throughput};

/// What `history` is told.
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    #[command(flatten)]
    pub(crate) common: Common,
    /// Finished tasks in each store; the first is what the others are compared with.
    #[arg(long, value_name = "N,N…", value_delimiter = ',', default_values_t = [0, 1_000_000, 10_000_000],
        value_parser = clap::value_parser!(u64).range(0..=100_000_000))]
    rows: Vec<u64>,
    /// Adds runs on an empty PostgreSQL store while another transaction keeps its snapshot, so that
    /// nothing can be vacuumed.
    #[arg(long)]
    snapshot: bool,
}

/// A store with a number of finished rows.
struct Level {
    /// An empty one is fresh for every run.
    seeded: Option<Fresh>,
    /// Whether a snapshot is held meanwhile.
    held: bool,
    report: Report,
}

pub(crate) async fn run(args: &Args) -> Result<Vec<Report>> {
    let common = &args.common;
    common.store.require_shared("it keeps no history that could be seeded")?;
    let tasks = common.tasks(20_000, 20_000);
    let mut levels = Vec::new();
    for rows in args.rows.iter().copied() {
        levels.push(level(common, rows, tasks).await?);
    }
    if args.snapshot {
        let report = common
            .report("history", Some(tasks), None)
            .setting("rows", 0)
            .setting("held_snapshot", true)
            .setting("concurrency", common.concurrency)
            .note("cost: as for the others; a snapshot is held from before the first task");
        levels.push(Level { seeded: None, held: true, report });
    }
    for number in 0..=common.runs(3) {
        progress(&format!("history: run {} of {}", number + 1, common.runs(3) + 1));
        let limit = common.limit().await?;
        let mut first = None;
        for level in &mut levels {
            let fresh = common.store.fresh().await?;
            let store = level.seeded.as_ref().unwrap_or(&fresh);
            let snapshot = if level.held { Some(hold(store).await?) } else { None };
            let mut figures = common.bounded(throughput::one(store, common, tasks, 0)).await?;
            drop(snapshot);
            let rate = figures.first().map_or(f64::NAN, |(_, rate)| *rate);
            // Seconds per task over those of the first: rates the other way round.
            figures.push(("cost", *first.get_or_insert(rate) / rate));
            if number > 0 {
                level.report.add(figures, limit);
            }
        }
    }
    Ok(levels.into_iter().map(|level| level.report).collect())
}

async fn level(common: &Common, rows: u64, tasks: u64) -> Result<Level> {
    let mut report = common
        .report("history", Some(tasks), None)
        .setting("rows", rows)
        .setting("concurrency", common.concurrency)
        .note("cost: seconds per task over those of the first number of rows in the same round");
    if rows == 0 {
        return Ok(Level { seeded: None, held: false, report });
    }
    progress(&format!("history: seeding {rows} rows"));
    let fresh = common.store.fresh().await?;
    let begun = Instant::now();
    common.bounded(seed::template(&fresh)).await?;
    seed::multiply(&fresh, rows, begun + common.patience()).await?;
    let breaches = Homing::open(fresh.url()).await?.check().await?;
    if let Some(breach) = breaches.first() {
        return Err(format!("the seeded store is broken: {}", breach.what).into());
    }
    report = report.setting("seeded_in_seconds", begun.elapsed().as_secs());
    Ok(Level { seeded: Some(fresh), held: false, report })
}

/// A connection in a transaction that keeps its snapshot until the connection is dropped.
async fn hold(store: &Fresh) -> Result<Client> {
    let schema = store.schema().ok_or("only a PostgreSQL store can be held by a snapshot")?;
    let client = schema.connect().await?;
    client
        .batch_execute("BEGIN ISOLATION LEVEL REPEATABLE READ; SELECT count(*) FROM pg_class")
        .await?;
    Ok(client)
}
