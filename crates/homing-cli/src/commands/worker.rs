//! `worker`: the tasks of the program itself.

use homing::Homing;

use crate::args::WorkerArgs;
use crate::output::say;
use crate::{App, Error, Exit, Result};

/// Works until Ctrl-C or SIGTERM. What has not ended by then is handed back to the store.
pub(crate) async fn run(app: &mut App, url: &str, args: WorkerArgs) -> Result<Exit> {
    let Some(build) = app.worker.take() else {
        let message = format!("`{}` has no tasks to run", app.name);
        return Err(Error::usage(message, "workers are part of your program: see homing_cli::App"));
    };
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
    let worker = worker.start().await?;
    say(format_args!("worker {} is at work, until Ctrl-C", worker.id()));
    stopped().await?;
    say("stopping: what runs may end, the rest is handed back");
    worker.shutdown(args.patience).await;
    Ok(Exit::Done)
}

/// Waits for Ctrl-C or SIGTERM.
async fn stopped() -> Result<()> {
    #[cfg(unix)]
    {
        use tokio::signal::unix::{SignalKind, signal};
        let mut terminate = signal(SignalKind::terminate())?;
        tokio::select! {
            interrupted = tokio::signal::ctrl_c() => interrupted?,
            _ = terminate.recv() => {}
        }
    }
    #[cfg(not(unix))]
    tokio::signal::ctrl_c().await?;
    Ok(())
}
