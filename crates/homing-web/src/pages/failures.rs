//! What failed in a job, grouped by error: how often, when first and last, and one of each.
//!
//! The store has fingerprints of failed tasks only. Of failed attempts, most of which were tried again, the log tells: it is
//! read, up to a bound that the page tells.

use std::collections::HashMap;

use axum::extract::Path;
use axum::response::Response;
use homing::log::{Level, Line};
use homing::{Fingerprint, TaskId};
use homing_view::words;
use maud::html;

use super::Page;
use super::job::tabs;
use super::parts::{ago, title_of};
use crate::problem::Result;
use crate::sight::t;
use crate::site::Cx;

/// Lines that are read.
const READ: u64 = 20_000;
/// Groups that are shown.
const SHOWN: usize = 100;

/// Failures that look alike.
#[derive(Debug)]
pub(crate) struct Group {
    pub(crate) count: u64,
    pub(crate) first: Line,
    pub(crate) last: Line,
    /// Whether tasks have ended by it; else they were tried again.
    pub(crate) ended: bool,
}

/// The failures of a job that the last lines of its log tell of, the most frequent first, and how many lines
/// those were.
pub(crate) async fn of_job(cx: &Cx, id: homing::JobId) -> Result<(Vec<Group>, u64)> {
    let mut log = cx.homing().job::<()>(id).log().last(READ).await?;
    let (mut groups, mut read) = (HashMap::<String, Group>::new(), 0);
    loop {
        let page = log.page().await?;
        if page.is_empty() || read >= READ {
            break;
        }
        read += page.len() as u64;
        for line in page {
            if line.level < Level::Warn || !tells_of_failure(&line.message) {
                continue;
            }
            let print = pattern(&line.message);
            let group = groups.entry(print).or_insert_with(|| Group {
                count: 0,
                first: line.clone(),
                last: line.clone(),
                ended: false,
            });
            group.count += 1;
            group.ended |= line.level == Level::Error;
            group.last = line;
        }
    }
    let mut groups: Vec<Group> = groups.into_values().collect();
    groups.sort_by(|a, b| b.count.cmp(&a.count).then(b.last.number.cmp(&a.last.number)));
    Ok((groups, read))
}

/// Whether a line is one that the worker writes of a failed attempt, a crash or a standstill.
fn tells_of_failure(message: &str) -> bool {
    message.starts_with("attempt ")
}

/// A message without what differs from task to task, and without the attempt's number before it.
fn pattern(message: &str) -> String {
    Fingerprint::pattern(message.split_once(": ").map_or(message, |(_, rest)| rest))
}

/// The page.
pub(crate) async fn show(cx: Cx, Path(id): Path<String>) -> Result<Response> {
    let id = cx.find_job(&id).await?;
    let job = cx.homing().job::<()>(id).view().await?;
    let (groups, read) = of_job(&cx, id).await?;
    let now = cx.site.now();
    let title = title_of(&cx, &job, 200);
    let task = |id: TaskId| cx.link(format_args!("/tasks/{id}"));
    let body = html! {
        p .crumbs { a href=(cx.link("/jobs")) { "Jobs" } " / " a href=(cx.link(format_args!("/jobs/{id}"))) { code { (id) } } }
        h1 { (t(&title)) }
        (tabs(&cx, id, "failures"))
        @if groups.is_empty() {
            p { "The last " (words::count(read, "line", "lines")) " of its log tell of no failure." }
        } @else {
            table .cards {
                caption { "Failed attempts in the last " (words::count(read, "line", "lines")) " of the log, those alike together" }
                thead {
                    tr {
                        th scope="col" { "Error" }
                        th .number scope="col" { "Times" }
                        th scope="col" { "Came to" }
                        th scope="col" { "First" }
                        th scope="col" { "Last" }
                        th scope="col" { "One of them" }
                    }
                }
                tbody {
                    @for group in groups.iter().take(SHOWN) {
                        tr {
                            td data-name="Error" { (super::parts::short(&cx.sight.message(&group.last.message), 200)) }
                            td .number data-name="Times" { (words::number(group.count)) }
                            td data-name="Came to" { @if group.ended { "tasks failed" } @else { "tried again" } }
                            td data-name="First" { (ago(group.first.time, now)) }
                            td data-name="Last" { (ago(group.last.time, now)) }
                            td data-name="One of them" { a href=(task(group.last.task)) { "the last task" } }
                        }
                    }
                }
            }
            @if groups.len() > SHOWN { p { "And " (groups.len() - SHOWN) " more that are rarer." } }
        }
    };
    Ok(Page::new(&cx, "/jobs", &format!("Failures of {title}")).show(&body))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn failures_that_differ_in_numbers_are_alike() {
        let print = pattern("attempt 1 failed: page 3 of https://x/7 timed out after 30s");
        assert_eq!(print, pattern("attempt 2 failed: page 417 of https://x/9 timed out after 5s"));
        assert_ne!(print, pattern("attempt 1 failed: page 3 cannot be parsed"));
        let id =
            |n: u8| format!("attempt 1 failed: no (task x 01a2f9c4-0000-7000-8000-0123456789a{n})");
        assert_eq!(pattern(&id(1)), pattern(&id(2)));
    }
}
