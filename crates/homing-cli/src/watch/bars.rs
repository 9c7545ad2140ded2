//! Bars at the bottom of a terminal, and the lines of the log above them.

use homing::JobView;
use homing::log::Line;
use indicatif::{MultiProgress, ProgressBar, ProgressDrawTarget, ProgressStyle};
use tokio::time::Instant;

use super::pace::{Pace, outcome};
use crate::commands::log::text;
use crate::{Result, style, words};

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
    pub(super) fn new(target: ProgressDrawTarget, coloured: bool) -> Self {
        let all = MultiProgress::with_draw_target(target);
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
    pub(super) fn show(&mut self, job: &JobView, log: &[Line], over: bool) -> Result<()> {
        let percent = job.percent().unwrap_or_default();
        self.pace.see(Instant::now(), job.counts.ended(), percent);
        for line in log {
            self.all.println(self.painted(&text(line)))?;
        }
        let status = style::paint(style::of_status(job.status), job.status);
        let title = words::line(job.title.as_deref().unwrap_or(&job.kind), 200);
        let head = format!("{} {status} {}", style::paint(style::BOLD, title), job.id);
        self.head.set_message(self.painted(&head));
        self.bar.set_position((percent / 100.0 * STEPS as f64) as u64);
        let pace = if over { String::new() } else { self.pace.words() };
        let pace = if pace.is_empty() { pace } else { format!(", {pace}") };
        let mut done = words::done(job);
        if job.percent().is_some() {
            let tasks = words::count(job.counts.spawned(), "task", "tasks");
            done = format!("{done}  {} of {tasks}", words::number(job.counts.ended()));
        }
        self.bar.set_message(done + &pace);
        self.states.set_message(words::states(&job.counts));
        if over {
            self.states.set_message(self.painted(&outcome(job)));
            self.close();
        }
        Ok(())
    }

    fn painted(&self, text: &str) -> String {
        let text = words::printed(text);
        if self.coloured { text } else { anstream::adapter::strip_str(&text).to_string() }
    }

    /// Leaves the bars as they are, for what is written next to stand below them.
    pub(super) fn close(&self) {
        for bar in [&self.head, &self.bar, &self.states] {
            bar.abandon();
        }
    }

    /// Draws no more.
    pub(super) fn freeze(&self) {
        self.all.set_draw_target(ProgressDrawTarget::hidden());
    }
}

#[cfg(test)]
mod tests {
    use homing::{Clock, Homing, ManualClock, log, task};
    use indicatif::InMemoryTerm;

    use super::*;

    #[task(kind = "greet")]
    async fn greet(names: u64) -> homing::Result<u64> {
        log!("hello, {names} of you");
        let mut set = homing::JoinSet::new();
        for name in 0..names {
            set.spawn(name_tag(name)).await?;
        }
        Ok(set.join_all().await?.len() as u64)
    }

    #[task(kind = "name_tag")]
    async fn name_tag(name: u64) -> homing::Result<u64> {
        if name == 3 { Ok(homing::signal::<u64>("go").await?) } else { Ok(name) }
    }

    #[tokio::test]
    async fn the_log_stands_above_the_bars() {
        let clock = Clock::Manual(ManualClock::default());
        let homing = Homing::open_with("memory:", clock).await.unwrap();
        homing.worker().register(greet).register(name_tag).start().await.unwrap();
        let id = homing::JobId::named("bars");
        let job = homing.submit(greet(4)).title("greetings").id(id).await.unwrap();
        let waiting = async || {
            let counts = job.view().await.unwrap().counts;
            (counts.ended(), counts.waiting) == (3, 2)
        };
        while !waiting().await {
            tokio::task::yield_now().await;
        }
        let terminal = InMemoryTerm::new(10, 80);
        let target = ProgressDrawTarget::term_like(Box::new(terminal.clone()));
        let mut bars = Bars::new(target, false);
        let lines = job.log().page().await.unwrap();
        bars.show(&job.view().await.unwrap(), &lines, false).unwrap();
        bars.close();
        insta::assert_snapshot!("bars_at_work", terminal.contents());
        let children = homing.children(id, homing::Cursor::default(), 4).await.unwrap().0;
        homing.signal(children[3].id, "go", &3_u64).await.unwrap();
        job.outcome().await.unwrap();
        bars.show(&job.view().await.unwrap(), &[], true).unwrap();
        insta::assert_snapshot!("bars_at_the_end", terminal.contents());
    }
}
