//! `pickup`: from submitting a job to the first line of its body, on an idle worker.
//!
//! One job after the other, each a few milliseconds after the outcome of the one before.

use homing::Homing;
use tokio::time::{Duration, Instant};

use crate::Result;
use crate::figure::percentile;
use crate::place::Fresh;
use crate::process::Process;
use crate::report::{Figures, Report};
use crate::rounds::Common;
use crate::tasks::{self, Bench};
use crate::throughput::Args;

/// The worker has nothing left to do after this.
pub(crate) const IDLE: Duration = Duration::from_millis(5);

pub(crate) async fn run(args: &Args) -> Result<Report> {
    let common = &args.common;
    match args.processes {
        1 => {}
        2 => return apart(common).await,
        _ => return Err("pickup has one worker: give --processes 1 or 2".into()),
    }
    let tasks = common.tasks(1000, 1000);
    let mut report = common
        .report("pickup", Some(tasks), None)
        .setting("concurrency", common.concurrency)
        .note("p50, p99: the call of submit to the body's first line, two commits included")
        .note("acknowledged_*: the answer to submit to the body's first line; negative if it came later");
    if common.store.is_shared() {
        report =
            report.note("bare_commit_ms: one row in a transaction without homing, at the median; rested: after 5 ms of nothing, as each submit");
    }
    let run = async |fresh: &Fresh| common.with_commit(one(fresh, common, tasks).await?).await;
    common.rounds(report, common.runs(5), run).await
}

async fn one(fresh: &Fresh, common: &Common, tasks: u64) -> Result<Figures> {
    let homing = Homing::open(fresh.url()).await?;
    let bench = Bench::default();
    let worker =
        tasks::worker(&homing, &bench, common.concurrency, common.resident).start().await?;
    let (mut submitted, mut acknowledged) = (Vec::new(), Vec::new());
    for _ in 0..tasks {
        tokio::time::sleep(IDLE).await;
        bench.watch.restart();
        let job = homing.submit(tasks::stamped()).await?;
        let answered = Instant::now();
        job.outcome().await?;
        let measured = bench.watch.take().ok_or("the body did not say when it began")?;
        submitted.push(measured.since(measured.started));
        acknowledged.push(measured.since(answered));
    }
    worker.shutdown(Duration::from_secs(5)).await;
    let at = |samples: &[f64], percent| percentile(samples, percent).ok_or("there are no samples");
    Ok(vec![
        ("p50_ms", at(&submitted, 50.0)?),
        ("p99_ms", at(&submitted, 99.0)?),
        ("max_ms", at(&submitted, 100.0)?),
        ("acknowledged_p50_ms", at(&acknowledged, 50.0)?),
        ("acknowledged_p99_ms", at(&acknowledged, 99.0)?),
    ])
}

/// A worker in a process of its own: from the row's submission to its claim, and from the call of submit
/// to its outcome, which the submitter hears of as the worker hears of the job.
async fn apart(common: &Common) -> Result<Report> {
    common.store.require_shared("two processes need a store that they can share")?;
    let tasks = common.tasks(300, 300);
    let report = common
        .report("pickup", Some(tasks), None)
        .setting("processes", 2)
        .note("p50, p99: a job's row is written by one process to its claim by the other, store's clock")
        .note("outcome_*: the call of submit to the outcome, both processes woken once");
    let run = async |fresh: &Fresh| {
        let homing = Homing::open(fresh.url()).await?;
        let process =
            Process::worker(fresh.url(), common.concurrency, common.resident, false).await?;
        let (mut claimed, mut outcome) = (Vec::new(), Vec::new());
        for number in 0..tasks {
            tokio::time::sleep(IDLE).await;
            let begun = Instant::now();
            let job = homing.submit(tasks::noop(tasks::text(number))).await?;
            job.outcome().await?;
            outcome.push(begun.elapsed().as_secs_f64() * 1e3);
            let view = homing.task(job.id()).await?;
            let started = view.started.ok_or("an ended task has no start")?;
            claimed.push(started.since(view.created).as_secs_f64() * 1e3);
        }
        process.end().await?;
        let at =
            |samples: &[f64], percent| percentile(samples, percent).ok_or("there are no samples");
        Ok(vec![
            ("p50_ms", at(&claimed, 50.0)?),
            ("p99_ms", at(&claimed, 99.0)?),
            ("outcome_p50_ms", at(&outcome, 50.0)?),
            ("outcome_p99_ms", at(&outcome, 99.0)?),
        ])
    };
    common.rounds(report, common.runs(3), run).await
}
