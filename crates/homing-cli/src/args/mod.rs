//! The command line. Help, completions and man pages are made of this. The arguments of a command stand with those of
//! its like.

use anstream::ColorChoice;
use clap::{Parser, Subcommand, ValueEnum};

mod operating;
mod reading;
mod steering;

pub(crate) use operating::*;
pub(crate) use reading::*;
pub(crate) use steering::*;

const AFTER_HELP: &str = "\
Exit codes:
    0  done
    1  done, and the answer is no: `check` found a breach; the watched job failed; the task to
       cancel, retry or signal had ended
    2  an argument is wrong or refused; nothing was changed
    3  no task has the id
    4  the store is missing, unreachable or of another version, or it failed
    5  the watched job completed with errors: its root succeeded, a task below it failed
    6  the watched job was cancelled
    7  the watched job stands still, and has for as long as `--stalled-for` says; it is open
  130  interrupted";

/// Watch and steer durable background jobs
#[derive(Debug, Parser)]
#[command(version, after_help = AFTER_HELP, max_term_width = 100)]
#[command(subcommand_required = true, arg_required_else_help = true)]
pub(crate) struct Args {
    /// The store, such as `sqlite:jobs.db`, `postgres://HOST/DB` or `redis://HOST/DB`
    #[arg(long, global = true, value_name = "URL", env = "HOMING_STORE", hide_env = true)]
    #[arg(help = "A store: sqlite:FILE, postgres://HOST/DB, redis://HOST/DB [env: HOMING_STORE]")]
    pub(crate) store: Option<String>,
    /// Print JSON, one object per line, as docs/cli.schema.json describes it
    #[arg(long, global = true)]
    pub(crate) json: bool,
    /// When to use colours; `auto` heeds `NO_COLOR` and shows them on a terminal only
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
    /// List jobs, newest first
    Jobs(JobsArgs),
    /// Show a job or a task, and the tree below it
    Job(JobArgs),
    /// Say why a job or task is where it is, and what it waits for
    Why(WhyArgs),
    /// Show what a task remembers: its steps, waits and signals, and when each was recorded
    Record(RecordArgs),
    /// List failed tasks over all jobs, those alike together
    Failures(FailuresArgs),
    /// List what people have done to jobs and queues, newest first
    Actions(ActionsArgs),
    /// Show what workers did minute by minute: throughput, failures, slots taken
    Samples(SamplesArgs),
    /// Print a job's log
    Log(LogArgs),
    /// Watch a job until it ends; its outcome is the exit code
    Watch(WatchArgs),
    /// Watch workers, queues and jobs on the full screen
    Top(TopArgs),
    /// Submit a job by the name of its kind
    Submit(SubmitArgs),
    /// Cancel jobs or tasks, with everything below them
    Cancel(CancelArgs),
    /// Retry failed or cancelled jobs: what failed runs again
    Retry(RetryArgs),
    /// Remove jobs that have ended, with everything below them
    Remove(RemoveArgs),
    /// Send a value to a task that waits, or will wait, for it
    Signal(SignalArgs),
    /// Stop claims from queues; what runs runs on
    Pause(QueueArgs),
    /// Resume claims from queues
    Unpause(QueueArgs),
    /// List queues that hold pending tasks or are paused
    Queues,
    /// List workers
    Workers,
    /// List the kinds that workers have registered, and their arguments
    Kinds,
    /// Remove jobs that ended some time ago, with everything below them
    Prune(PruneArgs),
    /// Look for broken invariants; exits with 1 if there are any
    Check,
    /// Run the tasks of this program until Ctrl-C or SIGTERM; a second one ends it at once
    Worker(WorkerArgs),
    /// Serve the page, the HTTP API and the metrics of the store until Ctrl-C
    ///
    /// Prints an address that has a token in it: open it in a browser. Whoever runs this machine's other programs
    /// does not have the token, and so is not let in.
    #[cfg(feature = "web")]
    Serve(ServeArgs),
    /// Replay the open tasks with this program's own, dry, and say which would stand still or fail
    ///
    /// Each body is replayed up to the wait that its task is parked at. What it does after that depends on an
    /// answer that is not there yet: if it no longer reaches a recorded step or spawn, that shows only when it
    /// returns. Of a task that has not begun the arguments are checked, and the body up to its first verb. Tasks
    /// that run, and kinds that this program has not registered, are left out.
    Verify(VerifyArgs),
    /// Look at the store itself, or bring it up to date
    Store(StoreArgs),
    /// Look at a Celery application that a bridge is to serve
    #[cfg(feature = "celery")]
    Celery(CeleryArgs),
    /// Print completions for a shell
    Completions(CompletionsArgs),
    /// Print the man page
    Man(ManArgs),
}
