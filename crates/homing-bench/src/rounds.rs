//! The common form of a bench: its arguments, and its runs interleaved with the limit.

use std::io::{IsTerminal, Write};
use std::time::Duration;

use crate::limit::Commit;
use crate::place::{Fresh, Place};
use crate::report::{Figures, Report};
use crate::{Result, limit, pickup};

/// What every bench is told.
#[derive(Debug, Clone, clap::Args)]
pub(crate) struct Common {
    /// `memory:`, `sqlite:PATH` (each run uses a fresh file `PATH.runN`), `sqlite:` for files in the
    /// directory for temporary files, `postgres://…` (each run uses a fresh schema), or `redis://…` (a fresh prefix).
    #[arg(long, value_name = "URL", default_value = "sqlite:")]
    pub(crate) store: Place,
    /// How many tasks, parents or samples; each bench has its own default.
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u64).range(1..=100_000_000))]
    tasks: Option<u64>,
    /// How many children each parent has, where there are parents.
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u64).range(1..=10_000_000))]
    children: Option<u64>,
    /// Runs that count; a warm-up run comes before them.
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u32).range(1..=1000))]
    runs: Option<u32>,
    /// Slots of each worker.
    #[arg(long, value_name = "N", default_value_t = homing::limits::CONCURRENCY, value_parser = slots)]
    pub(crate) concurrency: usize,
    /// Parked futures that each worker keeps in memory; 0 replays every resumption.
    #[arg(long, value_name = "N", default_value_t = homing::limits::RESIDENT)]
    pub(crate) resident: usize,
    /// Gives up when one run takes longer than this many seconds.
    #[arg(long, value_name = "SECONDS", default_value_t = 600, value_parser = clap::value_parser!(u64).range(1..))]
    timeout: u64,
    /// Prints JSON lines instead of tables.
    #[arg(long)]
    pub(crate) json: bool,
}

fn slots(text: &str) -> std::result::Result<usize, String> {
    let slots = text.parse().ok().filter(|slots| (1..=1_000_000).contains(slots));
    slots.ok_or_else(|| "give a number from 1 to 1000000".to_owned())
}

impl Common {
    /// `--tasks`, or a bench's own number: of a store in memory, of one on disk.
    pub(crate) fn tasks(&self, memory: u64, disk: u64) -> u64 {
        self.tasks.unwrap_or(if self.store.is_shared() { disk } else { memory })
    }

    /// `--children`, or a bench's own number.
    pub(crate) fn children(&self, default: u64) -> u64 {
        self.children.unwrap_or(default)
    }

    /// `--runs`, or a bench's own number.
    pub(crate) fn runs(&self, default: u32) -> u32 {
        self.runs.unwrap_or(default)
    }

    /// How long one run may take.
    pub(crate) fn patience(&self) -> Duration {
        Duration::from_secs(self.timeout)
    }

    /// A report to fill. Says so where an argument was given that this bench has no use for.
    pub(crate) fn report(
        &self,
        bench: &'static str,
        tasks: Option<u64>,
        children: Option<u64>,
    ) -> Report {
        let mut report = Report::new(bench, self.store.url());
        if let Some(tasks) = tasks {
            report = report.tasks(tasks);
        } else if self.tasks.is_some() {
            report = report.note("--tasks means nothing here");
        }
        if let Some(children) = children {
            report = report.children(children);
        } else if self.children.is_some() {
            report = report.note("--children means nothing here");
        }
        if !self.store.is_shared() {
            report =
                report.note("no raw limit: a store in memory writes nothing to hold it against");
        }
        report
    }

    /// Runs a bench, the limit before each run, and fills the report.
    pub(crate) async fn rounds(
        &self,
        report: Report,
        runs: u32,
        run: impl AsyncFnMut(&Fresh) -> Result<Figures>,
    ) -> Result<Report> {
        self.rounds_beside(report, runs, async || self.limit().await, run).await
    }

    /// The same, beside a limit of the bench's own.
    pub(crate) async fn rounds_beside(
        &self,
        mut report: Report,
        runs: u32,
        mut limit: impl AsyncFnMut() -> Result<Option<f64>>,
        mut run: impl AsyncFnMut(&Fresh) -> Result<Figures>,
    ) -> Result<Report> {
        let warmups = report.warmup_runs();
        for number in 0..warmups + runs {
            progress(&format!("{}: run {} of {}", report.bench(), number + 1, warmups + runs));
            let limit = limit().await?;
            let fresh = self.store.fresh().await?;
            let figures = self.bounded(run(&fresh)).await?;
            if number >= warmups {
                report.add(figures, limit);
            }
        }
        Ok(report)
    }

    /// Tasks per second that the store could bear at most, as of now; `None` in memory.
    pub(crate) async fn limit(&self) -> Result<Option<f64>> {
        if !self.store.is_shared() {
            return Ok(None);
        }
        let fresh = self.store.fresh().await?;
        Ok(Some(limit::beside(&fresh, self.store.is_full()).await?))
    }

    /// Figures of latencies, and what a bare commit takes beside them, one after the other and each after a pause as the
    /// benches make it; how many of them at the median the median of the bench is. Nothing is added in memory.
    pub(crate) async fn with_commit(&self, mut figures: Figures) -> Result<Figures> {
        let p50 = figures.iter().find(|(name, _)| *name == "p50_ms").map(|(_, ms)| *ms);
        if let Some(Commit { p50: commit, p99 }) = self.commit(Duration::ZERO).await? {
            figures.extend([("bare_commit_ms", commit), ("bare_commit_p99_ms", p99)]);
            figures.extend(p50.map(|p50| ("p50_in_bare_commits", p50 / commit)));
        }
        if let Some(Commit { p50: commit, p99 }) = self.commit(pickup::IDLE).await? {
            figures.extend([("rested_commit_ms", commit), ("rested_commit_p99_ms", p99)]);
            figures.extend(p50.map(|p50| ("p50_in_rested_commits", p50 / commit)));
        }
        Ok(figures)
    }

    /// Milliseconds that a bare commit of one row takes here, after a pause; `None` in memory.
    pub(crate) async fn commit(&self, pause: Duration) -> Result<Option<Commit>> {
        if !self.store.is_shared() {
            return Ok(None);
        }
        let fresh = self.store.fresh().await?;
        Ok(Some(limit::commit(&fresh, self.store.is_full(), pause).await?))
    }

    /// Gives up on a run that takes too long.
    pub(crate) async fn bounded<T>(&self, run: impl Future<Output = Result<T>>) -> Result<T> {
        let patience = self.patience();
        tokio::time::timeout(patience, run).await.unwrap_or_else(|_| {
            Err(format!("the run was given up after {patience:?}; --timeout allows more").into())
        })
    }
}

/// Says where the bench stands to whoever watches.
pub(crate) fn progress(text: &str) {
    let mut out = std::io::stderr().lock();
    if out.is_terminal() {
        // Nobody needs to see it.
        let _ = writeln!(out, "{text}");
    }
}
