//! Pieces that many pages are made of: states and instants, as words beside shapes and colours.

use homing::{Counts, JobView, Status, TaskState, Time};
use homing_view::words;
use maud::{Markup, html};

use crate::guard::keys::hex;
use crate::sight::{plain, t};
use crate::site::Cx;

/// A task's state: a shape, a word, a colour.
pub(super) fn state(state: TaskState) -> Markup {
    let (class, shape) = match state {
        TaskState::Pending => ("pending", "○"),
        TaskState::Running => ("running", "▶"),
        TaskState::Waiting => ("waiting", "‖"),
        TaskState::Succeeded => ("succeeded", "✓"),
        TaskState::Failed => ("failed", "✗"),
        TaskState::Cancelled => ("cancelled", "⊘"),
    };
    html! { span .state .(class) { span aria-hidden="true" { (shape) } " " (state) } }
}

/// A job's status, likewise.
pub(super) fn status(status: Status) -> Markup {
    let (class, shape) = of_status(status);
    html! { span .state .(class) { span aria-hidden="true" { (shape) } " " (status) } }
}

/// The class and the shape of a status.
pub(super) fn of_status(status: Status) -> (&'static str, &'static str) {
    match status {
        Status::InProgress => ("running", "▶"),
        Status::Stalled => ("failed", "⚠"),
        Status::Completed => ("succeeded", "✓"),
        Status::CompletedWithErrors => ("cancelled", "◐"),
        Status::Failed => ("failed", "✗"),
        Status::Cancelled => ("cancelled", "⊘"),
    }
}

/// An instant: how long ago, and when.
pub(super) fn ago(time: Time, now: Time) -> Markup {
    html! {
        time datetime=[time.rfc3339()] title=(words::instant(time)) { (words::ago(time, now)) }
    }
}

/// An instant in full.
pub(super) fn instant(time: Time, now: Time) -> Markup {
    html! {
        time datetime=[time.rfc3339()] { (words::instant(time)) }
        " (" (words::ago(time, now)) ")"
    }
}

/// How far a job is.
pub(super) fn progress(job: &JobView) -> Markup {
    html! {
        span .progress {
            @if let Some(percent) = job.percent() {
                progress max="100" value=(percent) aria-label="progress" {}
            }
            span data-live="done" { (words::done(job)) }
        }
    }
}

/// Tasks by their states.
pub(super) fn counts(counts: &Counts) -> Markup {
    html! {
        dl .counts {
            @for (name, class, count) in [
                ("pending", "pending", counts.pending),
                ("running", "running", counts.running),
                ("waiting", "waiting", counts.waiting),
                ("succeeded", "succeeded", counts.succeeded),
                ("failed", "failed", counts.failed),
                ("cancelled", "cancelled", counts.cancelled),
            ] {
                div .(class) { dt { (name) } dd data-live=(name) { (words::number(count)) } }
            }
        }
    }
}

/// What a job is called: its title, or its kind, on one line of so many characters.
pub(super) fn title_of(cx: &Cx, job: &JobView, most: usize) -> String {
    words::line(&cx.sight.told(job.title.as_deref().unwrap_or(&job.kind)), most)
}

/// A job in a list.
pub(super) fn job_row(cx: &Cx, job: &JobView, now: Time) -> Markup {
    let title = title_of(cx, job, 120);
    let took = job.started.map(|from| words::duration(job.ended.unwrap_or(now).since(from)));
    html! {
        tr {
            td data-name="Job" {
                a href=(cx.link(format_args!("/jobs/{}", job.id))) {
                    (t(&title))
                }
            }
            td data-name="Kind" { (t(&job.kind)) }
            td data-name="Status" { (status(job.status)) }
            td .number data-name="Done" {
                (job.percent().map_or("–".to_owned(), |percent| format!("{} %", percent.floor())))
            }
            td .number data-name="Tasks" {
                (words::number(job.counts.ended())) "/" (words::number(job.counts.spawned()))
            }
            td data-name="Submitted" { (ago(job.created, now)) }
            td .number data-name="Took" { (took.as_deref().unwrap_or("–")) }
        }
    }
}

/// A list of jobs.
pub(super) fn job_table(cx: &Cx, jobs: &[JobView], caption: &str) -> Markup {
    let now = cx.site.now();
    html! {
        table .cards {
            caption .aside { (caption) }
            thead {
                tr {
                    th scope="col" { "Job" }
                    th scope="col" { "Kind" }
                    th scope="col" { "Status" }
                    th .number scope="col" { "Done" }
                    th .number scope="col" { "Tasks" }
                    th scope="col" { "Submitted" }
                    th .number scope="col" { "Took" }
                }
            }
            tbody { @for job in jobs { (job_row(cx, job, now)) } }
        }
    }
}

/// A link into the list of jobs.
pub(super) fn query(cx: &Cx, query: &str, name: &str) -> Markup {
    html! { a href={ (cx.link("/jobs?q=")) (encoded(query)) } { (t(name)) } }
}

/// Text as part of a URL.
pub(super) fn encoded(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    for byte in text.bytes() {
        if byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_' | b'.' | b'~') {
            out.push(char::from(byte));
        } else {
            out.push('%');
            out += &hex(&[byte]).to_ascii_uppercase();
        }
    }
    out
}

/// A short line of text with all of it in its title.
pub(super) fn short(text: &str, width: usize) -> Markup {
    html! { span title=(plain(text)) { (t(&words::line(text, width))) } }
}
