//! `workers` and `kinds`: who works, and what they can do.

use crate::output::say;
use crate::table::{Table, plain};
use crate::{Context, Exit, Result, json, style, words};

/// Lists workers that have not left.
pub(crate) async fn list(cx: &Context) -> Result<Exit> {
    let workers = cx.homing.workers().await?;
    if cx.json {
        for worker in &workers {
            cx.out.json(&json::worker(worker))?;
        }
        return Ok(Exit::Done);
    }
    if workers.is_empty() {
        say("no worker is at work");
        return Ok(Exit::Done);
    }
    let headings = ["ID", "NAME", "STATE", "RUNNING", "PARKED", "UP", "HEARD", "QUEUES"];
    let mut table = Table::new(&headings, &[3, 4, 5, 6]);
    let now = cx.now();
    for worker in &workers {
        let state = if worker.alive { ("alive", style::GOOD) } else { ("dead", style::BAD) };
        table.row(vec![
            plain(worker.id),
            plain(&worker.name),
            (state.0.to_owned(), state.1),
            plain(format_args!("{}/{}", worker.running, worker.slots)),
            plain(worker.resident),
            plain(words::duration(now.since(worker.started))),
            plain(words::ago(worker.heartbeat, now)),
            plain(worker.queues.join(", ")),
        ]);
    }
    for line in table.lines() {
        cx.out.line(line)?;
    }
    Ok(Exit::Done)
}

/// Lists the kinds that workers have registered.
pub(crate) async fn kinds(cx: &Context) -> Result<Exit> {
    let mut kinds = cx.homing.kinds().await?;
    // Those of homing itself are parts of chains, groups and chords, and nothing to submit.
    kinds.retain(|kind| !kind.name.starts_with("homing."));
    if kinds.is_empty() {
        say("no worker has registered a kind in this store");
    }
    for kind in &kinds {
        let argument =
            |argument: &homing::task::Parameter| format!("{}: {}", argument.name, argument.takes());
        let arguments: Vec<String> = kind.arguments.iter().map(argument).collect();
        let arguments = arguments.join(", ");
        cx.show(&json::kind(kind), || format!("{}({arguments})", kind.name))?;
    }
    Ok(Exit::Done)
}
