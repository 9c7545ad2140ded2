//! `wake`: from the last line of the last child to the next line of its parent.
//!
//! One job after the other, on a worker that has nothing else to do. Children live for 3 ms, so that
//! the parent is parked when the last one ends.

use homing::Homing;
use tokio::time::Duration;

use crate::Result;
use crate::figure::percentile;
use crate::place::Fresh;
use crate::report::{Figures, Report};
use crate::rounds::Common;
use crate::tasks::{self, Bench};

pub(crate) async fn run(common: &Common) -> Result<Report> {
    let (tasks, children) = (common.tasks(1000, 1000), common.children(1));
    let mut report = common
        .report("wake", Some(tasks), Some(children))
        .setting("concurrency", common.concurrency)
        .setting("resident", common.resident)
        .note("p50, p99: last line of the last child's body to the parent's next line")
        .note("so they hold the commit of the child's end and that of the parent's claim");
    if common.store.is_shared() {
        report =
            report.note("bare_commit_ms: one row in a transaction without homing, at the median; rested: after 5 ms of nothing");
    }
    let run =
        async |fresh: &Fresh| common.with_commit(one(fresh, common, tasks, children).await?).await;
    common.rounds(report, common.runs(5), run).await
}

async fn one(fresh: &Fresh, common: &Common, tasks: u64, children: u64) -> Result<Figures> {
    let homing = Homing::open(fresh.url()).await?;
    let bench = Bench::default();
    let worker =
        tasks::worker(&homing, &bench, common.concurrency, common.resident).start().await?;
    let mut samples = Vec::new();
    for _ in 0..tasks {
        homing.submit(tasks::waking(children)).await?.outcome().await?;
        let measured = bench.watch.take().ok_or("parent or child did not say when")?;
        samples.push(measured.since(measured.started));
    }
    worker.shutdown(Duration::from_secs(5)).await;
    let at = |percent| percentile(&samples, percent).ok_or("there are no samples");
    Ok(vec![("p50_ms", at(50.0)?), ("p99_ms", at(99.0)?), ("max_ms", at(100.0)?)])
}
