//! What is read of the store for a screen, and what is done to it once somebody has confirmed it.

use homing::log::Line;
use homing::{
    Cursor, Homing, JobFilter, JobId, JobView, QueueView, RetryError, TaskId, Time, WorkerView,
};

use super::log::{BACK, Part};
use super::tree::{Family, PAGE, Page, Row};
use crate::commands::log::earlier;
use crate::{Result, words};
use homing_view::why::reason;

/// What the screen shows, and must be read for it. Workers always are.
#[derive(Debug, Default, PartialEq)]
pub(crate) struct Wanted {
    /// The queues, and a page of jobs.
    pub(crate) jobs: Option<JobFilter>,
    /// A job's root and pages of children below.
    pub(crate) family: Option<(JobId, Vec<(TaskId, Cursor)>)>,
    /// A part of a job's log.
    pub(crate) log: Option<(JobId, Part)>,
    /// Why a task is where it is.
    pub(crate) why: Option<TaskId>,
}

/// What was read.
#[derive(Debug, Default)]
pub(crate) struct Look {
    pub(crate) now: Time,
    pub(crate) workers: Vec<WorkerView>,
    pub(crate) jobs: Option<(JobFilter, Vec<JobView>, Vec<QueueView>)>,
    pub(crate) family: Option<Family>,
    pub(crate) log: Option<(JobId, Part, Vec<Line>)>,
    pub(crate) why: Option<(TaskId, Vec<String>)>,
}

/// What somebody has confirmed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Verb {
    Cancel(TaskId),
    Retry(JobId),
    Pause(String),
    Unpause(String),
}

/// Reads what is wanted.
pub(crate) async fn look(homing: &Homing, wanted: Wanted) -> Result<Look> {
    let workers = homing.workers().await?;
    let mut look = Look { workers, ..Look::default() };
    if let Some(filter) = wanted.jobs {
        let jobs = homing.jobs(filter.clone()).await?;
        look.jobs = Some((filter, jobs, homing.queues().await?));
    }
    if let Some((job, pages)) = wanted.family {
        look.family = Some(family(homing, job, pages).await?);
    }
    if let Some((job, part)) = wanted.log {
        look.log = Some((job, part, lines(homing, job, part).await?));
    }
    look.now = homing.now().into();
    if let Some(task) = wanted.why {
        look.why = Some((task, why(homing, task, look.now).await?));
    }
    Ok(look)
}

async fn family(homing: &Homing, job: JobId, wanted: Vec<(TaskId, Cursor)>) -> Result<Family> {
    let mut pages = Vec::with_capacity(wanted.len());
    for (parent, start) in wanted {
        let (mut rows, mut next) = (Vec::new(), Some(start.clone()));
        // A page of the store ends with its set; one of the screen goes on.
        while rows.len() < PAGE
            && let Some(cursor) = next
        {
            let (views, after) = homing.children(parent, cursor, PAGE - rows.len()).await?;
            rows.extend(views.into_iter().map(Row::from));
            next = after;
        }
        pages.push(Page { parent, start, rows, next });
    }
    // The parents after their children, so that no count is older than a row that it counts.
    let root = homing.task(job).await?.into();
    Ok(Family { job: homing.job::<()>(job).view().await?, root, pages })
}

async fn lines(homing: &Homing, job: JobId, part: Part) -> Result<Vec<Line>> {
    let log = homing.job::<()>(job).log();
    let mut log = match part {
        Part::Newest => log.last(BACK).await?,
        Part::After(number) => log.after(number),
        Part::Before(number) => log.after(number.saturating_sub(BACK + 1)),
    };
    Ok(log.page().await?)
}

async fn why(homing: &Homing, task: TaskId, now: Time) -> Result<Vec<String>> {
    let why = homing.why(task).await?;
    let task = &why.task;
    let mut lines = vec![format!("{}: {}", task.kind, task.state), String::new()];
    for because in &why.because {
        let reason = reason(because, task, now);
        lines.push(words::line(&reason.text, usize::MAX));
        lines.extend(reason.tasks.iter().map(|id| format!("  {id}")));
    }
    lines.extend(earlier(&why.attempts, task).iter().map(|line| {
        let message = words::line(&line.message, usize::MAX);
        format!("{} {message}", words::instant(line.time))
    }));
    let time = |time: Time| format!("{} ({})", words::instant(time), words::ago(time, now));
    lines.push(String::new());
    lines.push(format!("id         {}", task.id));
    lines.push(format!("arguments  {}", words::line(&task.arguments, 500)));
    lines.push(format!("queue      {}", task.queue));
    lines.push(format!("attempt    {}", task.attempt));
    lines.push(format!("created    {}", time(task.created)));
    lines.extend(task.started.map(|at| format!("started    {}", time(at))));
    lines.extend(task.ended.map(|at| format!("ended      {}", time(at))));
    lines
        .extend(task.value.as_deref().map(|text| format!("value      {}", words::line(text, 500))));
    Ok(lines)
}

/// Does what was confirmed, and says what became of it.
pub(crate) async fn carry_out(homing: &Homing, verb: Verb) -> Result<String> {
    Ok(match verb {
        Verb::Cancel(task) if homing.cancel(task).by(words::oneself()).await? => {
            format!("cancelled {task}")
        }
        Verb::Cancel(task) => format!("{task} had ended: there was nothing to cancel"),
        Verb::Retry(job) => match homing.job::<()>(job).retry().await {
            Ok(retried) => words::retried(job, false, &retried),
            Err(RetryError::Store(error)) => return Err(error.into()),
            Err(refused) => refused.to_string(),
        },
        Verb::Pause(queue) => {
            homing.pause(&queue).await?;
            format!("paused {queue}")
        }
        Verb::Unpause(queue) => {
            homing.unpause(&queue).await?;
            format!("unpaused {queue}")
        }
    })
}
