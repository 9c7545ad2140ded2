//! `top`: a full-screen live view of workers, queues and jobs.
//!
//! `model` is what is shown, `keys` what a key does to it, `draw` how it looks: none of the three knows a
//! terminal or a store. `look` reads the store and carries out what was confirmed, `terminal` turns
//! the wheel. So a test can press keys against a live store and take a picture of any screen.

mod draw;
mod jobs;
mod keys;
mod log;
mod look;
mod model;
mod rates;
mod scroll;
mod terminal;
mod tree;

#[cfg(test)]
mod tests;

use std::io::IsTerminal;

use crate::args::TopArgs;
use crate::{Context, Error, Exit, Result, json};

/// Shows the live view until `q`; with `--json` one look at the same, at once.
pub(crate) async fn run(cx: &Context, args: TopArgs) -> Result<Exit> {
    if cx.json {
        return snapshot(cx).await;
    }
    if !std::io::stdout().is_terminal() || !std::io::stdin().is_terminal() {
        let message = "top needs a terminal";
        return Err(Error::usage(message, "`top --json` prints one look; `watch` prints lines"));
    }
    terminal::run(cx, args.every).await
}

/// One look: the workers, the queues, and the first page of jobs.
async fn snapshot(cx: &Context) -> Result<Exit> {
    let wanted = look::Wanted { jobs: Some(jobs::first()), ..look::Wanted::default() };
    let look = look::look(&cx.homing, wanted).await?;
    for worker in &look.workers {
        cx.out.json(&json::worker(worker))?;
    }
    if let Some((_, jobs, queues)) = &look.jobs {
        for queue in queues {
            cx.out.json(&json::queue(queue, &look.workers))?;
        }
        for job in jobs {
            cx.out.json(&json::job(job))?;
        }
    }
    Ok(Exit::Done)
}
