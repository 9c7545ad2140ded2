//! The command line. Help, completions and man pages are made of this.

use std::path::PathBuf;
use std::time::Duration;

use anstream::ColorChoice;
use clap::{Parser, Subcommand, ValueEnum};
use homing::log::Level;
use homing::{Fingerprint, IdPrefix, JobId, Status};

use crate::words::parse_duration;

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
pub(crate) struct ActionsArgs {
    /// Only what was done to this: a job, a task or a queue, as the list names it
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
    /// How long tasks may run on after the first signal, before they are handed back
    #[arg(long, value_name = "DURATION", default_value = "30s", value_parser = parse_duration)]
    pub(crate) patience: Duration,
}

/// Flags that each say one thing: more of a type would say less.
#[cfg(feature = "web")]
#[derive(Debug, clap::Args)]
#[expect(clippy::struct_excessive_bools, reason = "each is a flag of the command line")]
pub(crate) struct ServeArgs {
    /// The address and port; port 0 takes a free one
    #[arg(long, value_name = "ADDRESS", default_value = "127.0.0.1:7070")]
    pub(crate) bind: std::net::SocketAddr,
    /// Let in who knows a token of this file; a line is TOKEN, which is an operator's, or NAME ROLE TOKEN
    #[arg(long, value_name = "FILE")]
    pub(crate) token_file: Option<PathBuf>,
    /// Let in whom a proxy names in this header; needs --trust-from and --role
    #[arg(long, value_name = "HEADER", requires = "trust_from", requires = "role")]
    pub(crate) trust_header: Option<String>,
    /// A network that the proxy is in, such as 10.0.0.0/8; may be repeated
    #[arg(long, value_name = "NETWORK", requires = "trust_header")]
    pub(crate) trust_from: Vec<String>,
    /// What a user may: viewer, operator or admin, each with -without-payloads if it is to see none; * is everybody else
    #[arg(long, value_name = "USER=ROLE", requires = "trust_header")]
    pub(crate) role: Vec<String>,
    /// Let everybody in who reaches the address, as operators
    #[arg(long)]
    pub(crate) insecure_no_auth: bool,
    /// Another name that the site is called by; addresses, localhost and *.local are known; may be repeated
    #[arg(long, value_name = "NAME")]
    pub(crate) host: Vec<String>,
    /// The path that the site stands below, such as /homing
    #[arg(long, value_name = "PATH")]
    pub(crate) base: Option<String>,
    /// What the site is called in titles [default: homing]
    #[arg(long, value_name = "NAME")]
    pub(crate) site_name: Option<String>,
    /// Leave out everything that changes anything
    #[arg(long)]
    pub(crate) read_only: bool,
    /// Show no arguments, values and messages
    #[arg(long)]
    pub(crate) hide_payloads: bool,
    /// Mask what stands at this key, or end of a path of keys, beside what looks secret; may be repeated
    #[arg(long, value_name = "PATH")]
    pub(crate) redact: Vec<String>,
    /// Browsers come by https, to a proxy: mark the cookie so
    #[arg(long)]
    pub(crate) https: bool,
    /// Show /metrics without a token
    #[arg(long)]
    pub(crate) metrics_open: bool,
}

#[derive(Debug, clap::Args)]
pub(crate) struct VerifyArgs {
    /// Only tasks of this kind are told of; may be repeated
    #[arg(long, value_name = "KIND")]
    pub(crate) kind: Vec<String>,
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

#[cfg(feature = "celery")]
#[derive(Debug, clap::Args)]
pub(crate) struct CeleryArgs {
    #[command(subcommand)]
    pub(crate) command: CeleryCommand,
}

#[cfg(feature = "celery")]
#[derive(Debug, Clone, Subcommand)]
pub(crate) enum CeleryCommand {
    /// Say whether the bridge works with the application; exits with 1 if something must be changed first
    Check(BrokerArgs),
    /// List the workers that answer, bridges of homing's among them; exits with 1 if none does
    Ping(BrokerArgs),
}

#[cfg(feature = "celery")]
#[derive(Debug, Clone, clap::Args)]
pub(crate) struct BrokerArgs {
    /// The application's broker: redis://HOST:PORT/DATABASE or amqp://USER:PASSWORD@HOST:PORT/VHOST
    #[arg(value_name = "URL", env = "HOMING_CELERY_BROKER", hide_env_values = true)]
    pub(crate) broker: String,
    /// How long to wait for workers; on RabbitMQ it always takes that long
    #[arg(long, value_name = "DURATION", value_parser = parse_duration, default_value = "2s")]
    pub(crate) wait: Duration,
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
