//! `fanout`: one parent and its children, from the parent's first line until it holds every result.
//!
//! Up to `limits::JOIN_ALL` children the parent waits with `join_all`, beyond with `join_next`.

use homing::{Homing, limits};
use tokio::time::Duration;

use crate::place::Fresh;
use crate::report::{Figures, Report};
use crate::rounds::Common;
use crate::tasks::{self, Bench};
use crate::{Result, parked};

pub(crate) async fn run(common: &Common) -> Result<Report> {
    let children = common.children(10_000);
    let verb = if children <= limits::JOIN_ALL { "join_all" } else { "join_next" };
    let report = common
        .report("fanout", None, Some(children))
        .setting("concurrency", common.concurrency)
        .setting("resident", common.resident)
        .setting("verb", verb)
        .note("seconds: first line of the parent's body until it holds every result")
        .note("peak_mib: the most memory the process had in the run, the store's included");
    common
        .rounds(report, common.runs(5), async |fresh: &Fresh| one(fresh, common, children).await)
        .await
}

async fn one(fresh: &Fresh, common: &Common, children: u64) -> Result<Figures> {
    let homing = Homing::open(fresh.url()).await?;
    let bench = Bench::default();
    let worker =
        tasks::worker(&homing, &bench, common.concurrency, common.resident).start().await?;
    parked::reset_peak();
    let sum = homing.submit(tasks::fan(children)).await?.outcome().await?;
    let expected = children * (children - 1) / 2;
    if sum != expected {
        return Err(format!("the children's values add up to {sum}, not to {expected}").into());
    }
    let peak = parked::peak()?;
    let measured = bench.watch.take().ok_or("the parent did not say how long it took")?;
    let seconds = measured.elapsed().as_secs_f64();
    worker.shutdown(Duration::from_secs(5)).await;
    Ok(vec![
        ("per_second", children as f64 / seconds),
        ("seconds", seconds),
        ("peak_mib", peak as f64 / (1024.0 * 1024.0)),
    ])
}
