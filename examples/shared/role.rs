//! What part of an example a process plays: all of it, or only its working or its submitting half.
//!
//! Both halves meet in the store alone, so a split needs one that other processes can open.

use std::error::Error;
use std::time::Duration;

/// How long a worker that was asked to stop lets its tasks run on.
const PATIENCE: Duration = Duration::from_secs(5);

/// The options that both examples have in common.
#[derive(Debug, clap::Args)]
pub(crate) struct Role {
    /// Tasks that run at once; those that wait do not count
    #[arg(long, value_name = "N", default_value_t = 16)]
    #[arg(value_parser = clap::value_parser!(u16).range(1..))]
    concurrency: u16,
    /// Work on what other processes submit, until interrupted
    #[arg(long, conflicts_with = "submit_only")]
    worker_only: bool,
    /// Submit and watch; another process works
    #[arg(long)]
    submit_only: bool,
}

impl Role {
    pub(crate) fn works(&self) -> bool {
        !self.submit_only
    }

    pub(crate) fn submits(&self) -> bool {
        !self.worker_only
    }

    pub(crate) fn concurrency(&self) -> usize {
        self.concurrency.into()
    }

    /// Refuses to split over a store that no other process can see.
    pub(crate) fn check(&self, store: Option<&str>) -> Result<(), Box<dyn Error>> {
        let shared = store.is_some_and(|store| !store.starts_with("memory:"));
        if !shared && (self.worker_only || self.submit_only) {
            return Err("no other process sees this store: give --store sqlite:PATH".into());
        }
        Ok(())
    }
}

/// Lets a worker run until Ctrl-C or SIGTERM. What it has not ended is handed back to the store.
pub(crate) async fn until_interrupted(worker: homing::Worker) -> Result<(), Box<dyn Error>> {
    use tokio::signal::unix::{SignalKind, signal};
    let mut terminate = signal(SignalKind::terminate())?;
    crate::watch::say("working, until Ctrl-C");
    tokio::select! {
        interrupted = tokio::signal::ctrl_c() => interrupted?,
        _ = terminate.recv() => {}
    }
    worker.shutdown(PATIENCE).await;
    Ok(())
}
