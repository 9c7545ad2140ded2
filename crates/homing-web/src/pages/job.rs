//! A job: where it stands, why, and its tree.

use axum::extract::Path;
use axum::response::Response;
use homing::JobView;
use homing_view::words;
use maud::{Markup, html};
use serde::Deserialize;

use super::parts::{self, counts, instant, of_status, progress, title_of};
use super::{Page, action, tree};
use crate::api::{Params, why};
use crate::options::Role;
use crate::problem::Result;
use crate::sight::t;
use crate::site::Cx;

/// What the address says.
#[derive(Deserialize)]
pub(crate) struct Asked {
    /// What became of an action.
    pub(crate) done: Option<String>,
    /// A set, and the first child of it to be shown.
    pub(crate) set: Option<String>,
    #[serde(default)]
    pub(crate) from: u64,
}

/// The job's page.
pub(crate) async fn show(
    cx: Cx,
    Path(id): Path<String>,
    Params(asked): Params<Asked>,
) -> Result<Response> {
    let id = cx.find_job(&id).await?;
    let job = cx.homing().job::<()>(id).view().await?;
    let root = cx.homing().task(id).await?;
    let reasons = why::follow(&cx, id.root()).await?;
    let title = title_of(&cx, &job, 200);
    let (class, shape) = of_status(job.status);
    let body = html! {
        div #job .(class) data-job=(id) {
            p .crumbs { a href=(cx.link("/jobs")) { "Jobs" } " / " code { (id) } }
            div .bar {
                h1 { (t(&title)) }
                (actions(&cx, &job))
            }
            p .lead {
                span #status { (parts::status(job.status)) }
                " " (progress(&job))
                " " span #pace aria-hidden="true" {}
            }
            p #alive .aside role="status" {}
            (tabs(&cx, id, "tree"))
            (counts(&job.counts))
            (why_strip(&cx, &reasons))
            @if let Some(failure) = &job.failure { (super::task::failure(&cx, "Failure", failure)) }
            h2 #tree { "Tree" }
            (tree::below(&cx, &root, &asked, &format!("/jobs/{id}")).await?)
            h2 { "Facts" }
            (facts(&cx, &job))
        }
    };
    let page = Page::new(&cx, "/jobs", &format!("{shape} {title}"));
    Ok(page
        .scripts(&["live.js", "tree.js"])
        .message(super::act::outcome(&cx, asked.done.as_deref()))
        .show(&body))
}

/// The views of a job.
pub(super) fn tabs(cx: &Cx, id: homing::JobId, at: &str) -> Markup {
    let views = [
        ("tree", "", "Tree"),
        ("timeline", "/timeline", "Timeline"),
        ("log", "/log", "Log"),
        ("failures", "/failures", "Failures"),
    ];
    html! {
        nav .tabs aria-label="Views of the job" {
            @for (view, path, name) in views {
                a href=(cx.link(format_args!("/jobs/{id}{path}"))) aria-current=[(view == at).then_some("page")] { (name) }
            }
            a href=(cx.link(format_args!("/tasks/{id}"))) { "Root task" }
        }
    }
}

fn actions(cx: &Cx, job: &JobView) -> Markup {
    let path = |verb: &str| format!("/jobs/{}/{verb}", job.id);
    let fallen = matches!(job.status, homing::Status::Failed | homing::Status::Cancelled);
    html! {
        div .actions {
            @if !job.status.is_ended() {
                (action(cx, Role::Operator, &format!("/tasks/{}/signal", job.id), "Signal…"))
                (action(cx, Role::Operator, &path("cancel"), "Cancel…"))
            }
            @if fallen { (action(cx, Role::Operator, &path("retry"), "Retry…")) }
            @if job.status.is_ended() { (action(cx, Role::Admin, &path("remove"), "Remove…")) }
        }
    }
}

/// What a task hangs on, step by step down to what it all hangs on.
pub(super) fn why_strip(cx: &Cx, steps: &[why::Step]) -> Markup {
    html! {
        @if !steps.is_empty() {
            section .why aria-labelledby="why" {
                h2 #why { "Why" }
                ol {
                    @for step in steps {
                        li {
                            a href=(cx.link(format_args!("/tasks/{}", step.id))) { (t(&step.kind)) }
                            " " (parts::state(step.state))
                            ul {
                                @for reason in &step.reasons {
                                    li { (reason_of(cx, step, reason)) }
                                }
                            }
                        }
                    }
                }
            }
        }
    }
}

fn facts(cx: &Cx, job: &JobView) -> Markup {
    let now = cx.site.now();
    html! {
        dl .facts {
            dt { "Kind" } dd { a href={ (cx.link("/kinds/")) (parts::encoded(&job.kind)) } { (t(&job.kind)) } }
            dt { "Queue" } dd { (t(&job.queue)) }
            @if let Some(key) = &job.key { dt { "Key" } dd { (t(&cx.sight.told(key))) } }
            @if !job.tags.is_empty() {
                dt { "Tags" }
                dd { @for tag in &job.tags { (parts::query(cx, &format!("tag:{tag}"), tag)) " " } }
            }
            @if let Some(origin) = job.origin {
                dt { "Detached by" } dd { a href=(cx.link(format_args!("/tasks/{origin}"))) { code { (origin) } } }
            }
            dt { "Submitted" } dd { (instant(job.created, now)) }
            @if let Some(started) = job.started { dt { "Started" } dd { (instant(started, now)) } }
            @if let Some(ended) = job.ended { dt { "Ended" } dd { (instant(ended, now)) } }
        }
    }
}

/// A reason without the command that a terminal's reader is told to give, and the page that does the same.
fn reason_of(cx: &Cx, step: &why::Step, reason: &homing_view::json::Reason) -> Markup {
    let act = match (reason.word, &reason.name) {
        ("signal", _) => Some((": `signal ", format!("/tasks/{}/signal", step.id), "Send it…")),
        ("paused", Some(queue)) => {
            let path = format!("/queues/{}/unpause", parts::encoded(queue));
            Some((": `unpause ", path, "Resume it…"))
        }
        _ => None,
    };
    let text = cx.sight.message(&reason.text);
    let text = match &act {
        Some((command, ..)) => text.rsplit_once(command).map_or(&*text, |(before, _)| before),
        None => &text,
    };
    html! {
        (t(&words::line(text, 600)))
        @if let Some((_, path, name)) = act {
            @if cx.may(Role::Operator) { " " a href=(cx.link(path)) { (name) } }
        }
    }
}
