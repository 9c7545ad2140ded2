//! `prune` and `check`.

use crate::args::PruneArgs;
use crate::output::say;
use crate::{Context, Exit, Result, json, words};

/// Removes jobs that ended some time ago.
pub(crate) async fn prune(cx: &Context, args: &PruneArgs) -> Result<Exit> {
    let jobs = cx.homing.prune(args.older_than).await?;
    cx.show(&json::Object::Pruned { jobs }, || {
        format!("removed {}", words::count(jobs, "job", "jobs"))
    })?;
    Ok(Exit::Done)
}

/// Looks for broken invariants.
pub(crate) async fn check(cx: &Context) -> Result<Exit> {
    let breaches = cx.homing.check().await?;
    for breach in &breaches {
        cx.show(&json::breach(breach), || format!("{}  {}", breach.task, breach.what))?;
    }
    let count = breaches.len();
    cx.show(&json::Object::Checked { breaches: count }, || match count {
        0 => "every invariant holds".to_owned(),
        _ => words::count(count as u64, "breach", "breaches"),
    })?;
    if count > 0 {
        cx.out.flush()?;
        say("a breach is a defect of homing: please report it, with the lines above");
        return Ok(Exit::No);
    }
    Ok(Exit::Done)
}
