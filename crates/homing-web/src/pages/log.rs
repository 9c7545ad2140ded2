//! A job's log: a page of it, of a level, a task or a text; the script follows it.

use axum::extract::Path;
use axum::response::Response;
use homing::TaskId;
use homing::log::{Level, Line};
use homing_view::words;
use maud::html;
use serde::Deserialize;

use super::Page;
use super::job::tabs;
use crate::api::Params;
use crate::problem::{Refusal, Result};
use crate::sight::{plain, t};
use crate::site::Cx;

/// Lines on a page.
const PAGE: u64 = 200;
/// Lines read for a page at most, where few of them are wanted.
const READ: u64 = 20_000;

/// What the address says.
#[derive(Deserialize)]
pub(crate) struct Asked {
    /// Lines behind this number; the last of the log without it.
    after: Option<u64>,
    #[serde(default)]
    level: String,
    #[serde(default)]
    task: String,
    #[serde(default)]
    search: String,
}

/// Which lines are wanted.
#[derive(Debug, Clone, Default)]
pub(crate) struct Wanted {
    pub(crate) level: Option<Level>,
    pub(crate) task: Option<TaskId>,
    pub(crate) search: String,
}

impl Wanted {
    pub(crate) fn admits(&self, line: &Line) -> bool {
        self.level.is_none_or(|level| line.level >= level)
            && self.task.is_none_or(|task| line.task == task)
            && (self.search.is_empty() || line.message.to_lowercase().contains(&self.search))
    }
}

/// Reads a level.
pub(crate) fn level(text: &str) -> Result<Option<Level>> {
    Ok(Some(match text {
        "" => return Ok(None),
        "debug" => Level::Debug,
        "info" => Level::Info,
        "warn" => Level::Warn,
        "error" => Level::Error,
        _ => {
            return Err(Refusal::usage(format!("`level` is `{text}`"))
                .hint("use debug, info, warn or error"));
        }
    }))
}

/// The class of a level's lines.
pub(super) fn class(level: Level) -> &'static str {
    match level {
        Level::Debug => "debug",
        Level::Info => "info",
        Level::Warn => "warn",
        Level::Error => "error",
    }
}

/// What was read for a page.
struct Found {
    lines: Vec<Line>,
    /// How many lines were looked at, and the number of the last.
    read: u64,
    last: u64,
    /// Whether there are no more for now.
    ended: bool,
}

async fn read(cx: &Cx, id: homing::JobId, after: Option<u64>, wanted: &Wanted) -> Result<Found> {
    let log = cx.homing().job::<()>(id).log();
    let mut log = match after {
        Some(after) => log.after(after),
        None => log.last(PAGE).await?,
    };
    let mut found = Found { lines: Vec::new(), read: 0, last: after.unwrap_or(0), ended: false };
    while (found.lines.len() as u64) < PAGE && found.read < READ {
        let page = log.page().await?;
        found.ended = page.is_empty();
        if found.ended {
            break;
        }
        for line in page {
            if found.lines.len() as u64 == PAGE {
                break;
            }
            (found.read, found.last) = (found.read + 1, line.number);
            if wanted.admits(&line) {
                found.lines.push(line);
            }
        }
    }
    Ok(found)
}

/// The log's page.
pub(crate) async fn show(
    cx: Cx,
    Path(id): Path<String>,
    Params(asked): Params<Asked>,
) -> Result<Response> {
    let id = cx.find_job(&id).await?;
    let job = cx.homing().job::<()>(id).view().await?;
    let task = match asked.task.as_str() {
        "" => None,
        task => Some(cx.find(task).await?),
    };
    // Those who see no messages search none: what is found would tell of them.
    let search = if cx.sight.payloads { asked.search.to_lowercase() } else { String::new() };
    let wanted = Wanted { level: level(&asked.level)?, task, search };
    let Found { lines, read, last, ended } = read(&cx, id, asked.after, &wanted).await?;
    let title = super::parts::title_of(&cx, &job, 200);
    let first = lines.first().map_or(last, |line| line.number);
    let filters = format!(
        "level={}&task={}&search={}",
        asked.level,
        super::parts::encoded(&asked.task),
        super::parts::encoded(&asked.search)
    );
    let to = |after: u64| cx.link(format_args!("/jobs/{id}/log?{filters}&after={after}"));
    let body = html! {
        p .crumbs { a href=(cx.link("/jobs")) { "Jobs" } " / " a href=(cx.link(format_args!("/jobs/{id}"))) { code { (id) } } }
        h1 { (t(&title)) }
        (tabs(&cx, id, "log"))
        (filters_form(&cx, id, &asked))
        @if wanted.task.is_some() {
            p { "Only lines of one task. " a href=(cx.link(format_args!("/jobs/{id}/log"))) { "All lines" } }
        }
        nav .pages aria-label="Pages of the log" {
            @if first > 1 { a href=(to(0)) { "First" } a rel="prev" href=(to(first.saturating_sub(PAGE + 1))) { "Before" } }
            @if !ended { a rel="next" href=(to(last)) { "Next" } }
            a href=(cx.link(format_args!("/jobs/{id}/log"))) { "Last" }
            @if read >= READ { span .hint { "Searched " (words::number(read)) " lines." } }
        }
        ol #log .log tabindex="0" aria-label="Log" data-job=(id) data-after=(last) data-level=(asked.level)
            data-task=(plain(&asked.task)) data-search=(plain(&wanted.search)) data-follow[ended && !job.status.is_ended()] {
            @for line in &lines {
                li #{ "line-" (line.number) } .(class(line.level)) {
                    a .permalink href={ (to(line.number.saturating_sub(1))) "#line-" (line.number) } { (line.number) }
                    " " time { (words::instant(line.time)) }
                    " " span .level { (line.level) }
                    " " a href=(cx.link(format_args!("/tasks/{}", line.task))) { "task" }
                    " " span .text { (t(&cx.sight.message(&line.message))) }
                }
            }
        }
        @if lines.is_empty() { p #nothing { "No line is like that." } }
        p #alive .aside role="status" {}
    };
    Ok(Page::new(&cx, "/jobs", &format!("Log of {title}")).scripts(&["log.js"]).show(&body))
}

/// What narrows the log.
fn filters_form(cx: &Cx, id: homing::JobId, asked: &Asked) -> maud::Markup {
    html! {
        form .search method="get" action=(cx.link(format_args!("/jobs/{id}/log"))) {
            label for="level" { "Level" }
            select #level name="level" {
                @for (value, name) in [("", "all"), ("info", "info and above"), ("warn", "warnings and errors"), ("error", "errors")] {
                    option value=(value) selected[asked.level == value] { (name) }
                }
            }
            label for="search" { "Search" }
            input #search type="search" name="search" value=(plain(&asked.search)) disabled[!cx.sight.payloads];
            @if !asked.task.is_empty() { input type="hidden" name="task" value=(plain(&asked.task)); }
            input type="hidden" name="after" value="0";
            button type="submit" { "Show" }
        }
    }
}
