//! `payload`: tasks with large arguments and values, beside the bare writes of rows that carry as much.

use homing::Homing;
use tokio::time::Duration;

use crate::place::Fresh;
use crate::report::Report;
use crate::rounds::Common;
use crate::tasks::{self, Bench};
use crate::throughput::drain;
use crate::{Result, limit};

/// What `payload` is told.
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    #[command(flatten)]
    pub(crate) common: Common,
    /// Bytes of each task's argument, and of its value.
    #[arg(long, value_name = "BYTES", default_value_t = 10 * 1024, value_parser = bytes)]
    bytes: usize,
}

fn bytes(text: &str) -> std::result::Result<usize, String> {
    let bytes = text.parse().ok().filter(|bytes| (1..=1_000_000).contains(bytes));
    bytes.ok_or_else(|| "give a number from 1 to 1000000".to_owned())
}

pub(crate) async fn run(Args { common, bytes }: &Args) -> Result<Report> {
    let tasks = common.tasks(20_000, 5_000);
    let report = common
        .report("payload", Some(tasks), None)
        .setting("concurrency", common.concurrency)
        .setting("bytes", *bytes)
        .note(
            "each task has an argument and a value of so many bytes; so have the rows of the limit",
        );
    let beside = async || {
        if !common.store.is_shared() {
            return Ok(None);
        }
        let fresh = common.store.fresh().await?;
        Ok(Some(limit::wide(&fresh, common.store.is_full(), (tasks, *bytes)).await?))
    };
    let run = async |fresh: &Fresh| {
        let homing = Homing::open(fresh.url()).await?;
        let bench = Bench::default();
        let worker = tasks::worker(&homing, &bench, common.concurrency, common.resident);
        let worker = worker.start().await?;
        let figures = drain(&homing, tasks, *bytes).await?;
        worker.shutdown(Duration::from_secs(5)).await;
        Ok(figures)
    };
    common.rounds_beside(report, common.runs(5), beside, run).await
}
