//! `why`: the reasons in words, followed down to the task that everything hangs on.

use homing::Why;
use homing_view::why::{hangs_on, reason, stands};

use crate::args::WhyArgs;
use crate::json::{self, Object, Reason};
use crate::{Context, Exit, Result, style};

/// Says why a task is where it is, then the same of what it waits for or failed of.
pub(crate) async fn run(cx: &Context, args: &WhyArgs) -> Result<Exit> {
    let mut next = Some(cx.find(&args.id).await?);
    for depth in 0..=usize::from(args.depth) {
        let Some(id) = next else { break };
        let why = cx.homing.why(id).await?;
        #[cfg(feature = "celery")]
        let said = match &args.celery {
            Some(results) => homing_celery::said(results, &why.task).await?,
            None => None,
        };
        #[cfg(not(feature = "celery"))]
        let said = None;
        show(cx, &why, (depth, said))?;
        next = why.because.iter().find_map(hangs_on);
    }
    Ok(Exit::Done)
}

fn show(cx: &Context, why: &Why, (depth, said): (usize, Option<String>)) -> Result<()> {
    let (task, now) = (&why.task, cx.now());
    let mut reasons: Vec<Reason> =
        why.because.iter().map(|because| reason(because, task, now)).collect();
    reasons.extend(said.map(|text| Reason { word: "celery", text, ..Reason::default() }));
    if cx.json {
        let (id, kind, state) = (task.id, task.kind.as_str(), task.state);
        let attempts = why.attempts.iter().map(json::log_line).collect();
        let why = json::Why { id, kind, state, depth, reasons, attempts };
        return cx.out.json(&Object::Why(Box::new(why)));
    }
    let indent = "  ".repeat(depth);
    let state = style::paint(style::of_state(task.state), stands(task.state));
    let kind = style::paint(style::BOLD, &task.kind);
    cx.out.line(format_args!("{indent}{kind} {} {state}", task.id))?;
    for reason in reasons {
        cx.out.line(format_args!("{indent}  {}", reason.text))?;
        for id in reason.tasks {
            cx.out.line(format_args!("{indent}    {id}"))?;
        }
    }
    for line in super::log::earlier(&why.attempts, task) {
        cx.out.line(format_args!("{indent}  {}", super::log::attempt(line)))?;
    }
    Ok(())
}
