//! `worker`: the tasks of the program itself.

use std::io::IsTerminal;

use homing::Homing;
use tracing_subscriber::Layer;
use tracing_subscriber::filter::{LevelFilter, Targets};
use tracing_subscriber::layer::SubscriberExt;
use tracing_subscriber::util::SubscriberInitExt;

use crate::app::Builder;
use crate::args::WorkerArgs;
use crate::output::say;
use crate::{App, Error, Exit, Result};

/// Works until Ctrl-C or SIGTERM. What has not ended when the patience is over is handed back to the store. A
/// second signal ends the process at once, as a crash would: others resume its tasks.
pub(crate) async fn run(app: &mut App, url: &str, args: WorkerArgs) -> Result<Exit> {
    let build = builder(app)?;
    show_warnings(None);
    let homing = Homing::open(url).await?;
    let mut worker = build(homing.worker()).await.map_err(Error::Build)?;
    if let Some(slots) = args.concurrency {
        worker = worker.concurrency(slots.into());
    }
    if !args.queue.is_empty() {
        worker = worker.queues(args.queue);
    }
    if let Some(name) = args.name {
        worker = worker.name(name);
    }
    let mut signals = Signals::listen()?;
    let worker = worker.start().await?;
    say(format_args!("worker {} is at work, until Ctrl-C", worker.id()));
    signals.next().await?;
    say("stopping: what runs may end, the rest is handed back; a second signal stops at once");
    tokio::select! {
        () = worker.shutdown(args.patience) => Ok(Exit::Done),
        again = signals.next() => {
            again?;
            say("stopped at once: others resume what ran");
            // Returning would wait for bodies that let nobody interrupt them.
            std::process::exit(Exit::Interrupted.code().into());
        }
    }
}

/// What makes the program's worker.
pub(crate) fn builder(app: &mut App) -> Result<Builder> {
    let name = app.name;
    app.worker.take().ok_or_else(|| {
        let message = format!("`{name}` has no tasks to run");
        Error::usage(message, "workers are part of your program: see homing_cli::App")
    })
}

/// Writes warnings and errors to standard error, and what one target tells, unless the program has a subscriber of its own. `RUST_LOG`
/// asks for more or less: a level, or targets with levels, such as `warn,homing=debug`.
pub(super) fn show_warnings(told: Option<&'static str>) {
    let default = Targets::new().with_default(LevelFilter::WARN);
    let default = default.with_targets(told.map(|target| (target, LevelFilter::INFO)));
    let asked = std::env::var("RUST_LOG").ok().filter(|asked| !asked.is_empty());
    let targets = match asked.as_deref().map(str::parse::<Targets>) {
        None => default,
        Some(Ok(targets)) => targets,
        Some(Err(error)) => {
            say(format_args!("RUST_LOG is not understood, warnings are shown: {error}"));
            default
        }
    };
    let coloured = std::io::stderr().is_terminal();
    let lines = tracing_subscriber::fmt::layer().with_writer(std::io::stderr).with_ansi(coloured);
    // Refused where the program has set one up: then that shows them.
    let _ = tracing_subscriber::registry().with(lines.with_filter(targets)).try_init();
}

/// Ctrl-C and SIGTERM. Both are heard from here on, also while nobody waits for them.
pub(super) struct Signals {
    #[cfg(unix)]
    interrupt: tokio::signal::unix::Signal,
    #[cfg(unix)]
    terminate: tokio::signal::unix::Signal,
}

impl Signals {
    pub(super) fn listen() -> Result<Self> {
        #[cfg(unix)]
        {
            use tokio::signal::unix::{SignalKind, signal};
            let interrupt = signal(SignalKind::interrupt())?;
            Ok(Self { interrupt, terminate: signal(SignalKind::terminate())? })
        }
        #[cfg(not(unix))]
        Ok(Self {})
    }

    /// Waits for the next one.
    pub(super) async fn next(&mut self) -> Result<()> {
        #[cfg(unix)]
        tokio::select! {
            _ = self.interrupt.recv() => {}
            _ = self.terminate.recv() => {}
        }
        #[cfg(not(unix))]
        tokio::signal::ctrl_c().await?;
        Ok(())
    }
}
