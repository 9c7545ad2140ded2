//! Actions: a preview that says what would be touched, then the act, by the preview's token.
//!
//! A token is good for five minutes, for one act on one target by one user. Said again it does nothing again:
//! the answer is that of the first time.

use std::sync::Arc;

use axum::Router;
use axum::extract::{Path, State};
use axum::http::StatusCode;
use axum::http::header::LOCATION;
use axum::response::{IntoResponse, Response};
use axum::routing::get;
use homing::{Because, JobId, Signalled, TaskId};
use homing_view::words;
use maud::{Markup, html};

use super::parts::{encoded, state, status, title_of};
use super::{Page, submit};
use crate::act::{Posted, pause};
use crate::guard::keys::GOOD;
use crate::options::Role;
use crate::problem::{Refusal, Result};
use crate::sight::t;
use crate::site::{Cx, Site};

/// From so many open tasks on, what is to be typed proves that somebody has read the preview.
const MANY: u64 = 1000;

/// The pages that change something.
pub(crate) fn routes() -> Router<Arc<Site>> {
    let act = || get(preview).post(carry_out);
    Router::new()
        .route("/jobs/{id}/retry", act())
        .route("/jobs/{id}/cancel", act())
        .route("/jobs/{id}/remove", act())
        .route("/tasks/{id}/cancel", act())
        .route("/tasks/{id}/signal", act())
        .route("/queues/{id}/pause", act())
        .route("/queues/{id}/unpause", act())
        .route("/submit", get(submit::form).post(submit::enter))
}

/// What is to be done.
#[derive(Debug, Clone)]
enum Act {
    Retry(JobId),
    Remove(JobId),
    Cancel(TaskId),
    Signal(TaskId),
    Pause(String),
    Unpause(String),
}

impl Act {
    /// Reads an address.
    async fn of(cx: &Cx, path: &str, id: String) -> Result<Self> {
        let verb = path.rsplit('/').next().unwrap_or_default();
        let act = match verb {
            "retry" => Self::Retry(cx.find_job(&id).await?),
            "remove" => Self::Remove(cx.find_job(&id).await?),
            "cancel" => Self::Cancel(cx.find(&id).await?),
            "signal" => Self::Signal(cx.find(&id).await?),
            "pause" => Self::Pause(id),
            "unpause" => Self::Unpause(id),
            _ => return Err(Refusal::nowhere()),
        };
        cx.must(if matches!(act, Self::Remove(_)) { Role::Admin } else { Role::Operator })?;
        Ok(act)
    }

    fn verb(&self) -> &'static str {
        match self {
            Self::Retry(_) => "retry",
            Self::Remove(_) => "remove",
            Self::Cancel(_) => "cancel",
            Self::Signal(_) => "signal",
            Self::Pause(_) => "pause",
            Self::Unpause(_) => "unpause",
        }
    }

    fn target(&self) -> String {
        match self {
            Self::Retry(id) | Self::Remove(id) => id.to_string(),
            Self::Cancel(id) | Self::Signal(id) => id.to_string(),
            Self::Pause(queue) | Self::Unpause(queue) => queue.clone(),
        }
    }

    /// Where one is led afterwards.
    fn back(&self) -> String {
        match self {
            Self::Retry(id) => format!("/jobs/{id}"),
            Self::Remove(_) => "/jobs".to_owned(),
            Self::Cancel(id) | Self::Signal(id) if id.is_root() => format!("/jobs/{id}"),
            Self::Cancel(id) | Self::Signal(id) => format!("/tasks/{id}"),
            Self::Pause(_) | Self::Unpause(_) => "/queues".to_owned(),
        }
    }
}

/// What a preview says.
struct Preview {
    heading: String,
    body: Markup,
    /// What the token is bound to besides: where this is another by then, the preview was of something else.
    facts: String,
    /// What must be typed.
    confirm: Option<String>,
}

/// What became of an act, by its token: known for as long as the token was good.
pub(crate) fn outcome(cx: &Cx, token: Option<&str>) -> Option<String> {
    cx.site.done(token?)
}

/// Shows what would be done.
async fn preview(cx: Cx, uri: axum::http::Uri, Path(id): Path<String>) -> Result<Response> {
    let act = Act::of(&cx, uri.path(), id).await?;
    let preview = look(&cx, &act).await?;
    let until = cx.site.seconds() + GOOD.as_secs();
    let token = cx.site.keys.preview(&bound(&cx, &act, &preview), until);
    let (verb, back) = (act.verb(), act.back());
    let path = match &act {
        Act::Retry(id) | Act::Remove(id) => format!("/jobs/{id}/{verb}"),
        Act::Cancel(id) | Act::Signal(id) => format!("/tasks/{id}/{verb}"),
        Act::Pause(queue) | Act::Unpause(queue) => format!("/queues/{}/{verb}", encoded(queue)),
    };
    let body = html! {
        h1 { (t(&preview.heading)) }
        form .act method="post" action=(cx.link(path)) {
            (preview.body)
            input type="hidden" name="csrf" value=(cx.visitor.csrf);
            input type="hidden" name="token" value=(token);
            @if let Some(confirm) = &preview.confirm {
                label for="confirm" { "To confirm, type " code { (t(confirm)) } }
                input #confirm name="confirm" required autocomplete="off";
            }
            div .actions {
                button .danger[!matches!(verb, "retry" | "signal" | "unpause")] type="submit" { (heading(verb)) }
                a .button href=(cx.link(back)) { "Back" }
            }
        }
    };
    Ok(Page::new(&cx, "/jobs", &preview.heading).show(&body))
}

fn heading(verb: &str) -> &'static str {
    match verb {
        "retry" => "Retry",
        "remove" => "Remove",
        "cancel" => "Cancel it",
        "signal" => "Send",
        "pause" => "Pause",
        _ => "Resume",
    }
}

fn bound(cx: &Cx, act: &Act, preview: &Preview) -> String {
    format!("{}\n{}\n{}\n{}", cx.visitor.user, act.verb(), act.target(), preview.facts)
}

/// What an act would touch.
async fn look(cx: &Cx, act: &Act) -> Result<Preview> {
    match act {
        Act::Retry(id) => retry(cx, *id).await,
        Act::Remove(id) => remove(cx, *id).await,
        Act::Cancel(id) => cancel(cx, *id).await,
        Act::Signal(id) => signal(cx, *id).await,
        Act::Pause(queue) => queue_of(cx, queue, true).await,
        Act::Unpause(queue) => queue_of(cx, queue, false).await,
    }
}

async fn name(cx: &Cx, id: JobId) -> Result<(homing::JobView, String)> {
    let job = cx.homing().job::<()>(id).view().await?;
    let title = title_of(cx, &job, 120);
    Ok((job, title))
}

async fn retry(cx: &Cx, id: JobId) -> Result<Preview> {
    let (job, title) = name(cx, id).await?;
    let retried = cx.homing().job::<()>(id).retry_preview().await?;
    let (reopened, taken_back, removed) = (retried.reopened, retried.taken_back, retried.removed);
    let body = html! {
        p { "The job " (status(job.status)) ". What failed goes on from before its failure; what had succeeded by then is not run again." }
        ul {
            li { (words::count(reopened, "task runs", "tasks run")) " again" }
            @if taken_back > 0 { li { (words::count(taken_back, "entry is", "entries are")) " taken back of their records" } }
            @if removed > 0 { li { (words::count(removed, "task", "tasks")) " spawned after a loss are removed" } }
        }
        ol .tasks aria-label="Tasks that run again" {
            @for task in retried.tasks.iter().take(20) { li { a href=(cx.link(format_args!("/tasks/{task}"))) { code { (task) } } } }
        }
        @if reopened > 20 { p { "and " (words::number(reopened - 20)) " more" } }
    };
    let confirm = (reopened > MANY).then(|| job.kind.clone());
    let facts = format!("{reopened} {taken_back} {removed}");
    Ok(Preview { heading: format!("Retry {title}?"), body, facts, confirm })
}

async fn remove(cx: &Cx, id: JobId) -> Result<Preview> {
    let (job, title) = name(cx, id).await?;
    if !job.status.is_ended() {
        return Err(Refusal::conflict("the job has not ended").hint("cancel it first"));
    }
    let tasks = job.counts.spawned();
    let body = html! {
        p { "The job " (status(job.status)) ". It is gone for good, with its log and everything below it: " (words::count(tasks, "task", "tasks")) "." }
    };
    let confirm = (tasks > MANY).then(|| job.kind.clone());
    Ok(Preview {
        heading: format!("Remove {title}?"),
        body,
        facts: job.status.to_string(),
        confirm,
    })
}

async fn cancel(cx: &Cx, id: TaskId) -> Result<Preview> {
    let task = cx.homing().task(id).await?;
    if task.state.is_ended() {
        return Err(Refusal::conflict(format!("the task has ended: it {}", task.state))
            .hint("there is nothing to cancel"));
    }
    let (heading, open, below) = if id.is_root() {
        let (job, title) = name(cx, id.job).await?;
        let counts = job.counts;
        let open = counts.spawned() - counts.ended();
        let below = html! {
            p { "These end as cancelled; running bodies are dropped:" }
            ul {
                li { (words::number(counts.running)) " running" }
                li { (words::number(counts.waiting)) " waiting" }
                li { (words::number(counts.pending)) " pending" }
            }
        };
        (format!("Cancel {title}?"), open, below)
    } else {
        let open = task.children.open();
        let below = html! {
            p { "It is " (state(task.state)) ", and has " (words::count(open, "open child", "open children")) ". It ends as cancelled, with everything below it; its parent is told." }
        };
        (format!("Cancel {}?", task.kind), open, below)
    };
    let body = html! {
        (below)
        label for="reason" { "Why (it is kept with the task)" }
        input #reason name="reason" maxlength="500";
    };
    let confirm = (open > MANY).then(|| task.kind.clone());
    Ok(Preview { heading, body, facts: String::new(), confirm })
}

async fn signal(cx: &Cx, id: TaskId) -> Result<Preview> {
    let why = cx.homing().why(id).await?;
    let awaited: Vec<(&String, Option<&String>)> = why
        .because
        .iter()
        .filter_map(|because| match because {
            Because::Signal { name, takes, .. } => Some((name, takes.as_ref())),
            _ => None,
        })
        .collect();
    let first = awaited.first().map_or("", |(name, _)| name.as_str());
    let body = html! {
        @if awaited.is_empty() {
            p { "It waits for no signal now. What is sent is kept until it does, which may be never." }
        } @else {
            p { "It waits for:" }
            ul { @for (name, takes) in &awaited { li { code { (t(name)) } @if let Some(takes) = takes { ", which takes " (t(takes)) } } } }
        }
        label for="name" { "Name" }
        input #name name="name" required value=(crate::sight::plain(first));
        label for="value" { "Value, as JSON" }
        textarea #value name="value" rows="4" required { "null" }
    };
    let heading = format!("Send a signal to {}", why.task.kind);
    Ok(Preview { heading, body, facts: String::new(), confirm: None })
}

async fn queue_of(cx: &Cx, queue: &str, paused: bool) -> Result<Preview> {
    let queues = cx.homing().queues().await?;
    let view = queues.iter().find(|view| view.name == queue);
    let was = view.is_some_and(|view| view.paused);
    if was == paused {
        let how = if paused { "paused" } else { "not paused" };
        return Err(Refusal::conflict(format!("the queue `{queue}` is {how}")));
    }
    let ready = view.map_or(0, |view| view.ready);
    let body = html! {
        @if paused {
            p { "No worker takes a task of it until it is resumed; what runs runs on. " (words::count(ready, "task is", "tasks are")) " ready now." }
        } @else {
            p { "Workers take its tasks again: " (words::count(ready, "task is", "tasks are")) " ready now." }
        }
    };
    let verb = if paused { "Pause" } else { "Resume" };
    let (heading, facts) = (format!("{verb} the queue {queue}?"), was.to_string());
    Ok(Preview { heading, body, facts, confirm: Some(queue.to_owned()) })
}

/// Does what was previewed, once.
async fn carry_out(
    cx: Cx,
    State(site): State<Arc<Site>>,
    uri: axum::http::Uri,
    Path(id): Path<String>,
    posted: Posted,
) -> Result<Response> {
    let act = Act::of(&cx, uri.path(), id).await?;
    let token = posted.field("token");
    let there = |token: &str| {
        let to = format!("{}?done={}", cx.link(act.back()), encoded(token));
        (StatusCode::SEE_OTHER, [(LOCATION, to)]).into_response()
    };
    // Not looked for before the token is known to be this user's, for this act.
    let known =
        |facts: &Preview| site.keys.is_preview(token, &bound(&cx, &act, facts), site.seconds());
    if let Some(key) = once(&cx, &act, token)
        && site.done(&key).is_some()
    {
        return Ok(there(&key));
    }
    let preview = look(&cx, &act).await?;
    if !known(&preview) {
        return Err(Refusal::conflict("the preview is too old, or things have changed since")
            .hint("look at it anew, and confirm then"));
    }
    if preview.confirm.as_deref().is_some_and(|wanted| posted.field("confirm").trim() != wanted) {
        return Err(Refusal::usage("what was typed to confirm is something else")
            .hint("go back, and type what the preview asks for"));
    }
    let became = done(&cx, &act, &posted).await?;
    cx.audit(act.verb(), act.target(), &became);
    let key = once(&cx, &act, token).unwrap_or_default();
    site.keep(&key, &became);
    Ok(there(&key))
}

/// A name for what a token has done: of this user's, this act and this target.
fn once(cx: &Cx, act: &Act, token: &str) -> Option<String> {
    let (_, signature) = token.split_once('.')?;
    (!signature.is_empty()).then(|| {
        cx.site.keys.form(&format!(
            "{}\n{}\n{}\n{token}",
            cx.visitor.user,
            act.verb(),
            act.target()
        ))
    })
}

async fn done(cx: &Cx, act: &Act, posted: &Posted) -> Result<String> {
    let homing = cx.homing();
    Ok(match act {
        Act::Retry(id) => {
            let retried = homing.job::<()>(*id).retry().await?;
            format!("Retried: {} again.", words::count(retried.reopened, "task runs", "tasks run"))
        }
        Act::Remove(id) => {
            homing.remove(*id).await?;
            format!("Removed the job {id}.")
        }
        Act::Cancel(id) => {
            let mut cancel = homing.cancel(*id).by(cx.by());
            if let Some(reason) = posted.said("reason") {
                cancel = cancel.reason(reason);
            }
            if cancel.await? { "Cancelled." } else { "It had ended: there was nothing to cancel." }
                .to_owned()
        }
        Act::Signal(id) => {
            let name = posted.said("name").ok_or_else(|| {
                Refusal::usage("`name` says nothing").hint("give the name of a signal")
            })?;
            let sent = homing.signal(*id, name, &value(posted.field("value"))?).await?;
            match sent {
                Signalled::Awaited => format!("Sent {name}: the task waited for it."),
                Signalled::Kept { .. } => {
                    format!("Sent {name}: it is kept until the task waits for it.")
                }
                Signalled::Ended => "The task has ended: the signal was not kept.".to_owned(),
            }
        }
        Act::Pause(queue) => {
            pause(homing, queue, true).await?;
            format!("Paused {queue}.")
        }
        Act::Unpause(queue) => {
            pause(homing, queue, false).await?;
            format!("Resumed {queue}.")
        }
    })
}

/// Reads JSON that somebody has typed.
pub(super) fn value(text: &str) -> Result<serde_json::Value> {
    serde_json::from_str(text).map_err(|error| {
        Refusal::usage(format!("the value is not JSON: {error}"))
            .hint("a text has quotes around it: \"approved\"")
    })
}
