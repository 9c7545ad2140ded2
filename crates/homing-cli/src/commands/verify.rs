//! `verify`: what this program would do with the open tasks of the store, before it is deployed.

use homing::{Verdict, Verified};

use crate::app::Builder;
use crate::args::VerifyArgs;
use crate::output::say;
use crate::{Context, Error, Exit, Result, json, words};

/// Replays the open tasks and prints those that would not go on; all of them as JSON.
pub(crate) async fn run(cx: &Context, build: Builder, args: &VerifyArgs) -> Result<Exit> {
    let worker = build(cx.homing.worker()).await.map_err(Error::Build)?;
    let mut verified = Vec::new();
    let wanted = |kind: &String| args.kind.is_empty() || args.kind.contains(kind);
    worker.verify(|one| verified.extend(wanted(&one.kind).then_some(one))).await?;
    let mut bad = 0;
    for one in &verified {
        let text = told(one);
        bad += u64::from(text.is_some());
        match text {
            _ if cx.json => cx.out.json(&json::Object::Verified(one))?,
            Some(text) => cx.out.line(words::printed(&text))?,
            None => {}
        }
    }
    say(format_args!("open tasks replayed: {}; would not go on: {bad}", verified.len()));
    Ok(if bad == 0 { Exit::Done } else { Exit::No })
}

fn told(one: &Verified) -> Option<String> {
    let (kind, task) = (&one.kind, one.task);
    match &one.verdict {
        Verdict::GoesOn => None,
        Verdict::StandsStill { reason } => {
            Some(format!("{kind} {task} would stand still: {reason}"))
        }
        Verdict::Fails { message } => Some(format!("{kind} {task} would fail: {message}")),
        _ => Some(format!("{kind} {task} is undecided: its body waited for more than 10 seconds")),
    }
}
