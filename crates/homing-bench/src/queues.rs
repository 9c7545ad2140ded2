//! `queues`: what many queues cost that all have work. No-ops by turns in a thousand queues, drained by one worker that serves
//! them all, beside as many in one queue.

use homing::Homing;
use tokio::time::Duration;

use crate::Result;
use crate::place::Fresh;
use crate::report::{Figures, Report};
use crate::rounds::Common;
use crate::tasks::{self, Bench};
use crate::throughput::{beside, drain_over};

/// Queues with work.
const QUEUES: usize = 1000;

pub(crate) async fn run(common: &Common) -> Result<Report> {
    let tasks = common.tasks(100_000, 20_000);
    let report = common
        .report("queues", Some(tasks), None)
        .setting("concurrency", common.concurrency)
        .setting("queues", QUEUES)
        .note("one_per_second: all work in one queue; per_second: by turns in the many");
    let run = async |fresh: &Fresh| {
        let one = common.store.fresh().await?;
        let one = over(&one, common, tasks, 1).await?;
        let mut figures = over(fresh, common, tasks, QUEUES).await?;
        figures.extend(beside(&figures, &one, ["one_per_second", "many_by_one"]));
        Ok(figures)
    };
    common.rounds(report, common.runs(5), run).await
}

async fn over(fresh: &Fresh, common: &Common, tasks: u64, queues: usize) -> Result<Figures> {
    let queues: Vec<String> = (0..queues).map(|n| format!("queue {n:04}")).collect();
    let homing = Homing::open(fresh.url()).await?;
    let worker = tasks::worker(&homing, &Bench::default(), common.concurrency, common.resident);
    let worker = worker.queues(queues.clone()).start().await?;
    let figures = drain_over(&homing, tasks, tasks::WIDTH, &queues).await?;
    worker.shutdown(Duration::from_secs(5)).await;
    Ok(figures)
}

#[cfg(test)]
mod tests {
    use homing::JobFilter;

    use super::*;

    /// Every queue has work, and all of it is done.
    #[tokio::test]
    async fn work_is_done_by_turns_in_all_queues() {
        let homing = Homing::open("memory:").await.unwrap();
        let queues: Vec<String> = (0..3).map(|n| format!("queue {n}")).collect();
        let worker = tasks::worker(&homing, &Bench::default(), 4, 0).queues(queues.clone());
        let worker = worker.start().await.unwrap();
        drain_over(&homing, 7, tasks::WIDTH, &queues).await.unwrap();
        worker.shutdown(Duration::from_secs(5)).await;
        let done = homing.jobs(JobFilter::default()).await.unwrap();
        let mut in_each =
            queues.iter().map(|own| done.iter().filter(|job| job.queue == *own).count());
        assert_eq!([in_each.next(), in_each.next(), in_each.next()], [Some(3), Some(2), Some(2)]);
    }
}
