//! An axis of time: where an instant stands on it, its ticks, and how they are labelled.
//!
//! Places are per cent of a width that the server does not know: a drawing without a size of its own fills its cell.

use homing::Time;
use homing_view::words;
use maud::{Markup, html};

/// Ticks at most, labels of eight characters: what fits a phone.
const TICKS: i64 = 5;

/// Distances between ticks, in microseconds: those that clocks and calendars count in.
const STEPS: [i64; 25] = {
    const MS: i64 = 1_000;
    const S: i64 = 1_000 * MS;
    const MIN: i64 = 60 * S;
    const H: i64 = 60 * MIN;
    [
        MS,
        5 * MS,
        10 * MS,
        50 * MS,
        100 * MS,
        250 * MS,
        500 * MS,
        S,
        5 * S,
        10 * S,
        15 * S,
        30 * S,
        MIN,
        5 * MIN,
        10 * MIN,
        15 * MIN,
        30 * MIN,
        H,
        2 * H,
        3 * H,
        6 * H,
        12 * H,
        24 * H,
        48 * H,
        168 * H,
    ]
};

/// The time that is drawn, never empty.
#[derive(Debug, Clone, Copy)]
pub(super) struct Axis {
    pub(super) from: Time,
    pub(super) to: Time,
}

impl Axis {
    pub(super) fn new(from: Time, to: Time) -> Self {
        Self { from, to: to.max(Time(from.0.saturating_add(1_000))) }
    }

    fn span(self) -> i64 {
        self.to.0.saturating_sub(self.from.0).max(1)
    }

    /// Where an instant stands, in per cent from the left; what is outside stands at the edge.
    pub(super) fn at(self, time: Time) -> f64 {
        let part = time.0.saturating_sub(self.from.0) as f64 / self.span() as f64;
        part.clamp(0.0, 1.0) * 100.0
    }

    pub(super) fn has(self, time: Time) -> bool {
        (self.from..=self.to).contains(&time)
    }

    /// The distance between ticks.
    fn step(self) -> i64 {
        let fits = |step: &&i64| self.span() / **step <= TICKS;
        match STEPS.iter().find(fits) {
            Some(step) => *step,
            // Weeks, as many as leave room.
            None => STEPS[24] * (self.span() / STEPS[24] / TICKS + 1),
        }
    }

    /// Instants that are round numbers of the clock, and how they are called.
    pub(super) fn ticks(self) -> Vec<(Time, String)> {
        let step = self.step();
        let first = (self.from.0 + step - 1).div_euclid(step) * step;
        let ticks = (0..=TICKS).map(|n| Time(first + n * step));
        let ticks = ticks.filter(|time| self.has(*time));
        ticks.map(|time| (time, label(time, step))).collect()
    }

    /// The ticks of a drawing, as lines from its top to its bottom.
    pub(super) fn grid(self) -> Markup {
        html! {
            @for (time, _) in self.ticks() {
                @let x = percent(self.at(time));
                line .grid x1=(x) x2=(x) y1="0" y2="100%" {}
            }
        }
    }

    /// The labels of the ticks, above or below a drawing.
    pub(super) fn labels(self) -> Markup {
        html! {
            svg .axis aria-hidden="true" focusable="false" {
                @for (time, label) in self.ticks() {
                    @let at = self.at(time);
                    // At the edges a label stands beside its tick, so that none of it is cut off.
                    @let anchor = if at < 6.0 { "start" } else if at > 94.0 { "end" } else { "middle" };
                    text x=(percent(at)) y="12" text-anchor=(anchor) { (label) }
                }
            }
        }
    }

    /// From when to when, in words.
    pub(super) fn told(self) -> String {
        format!("{} to {}", words::instant(self.from), words::instant(self.to))
    }
}

/// A place or a width as an attribute.
pub(super) fn percent(at: f64) -> String {
    format!("{at:.3}%")
}

/// What a tick is called: as exact as its distance to the next.
fn label(time: Time, step: i64) -> String {
    let text = words::instant(time);
    let (date, clock) = text.split_once(' ').unwrap_or((&text, ""));
    let clock = clock.trim_end_matches('Z');
    match step {
        ..1_000_000 => {
            format!("{}.{:03}", &clock[clock.len().min(3)..], time.0.rem_euclid(1_000_000) / 1_000)
        }
        1_000_000..60_000_000 => clock.to_owned(),
        60_000_000..86_400_000_000 => clock[..clock.len().min(5)].to_owned(),
        _ => date[date.len().min(5)..].to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// 2026-01-31 23:59:00Z.
    const START: Time = Time(1_769_903_940_000_000);

    fn ticks(from: Time, micros: i64) -> Vec<String> {
        let ticks = Axis::new(from, Time(from.0 + micros)).ticks();
        ticks.into_iter().map(|(_, label)| label).collect()
    }

    #[test]
    fn ticks_are_round_and_few() {
        assert_eq!(
            ticks(START, 40_000),
            ["59:00.000", "59:00.010", "59:00.020", "59:00.030", "59:00.040"]
        );
        assert_eq!(
            ticks(START, 25_000_000),
            ["23:59:00", "23:59:05", "23:59:10", "23:59:15", "23:59:20", "23:59:25"]
        );
        assert_eq!(ticks(START, 3_600_000_000), ["00:00", "00:15", "00:30", "00:45"]);
        assert_eq!(ticks(START, 86_400_000_000 * 3), ["02-01", "02-02", "02-03"]);
        for micros in [0, 1, 999, 7_777_777, 86_400_000_000 * 4_000] {
            let ticks = ticks(START, micros).len() as i64;
            assert!(ticks <= TICKS + 1, "{micros}: {ticks}");
        }
    }

    #[test]
    fn instants_stand_within_the_axis() {
        let axis = Axis::new(START, Time(START.0 + 1_000_000));
        let at = [-5, 0, 250_000, 2_000_000].map(|at| percent(axis.at(Time(START.0 + at))));
        assert_eq!(at, ["0.000%", "0.000%", "25.000%", "100.000%"]);
        assert!(axis.at(Time::NEVER) <= 100.0 && !axis.has(Time::NEVER));
    }
}
