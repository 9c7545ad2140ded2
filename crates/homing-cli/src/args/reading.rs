//! Arguments of what reads: `jobs`, `job`, `why`, `record`, `failures`, `actions`, `log`, `watch`, `top`.

use std::time::Duration;

use clap::ValueEnum;
use homing::log::Level;
use homing::{Fingerprint, IdPrefix, Status};

use crate::words::parse_duration;

#[derive(Debug, clap::Args)]
pub(crate) struct JobsArgs {
    /// Only jobs with this status
    #[arg(long, value_enum)]
    pub(crate) status: Option<StatusName>,
    /// Only jobs of this kind
    #[arg(long)]
    pub(crate) kind: Option<String>,
    /// Only jobs whose title contains this, whatever its case
    #[arg(long, value_name = "TEXT")]
    pub(crate) title: Option<String>,
    /// Only jobs with this tag
    #[arg(long)]
    pub(crate) tag: Option<String>,
    /// Only jobs on this queue
    #[arg(long)]
    pub(crate) queue: Option<String>,
    /// Only jobs submitted within this time, such as 2h
    #[arg(long, value_name = "DURATION", value_parser = parse_duration)]
    pub(crate) newer_than: Option<Duration>,
    /// Only jobs submitted longer ago than this
    #[arg(long, value_name = "DURATION", value_parser = parse_duration)]
    pub(crate) older_than: Option<Duration>,
    /// Only jobs after this one in the list: the last of the page before
    #[arg(long, value_name = "JOB")]
    pub(crate) after: Option<IdPrefix>,
    /// How many at most
    #[arg(long, value_name = "N", default_value_t = 20)]
    #[arg(value_parser = clap::value_parser!(u16).range(1..=1000))]
    pub(crate) limit: u16,
}

/// A status, as arguments and JSON name it.
#[derive(Debug, Clone, Copy, ValueEnum)]
pub(crate) enum StatusName {
    InProgress,
    Stalled,
    Completed,
    CompletedWithErrors,
    Failed,
    Cancelled,
}

impl From<StatusName> for Status {
    fn from(name: StatusName) -> Self {
        match name {
            StatusName::InProgress => Self::InProgress,
            StatusName::Stalled => Self::Stalled,
            StatusName::Completed => Self::Completed,
            StatusName::CompletedWithErrors => Self::CompletedWithErrors,
            StatusName::Failed => Self::Failed,
            StatusName::Cancelled => Self::Cancelled,
        }
    }
}

#[derive(Debug, clap::Args)]
pub(crate) struct JobArgs {
    /// The job or task
    pub(crate) id: IdPrefix,
    /// Show every task of the tree
    #[arg(long, conflicts_with_all = ["children", "tasks"])]
    pub(crate) all: bool,
    /// Show at most so many children of a task: failed and open ones first
    #[arg(long, value_name = "N", default_value_t = 10)]
    #[arg(value_parser = clap::value_parser!(u16).range(0..=1000))]
    pub(crate) children: u16,
    /// Show at most so many tasks in all: those nearer the root first
    #[arg(long, value_name = "N", default_value_t = 100)]
    #[arg(value_parser = clap::value_parser!(u16).range(1..=10_000))]
    pub(crate) tasks: u16,
}

#[derive(Debug, clap::Args)]
pub(crate) struct WhyArgs {
    /// The job or task
    pub(crate) id: IdPrefix,
    /// Follow what it waits for or failed of so many levels down
    #[arg(long, value_name = "N", default_value_t = 8)]
    pub(crate) depth: u16,
    /// Celery's result backend: also say what Celery last said of a task that it runs
    #[cfg(feature = "celery")]
    #[arg(long, value_name = "URL", env = "HOMING_CELERY_RESULTS", hide_env_values = true)]
    pub(crate) celery: Option<String>,
}

#[derive(Debug, clap::Args)]
pub(crate) struct RecordArgs {
    /// The job, for its root, or task
    pub(crate) id: IdPrefix,
    /// Only entries with higher numbers
    #[arg(long, value_name = "NUMBER", default_value_t = 0)]
    pub(crate) after: u64,
    /// How many at most [default: all]
    #[arg(long, value_name = "N")]
    #[arg(value_parser = clap::value_parser!(u64).range(1..))]
    pub(crate) limit: Option<u64>,
}

#[derive(Debug, clap::Args)]
pub(crate) struct FailuresArgs {
    /// Tasks that failed alike: the fingerprint that the list gives them
    pub(crate) fingerprint: Option<Fingerprint>,
    /// Only tasks of this kind
    #[arg(long, conflicts_with = "fingerprint")]
    pub(crate) kind: Option<String>,
    /// Only tasks that failed within this time, such as 2h
    #[arg(long, value_name = "DURATION", value_parser = parse_duration, conflicts_with = "fingerprint")]
    pub(crate) newer_than: Option<Duration>,
    /// How many at most
    #[arg(long, value_name = "N", default_value_t = 20)]
    #[arg(value_parser = clap::value_parser!(u16).range(1..=1000))]
    pub(crate) limit: u16,
}

#[derive(Debug, clap::Args)]
pub(crate) struct SamplesArgs {
    /// Only minutes that began within this time, such as 2h. They are kept for 7 days
    #[arg(long, value_name = "DURATION", value_parser = parse_duration)]
    pub(crate) newer_than: Option<Duration>,
}

#[derive(Debug, clap::Args)]
pub(crate) struct ActionsArgs {
    /// Only what was done to this: a job or task, by its id or the beginning of it, or a queue
    #[arg(long, value_name = "TARGET")]
    pub(crate) on: Option<String>,
    /// Only what somebody has done, as the list names them
    #[arg(long, value_name = "NAME")]
    pub(crate) by: Option<String>,
    /// Only actions with lower numbers: the last of the page before
    #[arg(long, value_name = "NUMBER")]
    pub(crate) before: Option<u64>,
    /// How many at most
    #[arg(long, value_name = "N", default_value_t = 20)]
    #[arg(value_parser = clap::value_parser!(u16).range(1..=1000))]
    pub(crate) limit: u16,
}

#[derive(Debug, clap::Args)]
pub(crate) struct LogArgs {
    /// The job; or a task, for its own lines only
    pub(crate) id: IdPrefix,
    /// Go on until the job ends
    #[arg(long, short)]
    pub(crate) follow: bool,
    /// Begin so many lines before the end of the job's log
    #[arg(long, short = 'n', value_name = "N")]
    pub(crate) tail: Option<u32>,
    /// Only lines at least so important
    #[arg(long, value_enum, default_value_t)]
    pub(crate) level: LevelName,
}

/// A level, as arguments and JSON name it.
#[derive(Debug, Clone, Copy, Default, ValueEnum)]
pub(crate) enum LevelName {
    #[default]
    Debug,
    Info,
    Warn,
    Error,
}

impl From<LevelName> for Level {
    fn from(name: LevelName) -> Self {
        match name {
            LevelName::Debug => Self::Debug,
            LevelName::Info => Self::Info,
            LevelName::Warn => Self::Warn,
            LevelName::Error => Self::Error,
        }
    }
}

#[derive(Debug, clap::Args)]
pub(crate) struct WatchArgs {
    /// The job [default: the newest that has not ended]
    pub(crate) id: Option<IdPrefix>,
    /// Lines of the log to begin with; new ones follow
    #[arg(long, value_name = "N", default_value_t = 5)]
    pub(crate) lines: u16,
    /// Watch no longer once the job has stood still for so long, and exit with 7 [default: 5m; on a terminal: never]
    #[arg(long, value_name = "DURATION", value_parser = parse_duration)]
    pub(crate) stalled_for: Option<Duration>,
}

#[derive(Debug, clap::Args)]
pub(crate) struct TopArgs {
    /// Time between two looks at the store
    #[arg(long, value_name = "DURATION", default_value = "1s", value_parser = parse_duration)]
    pub(crate) every: Duration,
}
