//! Arguments of what runs and looks after homing itself: `worker`, `serve`, `verify`, `store`, `celery`, `completions`, `man`.

use std::path::PathBuf;
use std::time::Duration;

use clap::Subcommand;

use crate::words::parse_duration;

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
