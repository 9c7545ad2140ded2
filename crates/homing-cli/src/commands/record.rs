//! `record`: what a task remembers, entry by entry, and when each was recorded.

use homing::{EntryView, Time};

use crate::args::RecordArgs;
use crate::output::say;
use crate::table::{Table, plain};
use crate::{Context, Exit, Result, json, words};

/// Characters of a value shown; `--json` has all of it.
const VALUE: usize = 80;

/// Prints the record of a task page by page: no record is held whole.
pub(crate) async fn run(cx: &Context, args: &RecordArgs) -> Result<Exit> {
    let id = cx.find(&args.id).await?;
    let task = cx.homing.task(id).await?;
    let (mut after, mut left) = (args.after, args.limit.unwrap_or(u64::MAX));
    // Since when the body can have been at work on what was recorded first.
    let mut before = task.started.filter(|_| after == 0);
    let mut is_first = true;
    while left > 0 {
        let limit = usize::try_from(left).unwrap_or(usize::MAX).min(homing::limits::PAGE);
        let page = cx.homing.record(id, after, limit).await?;
        let Some(last) = page.last() else { break };
        (after, left) = (last.number, left - page.len() as u64);
        if cx.json {
            for entry in &page {
                cx.out.json(&json::entry(id, entry))?;
            }
        } else {
            show(cx, &page, &mut before, is_first)?;
        }
        is_first = false;
    }
    if is_first && !cx.json {
        say("nothing is recorded there");
    }
    Ok(Exit::Done)
}

/// A page as a table; the first one has the headings.
fn show(
    cx: &Context,
    page: &[EntryView],
    before: &mut Option<Time>,
    with_headings: bool,
) -> Result<()> {
    let mut table = Table::new(&["#", "TIME", "AFTER", "PLACE", "WHAT", "VALUE"], &[0, 2]);
    for entry in page {
        let after =
            entry.time.zip(*before).map(|(time, before)| words::duration(time.since(before)));
        *before = entry.time.or(*before);
        table.row(vec![
            plain(entry.number),
            plain(entry.time.map_or_else(|| "unknown".to_owned(), words::instant)),
            plain(after.unwrap_or_default()),
            plain(&entry.place),
            plain(entry.what),
            plain(words::line(entry.value.as_deref().unwrap_or_default(), VALUE)),
        ]);
    }
    let skip = usize::from(!with_headings);
    table.lines().skip(skip).try_for_each(|line| cx.out.line(line))
}
