//! The command line. Help, completions and man pages are made of this.

use std::path::PathBuf;

use anstream::ColorChoice;
use clap::{Parser, Subcommand, ValueEnum};
use homing::JobId;

const AFTER_HELP: &str = "\
Exit codes:
    0  done
    1  done, and the answer is no: `check` found a breach; the watched job failed or was cancelled;
       the task to cancel, retry or signal had ended
    2  an argument is wrong or refused; nothing was changed
    3  no task has the id
    4  the store is missing, unreachable or of another version, or it failed
  130  interrupted";

/// Watch and steer durable background jobs
#[derive(Debug, Parser)]
#[command(version, about, after_help = AFTER_HELP, max_term_width = 100)]
#[command(subcommand_required = true, arg_required_else_help = true)]
pub(crate) struct Args {
    /// The store, such as sqlite:jobs.db
    #[arg(long, global = true, value_name = "URL", env = "HOMING_STORE", hide_env_values = true)]
    pub(crate) store: Option<String>,
    /// Print JSON, one object per line, as docs/cli.schema.json describes it
    #[arg(long, global = true)]
    pub(crate) json: bool,
    /// When to use colours; `auto` heeds NO_COLOR and shows them on a terminal only
    #[arg(long, global = true, value_name = "WHEN", value_enum, default_value_t)]
    pub(crate) color: Color,
    #[command(subcommand)]
    pub(crate) command: Command,
}

/// When to use colours.
#[derive(Debug, Clone, Copy, Default, ValueEnum)]
pub(crate) enum Color {
    #[default]
    Auto,
    Always,
    Never,
}

impl From<Color> for ColorChoice {
    fn from(color: Color) -> Self {
        match color {
            Color::Auto => Self::Auto,
            Color::Always => Self::Always,
            Color::Never => Self::Never,
        }
    }
}

#[derive(Debug, Subcommand)]
pub(crate) enum Command {
    /// Watch a job until it ends; its outcome is the exit code
    Watch(WatchArgs),
    /// Watch workers, queues and jobs on the full screen
    Top(TopArgs),
    /// Run the tasks of this program until Ctrl-C or SIGTERM
    Worker(WorkerArgs),
    /// Look at the store itself, or bring it up to date
    Store(StoreArgs),
    /// Print completions for a shell
    Completions(CompletionsArgs),
    /// Print the man page
    Man(ManArgs),
}

#[derive(Debug, clap::Args)]
pub(crate) struct WatchArgs {
    /// The job [default: the newest that has not ended]
    pub(crate) id: Option<JobId>,
    /// The latest log lines to show
    #[arg(long, value_name = "N", default_value_t = 5)]
    pub(crate) lines: u16,
}

#[derive(Debug, clap::Args)]
pub(crate) struct TopArgs {
    /// Time between two looks at the store
    #[arg(long, value_name = "DURATION", default_value = "1s")]
    #[arg(value_parser = crate::words::parse_duration)]
    pub(crate) every: std::time::Duration,
}

#[derive(Debug, clap::Args)]
pub(crate) struct WorkerArgs {
    /// Tasks that run at once; those that wait do not count
    #[arg(long, value_name = "N")]
    pub(crate) concurrency: Option<u16>,
    /// A queue to serve, instead of those the program names; may be repeated
    #[arg(long, value_name = "QUEUE")]
    pub(crate) queue: Vec<String>,
    /// What lists of workers call it
    #[arg(long)]
    pub(crate) name: Option<String>,
    /// How long tasks may run on after the signal to stop, before they are handed back
    #[arg(long, value_name = "DURATION", default_value = "30s")]
    #[arg(value_parser = crate::words::parse_duration)]
    pub(crate) patience: std::time::Duration,
}

#[derive(Debug, clap::Args)]
pub(crate) struct StoreArgs {
    #[command(subcommand)]
    pub(crate) command: StoreCommand,
}

#[derive(Debug, Clone, Copy, Subcommand)]
pub(crate) enum StoreCommand {
    /// Say what the store is and which version its schema has; changes nothing
    Info,
    /// Create the store, or bring its schema up to date
    Migrate,
}

#[derive(Debug, clap::Args)]
pub(crate) struct CompletionsArgs {
    /// The shell
    pub(crate) shell: clap_complete::Shell,
}

#[derive(Debug, clap::Args)]
pub(crate) struct ManArgs {
    /// Write a page for every command into this directory instead
    #[arg(long, value_name = "DIRECTORY")]
    pub(crate) dir: Option<PathBuf>,
}
