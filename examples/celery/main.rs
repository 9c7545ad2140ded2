//! The import of `shop.py`, moved to homing in two steps, under the same task names: callers and schedules in Celery
//! stay as they are.
//!
//! ```text
//! cargo run --example celery --features celery -- parent      # the parent here, its children still in Celery
//! cargo run --example celery --features celery -- children    # the children here too
//! ```
//!
//! `compare.py` runs both beside the plain Celery application, and says what the difference is.

mod children;
mod parent;

use std::error::Error;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use clap::{Parser, ValueEnum};
use homing::Homing;
use homing_celery::Celery;
use serde::{Deserialize, Serialize};

/// Runs the import for Celery's clients
#[derive(Debug, Parser)]
#[command(name = "celery")]
struct Options {
    /// How much has moved
    step: Step,
    /// Broker and result backend of the Celery application
    #[arg(long, env = "SHOP_REDIS", default_value = "redis://127.0.0.1:6379/0")]
    redis: String,
    /// Where homing's tasks live
    #[arg(long, default_value = "sqlite:shop.db")]
    store: String,
}

#[derive(Debug, Clone, Copy, ValueEnum)]
enum Step {
    /// The parent; its children run in Celery
    Parent,
    /// The parent and its children
    Children,
}

#[tokio::main]
async fn main() -> Result<(), Box<dyn Error>> {
    let Options { step, redis, store } = Options::parse();
    let homing = Homing::open(&store).await?;
    let worker = homing.worker();
    let worker = match step {
        Step::Parent => worker.register(parent::import_feed),
        Step::Children => worker.register(children::import_feed).register(children::write_page),
    };
    let worker = worker.start().await?;
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

impl Imported {
    fn of(written: &[Written]) -> Self {
        let ended = written.iter().map(|page| page.ended).fold(0.0, f64::max);
        Self { rows: written.iter().map(|page| page.rows).sum(), late: seconds() - ended }
    }
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
