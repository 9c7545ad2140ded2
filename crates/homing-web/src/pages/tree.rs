//! The tree below a task: its sets, counted, and a page of children of each. The script replaces it by one list
//! that scrolls over all of them.

use homing::{SetKey, SetView, TaskState, TaskView, Time};
use homing_view::{why::took, words};
use maud::{Markup, html};

use super::job::Asked;
use super::parts::{short, state};
use crate::problem::Result;
use crate::sight::t;
use crate::site::Cx;

/// Children of a set on a page.
const PAGE: usize = 50;
/// Sets on a page.
const SETS: usize = 50;
/// Children of each where all sets are shown.
const FEW: usize = 10;

/// What is below a task.
pub(super) async fn below(cx: &Cx, task: &TaskView, asked: &Asked, path: &str) -> Result<Markup> {
    if task.children.spawned == 0 {
        return Ok(html! { p #tree-below data-task=(task.id) { "It has spawned nothing." } });
    }
    let sets = cx.homing().sets(task.id, None, SETS + 1).await?;
    let more = sets.len() > SETS;
    let wanted = asked.set.as_deref().map(str::parse::<SetKey>).transpose()?;
    let mut parts = Vec::new();
    for set in sets.iter().take(SETS) {
        if wanted.is_some_and(|wanted| wanted != set.key) {
            continue;
        }
        let (from, limit) = match wanted {
            Some(_) => (asked.from, PAGE),
            None => (0, if sets.len() == 1 { PAGE } else { FEW }),
        };
        let rows = cx.homing().window(task.id, set.key, from, limit).await?;
        parts.push(part(cx, set, &rows, from, path));
    }
    let failed = failed(cx, task).await?;
    Ok(html! {
        @if let Some(failed) = failed { (failed) }
        h-tree #tree-below data-task=(task.id) {
            div .server {
                @for part in parts { (part) }
                @if wanted.is_some() {
                    p { a href={ (cx.link(path)) "#tree" } { "All sets" } }
                }
                @if more { p { "There are more sets than the " (SETS) " that are shown; the API has them all." } }
            }
        }
    })
}

/// Some that failed, where a page of the tree may not show them.
async fn failed(cx: &Cx, task: &TaskView) -> Result<Option<Markup>> {
    let counts = task.children;
    if counts.failed == 0 || counts.spawned <= FEW as u64 {
        return Ok(None);
    }
    let mut rows = cx.homing().children_in(task.id, TaskState::Failed, FEW).await?;
    rows.sort_by_key(TaskView::place);
    let now = cx.site.now();
    let some = if counts.failed > rows.len() as u64 { "Some of those" } else { "Those" };
    Ok(Some(html! {
        details open {
            summary { (some) " that failed: " (words::number(counts.failed)) }
            table .tree {
                caption .aside { "Children that failed" }
                (headings())
                tbody {
                    @for row in &rows {
                        (child(cx, row, row.place().map_or(0, |(_, number)| number.into()), now))
                    }
                }
            }
        }
    }))
}

fn headings() -> Markup {
    html! {
        thead {
            tr {
                th .number scope="col" { "No." }
                th scope="col" { "Task" }
                th scope="col" { "State" }
                th .number scope="col" { "Took" }
                th .number scope="col" { "Below" }
                th scope="col" { "What went wrong" }
            }
        }
    }
}

fn part(cx: &Cx, set: &SetView, rows: &[TaskView], from: u64, path: &str) -> Markup {
    let now = cx.site.now();
    let counts = &set.children;
    let name = rows.first().map_or("children", |row| row.kind.as_str());
    let last = from + rows.len() as u64;
    let to = |from: u64| format!("{}?set={}&from={from}#tree", cx.link(path), set.key);
    html! {
        table .tree {
            caption {
                strong { (t(name)) }
                " × " (words::number(counts.spawned)) ": "
                (words::some([
                    (counts.open(), "open"),
                    (counts.succeeded, "succeeded"),
                    (counts.failed, "failed"),
                    (counts.cancelled, "cancelled"),
                ]))
            }
            (headings())
            tbody {
                @for (at, row) in rows.iter().enumerate() { (child(cx, row, from + at as u64, now)) }
            }
        }
        @if from > 0 || last < counts.spawned {
            nav .pages aria-label={ "Children of " (t(name)) } {
                span { (words::number(from + 1)) "–" (words::number(last)) " of " (words::number(counts.spawned)) }
                @if from > 0 {
                    a href=(to(0)) { "First" }
                    a rel="prev" href=(to(from.saturating_sub(PAGE as u64))) { "Before" }
                }
                @if last < counts.spawned {
                    a rel="next" href=(to(last)) { "Next" }
                    a href=(to(counts.spawned.saturating_sub(PAGE as u64))) { "Last" }
                }
            }
        }
    }
}

fn child(cx: &Cx, row: &TaskView, number: u64, now: Time) -> Markup {
    let failure = row.failure.as_ref().map(|failure| failure.message.as_str());
    let trouble = failure.or(row.reason.as_deref().filter(|_| !row.state.is_ended()));
    html! {
        tr {
            td .number { (words::number(number)) }
            td { a href=(cx.link(format_args!("/tasks/{}", row.id))) { (t(&row.kind)) } }
            td { (state(row.state)) @if row.attempt > 1 { " attempt " (row.attempt) } }
            td .number { (words::duration(took(row, now))) }
            td .number {
                @if row.children.spawned > 0 {
                    (words::number(row.children.ended())) "/" (words::number(row.children.spawned))
                }
            }
            td .trouble {
                @if let Some(trouble) = trouble { (short(&cx.sight.message(trouble), 100)) }
            }
        }
    }
}
