//! What workers did over time, drawn of their samples: throughput, failures, waiting, slots. Each drawing says in words
//! what it shows, and a table has every figure.

use std::time::Duration;

use homing::{Histogram, SampleView, Time, WorkSample, WorkerId};
use homing_view::words;
use maud::{Markup, html};

use super::axis::Axis;
use crate::problem::{Refusal, Result};
use crate::site::Cx;

/// Seconds between two readings of a page that is seen.
const EVERY: u32 = 30;
/// How high a drawing is, in pixels, and what is left above the highest line for its label.
const HEIGHT: f64 = 120.0;
const ABOVE: f64 = 14.0;

/// How far back charts go, and how much time each of their points stands for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(crate) struct Span {
    name: &'static str,
    hours: u64,
    minutes: u64,
}

const SPANS: [Span; 3] = [
    Span { name: "1h", hours: 1, minutes: 1 },
    Span { name: "6h", hours: 6, minutes: 5 },
    Span { name: "24h", hours: 24, minutes: 15 },
];

impl Span {
    /// The one that an address asks for.
    pub(crate) fn read(asked: Option<&str>) -> Result<Self> {
        let Some(asked) = asked else { return Ok(SPANS[0]) };
        SPANS.into_iter().find(|span| span.name == asked).ok_or_else(|| {
            Refusal::usage(format!("`span` is `{asked}`")).hint("give 1h, 6h or 24h")
        })
    }

    /// How long it is.
    pub(crate) fn long(self) -> Duration {
        Duration::from_hours(self.hours)
    }

    fn step(self) -> Duration {
        Duration::from_mins(self.minutes)
    }
}

/// Whose work is drawn.
#[derive(Debug, Clone, Copy)]
pub(super) enum Of<'a> {
    All,
    Queue(&'a str),
    Worker(WorkerId),
}

/// A point of the charts.
#[derive(Debug, Clone, Default)]
struct Point {
    /// Whether any worker has told of that time.
    told: bool,
    work: WorkSample,
    busy: Duration,
    /// Slots, added up over its minutes.
    slots: u64,
}

/// Points in the order of time.
struct Points {
    axis: Axis,
    span: Span,
    all: Vec<Point>,
}

impl Points {
    fn new(samples: &[SampleView], of: Of<'_>, span: Span, now: Time) -> Self {
        let step = i64::try_from(span.step().as_micros()).unwrap_or(i64::MAX);
        let end = (now.0.div_euclid(step) + 1) * step;
        let count = span.long().as_secs() / span.step().as_secs();
        let axis = Axis::new(Time(end - step * count as i64), Time(end));
        let mut all = vec![Point::default(); count as usize];
        for sample in samples {
            let at = (sample.minute.0 - axis.from.0).div_euclid(step);
            let Some(point) = usize::try_from(at).ok().and_then(|at| all.get_mut(at)) else {
                continue;
            };
            let wanted = |work: &&WorkSample| match of {
                Of::Queue(queue) => work.queue == queue,
                Of::All | Of::Worker(_) => true,
            };
            point.told = true;
            sample.work.iter().filter(wanted).for_each(|work| point.work.add(work));
            point.busy += sample.busy;
            point.slots += u64::from(sample.slots);
        }
        Self { axis, span, all }
    }

    /// A figure of each point; `None` where nobody has told.
    fn line(&self, of: impl Fn(&Point) -> Option<f64>) -> Vec<Option<f64>> {
        self.all.iter().map(|point| point.told.then(|| of(point)).flatten()).collect()
    }

    /// How often something was, a minute.
    fn rate(&self, of: impl Fn(&WorkSample) -> u64) -> Vec<Option<f64>> {
        self.line(|point| Some(of(&point.work) as f64 / self.span.minutes as f64))
    }

    /// When a point begins.
    fn time(&self, at: usize) -> Time {
        self.axis.from.after(self.span.step() * at as u32)
    }
}

/// A line of a chart.
struct Line {
    name: &'static str,
    class: &'static str,
    values: Vec<Option<f64>>,
}

/// What stands beside the heights of a chart.
enum Scale {
    /// From nothing to a round number.
    Numbers,
    /// The bounds of durations, evenly: each is some times the one before.
    Durations,
}

/// The charts of a page.
pub(super) async fn section(cx: &Cx, of: Of<'_>, span: Span, path: &str) -> Result<Markup> {
    let worker = match of {
        Of::Worker(worker) => Some(worker),
        Of::All | Of::Queue(_) => None,
    };
    let samples = cx.site.hub.samples(worker, span).await?;
    let now = cx.site.now();
    let points = Points::new(&samples.value, of, span, now);
    let some = points.all.iter().any(|point| point.told);
    let (good, failed) = (points.rate(|work| work.succeeded), points.rate(|work| work.failed));
    let retried = points.rate(|work| work.retried);
    let wait = |share: u64| points.line(|point| bucket(&point.work.wait, share));
    let busy =
        points.line(|point| Some(point.busy.as_secs_f64() / 60.0 / points.span.minutes as f64));
    let slots = points.line(|point| Some(point.slots as f64 / points.span.minutes as f64));
    let line = |name, class, values| Line { name, class, values };
    Ok(html! {
        section #charts data-redraw=(EVERY) aria-labelledby="over-time" {
            div .bar {
                h2 #over-time { "Over time" }
                nav .pages aria-label="How far back" {
                    @for other in SPANS {
                        a href=(cx.link(format_args!("{path}?span={}#charts", other.name))) aria-current=[(other == span).then_some("page")] { (other.name) }
                    }
                }
            }
            @if some {
                div .charts {
                    (chart(&points, "Succeeded", "tasks a minute", &[line("succeeded", "good", good)], &Scale::Numbers))
                    (chart(&points, "Failures", "a minute", &[line("failed for good", "bad", failed), line("tried again", "warn second", retried)], &Scale::Numbers))
                    (chart(&points, "Wait for a slot", "before tasks first begin", &[line("half of them", "busy", wait(50)), line("nine of ten", "warn second", wait(90))], &Scale::Durations))
                    @if !matches!(of, Of::Queue(_)) {
                        (chart(&points, "Slots", "on average", &[line("taken", "busy", busy), line("there are", "dim second", slots)], &Scale::Numbers))
                    }
                }
                (table(&points, of))
            } @else {
                p { "No worker has told of a minute in this time. Each tells once a minute, and when it leaves; a worker that was killed does not." }
            }
        }
    })
}

/// The number of the bucket that so many of a hundred do not exceed.
fn bucket(durations: &Histogram, share: u64) -> Option<f64> {
    if durations.total() == 0 {
        return None;
    }
    let at = durations
        .within(share)
        .and_then(|found| Histogram::BOUNDS.iter().position(|bound| *bound == found));
    Some(at.map_or(Histogram::BOUNDS.len(), |at| at) as f64)
}

/// A bound in words.
fn bound(at: f64) -> String {
    match Histogram::BOUNDS.get(at as usize) {
        Some(bound) => format!("≤ {}", words::duration(*bound)),
        None => "> 1 h".to_owned(),
    }
}

impl Scale {
    /// The highest value, and the values that have lines.
    fn ticks(&self, highest: f64) -> (f64, Vec<f64>) {
        match self {
            Self::Numbers => {
                let top = round(highest);
                (top, vec![top / 2.0, top])
            }
            Self::Durations => {
                let top = highest.max(3.0);
                (top, vec![1.0, (top / 2.0).round(), top])
            }
        }
    }

    fn label(&self, value: f64) -> String {
        match self {
            Self::Numbers => figure(value),
            Self::Durations => bound(value),
        }
    }
}

/// The round number at or above another.
fn round(value: f64) -> f64 {
    let mut top = 1.0;
    for factor in [2.0, 2.5, 2.0].into_iter().cycle() {
        if top >= value || top > 1e15 {
            break;
        }
        top *= factor;
    }
    top
}

/// A figure: whole where it is large.
fn figure(value: f64) -> String {
    if value >= 10.0 || value.fract() == 0.0 {
        words::number(value.round() as u64)
    } else {
        format!("{value:.1}")
    }
}

fn chart(points: &Points, name: &str, unit: &str, lines: &[Line], scale: &Scale) -> Markup {
    let values = || lines.iter().flat_map(|line| line.values.iter().flatten().copied());
    let (top, ticks) = scale.ticks(values().fold(0.0, f64::max));
    let y = |value: f64| HEIGHT - (HEIGHT - ABOVE) * value / top;
    let last = |line: &Line| line.values.iter().rev().flatten().next().copied();
    let told: Vec<String> = lines
        .iter()
        .map(|line| {
            let last = last(line).map_or_else(|| "none".to_owned(), |value| scale.label(value));
            format!("{}: last {last}", line.name)
        })
        .collect();
    html! {
        figure {
            figcaption {
                strong { (name) } " " span .hint { (unit) }
                @for line in lines {
                    span .key {
                        svg .mark width="22" height="10" aria-hidden="true" focusable="false" { line .line .(line.class) x1="0" x2="22" y1="5" y2="5" {} }
                        " " (line.name) " " b { (last(line).map_or_else(|| "–".to_owned(), |value| scale.label(value))) }
                    }
                }
            }
            svg .chart height=(HEIGHT + 2.0) role="img" aria-label=(format!("{name}, {unit}, {}. {}", points.axis.told(), told.join("; "))) {
                (points.axis.grid())
                @for tick in &ticks {
                    @let at = format!("{:.1}", y(*tick));
                    line .grid x1="0" x2="100%" y1=(at) y2=(at) {}
                    text x="3" y=(format!("{:.1}", y(*tick) - 3.0)) { (scale.label(*tick)) }
                }
                line .base x1="0" x2="100%" y1=(HEIGHT) y2=(HEIGHT) {}
                svg x="0" y="0" width="100%" height=(HEIGHT + 2.0) viewBox=(format!("0 0 {} {}", points.all.len(), HEIGHT + 2.0)) preserveAspectRatio="none" {
                    @for line in lines {
                        path .line .(line.class) d=(path(&line.values, y)) vector-effect="non-scaling-stroke" {}
                    }
                }
            }
            (points.axis.labels())
        }
    }
}

/// A line in steps, each as wide as the time that it stands for; with gaps where nobody has told.
fn path(values: &[Option<f64>], y: impl Fn(f64) -> f64) -> String {
    use std::fmt::Write;
    let (mut path, mut open) = (String::new(), false);
    for (at, value) in values.iter().enumerate() {
        if let Some(value) = value {
            let y = y(*value);
            let _ = write!(path, "{}{at} {y:.1}L{} {y:.1}", if open { "L" } else { "M" }, at + 1);
        }
        open = value.is_some();
    }
    path
}

fn table(points: &Points, of: Of<'_>) -> Markup {
    let with_slots = !matches!(of, Of::Queue(_));
    let wait =
        |work: &WorkSample, share| bucket(&work.wait, share).map_or_else(|| "–".to_owned(), bound);
    html! {
        details {
            summary .plain { "As a table" }
            table .cards {
                caption { "Of each " (words::duration(points.span.step())) ", the newest first. Tasks that were cancelled, expired or fell with their workers are not counted." }
                thead {
                    tr {
                        th scope="col" { "From" }
                        th .number scope="col" { "Begun" }
                        th .number scope="col" { "Succeeded" }
                        th .number scope="col" { "Failed" }
                        th .number scope="col" { "Tried again" }
                        th .number scope="col" { "Wait, half" }
                        th .number scope="col" { "Wait, nine of ten" }
                        @if with_slots { th .number scope="col" { "Slots taken" } }
                    }
                }
                tbody {
                    @for (at, point) in points.all.iter().enumerate().rev().filter(|(_, point)| point.told) {
                        tr {
                            td data-name="From" { time datetime=[points.time(at).rfc3339()] { (words::instant(points.time(at))) } }
                            td .number data-name="Begun" { (words::number(point.work.begun)) }
                            td .number data-name="Succeeded" { (words::number(point.work.succeeded)) }
                            td .number data-name="Failed" { (words::number(point.work.failed)) }
                            td .number data-name="Tried again" { (words::number(point.work.retried)) }
                            td .number data-name="Wait, half" { (wait(&point.work, 50)) }
                            td .number data-name="Wait, nine of ten" { (wait(&point.work, 90)) }
                            @if with_slots {
                                td .number data-name="Slots taken" { (figure(point.busy.as_secs_f64() / 60.0 / points.span.minutes as f64)) "/" (figure(point.slots as f64 / points.span.minutes as f64)) }
                            }
                        }
                    }
                }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn axes_end_at_round_numbers() {
        let tops = [0.0, 1.0, 1.5, 3.0, 7.0, 51.0, 1_234.0].map(|value| figure(round(value)));
        assert_eq!(tops, ["1", "1", "2", "5", "10", "100", "2,000"]);
        assert_eq!([0.5, 2.0, 10.4, 12_345.6].map(figure), ["0.5", "2", "10", "12,346"]);
    }

    #[test]
    fn lines_have_gaps_where_nobody_has_told() {
        let values = [Some(1.0), Some(2.0), None, Some(0.0)];
        assert_eq!(path(&values, |value| 10.0 - value), "M0 9.0L1 9.0L1 8.0L2 8.0M3 10.0L4 10.0");
    }
}
