//! What people have done: a hash of actions by their numbers, which are counted beside the store's version. No script
//! has a part in it.

use super::link::connect::Link;
use super::link::fault::Result;
use super::pack::{self, List, Pack};
use crate::limits;
use crate::store::read::actions::{ActionFilter, ActionView, NewAction};

/// Actions that are read together.
const TOGETHER: u64 = 500;

fn field(number: u64, letter: &str) -> String {
    format!("{number}{letter}")
}

/// Keeps that somebody is about to do something, and forgets what is old.
pub(super) async fn begin(link: &Link, action: NewAction) -> Result<u64> {
    let NewAction { who, verb, target } = action;
    let (meta, actions) = (link.lane.key("meta"), link.lane.key("actions"));
    let number: u64 = link.command(redis::cmd("HINCRBY").arg(meta).arg("a").arg(1)).await?;
    let mut pack = Pack::list(4);
    let now = link.clock.now();
    pack.time(now).bytes(who).bytes(verb).bytes(target);
    let mut write = redis::cmd("HSET");
    write.arg(&actions).arg(field(number, "")).arg(pack.done());
    link.command::<()>(&write).await?;
    forget(link, now.before(limits::ACTIONS_KEPT)).await?;
    Ok(number)
}

/// Forgets some of those that are older than they are kept: the oldest have the lowest numbers.
async fn forget(link: &Link, old: crate::core::time::Time) -> Result<()> {
    let (meta, actions) = (link.lane.key("meta"), link.lane.key("actions"));
    let first: Option<u64> = link.command(redis::cmd("HGET").arg(&meta).arg("b")).await?;
    let first = first.unwrap_or(1);
    let numbers = first..first + limits::ACTIONS_FORGOTTEN as u64;
    let names: Vec<_> = numbers.clone().map(|number| field(number, "")).collect();
    let mut ask = redis::cmd("HMGET");
    ask.arg(&actions).arg(&names);
    let found: Vec<Option<Vec<u8>>> = link.command(&ask).await?;
    let counted: u64 = link.command(redis::cmd("HGET").arg(&meta).arg("a")).await?;
    let mut gone = redis::cmd("HDEL");
    gone.arg(&actions);
    let (mut next, mut holes) = (first, true);
    for (number, blob) in numbers.clone().zip(found) {
        // A number without an action was counted by a process that died, or has not written it yet. It is left behind once a
        // later one is old.
        let Some(blob) = blob else { continue };
        holes = false;
        let value = pack::parse(&blob)?;
        if List::of(&value)?.time()? >= old {
            break;
        }
        gone.arg(field(number, "")).arg(field(number, "r"));
        next = number + 1;
    }
    if next > first {
        link.command::<()>(&gone).await?;
    } else if holes && numbers.end < counted {
        next = numbers.end;
    }
    // Two processes may do this at once, and one of them be slow: then it reads past what is gone again, and goes on.
    if next > first {
        link.command::<()>(redis::cmd("HSET").arg(&meta).arg("b").arg(next)).await?;
    }
    Ok(())
}

pub(super) async fn end(link: &Link, number: u64, result: String) -> Result<()> {
    let mut write = redis::cmd("HSET");
    write.arg(link.lane.key("actions")).arg(field(number, "r")).arg(result);
    link.command(&write).await
}

pub(super) async fn list(link: &Link, filter: &ActionFilter) -> Result<Vec<ActionView>> {
    let mut ask = redis::cmd("HMGET");
    ask.arg(link.lane.key("meta")).arg("a").arg("b");
    let counted: Vec<Option<u64>> = link.command(&ask).await?;
    let last = counted.first().copied().flatten().unwrap_or(0);
    let first = counted.get(1).copied().flatten().unwrap_or(1);
    let mut to = last.saturating_add(1).min(filter.before.unwrap_or(u64::MAX));
    let mut page = Vec::new();
    while to > first && page.len() < filter.rows() {
        let from = to.saturating_sub(TOGETHER).max(first);
        let names: Vec<_> =
            (from..to).flat_map(|number| [field(number, ""), field(number, "r")]).collect();
        let mut ask = redis::cmd("HMGET");
        ask.arg(link.lane.key("actions")).arg(&names);
        let found: Vec<Option<Vec<u8>>> = link.command(&ask).await?;
        for (number, pair) in
            (from..to).zip(found.chunks_exact(2)).collect::<Vec<_>>().into_iter().rev()
        {
            let Some(blob) = &pair[0] else { continue };
            let action = view(number, blob, pair[1].as_deref())?;
            if filter.admits(&action) && page.len() < filter.rows() {
                page.push(action);
            }
        }
        to = from;
    }
    Ok(page)
}

fn view(number: u64, blob: &[u8], result: Option<&[u8]>) -> Result<ActionView> {
    let value = pack::parse(blob)?;
    let mut list = List::of(&value)?;
    Ok(ActionView {
        number,
        time: list.time()?,
        who: list.text()?,
        verb: list.text()?,
        target: list.text()?,
        result: result.map(pack::text).transpose()?,
    })
}
