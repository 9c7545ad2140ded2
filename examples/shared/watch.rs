//! Watches a job until it ends: bars on a terminal, a plain line a second elsewhere.
//!
//! Everything goes to stderr, stdout is for the result. It reads the public record of the job only, so
//! it is the same for a job that other processes work on.

use std::error::Error;
use std::fmt::Display;
use std::io::Write;
use std::time::Duration;

use homing::JobHandle;
use indicatif::{MultiProgress, ProgressBar, ProgressStyle};
use serde::de::DeserializeOwned;

/// How often the bars move.
const TICK: Duration = Duration::from_millis(100);
/// Ticks between two plain lines.
const TICKS_PER_LINE: u32 = 10;

/// Waits for the value of a job, and shows meanwhile how far it is and what it logs.
pub(crate) async fn watch<T: DeserializeOwned>(job: &JobHandle<T>) -> Result<T, Box<dyn Error>> {
    let mut screen = Screen::new();
    let mut log = job.log();
    let mut tick = tokio::time::interval(TICK);
    let mut outcome = Box::pin(job.outcome());
    loop {
        let value = tokio::select! {
            value = &mut outcome => Some(value),
            _ = tick.tick() => None,
        };
        for line in log.page().await? {
            screen.line(&format!("{:5} {}", line.level, line.message));
        }
        let job = job.view().await?;
        screen.show(&job.counts, value.is_some());
        if let Some(value) = value {
            return Ok(value?);
        }
    }
}

/// Writes a message to stderr.
pub(crate) fn say(message: impl Display) {
    // With stderr gone there is nobody left to tell.
    let _ = writeln!(std::io::stderr(), "{message}");
}

/// Two bars: what has been found so far, and how much of that is done.
struct Screen {
    bars: MultiProgress,
    found: ProgressBar,
    done: ProgressBar,
    /// Ticks, and the plain line last written.
    ticks: u32,
    last: String,
}

impl Screen {
    fn new() -> Self {
        let style = |template| {
            ProgressStyle::with_template(template)
                .unwrap_or_else(|_| ProgressStyle::default_bar())
                .progress_chars("━╸─")
        };
        let bars = MultiProgress::new();
        let found = bars.add(ProgressBar::new_spinner());
        found.set_style(style("{spinner} found {pos} tasks: {msg}"));
        let done = bars.add(ProgressBar::new(0));
        done.set_style(style("  done  {pos:>6}/{len:6} {bar:40} {elapsed}"));
        Self { bars, found, done, ticks: 0, last: String::new() }
    }

    fn line(&self, text: &str) {
        if self.done.is_hidden() {
            say(text);
        } else {
            // As in `say`.
            let _ = self.bars.println(text);
        }
    }

    fn show(&mut self, counts: &homing::Counts, last: bool) {
        let homing::Counts { running, waiting, .. } = *counts;
        let states = format!("{running} running, {waiting} waiting for others");
        if self.done.is_hidden() {
            let (done, found) = (counts.ended(), counts.spawned());
            let line = format!("{done} of {found} tasks done, {states}");
            if (last || self.ticks.is_multiple_of(TICKS_PER_LINE)) && line != self.last {
                say(&line);
                self.last = line;
            }
            self.ticks += 1;
        }
        self.found.set_message(states);
        self.found.set_position(counts.spawned());
        self.found.tick();
        self.done.set_length(counts.spawned());
        self.done.set_position(counts.ended());
        if last {
            self.found.abandon();
            self.done.abandon();
        }
    }
}
