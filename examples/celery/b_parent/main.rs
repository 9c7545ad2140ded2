//! The second step: the parent is homing's, under the same task name; its children are Celery's. Callers and schedules in
//! Celery stay as they are.
//!
//! ```text
//! cargo run --example celery_parent --features celery
//! ```
//!
//! `diff b_parent/main.rs c_children/main.rs` shows what the third step changes; `compare.py` runs all three.

use std::error::Error;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use clap::Parser;
use homing::{Homing, JoinSet, log, step, task};
use homing_celery::{Celery, args, call};
use serde::{Deserialize, Serialize};

/// Runs the import for Celery's clients
#[derive(Debug, Parser)]
struct Options {
    /// Broker and result backend of the Celery application
    #[arg(long, env = "SHOP_REDIS", default_value = "redis://127.0.0.1:6379/0")]
    redis: String,
    /// Where homing's tasks live
    #[arg(long, default_value = "sqlite:shop.db")]
    store: String,
}

#[tokio::main]
async fn main() -> Result<(), Box<dyn Error>> {
    let Options { redis, store } = Options::parse();
    let homing = Homing::open(&store).await?;
    let worker = homing.worker().register(import_feed).start().await?;
    let bridge = homing.celery(&redis).queue("homing").start().await?;
    tokio::signal::ctrl_c().await?;
    bridge.shutdown(Duration::from_secs(10)).await;
    worker.shutdown(Duration::from_secs(10)).await;
    Ok(())
}

/// What a page has brought, and when it was written.
#[derive(Debug, Serialize, Deserialize)]
struct Written {
    rows: u64,
    ended: f64,
}

/// What an import has brought, and how long after its last page it went on.
#[derive(Debug, Serialize, Deserialize)]
struct Imported {
    rows: u64,
    late: f64,
}

/// Starts a child for each page and waits for all: no slot, no poll.
#[task(kind = "shop.import_feed")]
async fn import_feed(feed: String, pages: u64) -> homing::Result<Imported> {
    let mut written = JoinSet::new();
    let mut next = Some(1);
    while let Some(page) = next {
        start_page(&mut written, &feed, page).await?;
        next = step("fetch", || fetch(page, pages)).await?;
    }
    let written = written.join_all().await?;
    let ended = written.iter().map(|page| page.ended).fold(0.0, f64::max);
    let late = step("late", || async { Ok(seconds() - ended) }).await?;
    let rows = written.iter().map(|page| page.rows).sum();
    log!("{feed} is imported, {rows} rows");
    Ok(Imported { rows, late })
}

/// A helper, some functions below the task.
async fn start_page(written: &mut JoinSet<Written>, feed: &str, page: u64) -> homing::Result<()> {
    written.spawn(call("shop.write_page", args![feed, page])).await?;
    log!("page {page} of {feed} is on its way");
    Ok(())
}

/// Fetches a page of the feed; nobody knows which is the last one until it has come.
async fn fetch(page: u64, pages: u64) -> homing::Result<Option<u64>> {
    tokio::time::sleep(Duration::from_millis(20)).await;
    Ok((page < pages).then_some(page + 1))
}

#[expect(clippy::disallowed_methods, reason = "compared with the clock of Python's workers")]
fn seconds() -> f64 {
    SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default().as_secs_f64()
}
