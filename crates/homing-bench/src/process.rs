//! Workers in processes of their own: this binary, run again with a hidden subcommand.
//!
//! Such a process works until its standard input is closed, so it ends with the bench that started it,
//! however that ends.

use std::io::Write;
use std::process::Stdio;

use homing::Homing;
use tokio::io::{AsyncBufReadExt, AsyncReadExt, BufReader, Lines};
use tokio::process::{Child, ChildStdin, ChildStdout, Command};
use tokio::time::Duration;

use crate::Result;
use crate::tasks::{self, Bench};

/// What a worker process is told.
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    #[arg(long)]
    store: String,
    #[arg(long)]
    concurrency: usize,
    #[arg(long)]
    resident: usize,
    /// Children of `family` hang.
    #[arg(long)]
    hang: bool,
}

/// The worker process: says `ready`, and works until nobody holds its standard input.
pub(crate) async fn work(args: Args) -> Result<()> {
    let homing = Homing::open(&args.store).await?;
    let bench = Bench { hang: args.hang, ..Bench::default() };
    let worker = tasks::worker(&homing, &bench, args.concurrency, args.resident).start().await?;
    writeln!(std::io::stdout().lock(), "ready")?;
    until_closed().await?;
    worker.shutdown(Duration::ZERO).await;
    Ok(())
}

/// Says something on stderr.
pub(crate) fn say(text: &str) -> Result<()> {
    Ok(writeln!(std::io::stderr().lock(), "{text}")?)
}

/// Waits until whoever started this process closes its standard input.
pub(crate) async fn until_closed() -> Result<()> {
    let mut rest = Vec::new();
    tokio::io::stdin().read_to_end(&mut rest).await?;
    Ok(())
}

/// A process of ours; killed when dropped.
#[derive(Debug)]
pub(crate) struct Process {
    child: Child,
    input: Option<ChildStdin>,
    output: Lines<BufReader<ChildStdout>>,
}

impl Process {
    /// Runs this binary again.
    pub(crate) fn start(arguments: &[String]) -> Result<Self> {
        let mut child = Command::new(std::env::current_exe()?)
            .args(arguments)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .kill_on_drop(true)
            .spawn()?;
        let input = child.stdin.take();
        let output = child.stdout.take().ok_or("the process has no output to read")?;
        Ok(Self { child, input, output: BufReader::new(output).lines() })
    }

    /// Starts a worker; it is at work when this returns.
    pub(crate) async fn worker(
        store: &str,
        concurrency: usize,
        resident: usize,
        hang: bool,
    ) -> Result<Self> {
        let mut process = Self::worker_soon(store, concurrency, resident, hang)?;
        process.ready().await?;
        Ok(process)
    }

    /// Starts a worker and does not wait for it.
    pub(crate) fn worker_soon(
        store: &str,
        concurrency: usize,
        resident: usize,
        hang: bool,
    ) -> Result<Self> {
        let mut arguments = vec![
            "work".to_owned(),
            format!("--store={store}"),
            format!("--concurrency={concurrency}"),
            format!("--resident={resident}"),
        ];
        arguments.extend(hang.then(|| "--hang".to_owned()));
        Self::start(&arguments)
    }

    /// Waits until a worker says that it is at work. It may have had something to say before.
    async fn ready(&mut self) -> Result<()> {
        let line = self.line().await?;
        if line == "ready" {
            Ok(())
        } else {
            Err(format!("not a worker's first word: {line}").into())
        }
    }

    /// The next line it prints.
    pub(crate) async fn line(&mut self) -> Result<String> {
        match self.output.next_line().await? {
            Some(line) => Ok(line),
            None => Err(format!("the process ended too soon: {}", self.child.wait().await?).into()),
        }
    }

    /// Kills it as `kill -9` does. Returns at once; it is dead a moment later.
    pub(crate) fn kill(&mut self) -> Result<()> {
        Ok(self.child.start_kill()?)
    }

    /// Tells it to end, and waits until it has.
    pub(crate) async fn end(mut self) -> Result<()> {
        drop(self.input.take());
        let ended = tokio::time::timeout(Duration::from_secs(30), self.child.wait()).await;
        match ended.map_err(|_| "the process did not end when it was told to")?? {
            status if status.success() => Ok(()),
            status => Err(format!("the process failed: {status}").into()),
        }
    }
}
