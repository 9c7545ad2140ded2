//! `queues`, `pause`, `unpause`.

use homing::{QueueView, WorkerView};

use crate::args::QueueArgs;
use crate::output::say;
use crate::table::{Cell, Table, plain};
use crate::{Context, Exit, Result, json, style, words};

/// Lists queues that hold pending tasks or are paused.
pub(crate) async fn list(cx: &Context) -> Result<Exit> {
    let (queues, workers) = (cx.homing.queues().await?, cx.homing.workers().await?);
    if cx.json {
        for queue in &queues {
            cx.out.json(&json::queue(queue, &workers))?;
        }
        return Ok(Exit::Done);
    }
    if queues.is_empty() {
        say("no queue holds a pending task or is paused");
        return Ok(Exit::Done);
    }
    let headings = ["QUEUE", "READY", "LATER", "STALLED", "OLDEST", "WORKERS", "SLOTS", "STATE"];
    let mut table = Table::new(&headings, &[1, 2, 3, 4, 5, 6]);
    let now = cx.now();
    for queue in &queues {
        let serving = serving(queue, &workers);
        let slots: u32 = serving.iter().map(|worker| worker.slots).sum();
        let oldest = queue.oldest.map(|oldest| words::duration(now.since(oldest)));
        table.row(vec![
            plain(&queue.name),
            plain(words::number(queue.ready)),
            plain(words::number(queue.scheduled)),
            stalled(queue),
            plain(oldest.as_deref().unwrap_or("-")),
            plain(serving.len()),
            plain(slots),
            state(queue, serving.is_empty()),
        ]);
    }
    for line in table.lines() {
        cx.out.line(line)?;
    }
    Ok(Exit::Done)
}

fn serving<'a>(queue: &QueueView, workers: &'a [WorkerView]) -> Vec<&'a WorkerView> {
    workers.iter().filter(|worker| worker.alive && worker.queues.contains(&queue.name)).collect()
}

fn stalled(queue: &QueueView) -> Cell {
    match queue.stalled {
        0 => plain("-"),
        stalled => (words::number(stalled), style::BAD),
    }
}

fn state(queue: &QueueView, unserved: bool) -> Cell {
    if queue.paused {
        ("paused".to_owned(), style::WARN)
    } else if unserved {
        ("no worker".to_owned(), style::BAD)
    } else {
        plain("served")
    }
}

/// Stops or resumes claims from queues.
pub(crate) async fn pause(cx: &Context, args: &QueueArgs, paused: bool) -> Result<Exit> {
    let known = cx.homing.queues().await?;
    let workers = cx.homing.workers().await?;
    for queue in &args.queues {
        let was = known.iter().any(|view| view.name == *queue && view.paused);
        let verb = if paused { "pause" } else { "unpause" };
        if paused {
            cx.homing.pause(queue).await?;
        } else {
            cx.homing.unpause(queue).await?;
        }
        let (target, changed) = (queue.clone(), was != paused);
        let text = if paused { "paused" } else { "resumed" };
        cx.show(&json::Object::Done { verb, target, changed }, || {
            format!("{text} the queue {queue}")
        })?;
        let served = workers.iter().any(|worker| worker.queues.contains(queue));
        if paused && !served && !known.iter().any(|view| view.name == *queue) {
            say(format_args!("no worker serves a queue `{queue}`, and no task is on it"));
        }
    }
    Ok(Exit::Done)
}
