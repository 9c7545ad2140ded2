//! Arguments of what changes jobs and queues: `submit`, `cancel`, `retry`, `remove`, `signal`, `pause`, `unpause`, `prune`.

use std::time::Duration;

use homing::{IdPrefix, JobId};

use crate::words::parse_duration;

#[derive(Debug, clap::Args)]
pub(crate) struct SubmitArgs {
    /// The kind, as `kinds` lists it
    pub(crate) kind: String,
    /// The arguments: a JSON object with a field for each; `-` reads it from standard input
    #[arg(value_name = "JSON", default_value = "{}")]
    pub(crate) arguments: String,
    /// What people read [default: the kind]
    #[arg(long)]
    pub(crate) title: Option<String>,
    /// Unique among open jobs: if one holds the key, its id is printed and nothing is submitted
    #[arg(long)]
    pub(crate) key: Option<String>,
    /// The job's id: submitting the same again returns the same job [default: a fresh one]
    #[arg(long)]
    pub(crate) id: Option<JobId>,
    /// The queue [default: default]
    #[arg(long)]
    pub(crate) queue: Option<String>,
    /// Higher goes first
    #[arg(long, value_name = "N", default_value_t = 0, allow_negative_numbers = true)]
    pub(crate) priority: i16,
    /// A word to filter jobs by; may be repeated
    #[arg(long, value_name = "TAG")]
    pub(crate) tag: Vec<String>,
    /// Start no earlier than this long from now
    #[arg(long, value_name = "DURATION", value_parser = parse_duration)]
    pub(crate) delay: Option<Duration>,
    /// Submit though no worker has ever registered the kind; nothing is checked then
    #[arg(long)]
    pub(crate) force: bool,
}

#[derive(Debug, clap::Args)]
pub(crate) struct CancelArgs {
    /// The jobs or tasks
    #[arg(required = true, value_name = "ID")]
    pub(crate) ids: Vec<IdPrefix>,
    /// Why; `why` and `job` tell it
    #[arg(long, value_name = "TEXT")]
    pub(crate) reason: Option<String>,
    /// Who wants it [default: user and host]
    #[arg(long, value_name = "NAME")]
    pub(crate) by: Option<String>,
}

#[derive(Debug, clap::Args)]
pub(crate) struct RetryArgs {
    /// The jobs; with --args one job or task
    #[arg(required = true, value_name = "ID")]
    pub(crate) ids: Vec<IdPrefix>,
    /// Only say what would run again and what would be taken back
    #[arg(long)]
    pub(crate) dry_run: bool,
    /// Give a task that stands still these arguments instead of its own, as a JSON object, and let it go on
    #[arg(long, value_name = "JSON", conflicts_with = "dry_run")]
    pub(crate) args: Option<String>,
    /// Take the arguments though no worker that is known takes such
    #[arg(long, requires = "args")]
    pub(crate) force: bool,
}

#[derive(Debug, clap::Args)]
pub(crate) struct RemoveArgs {
    /// The jobs
    #[arg(required = true, value_name = "JOB")]
    pub(crate) ids: Vec<IdPrefix>,
}

#[derive(Debug, clap::Args)]
pub(crate) struct SignalArgs {
    /// The job or task
    pub(crate) id: IdPrefix,
    /// The signal's name
    pub(crate) name: String,
    /// The value, as JSON
    #[arg(value_name = "JSON", default_value = "null")]
    pub(crate) value: String,
}

#[derive(Debug, clap::Args)]
pub(crate) struct QueueArgs {
    /// The queues
    #[arg(required = true, value_name = "QUEUE")]
    pub(crate) queues: Vec<String>,
}

#[derive(Debug, clap::Args)]
pub(crate) struct PruneArgs {
    /// How long ago the jobs ended at least, such as 7d
    #[arg(long, value_name = "DURATION", value_parser = parse_duration)]
    pub(crate) older_than: Duration,
}
