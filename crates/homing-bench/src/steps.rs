//! `steps`: recorded steps per second, of one body and of many, beside bare commits.

use homing::{Homing, JobHandle};
use tokio::time::{Duration, Instant};

use crate::Result;
use crate::limit::Commit;
use crate::place::Fresh;
use crate::report::{Figures, Report};
use crate::rounds::Common;
use crate::tasks::{self, Bench};

/// Steps of the one body.
const ALONE: u64 = 1000;
/// Steps of each of the many.
const EACH: u64 = 10;

pub(crate) async fn run(common: &Common) -> Result<Report> {
    let bodies = common.tasks(1000, 1000);
    let mut report = common
        .report("steps", Some(bodies), None)
        .setting("concurrency", common.concurrency)
        .note(format!("alone_*: one body of {ALONE} steps, from its first line to its last"))
        .note(format!(
            "many_*: {EACH} steps in each of the tasks, from the first submit to the last outcome"
        ));
    if common.store.is_shared() {
        report = report.note(
            "*_by_commits: beside commits of one row in transactions of their own, one after the other",
        );
    }
    let run = async |fresh: &Fresh| {
        let mut figures = one(fresh, common, bodies).await?;
        if let Some(Commit { p50: ms, .. }) = common.commit(Duration::ZERO).await? {
            let commits = 1000.0 / ms;
            let ratios: Vec<_> = figures
                .iter()
                .zip(["alone_by_commits", "many_by_commits"])
                .map(|((_, per_second), name)| (name, per_second / commits))
                .collect();
            figures.extend(ratios);
            figures.push(("commits_per_second", commits));
        }
        Ok(figures)
    };
    common.rounds(report, common.runs(5), run).await
}

async fn one(fresh: &Fresh, common: &Common, bodies: u64) -> Result<Figures> {
    let homing = Homing::open(fresh.url()).await?;
    let bench = Bench::default();
    let worker = tasks::worker(&homing, &bench, common.concurrency, common.resident);
    let worker = worker.start().await?;
    homing.submit(tasks::steps(ALONE)).await?.outcome().await?;
    let measured = bench.watch.take().ok_or("the body did not say when it ended")?;
    let alone = measured.since(measured.started);
    let begun = Instant::now();
    let jobs: Vec<JobHandle<u64>> =
        homing.submit_all((0..bodies).map(|_| tasks::steps(EACH))).await?;
    for job in jobs {
        if job.outcome().await? != EACH * (EACH - 1) / 2 {
            return Err("a body was given other values than its steps had".into());
        }
    }
    let many = begun.elapsed().as_secs_f64();
    worker.shutdown(Duration::from_secs(5)).await;
    Ok(vec![
        ("alone_per_second", ALONE as f64 / (alone / 1000.0)),
        ("many_per_second", (bodies * EACH) as f64 / many),
    ])
}
