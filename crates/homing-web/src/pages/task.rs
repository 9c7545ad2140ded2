//! A task: what it was asked, what it gave, what went wrong, what is below it.

use axum::extract::Path;
use axum::response::Response;
use homing::log::Line;
use homing::{Failure, TaskView};
use homing_view::{why::took, words};
use maud::{Markup, html};

use super::job::{Asked, why_strip};
use super::parts::{encoded, instant, state};
use super::{Page, action, tree};
use crate::api::{Params, why};
use crate::options::Role;
use crate::problem::Result;
use crate::sight::{pre, t};
use crate::site::Cx;

/// Failed attempts that are shown.
const ATTEMPTS: usize = 50;

/// The task's page.
pub(crate) async fn show(
    cx: Cx,
    Path(id): Path<String>,
    Params(asked): Params<Asked>,
) -> Result<Response> {
    let task = cx.task(&id).await?;
    let id = task.id;
    let attempts = cx.homing().failed_attempts(id, ATTEMPTS).await?;
    let reasons = why::follow(&cx, id).await?;
    let body = html! {
        p .crumbs {
            a href=(cx.link("/jobs")) { "Jobs" } " / "
            a href=(cx.link(format_args!("/jobs/{}", id.job))) { "the job" }
            @if let Some(parent) = task.parent {
                " / " a href=(cx.link(format_args!("/tasks/{parent}"))) { "the parent" }
            }
            " / " code { (id) }
        }
        div .bar { h1 { (t(&task.kind)) } (actions(&cx, &task)) }
        p .lead { (state(task.state)) ", attempt " (task.attempt) ", took " (words::duration(took(&task, cx.site.now()))) }
        (why_strip(&cx, &reasons))
        @if let Some(failure) = &task.failure { (self::failure(&cx, "Failure", failure)) }
        @if let Some(drift) = task.drift() { (super::record::drift(&cx, &drift)) }
        (payload(&cx, &task, "Arguments", Some(&task.arguments)))
        (payload(&cx, &task, "Value", task.value.as_deref()))
        (facts(&cx, &task))
        (self::attempts(&cx, &attempts))
        h2 #tree { "Below it" }
        (tree::below(&cx, &task, &asked, &format!("/tasks/{id}")).await?)
    };
    let page = Page::new(&cx, "/jobs", &format!("{} {}", task.state, task.kind));
    Ok(page
        .scripts(&["tree.js"])
        .message(super::act::outcome(&cx, asked.done.as_deref()))
        .show(&body))
}

fn actions(cx: &Cx, task: &TaskView) -> Markup {
    let path = |verb: &str| format!("/tasks/{}/{verb}", task.id);
    html! {
        div .actions {
            a .button href=(cx.link(path("record"))) { "Record" }
            a .button href=(cx.link(format_args!("/jobs/{}/timeline?task={}", task.id.job, task.id))) { "Timeline" }
            a .button href=(cx.link(format_args!("/jobs/{}/log?task={}", task.id.job, task.id))) { "Log" }
            @if !task.state.is_ended() {
                (action(cx, Role::Operator, &path("signal"), "Signal…"))
                (action(cx, Role::Operator, &path("cancel"), "Cancel…"))
            }
        }
    }
}

/// A stored value.
fn payload(cx: &Cx, task: &TaskView, name: &str, raw: Option<&str>) -> Markup {
    let Some(raw) = raw else { return html! {} };
    let (text, cut) = cx.sight.payload(raw);
    html! {
        section .payload {
            h2 { (name) }
            pre tabindex="0" aria-label=(name) { (pre(&text)) }
            @if cut {
                p .hint {
                    "Cut: it has " (words::bytes(raw.len() as u64)) ". "
                    a href=(cx.link(format_args!("/api/v1/tasks/{}", task.id))) { "All of it, as JSON" }
                }
            }
        }
    }
}

/// Why something failed, with what that came from.
pub(super) fn failure(cx: &Cx, title: &str, failure: &Failure) -> Markup {
    html! {
        section .failure {
            h2 { (title) }
            pre tabindex="0" aria-label="Failure" { (pre(&cx.sight.message(&failure.message))) }
            @if !failure.sources.is_empty() {
                ol aria-label="Caused by" {
                    @for source in &failure.sources { li { (t(&cx.sight.message(source))) } }
                }
            }
            p .aside {
                (failure.reason.name()) " in attempt " (failure.attempt) " of "
                a href=(cx.link(format_args!("/tasks/{}", failure.id))) { (t(&failure.kind)) }
            }
        }
    }
}

fn facts(cx: &Cx, task: &TaskView) -> Markup {
    let now = cx.site.now();
    let waits = |name: &str, time: Option<homing::Time>| {
        html! { @if let Some(time) = time { dt { (name) } dd { (instant(time, now)) } } }
    };
    html! {
        h2 { "Facts" }
        dl .facts {
            dt { "Kind" } dd { a href={ (cx.link("/kinds/")) (encoded(&task.kind)) } { (t(&task.kind)) } }
            dt { "Queue" } dd { (t(&task.queue)) }
            dt { "Priority" } dd { (task.priority) }
            @if let Some((_, number)) = task.place() { dt { "Number in its set" } dd { (number) } }
            @if !task.tags.is_empty() { dt { "Tags" } dd { (t(&task.tags.join(", "))) } }
            @if let Some((done, total)) = task.progress {
                dt { "Progress" } dd { (words::number(done)) " of " (words::number(total)) }
            }
            dt { "In a row" } dd { (task.failures) " failures, " (task.crashes) " crashes, " (task.stalls) " standstills" }
            @if let Some(worker) = task.worker {
                dt { "Worker" } dd { a href=(cx.link(format_args!("/workers/{worker}"))) { code { (worker) } } }
            }
            (waits("Created", Some(task.created)))
            @if !task.state.is_ended() { (waits("Due", Some(task.due))) }
            (waits("Expires", task.expires))
            (waits("Deadline", task.deadline))
            (waits("Started", task.started))
            (waits("Ended", task.ended))
        }
    }
}

fn attempts(cx: &Cx, attempts: &[Line]) -> Markup {
    html! {
        @if !attempts.is_empty() {
            h2 { "Failed attempts" }
            ol .log {
                @for line in attempts {
                    li .(super::log::class(line.level)) {
                        time { (words::instant(line.time)) } " "
                        span { (t(&cx.sight.message(&line.message))) }
                    }
                }
            }
        }
    }
}
