//! `watch`: a job, live, until it ends: bars on a terminal, lines elsewhere.
//!
//! Reads the job's record and the new lines of its log a few times a second, both of which the store has
//! at hand whatever the job's size; less often where that takes long.

mod bars;
mod lines;
mod pace;
mod standstill;

use std::io::IsTerminal;
use std::time::Duration;

use homing::log::Line;
use homing::{Because, JobFilter, JobHandle, JobId, JobView, Log, Status, TaskId};
use indicatif::ProgressDrawTarget;
use tokio::time::Instant;

use crate::args::WatchArgs;
use crate::output::say;
use crate::{Context, Error, Exit, Result, words};
use bars::Bars;
use homing_view::why::hangs_on;
use lines::Lines;
use standstill::Standstill;

/// Time between two looks.
const PAUSE: Duration = Duration::from_millis(250);
/// A look that takes long is followed by a pause so many times as long.
const LEISURE: u32 = 10;
/// How long a job may stand still where no person looks on: the longest pause between two tries. A deployment
/// is over by then, and a script that waited for ever would tell nobody.
const PATIENCE: Duration = homing::limits::STALL_MAX;
/// How far down the reason of a standstill is looked for.
const DEPTH: usize = 8;

/// Watches a job until it ends, or has stood still for too long; its outcome is the exit code.
pub(crate) async fn run(cx: &Context, args: WatchArgs) -> Result<Exit> {
    let id = match args.id {
        Some(id) => cx.find_job(&id).await?,
        None => newest(cx).await?,
    };
    let mut shown = if !cx.json && std::io::stdout().is_terminal() {
        Shown::Bars(Box::new(Bars::new(ProgressDrawTarget::stdout(), cx.out.is_coloured())))
    } else {
        Shown::Lines(Box::default())
    };
    let patience = args.stalled_for.or(match shown {
        Shown::Bars(_) => None,
        Shown::Lines(_) => Some(PATIENCE),
    });
    tokio::select! {
        exit = follow(cx, id, (args.lines, patience), &mut shown) => exit,
        interrupted = tokio::signal::ctrl_c() => {
            interrupted?;
            shown.leave();
            cx.out.flush()?;
            say(format_args!("job {id} goes on; `watch {id}` shows it again"));
            Ok(Exit::Interrupted)
        }
    }
}

/// The exit code of an outcome.
fn exit(status: Status) -> Exit {
    match status {
        Status::InProgress | Status::Stalled | Status::Completed => Exit::Done,
        Status::CompletedWithErrors => Exit::Errors,
        Status::Failed => Exit::No,
        Status::Cancelled => Exit::Cancelled,
    }
}

/// The job to watch where none is named.
async fn newest(cx: &Context) -> Result<JobId> {
    let filter = |status| JobFilter { status: Some(status), limit: 1, ..JobFilter::default() };
    let mut open = cx.homing.jobs(filter(Status::InProgress)).await?;
    open.extend(cx.homing.jobs(filter(Status::Stalled)).await?);
    let none = || Error::usage("no job is open", "give the id of a job; `jobs` lists them");
    open.iter().max_by_key(|job| (job.created, job.id)).map(|job| job.id).ok_or_else(none)
}

/// Says why the job stands still and what to do, as far as is known.
async fn give_up(cx: &Context, id: JobId, stood: Duration) -> Result<Exit> {
    let stood = words::duration(stood);
    let (task, reason) = standstill_of(cx, id).await?;
    match reason {
        Some(reason) => say(format_args!("job {id} has stood still for {stood}: {reason}")),
        None => say(format_args!("job {id} has stood still for {stood}")),
    }
    say(format_args!(
        "hint: roll back, or mend the body, and it goes on by itself; where arguments do not decode, \
         `retry {task} --args JSON` gives others; `why {id}` says more, `--stalled-for 1d` watches on"
    ));
    Ok(Exit::Stalled)
}

/// The task that a job hangs on, and why that stands still.
async fn standstill_of(cx: &Context, id: JobId) -> Result<(TaskId, Option<String>)> {
    let mut task = id.root();
    for _ in 0..DEPTH {
        let why = cx.homing.why(task).await?;
        let drift = why.because.iter().find_map(|because| match because {
            Because::Drift { reason, .. } => Some(reason.clone()),
            _ => None,
        });
        let Some(next) = why.because.iter().find_map(hangs_on).filter(|_| drift.is_none()) else {
            return Ok((task, drift));
        };
        task = next;
    }
    Ok((task, None))
}

async fn follow(
    cx: &Context,
    id: JobId,
    (lines, patience): (u16, Option<Duration>),
    shown: &mut Shown,
) -> Result<Exit> {
    let mut standstill = Standstill::default();
    let job = cx.homing.job::<()>(id);
    job.view().await?; // an unknown job has no log to wait for
    let mut log = job.log().last(lines.into()).await?;
    let mut troubled = false;
    loop {
        let began = Instant::now();
        match look(&job, &mut log).await {
            Ok((view, lines, more)) => {
                troubled = false;
                // What was said before the end is shown before the end.
                let over = view.status.is_ended() && !more;
                shown.show(cx, &view, &lines, over)?;
                cx.out.flush()?;
                if over {
                    return Ok(exit(view.status));
                }
                let stood = standstill.see(Instant::now(), view.status);
                if let Some(stood) =
                    stood.filter(|stood| patience.is_some_and(|most| *stood >= most))
                {
                    shown.close();
                    return give_up(cx, id, stood).await;
                }
            }
            Err(Error::Store(error)) if error.is_transient() => {
                if !std::mem::replace(&mut troubled, true) {
                    say(format_args!("{error}; trying again"));
                }
            }
            Err(error) => {
                shown.close();
                return Err(error);
            }
        }
        tokio::time::sleep(PAUSE.max(began.elapsed() * LEISURE)).await;
    }
}

/// The job as of now, the new lines of its log, and whether there are more of them.
async fn look(job: &JobHandle<()>, log: &mut Log) -> Result<(JobView, Vec<Line>, bool)> {
    let view = job.view().await?;
    let lines = log.page().await?;
    let more = lines.len() >= homing::limits::PAGE;
    Ok((view, lines, more))
}

/// How it is shown.
enum Shown {
    Bars(Box<Bars>),
    Lines(Box<Lines>),
}

impl Shown {
    fn show(&mut self, cx: &Context, job: &JobView, log: &[Line], over: bool) -> Result<()> {
        match self {
            Self::Bars(bars) => bars.show(job, log, over),
            Self::Lines(lines) => lines.show(cx, job, log, over),
        }
    }

    fn close(&self) {
        if let Self::Bars(bars) = self {
            bars.close();
        }
    }

    /// As [`close`](Self::close), where the terminal may have written `^C` behind the bars: drawn again,
    /// they would stand beside themselves.
    fn leave(&self) {
        if let Self::Bars(bars) = self {
            bars.freeze();
            say("");
        }
    }
}
