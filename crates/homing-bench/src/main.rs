//! Benchmarks of homing, held against the raw limits of the store they run on.
//!
//! One subcommand per bench, each in a file of its own, through the public API only; `limit` alone
//! talks to a database directly. Results go to stdout, a table or JSON lines; all else to stderr.
//! Every store is a fresh one, every bench stops by itself.

use std::error::Error;
use std::io::{self, Write};
use std::process::ExitCode;

use clap::{Parser, Subcommand};

use crate::report::Report;
use crate::rounds::Common;

mod fanout;
mod figure;
mod history;
mod job;
mod kinds;
mod limit;
mod meter;
mod parked;
mod payload;
mod pickup;
mod place;
mod process;
mod queues;
mod recovery;
mod relay;
mod report;
mod rounds;
mod seed;
mod steps;
mod stopwatch;
mod tasks;
mod throughput;
mod wake;

/// What anything here may fail with.
pub(crate) type Result<T> = std::result::Result<T, Box<dyn Error + Send + Sync>>;

/// Benchmarks of homing and the raw limits they are held against.
#[derive(Debug, Parser)]
#[command(version, about)]
struct Args {
    #[command(subcommand)]
    bench: Bench,
}

#[derive(Debug, Subcommand)]
enum Bench {
    /// The bare inserts and updates a task costs, without homing.
    Limit(Common),
    /// Submit to outcome of no-op tasks.
    Throughput(throughput::Counting),
    /// One parent: its first line to all of its children's results.
    Fanout(Common),
    /// The last line of the last child to the next line of its parent.
    Wake(Common),
    /// Submit to the first line of the body, on an idle worker.
    Pickup(throughput::Args),
    /// Memory per parked parent, resident and evicted.
    Parked(Common),
    /// Kill -9 of a worker to the work going on in another.
    Recovery(Common),
    /// Throughput beside finished rows.
    History(history::Args),
    /// Throughput with a thousand idle kinds and twenty queues beside that with few.
    Kinds(Common),
    /// Throughput with work in a thousand queues beside that with work in one.
    Queues(Common),
    /// Throughput of tasks with large arguments and values.
    Payload(payload::Args),
    /// Recorded steps per second, of one body and of many.
    Steps(Common),
    /// `homing job` and `homing why` on a job of very many tasks.
    Job(Common),
    /// A worker process of another bench.
    #[command(hide = true)]
    Work(process::Args),
    /// A process full of parked parents.
    #[command(hide = true)]
    Park(parked::Args),
    /// `homing`, and how much memory it took.
    #[command(hide = true)]
    Show(job::Args),
}

fn main() -> ExitCode {
    let args = Args::parse();
    let done = match tokio::runtime::Builder::new_multi_thread().enable_all().build() {
        Ok(runtime) => {
            let done = runtime.block_on(interruptible(args.bench));
            // What still runs on other threads, after an error, is not waited for.
            runtime.shutdown_background();
            done
        }
        Err(error) => Err(error.into()),
    };
    match done {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) if is_broken_pipe(error.as_ref()) => ExitCode::SUCCESS,
        Err(error) => {
            // Nobody reads stderr: the exit code says it all.
            let _ = tell(error.as_ref());
            ExitCode::FAILURE
        }
    }
}

/// Ends on ctrl-c by dropping what runs, so that files and processes are cleaned up.
async fn interruptible(bench: Bench) -> Result<()> {
    tokio::select! {
        done = run(bench) => done,
        _ = tokio::signal::ctrl_c() => Err("interrupted".into()),
    }
}

async fn run(bench: Bench) -> Result<()> {
    match bench {
        Bench::Limit(common) => common.print(&[limit::run(&common).await?]),
        Bench::Throughput(args) => args.args.common.print(&[throughput::run(&args).await?]),
        Bench::Fanout(common) => common.print(&[fanout::run(&common).await?]),
        Bench::Wake(common) => common.print(&[wake::run(&common).await?]),
        Bench::Pickup(args) => args.common.print(&[pickup::run(&args).await?]),
        Bench::Parked(common) => common.print(&[parked::run(&common).await?]),
        Bench::Recovery(common) => common.print(&recovery::run(&common).await?),
        Bench::History(args) => args.common.print(&history::run(&args).await?),
        Bench::Kinds(common) => common.print(&[kinds::run(&common).await?]),
        Bench::Queues(common) => common.print(&[queues::run(&common).await?]),
        Bench::Payload(args) => args.common.print(&[payload::run(&args).await?]),
        Bench::Steps(common) => common.print(&[steps::run(&common).await?]),
        Bench::Job(common) => common.print(&[job::run(&common).await?]),
        Bench::Show(args) => job::homing(args).await,
        Bench::Work(args) => process::work(args).await,
        Bench::Park(args) => parked::park(args).await,
    }
}

impl Common {
    fn print(&self, reports: &[Report]) -> Result<()> {
        let mut out = io::stdout().lock();
        for report in reports {
            let text = if self.json { report.json()? + "\n" } else { report.table() };
            out.write_all(text.as_bytes())?;
        }
        out.flush()?;
        Ok(())
    }
}

fn is_broken_pipe(error: &(dyn Error + 'static)) -> bool {
    let error = error.downcast_ref::<io::Error>();
    error.is_some_and(|error| error.kind() == io::ErrorKind::BrokenPipe)
}

fn tell(error: &dyn Error) -> io::Result<()> {
    let mut out = io::stderr().lock();
    write!(out, "error: {error}")?;
    let mut source = error.source();
    while let Some(error) = source {
        write!(out, ": {error}")?;
        source = error.source();
    }
    writeln!(out)
}
