//! A line or an object for each change, at most one a second; those of the log as they come.

use std::time::Duration;

use homing::log::Line;
use homing::{JobView, Status};
use tokio::time::Instant;

use super::pace::{Pace, outcome};
use crate::commands::log::text;
use crate::{Context, Result, json, words};

/// The least time between two lines about progress.
const APART: Duration = Duration::from_secs(1);

/// What has been said so far.
#[derive(Debug, Default)]
pub(super) struct Lines {
    pace: Pace,
    said: Option<(Instant, JobView)>,
}

impl Lines {
    /// Says what is new.
    pub(super) fn show(
        &mut self,
        cx: &Context,
        job: &JobView,
        log: &[Line],
        over: bool,
    ) -> Result<()> {
        let now = Instant::now();
        self.pace.see(now, job.counts.ended(), job.percent().unwrap_or_default());
        if self.said.is_none() && !cx.json {
            let title = words::line(job.title.as_deref().unwrap_or(&job.kind), 200);
            cx.out.line(format_args!("job {} {title}", job.id))?;
        }
        for line in log {
            cx.show(&json::line(line), || text(line))?;
        }
        let news = match &self.said {
            None => true,
            Some((then, said)) => over || (now.duration_since(*then) >= APART && said != job),
        };
        if news {
            cx.show(&json::job(job), || if over { outcome(job) } else { self.words(job) })?;
            self.said = Some((now, job.clone()));
        }
        Ok(())
    }

    fn words(&self, job: &JobView) -> String {
        let pace = self.pace.words();
        let pace = if pace.is_empty() { pace } else { format!("; {pace}") };
        let stalled = if job.status == Status::Stalled { "stalled, " } else { "" };
        format!("{stalled}{}, {}{pace}", words::done(job), words::states(&job.counts))
    }
}
