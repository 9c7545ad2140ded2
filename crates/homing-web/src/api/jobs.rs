//! Jobs, their logs and what failed in them.

use axum::extract::Path;
use axum::response::Response;
use homing::JobFilter;
use homing_view::json;
use homing_view::query::Query;
use serde::Deserialize;
use serde_json::json;

use super::{Params, answer, cursor, limit, page};
use crate::pages::failures;
use crate::pages::log::{Wanted, level};
use crate::problem::{Refusal, Result};
use crate::site::Cx;

/// Lines read for one page at most, where few of them are wanted.
const READ: u64 = 20_000;

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Listed {
    #[serde(default)]
    q: String,
    after: Option<String>,
    limit: Option<usize>,
}

/// A page of jobs, newest first.
pub(super) async fn list(cx: Cx, Params(asked): Params<Listed>) -> Result<Response> {
    let query = Query::parse(&asked.q).map_err(|wrong| {
        Refusal::usage(format!("`q` is not understood: {wrong}"))
            .hint("such as `status:failed kind:import newer:2h nightly`")
    })?;
    let rows = limit(asked.limit)?;
    let after = asked.after.as_deref().map(cursor::read_job).transpose()?;
    let filter = query.filter(cx.site.now());
    let jobs = cx.homing().jobs(JobFilter { after, limit: rows, ..filter }).await?;
    let next = jobs.last().filter(|_| jobs.len() == rows).map(cursor::job);
    let items = jobs.iter().map(|view| cx.seen(&json::job(view))).collect::<Result<Vec<_>>>()?;
    Ok(page(&items, next.as_deref()))
}

/// One job.
pub(super) async fn show(
    cx: Cx,
    Path(id): Path<String>,
    Params(()): Params<()>,
) -> Result<Response> {
    let id = cx.find_job(&id).await?;
    let view = cx.homing().job::<()>(id).view().await?;
    Ok(answer(&cx.seen(&json::job(&view))?))
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Logged {
    #[serde(default)]
    after: u64,
    limit: Option<usize>,
    #[serde(default)]
    level: String,
    #[serde(default)]
    task: String,
    #[serde(default)]
    search: String,
}

/// A page of a job's log.
pub(super) async fn log(
    cx: Cx,
    Path(id): Path<String>,
    Params(asked): Params<Logged>,
) -> Result<Response> {
    let id = cx.find_job(&id).await?;
    cx.homing().task(id).await?; // a job that nobody knows has no empty log
    let rows = limit(asked.limit)?;
    let task = if asked.task.is_empty() { None } else { Some(cx.find(&asked.task).await?) };
    let search = if cx.sight.payloads { asked.search.to_lowercase() } else { String::new() };
    let wanted = Wanted { level: level(&asked.level)?, task, search };
    let mut log = cx.homing().job::<()>(id).log().after(asked.after);
    let (mut items, mut read) = (Vec::new(), 0);
    let next = 'pages: loop {
        let lines = log.page().await?;
        if lines.is_empty() {
            break None;
        }
        for line in lines {
            read += 1;
            if wanted.admits(&line) {
                items.push(cx.seen(&json::line(&line))?);
            }
            if items.len() == rows || read == READ {
                break 'pages Some(line.number.to_string());
            }
        }
    };
    Ok(page(&items, next.as_deref()))
}

/// What failed in a job, those alike together.
pub(super) async fn failures(
    cx: Cx,
    Path(id): Path<String>,
    Params(()): Params<()>,
) -> Result<Response> {
    let id = cx.find_job(&id).await?;
    cx.homing().task(id).await?;
    let (groups, _) = failures::of_job(&cx, id).await?;
    let object = |group: &failures::Group| {
        cx.seen(&json!({
            "type": "failures",
            "count": group.count,
            "ended": group.ended,
            "first": group.first.time.rfc3339(),
            "last": group.last.time.rfc3339(),
            "task": group.last.task,
            "message": group.last.message,
        }))
    };
    let items = groups.iter().map(object).collect::<Result<Vec<_>>>()?;
    Ok(page(&items, None))
}
