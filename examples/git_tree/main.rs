//! The git tree id of a directory: one task per directory, which spawns a child for each file and
//! directory it finds, and makes a tree of what they return.
//!
//! ```text
//! cargo run --release --example git_tree -- --store sqlite:tree.db PATH
//! ```
//!
//! The last line on stdout is what `git write-tree` says after `git add -A -f` in a fresh repository
//! with git's default settings. Kill it with `kill -9` and start the same command again: it goes on
//! with the same job, and a file that was hashed is not hashed again. A job that has ended is not taken
//! up again: the next run hashes afresh.
//!
//! - Directories that hold no file are left out, and so are `.git`, sockets, pipes and devices.
//! - A repository in the directory is its commit, not its files, as for git; like git's, the run fails
//!   when it has no commit.
//! - Contents count as they are: `.gitattributes` and `core.autocrlf` are not heeded.
//! - Paths may be as long as the operating system allows (4,096 bytes on Linux), at any depth.

mod bytes;
mod listing;
mod object;
mod repository;
#[path = "../shared/role.rs"]
mod role;
mod tasks;
#[path = "../shared/watch.rs"]
mod watch;

use std::error::Error;
use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::time::Duration;

use clap::Parser;
use homing::{Homing, JobHandle, JobId, Worker};

use crate::bytes::Bytes;
use crate::object::{Entry, empty_tree};
use crate::tasks::{Hashed, directory, file};
use crate::watch::say;

/// Worker deaths in a row that a task survives. The default of 5 protects a worker from its tasks;
/// here it is you who kills it.
const MAX_CRASHES: u32 = 1_000;

/// Computes the git tree id of a directory
#[derive(Debug, Parser)]
#[command(name = "git_tree")]
struct Options {
    /// The directory; not wanted with --worker-only
    #[arg(required_unless_present = "worker_only")]
    path: Option<PathBuf>,
    /// Where tasks live: memory: or sqlite:PATH [default: a scratch file, removed at the end]
    #[arg(long, value_name = "URL")]
    store: Option<String>,
    #[command(flatten)]
    role: role::Role,
}

#[tokio::main]
async fn main() -> ExitCode {
    match run(Options::parse()).await {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            say(format_args!("error: {error}"));
            ExitCode::FAILURE
        }
    }
}

async fn run(options: Options) -> Result<(), Box<dyn Error>> {
    options.role.check(options.store.as_deref())?;
    let path =
        options.path.as_deref().filter(|_| options.role.submits()).map(resolve).transpose()?;
    let scratch = tempfile::tempdir()?;
    let own = || format!("sqlite:{}", scratch.path().join("tasks.db").display());
    let store = options.store.clone().unwrap_or_else(own);
    if let Some(path) = &path {
        check_outside(&store, path)?;
    }
    let homing = Homing::open(&store).await?;
    let hashed = Hashed::default();
    let worker = if options.role.works() {
        Some(start_worker(&homing, &options, &hashed).await?)
    } else {
        None
    };
    if let Some(path) = path {
        let job = submit(&homing, &path).await?;
        let root = watch::watch(&job).await?;
        if let Some(worker) = worker {
            worker.shutdown(Duration::from_secs(5)).await;
            say(format_args!("{} files hashed by this process", hashed.count()));
        }
        let id = root.map_or_else(empty_tree, |root| root.id);
        writeln!(std::io::stdout(), "{id}")?;
    } else if let Some(worker) = worker {
        role::until_interrupted(worker).await?;
    }
    Ok(())
}

async fn start_worker(
    homing: &Homing,
    options: &Options,
    hashed: &Hashed,
) -> Result<Worker, Box<dyn Error>> {
    let worker = homing.worker().register(directory).register(file).state(hashed.clone());
    let worker = worker.concurrency(options.role.concurrency()).max_crashes(MAX_CRASHES);
    Ok(worker.start().await?)
}

/// Submits the job under a key: while one for the same directory is open, it is that one.
async fn submit(homing: &Homing, path: &Path) -> Result<JobHandle<Option<Entry>>, Box<dyn Error>> {
    let path = Bytes::of(path);
    // A path may be longer than a key or a title.
    let key = format!("git_tree {}", JobId::named(&path.to_string()));
    let title = format!("git_tree of {}", path.name());
    let job = homing.submit(directory(path)).key(key).title(title).await?;
    let counts = job.view().await?.counts;
    let done = counts.ended();
    say(match done {
        0 => format!("job {}", job.id()),
        _ => format!("job {} goes on, {done} of its tasks are done", job.id()),
    });
    Ok(job)
}

/// Refuses a store in the directory, which would change while it is read.
fn check_outside(store: &str, path: &Path) -> Result<(), Box<dyn Error>> {
    let Some(file) = store.strip_prefix("sqlite:").and_then(|rest| rest.split('?').next()) else {
        return Ok(());
    };
    let absolute = std::path::absolute(file)?;
    let parent = absolute.parent().unwrap_or(&absolute);
    // A directory that is not there is refused when the store is opened.
    if parent.canonicalize().is_ok_and(|parent| parent.starts_with(path)) {
        return Err(format!("the store {file} lies in the directory: give another --store").into());
    }
    Ok(())
}

/// The directory's path from the root of the file system, for workers elsewhere and for the key.
fn resolve(path: &Path) -> Result<PathBuf, Box<dyn Error>> {
    let says = |reason: &dyn std::fmt::Display| format!("{}: {reason}", path.display());
    let whole = path.canonicalize().map_err(|error| says(&error))?;
    if whole.is_dir() { Ok(whole) } else { Err(says(&"not a directory").into()) }
}
