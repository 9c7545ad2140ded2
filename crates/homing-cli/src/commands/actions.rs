//! `actions`: what people have done to jobs and queues.

use homing::ActionFilter;

use crate::args::ActionsArgs;
use crate::output::say;
use crate::table::{Table, plain};
use crate::{Context, Exit, Result, json, words};

/// Lists actions, newest first.
pub(crate) async fn run(cx: &Context, args: ActionsArgs) -> Result<Exit> {
    let limit = usize::from(args.limit);
    let target = cx.target(args.on).await?;
    let filter = ActionFilter { who: args.by, target, before: args.before, limit };
    let is_narrowed = filter.who.is_some() || filter.target.is_some() || filter.before.is_some();
    let actions = cx.homing.actions(filter).await?;
    if cx.json {
        for action in &actions {
            cx.out.json(&json::action(action))?;
        }
        return Ok(Exit::Done);
    }
    if actions.is_empty() {
        say(if is_narrowed { "nothing such has been done" } else { "nobody has done anything" });
        return Ok(Exit::Done);
    }
    let mut table = Table::new(&["#", "TIME", "WHO", "WHAT", "ON", "RESULT"], &[0]);
    for action in &actions {
        table.row(vec![
            plain(action.number),
            plain(words::instant(action.time)),
            plain(&action.who),
            plain(&action.verb),
            plain(&action.target),
            plain(action.result.as_deref().unwrap_or("unknown")),
        ]);
    }
    table.lines().try_for_each(|line| cx.out.line(line))?;
    if actions.len() == limit
        && let Some(last) = actions.last()
    {
        say(format_args!("there may be more: --before {}", last.number));
    }
    Ok(Exit::Done)
}
