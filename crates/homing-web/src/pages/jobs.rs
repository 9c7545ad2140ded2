//! The list of jobs: one line of query, pages by key.

use axum::response::Response;
use homing::JobFilter;
use homing_view::query::Query;
use maud::html;
use serde::Deserialize;

use super::parts::{encoded, job_table, query};
use super::{Page, action};
use crate::api::{Params, cursor};
use crate::options::Role;
use crate::problem::Result;
use crate::sight::{plain, t};
use crate::site::Cx;

/// Jobs on a page.
const PAGE: usize = 50;

/// What the address says.
#[derive(Deserialize)]
pub(crate) struct Asked {
    #[serde(default)]
    q: String,
    after: Option<String>,
}

/// A page of the list.
pub(crate) async fn list(cx: Cx, Params(asked): Params<Asked>) -> Result<Response> {
    let parsed = Query::parse(&asked.q);
    let (mut jobs, mut next) = (Vec::new(), None);
    if let Ok(query) = &parsed {
        let after = asked.after.as_deref().map(cursor::read_job).transpose()?;
        let filter = query.filter(cx.site.now());
        jobs = cx.homing().jobs(JobFilter { after, limit: PAGE + 1, ..filter }).await?;
        if jobs.len() > PAGE {
            jobs.truncate(PAGE);
            next = jobs.last().map(cursor::job);
        }
    }
    let q = encoded(&asked.q);
    let body = html! {
        div .bar { h1 { "Jobs" } (action(&cx, Role::Operator, "/submit", "Submit a job")) }
        form .search method="get" action=(cx.link("/jobs")) role="search" {
            label for="q" { "Filter" }
            input #q type="search" name="q" value=(plain(&asked.q)) placeholder="status:failed kind:import nightly"
                aria-describedby="language" accesskey="f";
            button type="submit" { "Show" }
        }
        p #language .hint {
            "Words narrow the list: "
            @for (at, word) in ["status:open", "status:failed", "status:errors", "status:stalled", "newer:2h"].into_iter().enumerate() {
                @if at > 0 { ", " }
                (query(&cx, word, word))
            }
            "; also " code { "kind:" } ", " code { "tag:" } ", " code { "queue:" } ", " code { "older:7d" }
            "; all else is part of the title."
        }
        @match &parsed {
            Err(wrong) => { p .warning role="alert" { "The filter is not understood: " (t(wrong)) "." } }
            Ok(_) if jobs.is_empty() => { p { "No job is like that." } }
            Ok(_) => {
                (job_table(&cx, &jobs, "Jobs, newest first"))
                nav .pages aria-label="Pages of the list" {
                    @if asked.after.is_some() { a href={ (cx.link("/jobs?q=")) (q) } { "Newest" } }
                    @if let Some(next) = next {
                        a rel="next" href={ (cx.link("/jobs?q=")) (q) "&after=" (next) } { "Older" }
                    }
                }
            }
        }
    };
    Ok(Page::new(&cx, "/jobs", "Jobs").show(&body))
}
