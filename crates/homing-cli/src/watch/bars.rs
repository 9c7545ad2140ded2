//! Bars at the bottom of a terminal, and the lines of the log above them.

use homing::JobView;
use homing::log::Line;
use indicatif::{MultiProgress, ProgressBar, ProgressDrawTarget, ProgressStyle};
use tokio::time::Instant;

use super::pace::{Pace, outcome, states};
use crate::commands::log::text;
use crate::{Context, Result, style, words};

/// Steps of the bar.
const STEPS: u64 = 10_000;

/// What stands at the bottom: the job, its bar, its states.
pub(super) struct Bars {
    all: MultiProgress,
    head: ProgressBar,
    bar: ProgressBar,
    states: ProgressBar,
    pace: Pace,
    coloured: bool,
}

impl Bars {
    /// Bars that show nothing yet.
    pub(super) fn new(coloured: bool) -> Self {
        let all = MultiProgress::with_draw_target(ProgressDrawTarget::stdout());
        let line = |template: &str| {
            let style = ProgressStyle::with_template(template)
                .unwrap_or_else(|_| ProgressStyle::default_bar());
            let bar = ProgressBar::new(STEPS).with_style(style.progress_chars("█▉▊▋▌▍▎▏░"));
            all.add(bar)
        };
        let bar = if coloured { "{bar:20.cyan} {wide_msg}" } else { "{bar:20} {wide_msg}" };
        let (head, bar, states) = (line("{wide_msg}"), line(bar), line("{wide_msg}"));
        Self { all, head, bar, states, pace: Pace::default(), coloured }
    }

    /// Shows how far the job is.
    pub(super) fn show(
        &mut self,
        _: &Context,
        job: &JobView,
        log: &[Line],
        over: bool,
    ) -> Result<()> {
        self.pace.see(Instant::now(), job.counts.ended(), job.progress);
        for line in log {
            self.all.println(self.painted(text(line)))?;
        }
        let status = style::paint(style::of_status(job.status), job.status);
        let title = words::line(job.title.as_deref().unwrap_or(&job.kind), 200);
        let head = format!("{} {status} {}", style::paint(style::BOLD, title), job.id);
        self.head.set_message(self.painted(head));
        self.bar.set_position((job.progress / 100.0 * STEPS as f64) as u64);
        let (ended, spawned) = (job.counts.ended(), job.counts.spawned());
        let (ended, spawned) = (words::number(ended), words::count(spawned, "task", "tasks"));
        let pace = if over { String::new() } else { self.pace.words() };
        let pace = if pace.is_empty() { pace } else { format!(", {pace}") };
        let done = format!("{:.0} %  {ended} of {spawned}{pace}", job.progress.floor());
        self.bar.set_message(done);
        self.states.set_message(states(&job.counts));
        if over {
            self.states.set_message(self.painted(outcome(job)));
            self.close();
        }
        Ok(())
    }

    fn painted(&self, text: String) -> String {
        if self.coloured { text } else { anstream::adapter::strip_str(&text).to_string() }
    }

    /// Leaves the bars as they are, for what is written next to stand below them.
    pub(super) fn close(&self) {
        for bar in [&self.head, &self.bar, &self.states] {
            bar.abandon();
        }
    }
}
