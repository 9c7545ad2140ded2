//! `pickup`: from submitting a job to the first line of its body, on an idle worker.
//!
//! One job after the other, each a few milliseconds after the outcome of the one before.

use homing::Homing;
use tokio::time::{Duration, Instant};

use crate::Result;
use crate::figure::percentile;
use crate::place::Fresh;
use crate::report::{Figures, Report};
use crate::rounds::Common;
use crate::tasks::{self, Bench};

/// The worker has nothing left to do after this.
const IDLE: Duration = Duration::from_millis(5);

pub(crate) async fn run(common: &Common) -> Result<Report> {
    let tasks = common.tasks(1000, 1000);
    let mut report = common
        .report("pickup", Some(tasks), None)
        .setting("concurrency", common.concurrency)
        .note("p50, p99: the call of submit to the body's first line, two commits included")
        .note("acknowledged_*: the answer to submit to the body's first line; negative if it came later");
    if common.store.is_file() {
        report =
            report.note("bare_commit_ms: one row in a transaction without homing, at the median");
    }
    let run = async |fresh: &Fresh| {
        let mut figures = one(fresh, common, tasks).await?;
        figures.extend(common.commit().await?.map(|ms| ("bare_commit_ms", ms)));
        Ok(figures)
    };
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
