//! Rows of a timeline: the words of a task or a set, and its bar as SVG. Shapes carry classes, no style: the policy
//! allows none.

use homing::{TaskState, TaskView, Time};
use homing_view::{why::took, words};
use maud::{Markup, html};

use super::View;
use super::rows::{Bar, Dense, Span, What};
use crate::pages::axis::{Axis, percent};
use crate::pages::parts::state;
use crate::sight::t;
use crate::site::Cx;

/// Narrowest mark, in per cent of the width: what is short is seen all the same.
const LEAST: f64 = 0.25;
/// Levels that are indented.
const LEVELS: usize = 8;
/// Columns of a set's curves.
const COLUMNS: usize = 200;

/// What bars are filled with, once for all of a page.
pub(super) fn patterns() -> Markup {
    html! {
        svg .patterns width="0" height="0" aria-hidden="true" focusable="false" {
            defs {
                pattern #parked width="6" height="6" patternUnits="userSpaceOnUse" patternTransform="rotate(45)" {
                    rect .hatch width="2" height="6" {}
                }
            }
        }
    }
}

/// A mark of the legend.
pub(super) fn sample(of: &str) -> Markup {
    html! {
        svg .mark width="40" height="18" aria-hidden="true" focusable="false" {
            @match of {
                "attempt" => { line .attempt x1="20" x2="20" y1="2" y2="16" {} },
                "density" => {
                    path .open d="M0 18 L10 4 L30 6 L40 18 Z" {}
                    path .begun d="M5 18 L14 10 L32 12 L40 18 Z" {}
                },
                "parked" => { rect .parked width="40" y="4" height="10" fill="url(#parked)" {} },
                class => { rect .(class) x="1" width="38" y="4" height="10" {} },
            }
        }
        " " (match of { "attempt" => "tick", "density" => "curves", "pending" => "hollow", "parked" => "hatched", _ => "full" })
    }
}

/// A task's row.
pub(super) fn task(cx: &Cx, view: &View, depth: usize, bar: &Bar) -> Markup {
    let (task, axis, now) = (&bar.task, view.axis, view.now);
    let whole = Axis::new(task.created, task.ended.unwrap_or(now));
    let parked: u64 =
        bar.spans.iter().filter(|span| span.what == What::Parked).map(|span| micros(*span)).sum();
    let number = task.place().map(|(_, number)| number);
    html! {
        tr {
            th scope="row" .(level(depth)) {
                a href=(cx.link(format_args!("/tasks/{}", task.id))) { (t(&task.kind)) }
                @if let Some(number) = number { span .count { " " (number) } }
                @if bar.folded { " " a .more href=(view.link(cx, task.id, None, None)) { "more below" } }
            }
            td data-name="State" { (state(task.state)) @if task.attempt > 1 { " attempt " (task.attempt) } }
            td .drawn { (drawn(axis, now, &html! { (spans(axis, bar)) })) }
            td .number data-name="Began after" { (task.started.map_or("–".to_owned(), |time| words::duration(time.since(task.created)))) }
            td .number data-name="Parked" { @if parked > 0 { (words::duration(std::time::Duration::from_micros(parked))) } @else { "–" } }
            td .number data-name="Took" {
                a href=(view.link(cx, view.top.id, view.set.map(|set| (set, view.from)), Some(whole)))
                    title="Draw its time alone" { (words::duration(took(task, now))) }
            }
        }
    }
}

fn micros(span: Span) -> u64 {
    u64::try_from(span.to.since(span.from).as_micros()).unwrap_or(u64::MAX)
}

fn level(depth: usize) -> String {
    format!("level-{}", depth.min(LEVELS))
}

/// A drawing that fills its cell: the grid, the line of now, and what is in it.
fn drawn(axis: Axis, now: Time, shapes: &Markup) -> Markup {
    html! {
        svg .row aria-hidden="true" focusable="false" {
            (axis.grid())
            (shapes)
            @if axis.has(now) { @let x = percent(axis.at(now)); line .now x1=(x) x2=(x) y1="0" y2="100%" {} }
        }
    }
}

fn spans(axis: Axis, bar: &Bar) -> Markup {
    let class = word(bar.task.state);
    html! {
        @for span in bar.spans.iter().filter(|span| span.to >= axis.from && span.from <= axis.to) {
            @let (from, to) = (axis.at(span.from), axis.at(span.to));
            @let width = percent((to - from).max(LEAST));
            @let x = percent(from.min(100.0 - LEAST));
            @match span.what {
                What::Pending => { rect .pending x=(x) width=(width) y="6" height="8" {} },
                What::Running => { rect .running .(class) x=(x) width=(width) y="4" height="12" {} },
                What::Parked => { rect .parked x=(x) width=(width) y="4" height="12" fill="url(#parked)" {} },
            }
        }
        @for attempt in bar.attempts.iter().filter(|time| axis.has(**time)) {
            @let x = percent(axis.at(*attempt));
            line .attempt x1=(x) x2=(x) y1="1" y2="19" {}
        }
    }
}

fn word(state: TaskState) -> &'static str {
    match state {
        TaskState::Succeeded => "succeeded",
        TaskState::Failed => "failed",
        TaskState::Cancelled => "cancelled",
        TaskState::Pending | TaskState::Running | TaskState::Waiting => "open",
    }
}

/// A set's row: as many children as were open, and had begun, at each instant.
pub(super) fn set(cx: &Cx, view: &View, depth: usize, dense: &Dense) -> Markup {
    let (axis, now, counts) = (view.axis, view.now, &dense.set.children);
    let name = dense.sample.first().map_or("children", |task| task.kind.as_str());
    let (open, begun) = curves(axis, now, dense);
    let peak = open.iter().copied().fold(0.0, f64::max);
    let middle = |of: &dyn Fn(&TaskView) -> Option<std::time::Duration>| {
        let mut all: Vec<_> = dense.sample.iter().filter_map(of).collect();
        all.sort_unstable();
        all.get(all.len() / 2).map_or("–".to_owned(), |middle| words::duration(*middle))
    };
    html! {
        tr .set {
            th scope="row" .(level(depth)) {
                a href=(view.link(cx, dense.parent.id, Some((dense.set.key, 0)), None)) { (t(name)) " × " (words::number(counts.spawned)) }
                @if !dense.is_exact() { " " span .count { "sampled" } }
            }
            td data-name="State" {
                (words::some([(counts.open(), "open"), (counts.succeeded, "succeeded"), (counts.failed, "failed"), (counts.cancelled, "cancelled")]))
            }
            td .drawn {
                (drawn(axis, now, &html! {
                    svg x="0" y="1" width="100%" height="18" viewBox=(format!("0 0 {COLUMNS} 18")) preserveAspectRatio="none" {
                        path .open d=(area(&open, peak)) {}
                        path .begun d=(area(&begun, peak)) {}
                    }
                }))
                p .aside {
                    @if !dense.is_exact() { "about " }
                    (words::number(peak.round() as u64)) " open at once at most"
                }
            }
            td .number data-name="Began after" { "median " (middle(&|task| Some(task.started?.since(task.created)))) }
            td .number data-name="Parked" { "–" }
            td .number data-name="Took" { "median " (middle(&|task| Some(task.ended?.since(task.started?)))) }
        }
    }
}

/// How many children were open, and how many of those had begun, in each column.
fn curves(axis: Axis, now: Time, dense: &Dense) -> (Vec<f64>, Vec<f64>) {
    let (mut open, mut begun) = (vec![0.0; COLUMNS], vec![0.0; COLUMNS]);
    let weight = dense.weight();
    let fill = |line: &mut Vec<f64>, from: Time, to: Time| {
        if from > axis.to || to < axis.from {
            return;
        }
        let column = |time: Time| (axis.at(time) / 100.0 * COLUMNS as f64) as usize;
        let (from, to) = (column(from).min(COLUMNS - 1), column(to).min(COLUMNS - 1));
        line[from..=to].iter_mut().for_each(|value| *value += weight);
    };
    for task in &dense.sample {
        let end = task.ended.unwrap_or(now);
        fill(&mut open, task.created, end);
        if let Some(started) = task.started {
            fill(&mut begun, started, end);
        }
    }
    (open, begun)
}

/// The area below a line, in steps.
fn area(line: &[f64], peak: f64) -> String {
    use std::fmt::Write;
    let mut path = "M0 18".to_owned();
    for (at, value) in line.iter().enumerate() {
        let y = 18.0 - 17.0 * value / peak.max(1.0);
        let _ = write!(path, "L{at} {y:.2}L{} {y:.2}", at + 1);
    }
    let _ = write!(path, "L{COLUMNS} 18Z");
    path
}
