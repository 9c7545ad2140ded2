//! `throughput`: no-op tasks from the first submit to the last outcome.
//!
//! Jobs are submitted in pages of 1,000 while the worker runs; every outcome is waited for, as a client
//! would, and compared. With two processes the worker is in one of its own.

use std::ops::Range;

use homing::limits::PAGE;
use homing::{Homing, JobHandle};
use tokio::task::JoinSet;
use tokio::time::{Duration, Instant};

use crate::Result;
use crate::meter::Meter;
use crate::place::Fresh;
use crate::process::Process;
use crate::report::{Figures, Report};
use crate::rounds::Common;
use crate::tasks::{self, Bench};

/// Tasks of the program that submit side by side, so that one encodes while the other's page is committed.
const PRODUCERS: u64 = 2;

/// What `throughput` and `pickup` are told.
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    #[command(flatten)]
    pub(crate) common: Common,
    /// 1: producer and worker share a process. More: the producer has one, each worker one of the rest.
    #[arg(long, value_name = "N", default_value_t = 1, value_parser = clap::value_parser!(u8).range(1..=64))]
    pub(crate) processes: u8,
}

/// What `throughput` alone is told.
#[derive(Debug, clap::Args)]
pub(crate) struct Counting {
    #[command(flatten)]
    pub(crate) args: Args,
    /// After each measured run another one on a fresh PostgreSQL store, through a relay that counts
    /// statements and round trips.
    #[arg(long)]
    count: bool,
}

pub(crate) async fn run(Counting { args, count }: &Counting) -> Result<Report> {
    let common = &args.common;
    if args.processes > 1 {
        common.store.require_shared("two processes need a store that they can share")?;
    }
    let (tasks, workers) = (common.tasks(100_000, 20_000), args.processes - 1);
    let mut report = common
        .report("throughput", Some(tasks), None)
        .setting("processes", args.processes)
        .setting("concurrency", common.concurrency)
        .note("seconds: first submit to the last outcome known; submit_per_second: acknowledged");
    if *count {
        // What cannot be counted is refused before anything is measured.
        common.store.fresh().await?.counted().await?;
        report = report.note("statements, round_trips: counted in a run of their own");
    }
    let run = async |fresh: &Fresh| {
        let mut figures = one(fresh, common, tasks, workers).await?;
        if *count {
            let fresh = common.store.fresh().await?;
            figures.extend(counted(&fresh, common, tasks, workers).await?);
        }
        Ok(figures)
    };
    common.rounds(report, common.runs(5), run).await
}

/// One run on a store, with so many workers in processes of their own, or one in this.
pub(crate) async fn one(
    fresh: &Fresh,
    common: &Common,
    tasks: u64,
    workers: u8,
) -> Result<Figures> {
    let work = async |homing: &Homing| {
        let meter = Meter::start(fresh).await?;
        let mut figures = drain(homing, tasks, tasks::WIDTH).await?;
        figures.extend(meter.per_task(tasks).await?);
        Ok(figures)
    };
    with_workers(fresh.url(), common, workers, work).await
}

/// The same, counted instead of measured.
async fn counted(fresh: &Fresh, common: &Common, tasks: u64, workers: u8) -> Result<Figures> {
    let (relay, url) = fresh.counted().await?;
    let work = async |homing: &Homing| {
        let before = relay.counted();
        drain(homing, tasks, tasks::WIDTH).await?;
        let after = relay.counted();
        let per_task = |before: u64, after: u64| (after - before) as f64 / tasks as f64;
        Ok(vec![
            ("statements_per_task", per_task(before.0, after.0)),
            ("round_trips_per_task", per_task(before.1, after.1)),
        ])
    };
    with_workers(&url, common, workers, work).await
}

/// Does something while workers are there.
async fn with_workers(
    url: &str,
    common: &Common,
    workers: u8,
    work: impl AsyncFnOnce(&Homing) -> Result<Figures>,
) -> Result<Figures> {
    let homing = Homing::open(url).await?;
    let (slots, resident) = (common.concurrency, common.resident);
    let mut processes = Vec::new();
    for _ in 0..workers {
        processes.push(Process::worker(url, slots, resident, false).await?);
    }
    let bench = Bench::default();
    let own = match workers {
        0 => Some(tasks::worker(&homing, &bench, slots, resident).start().await?),
        _ => None,
    };
    let figures = work(&homing).await?;
    for process in processes {
        process.end().await?;
    }
    if let Some(worker) = own {
        worker.shutdown(Duration::from_secs(5)).await;
    }
    Ok(figures)
}

/// The throughput of other figures, and that of these by it, under two names.
pub(crate) fn beside(
    figures: &Figures,
    other: &Figures,
    [rate, ratio]: [&'static str; 2],
) -> Figures {
    let of =
        |figures: &Figures| figures.iter().find(|(name, _)| *name == "per_second").map(|of| of.1);
    let both = of(other).zip(of(figures));
    both.into_iter().flat_map(|(other, own)| [(rate, other), (ratio, own / other)]).collect()
}

/// Submits tasks with payloads of so many bytes, and waits until the outcome of each is known.
pub(crate) async fn drain(homing: &Homing, tasks: u64, width: usize) -> Result<Figures> {
    drain_over(homing, tasks, width, &[]).await
}

/// As [`drain`], by turns in queues; without any, in the one that a call has by itself.
pub(crate) async fn drain_over(
    homing: &Homing,
    tasks: u64,
    width: usize,
    queues: &[String],
) -> Result<Figures> {
    let begun = Instant::now();
    let share = tasks.div_ceil(PRODUCERS);
    let mut producers = JoinSet::new();
    for producer in 0..PRODUCERS {
        let numbers = tasks.min(producer * share)..tasks.min((producer + 1) * share);
        producers.spawn(produce(homing.clone(), numbers, width, queues.to_vec(), begun));
    }
    let (mut known, mut submitted) = (0, 0.0_f64);
    while let Some(producer) = producers.join_next().await {
        let (outcomes, seconds) = producer??;
        known += outcomes;
        submitted = submitted.max(seconds);
    }
    let seconds = begun.elapsed().as_secs_f64();
    if known != tasks {
        return Err(format!("{known} of {tasks} outcomes are known").into());
    }
    let rate = |seconds: f64| tasks as f64 / seconds;
    Ok(vec![
        ("per_second", rate(seconds)),
        ("seconds", seconds),
        ("submit_per_second", rate(submitted)),
    ])
}

/// Submits tasks page by page and waits for their outcomes. How many are known, and the seconds from
/// `begun` to the last submission's acknowledgement.
async fn produce(
    homing: Homing,
    numbers: Range<u64>,
    width: usize,
    queues: Vec<String>,
    begun: Instant,
) -> Result<(u64, f64)> {
    let mut waiters = JoinSet::new();
    let mut next = numbers.start;
    while next < numbers.end {
        let page = next..numbers.end.min(next + PAGE as u64);
        next = page.end;
        let calls = page.clone().map(|number| {
            let call = tasks::noop(tasks::wide(number, width));
            let turn = (number % queues.len().max(1) as u64) as usize;
            queues.get(turn).into_iter().fold(call, homing::Call::queue)
        });
        let handles = homing.submit_all(calls).await?;
        waiters.spawn(outcomes(page, width, handles));
    }
    let submitted = begun.elapsed().as_secs_f64();
    let mut known = 0;
    while let Some(waiter) = waiters.join_next().await {
        known += waiter??;
    }
    Ok((known, submitted))
}

/// Waits for the outcomes of a page's jobs, one after the other. How many are known.
async fn outcomes(numbers: Range<u64>, width: usize, jobs: Vec<JobHandle<String>>) -> Result<u64> {
    let mut known = 0;
    for (number, job) in numbers.zip(jobs) {
        let outcome = job.outcome().await?;
        if outcome != tasks::wide(number, width) {
            return Err(format!("task {number} has the outcome of another: {outcome}").into());
        }
        known += 1;
    }
    Ok(known)
}

#[cfg(test)]
mod tests {
    use clap::Parser;

    use super::*;

    #[derive(Debug, Parser)]
    struct Asked {
        #[command(flatten)]
        common: Common,
    }

    /// Units, claims and ends go in batches: there are far fewer statements than tasks, and fewer
    /// round trips than statements.
    #[tokio::test(flavor = "multi_thread")]
    async fn statements_and_round_trips_are_counted() {
        let url = std::env::var("HOMING_TEST_POSTGRES").unwrap();
        let Asked { common } = Asked::parse_from(["throughput", "--store", &url]);
        let fresh = common.store.fresh().await.unwrap();
        let figures = counted(&fresh, &common, 5000, 0).await.unwrap();
        let [("statements_per_task", statements), ("round_trips_per_task", trips)] = figures[..]
        else {
            panic!("{figures:?}")
        };
        assert!(0.0 < trips && trips < statements && statements < 1.0, "{figures:?}");
    }
}
