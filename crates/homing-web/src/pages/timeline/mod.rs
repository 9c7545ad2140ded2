//! The timeline of a job: which task waited, ran and was parked when, on one axis of time.
//!
//! It is a table whose one column is drawn: what the bars show stands beside them in words.

use axum::extract::Path;
use axum::response::Response;
use homing::{JobId, SetKey, TaskId, TaskView, Time};
use homing_view::words;
use maud::{Markup, html};
use serde::Deserialize;

use self::rows::{Of, Row};
use super::Page;
use super::axis::Axis;
use super::job::tabs;
use super::parts::{encoded, of_status, title_of};
use crate::api::Params;
use crate::problem::{Refusal, Result};
use crate::sight::t;
use crate::site::Cx;

mod draw;
mod rows;

/// What the address says.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Asked {
    /// The task at the top; else the job's root.
    task: Option<String>,
    /// A set of its, of which children are shown one by one.
    set: Option<String>,
    /// The first of them.
    #[serde(default)]
    from: u64,
    /// The time that is drawn; else all of the top task's.
    since: Option<String>,
    until: Option<String>,
}

/// What is shown.
struct View {
    job: JobId,
    top: TaskView,
    set: Option<SetKey>,
    from: u64,
    axis: Axis,
    zoomed: bool,
    /// One for all of the page, so that what is open ends at its edge.
    now: Time,
}

/// The page.
pub(crate) async fn show(
    cx: Cx,
    Path(id): Path<String>,
    Params(asked): Params<Asked>,
) -> Result<Response> {
    let id = cx.find_job(&id).await?;
    let job = cx.homing().job::<()>(id).view().await?;
    let title = title_of(&cx, &job, 200);
    let view = view(&cx, id, &asked).await?;
    let rows = match view.set {
        Some(set) => rows::of_set(&cx, &view.top, set, view.from, view.now).await?,
        None => rows::below(&cx, view.top.clone(), view.now).await?,
    };
    let path = cx.link(format_args!("/jobs/{id}"));
    // What is over, and a time that is over, changes no more.
    let live = view.top.ended.is_none() && asked.until.is_none();
    let body = html! {
        p .crumbs { a href=(cx.link("/jobs")) { "Jobs" } " / " a href=(path) { code { (id) } } }
        h1 { (t(&title)) }
        (tabs(&cx, id, "timeline"))
        section #timeline .timeline data-redraw=[live.then_some("job")] data-job=(id) {
            (around(&cx, &view))
            (zoom(&cx, &view))
            (table(&cx, &view, &rows))
            (pages(&cx, &view, rows.len()))
            (legend())
        }
    };
    let (_, shape) = of_status(job.status);
    let page = Page::new(&cx, "/jobs", &format!("{shape} Timeline of {title}"));
    Ok(page.scripts(&["redraw.js"]).show(&body))
}

async fn view(cx: &Cx, job: JobId, asked: &Asked) -> Result<View> {
    let top = match &asked.task {
        Some(task) => cx.task(task).await?,
        None => cx.homing().task(job).await?,
    };
    if top.id.job != job {
        return Err(Refusal::usage(format!("`task` is {}, a task of another job", top.id))
            .hint("leave it out, or take the address of its own job"));
    }
    let set = asked.set.as_deref().map(str::parse::<SetKey>).transpose()?;
    let time = |name: &str, text: &Option<String>| -> Result<Option<Time>> {
        let read = |text: &String| {
            words::parse_instant(text).ok_or_else(|| {
                Refusal::usage(format!("`{name}` is `{text}`, which is no instant"))
                    .hint("give one by RFC 3339, such as 2026-01-31T23:59:59Z")
            })
        };
        text.as_ref().map(read).transpose()
    };
    let (since, until) = (time("since", &asked.since)?, time("until", &asked.until)?);
    if let (Some(since), Some(until)) = (since, until)
        && since >= until
    {
        return Err(Refusal::usage("`since` is not before `until`").hint("exchange them"));
    }
    let now = cx.site.now();
    let axis = Axis::new(since.unwrap_or(top.created), until.or(top.ended).unwrap_or(now));
    let zoomed = since.is_some() || until.is_some();
    Ok(View { job, top, set, from: asked.from, axis, zoomed, now })
}

impl View {
    /// The address of another view of the same job.
    fn link(
        &self,
        cx: &Cx,
        task: TaskId,
        set: Option<(SetKey, u64)>,
        axis: Option<Axis>,
    ) -> String {
        let mut parts = Vec::new();
        if !task.is_root() {
            parts.push(format!("task={task}"));
        }
        if let Some((set, from)) = set {
            parts.push(format!("set={set}&from={from}"));
        }
        if let Some(Axis { from, to }) = axis
            && let (Some(from), Some(to)) = (from.rfc3339(), to.rfc3339())
        {
            parts.push(format!("since={}&until={}", encoded(&from), encoded(&to)));
        }
        let query = if parts.is_empty() { String::new() } else { format!("?{}", parts.join("&")) };
        cx.link(format_args!("/jobs/{}/timeline{query}", self.job))
    }

    fn same(&self, cx: &Cx, axis: Option<Axis>) -> String {
        self.link(cx, self.top.id, self.set.map(|set| (set, self.from)), axis)
    }

    /// The axis as links keep it: only where it is not all there is.
    fn kept(&self) -> Option<Axis> {
        self.zoomed.then_some(self.axis)
    }
}

/// Where in the tree this is, where that is not the root.
fn around(cx: &Cx, view: &View) -> Markup {
    let top = &view.top;
    html! {
        @if !top.id.is_root() || view.set.is_some() {
            p {
                @if view.set.is_some() { "Children of " } @else { "Below " }
                a href=(cx.link(format_args!("/tasks/{}", top.id))) { (t(&top.kind)) }
                " · "
                @if view.set.is_some() { a href=(view.link(cx, top.id, None, None)) { "All of its sets" } " · " }
                @else if let Some(parent) = top.parent { a href=(view.link(cx, parent, None, None)) { "From its parent on" } " · " }
                a href=(view.link(cx, view.job.root(), None, None)) { "From the root on" }
            }
        }
    }
}

/// The ways to another part of the time.
fn zoom(cx: &Cx, view: &View) -> Markup {
    let Axis { from, to } = view.axis;
    let (span, middle) = (to.since(from), Time(from.0.midpoint(to.0)));
    let to_axis = |from: Time, to: Time| view.same(cx, Some(Axis::new(from, to)));
    html! {
        nav .pages aria-label="Time" {
            span { (words::duration(span)) " from " time datetime=[from.rfc3339()] { (words::instant(from)) } }
            @if view.zoomed { a href=(view.same(cx, None)) { "All of it" } }
            a href=(to_axis(from, middle)) { "First half" }
            a href=(to_axis(middle, to)) { "Second half" }
            @if view.zoomed {
                a href=(to_axis(from.before(span), from)) { "Earlier" }
                a href=(to_axis(to, to.after(span))) { "Later" }
            }
        }
    }
}

fn table(cx: &Cx, view: &View, rows: &[Row]) -> Markup {
    html! {
        table .bars {
            caption .aside { "Tasks in the order of the tree, and when each waited for a slot, ran and was parked" }
            thead {
                tr {
                    th scope="col" { "Task" }
                    th scope="col" { "State" }
                    th .drawn scope="col" {
                        span .aside { "Drawn, " (view.axis.told()) }
                        (draw::patterns()) (view.axis.labels())
                    }
                    th .number scope="col" { "Began after" }
                    th .number scope="col" { "Parked" }
                    th .number scope="col" { "Took" }
                }
            }
            tbody {
                @for row in rows {
                    @match &row.of {
                        Of::Task(bar) => { (draw::task(cx, view, row.depth, bar)) },
                        Of::Set(dense) => { (draw::set(cx, view, row.depth, dense)) },
                    }
                }
            }
        }
        @if rows.is_empty() { p { "The set has no child behind number " (view.from) "." } }
        @if rows.len() >= rows::ROWS {
            p .hint { "A timeline has " (rows::ROWS) " rows: tasks that are marked “more below” lead on." }
        }
    }
}

/// The ways along a set.
fn pages(cx: &Cx, view: &View, shown: usize) -> Markup {
    let Some(set) = view.set else { return html! {} };
    let to = |from: u64| view.link(cx, view.top.id, Some((set, from)), view.kept());
    let page = rows::ROWS as u64 / 2;
    html! {
        nav .pages aria-label="Children" {
            @if shown > 0 { span { "From number " (words::number(view.from)) " on" } }
            @if view.from > 0 { a rel="prev" href=(to(view.from.saturating_sub(page))) { "Before" } }
            @if shown as u64 == page { a rel="next" href=(to(view.from + page)) { "Next" } }
        }
    }
}

fn legend() -> Markup {
    html! {
        details {
            summary .plain { "What the bars mean" }
            dl .facts {
                dt { (draw::sample("pending")) } dd { "It waits for a slot: pending, or due later." }
                dt { (draw::sample("running")) } dd { "It runs. The colour is that of its state." }
                dt { (draw::sample("parked")) } dd {
                    "It is parked and holds no slot. When it parked is not recorded, only when it went on: the mark begins at the entry "
                    "of its record, or the child it spawned, before."
                }
                dt { (draw::sample("attempt")) } dd { "An attempt failed." }
                dt { (draw::sample("density")) } dd {
                    "A wide set: how many of its children were open and had begun at each instant. Sets of more than 200 are drawn of 64 children "
                    "at even distances, and say “sampled”."
                }
            }
            p .aside { "Records are read of the first 30 tasks that have children or wait, " (rows::ENTRIES) " entries of each; the others are drawn from when they were created, claimed and ended." }
        }
    }
}
