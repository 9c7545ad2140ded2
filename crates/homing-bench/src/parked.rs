//! `parked`: what a parked parent costs in memory, its future resident or evicted.
//!
//! Each measurement has a process of its own. It first runs as many no-op tasks as it will park
//! parents, so that caches and the allocator have their size; what grows after that is the parents'.
//! Parents wait for a signal; in the end some are woken, to show that they were alive.

use std::io::Write;
use std::sync::atomic::Ordering;

use homing::{Homing, JobHandle, TaskState, Worker};
use serde::{Deserialize, Serialize};
use tokio::time::{Duration, Instant};

use crate::place::Fresh;
use crate::process::{Process, until_closed};
use crate::report::Report;
use crate::rounds::Common;
use crate::tasks::{self, Bench};
use crate::{Result, throughput};

/// Parents that are looked at and woken in the end.
const SAMPLE: usize = 100;

/// What a process full of parked parents is told.
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    #[arg(long)]
    store: String,
    #[arg(long)]
    tasks: u64,
    #[arg(long)]
    concurrency: usize,
    #[arg(long)]
    resident: usize,
}

/// What such a process answers.
#[derive(Debug, Serialize, Deserialize)]
struct Answer {
    /// Bytes that no file backs.
    anonymous: f64,
    /// Bytes in all, the pages of the database that are mapped included.
    rss: f64,
    seconds: f64,
}

pub(crate) async fn run(common: &Common) -> Result<Report> {
    let tasks = common.tasks(100_000, 100_000);
    let mut report = common
        .report("parked", Some(tasks), None)
        .warmups(0)
        .setting("concurrency", common.concurrency)
        .note("growth of a process per parent, after as many no-op tasks; each measured in its own")
        .note("*_bytes: anonymous memory; *_rss_bytes: mapped pages of the database's file too");
    if !common.store.is_shared() {
        report = report.note("a store in memory holds the rows here too, evicted or not");
    }
    let run = async |_: &Fresh| {
        let resident = measure(common, tasks, tasks as usize).await?;
        let evicted = measure(common, tasks, 0).await?;
        Ok(vec![
            ("resident_bytes", resident.anonymous),
            ("evicted_bytes", evicted.anonymous),
            ("resident_rss_bytes", resident.rss),
            ("evicted_rss_bytes", evicted.rss),
            ("seconds", resident.seconds),
        ])
    };
    common.rounds(report, common.runs(3), run).await
}

async fn measure(common: &Common, tasks: u64, resident: usize) -> Result<Answer> {
    let fresh = common.store.fresh().await?;
    let mut process = Process::start(&[
        "park".to_owned(),
        format!("--store={}", fresh.url()),
        format!("--tasks={tasks}"),
        format!("--concurrency={}", common.concurrency),
        format!("--resident={resident}"),
    ])?;
    let answer = serde_json::from_str(&process.line().await?)?;
    process.end().await?;
    Ok(answer)
}

/// The process full of parked parents.
pub(crate) async fn park(args: Args) -> Result<()> {
    let homing = Homing::open(&args.store).await?;
    let bench = Bench::default();
    let worker = tasks::worker(&homing, &bench, args.concurrency, args.resident).start().await?;
    throughput::drain(&homing, args.tasks, tasks::WIDTH).await?;
    let before = Memory::now()?;
    let begun = Instant::now();
    let calls = (0..args.tasks).map(|number| tasks::hold(tasks::text(number)));
    let mut sample: Vec<(u64, JobHandle<String>)> = (0..)
        .zip(homing.submit_all(calls).await?)
        .step_by(args.tasks as usize / SAMPLE + 1)
        .collect();
    sample.shrink_to_fit();
    settle(&bench, &worker, &args).await;
    let seconds = begun.elapsed().as_secs_f64();
    let after = Memory::now()?;
    for (_, job) in &sample {
        let state = homing.task(job.id()).await?.state;
        if state != TaskState::Waiting {
            return Err(format!("a parent is not parked but {state}").into());
        }
    }
    for (number, job) in sample {
        job.signal("go", "!").await?;
        let outcome = job.outcome().await?;
        if outcome != tasks::text(number) + "!" {
            return Err(format!("parent {number} went on as another: {outcome}").into());
        }
    }
    let per = |before: u64, after: u64| (after as f64 - before as f64) / args.tasks as f64;
    let answer = Answer {
        anonymous: per(before.anonymous, after.anonymous),
        rss: per(before.rss, after.rss),
        seconds,
    };
    writeln!(std::io::stdout().lock(), "{}", serde_json::to_string(&answer)?)?;
    until_closed().await
}

/// Waits until every parent is parked, and its future kept or dropped as it was asked for.
async fn settle(bench: &Bench, worker: &Worker, args: &Args) {
    let expected = args.resident.min(args.tasks as usize);
    while bench.begun.load(Ordering::SeqCst) < args.tasks
        || bench.live.load(Ordering::SeqCst) != expected as u64
        || worker.residents() != expected
    {
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}

/// What a process takes, in bytes.
#[derive(Debug, Clone, Copy)]
struct Memory {
    rss: u64,
    anonymous: u64,
}

impl Memory {
    fn now() -> Result<Self> {
        let status = status()?;
        Ok(Self { rss: field(&status, "VmRSS:")?, anonymous: field(&status, "RssAnon:")? })
    }
}

/// The most memory this process had since [`reset_peak`], in bytes.
pub(crate) fn peak() -> Result<u64> {
    field(&status()?, "VmHWM:")
}

/// Forgets the peak so far.
pub(crate) fn reset_peak() {
    // Where it is not allowed the peak is that of all runs so far, an upper bound.
    let _ = std::fs::write("/proc/self/clear_refs", "5");
}

fn status() -> Result<String> {
    let told = |error| format!("cannot read this process's memory, which needs Linux: {error}");
    Ok(std::fs::read_to_string("/proc/self/status").map_err(told)?)
}

fn field(status: &str, name: &str) -> Result<u64> {
    let line = status.lines().find_map(|line| line.strip_prefix(name));
    let kib = line.and_then(|line| line.trim().trim_end_matches("kB").trim().parse::<u64>().ok());
    Ok(kib.ok_or_else(|| format!("/proc/self/status has no {name}"))? * 1024)
}
