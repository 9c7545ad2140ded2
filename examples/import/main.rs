//! A nightly import: fetch a feed page by page, write every page in a task of its own, wait for all
//! of them, and only then check the result.
//!
//! ```text
//! cargo run --example import
//! ```
//!
//! Kill it with `kill -9` at any moment and start the same command again: it finishes the same job
//! and ends in the same line on stdout, `imported N rows, checksum C`. The checksum is that of
//! `tail -n +2 data/airports.csv | sha256sum`.
//!
//! `tasks.rs` is what you would write yourself. The rest plays the outside world: `feed.rs` is the
//! client of the feed that `server.rs` serves, slowly and with failures, and `target` the table.

mod feed;
#[path = "../shared/role.rs"]
mod role;
mod server;
mod target;
mod tasks;
#[path = "../shared/watch.rs"]
mod watch;

use std::error::Error;
use std::io::Write;
use std::path::PathBuf;
use std::process::ExitCode;
use std::time::Duration;

use clap::Parser;
use homing::{Homing, JobHandle, JobId, Status, Worker};

use crate::feed::Feed;
use crate::target::Target;
use crate::tasks::{Report, check, import, nightly, write_page};
use crate::watch::say;

/// Worker deaths in a row that a task survives. The default of 5 protects a worker from its tasks;
/// here it is you who kills it.
const MAX_CRASHES: u32 = 1_000;

/// Imports 7,813 airports from a slow and flaky feed
#[derive(Debug, Parser)]
#[command(name = "import")]
struct Options {
    /// Where tasks live: memory:, sqlite:PATH or, where built with it, `postgres://HOST/DATABASE`
    #[arg(long, value_name = "URL", default_value = "sqlite:import.db")]
    store: String,
    /// The SQLite file to import into [default: beside the store; in PostgreSQL, in its database]
    #[arg(long, value_name = "PATH")]
    target: Option<PathBuf>,
    /// The job's id, or any name for it; a finished job is not run again [default: by page size]
    #[arg(long, value_name = "ID")]
    job: Option<String>,
    /// Rows on a page
    #[arg(long, value_name = "ROWS", default_value_t = 100)]
    #[arg(value_parser = clap::value_parser!(u16).range(1..=1000))]
    page_size: u16,
    #[command(flatten)]
    feed: server::Behaviour,
    #[command(flatten)]
    role: role::Role,
}

#[tokio::main]
async fn main() -> ExitCode {
    match run(Options::parse()).await {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            say(format_args!("error: {error}"));
            ExitCode::FAILURE
        }
    }
}

async fn run(options: Options) -> Result<(), Box<dyn Error>> {
    options.role.check(Some(&options.store))?;
    let homing = Homing::open(&options.store).await?;
    if !options.role.submits() {
        return role::until_interrupted(start_worker(&homing, &options).await?).await;
    }
    let job = submit(&homing, &options).await?;
    let worker =
        if options.role.works() { Some(start_worker(&homing, &options).await?) } else { None };
    let Report { rows, checksum } = watch::watch(&job).await?;
    if let Some(worker) = worker {
        worker.shutdown(Duration::from_secs(5)).await;
    }
    writeln!(std::io::stdout(), "imported {rows} rows, checksum {checksum}")?;
    Ok(())
}

/// Starts the feed's server and a worker that uses it.
///
/// The server has another port in every run. That is why the feed is a state of the worker and no
/// argument of a task: a task resumed after a crash is given the server of today.
async fn start_worker(homing: &Homing, options: &Options) -> Result<Worker, Box<dyn Error>> {
    let address = server::start(&options.feed).await?;
    let (target, into) = Target::open(&options.store, options.target.as_deref())?;
    say(format_args!("the feed is http://{address}/, the table in {into}"));
    let worker = homing.worker().register(nightly).register(import).register(write_page);
    let worker = worker.register(check).state(Feed::new(address)).state(target);
    let worker = worker.concurrency(options.role.concurrency()).max_crashes(MAX_CRASHES);
    Ok(worker.start().await?)
}

/// Submits the job under an id of its own, so that it is the same job however often it is submitted.
/// One that has failed goes on where it failed.
async fn submit(homing: &Homing, options: &Options) -> Result<JobHandle<Report>, Box<dyn Error>> {
    let size = options.page_size;
    let id = match &options.job {
        Some(name) => name.parse().unwrap_or_else(|_| JobId::named(name)),
        None => JobId::named(&format!("airports, {size} to a page")),
    };
    let job = homing.submit(nightly(size)).id(id).title("nightly import of airports").await?;
    say(format_args!("job {id}"));
    match job.status().await? {
        Status::Failed | Status::Cancelled => {
            say("it had failed and is tried again");
            job.retry().await?;
        }
        Status::InProgress | Status::Stalled => {}
        _ => say("it is finished, here is its outcome; give another --job to import afresh"),
    }
    Ok(job)
}
