//! Jobs as people see them: their counts, how far they are, their lists and their logs.

use std::collections::BTreeMap;

use rusqlite::{Row, params};

use super::super::columns::{above, count, limit, maybe_text, progress, text};
use super::super::fault::Result;
use super::super::tx::Tx;
use super::OF_JOB;
use crate::core::id::{JobId, Local, TaskId};
use crate::core::log::{ATTEMPT, Level, Line};
use crate::core::state::State;
use crate::core::time::Time;
use crate::limits;
use crate::store::columns::line;
use crate::store::read::{Counts, JobFilter, JobView, Partly, Status, TaskView, words};

/// The tasks of a job that run.
#[derive(Debug, Clone, Copy, Default)]
struct Running {
    tasks: u64,
    partly: Partly,
}

by_name! {
    columns at {
        title,
        key = "root.\"key\"",
        tags = "jobs.tags",
        origin_job,
        origin_local,
        errors,
        stalled = "EXISTS (SELECT 1 FROM tasks AS still INDEXED BY stalled
          WHERE still.job = ?1 AND still.stalls > 0 AND still.state = 0)",
    }
}

const JOB: &str = concat!(
    "SELECT ",
    columns!(),
    " FROM tasks AS root JOIN jobs ON jobs.created = root.created AND jobs.id = root.job
  WHERE root.job = ?1 AND root.local = ?2"
);

/// A page of a list, read in its order along an index of `jobs`. What a filter asks of the status is asked of the root's
/// state and the job's errors. The second bound of `created` says again what the third
/// says, in a form that leads into the index.
macro_rules! page {
    ($jobs:literal, $leads:literal) => {
        page!(
            $jobs,
            $leads,
            "jobs.created >= ?2 AND jobs.created < ?3 AND (jobs.created, jobs.id) < (?4, ?5)",
            ""
        )
    };
    ($jobs:literal, $leads:literal, $created:literal, $order:literal) => {
        concat!(
            "SELECT jobs.id FROM ",
            $jobs,
            " CROSS JOIN tasks AS root ON root.job = jobs.id AND root.local = ?1
  WHERE ",
            $leads,
            $created,
            "
    AND (?6 IS NULL OR root.kind = ?6) AND (?7 IS NULL OR root.queue = ?7)
    AND (?8 IS NULL OR instr(lower(coalesce(title, '')), lower(?8)) > 0)
    AND (?9 IS NULL OR CASE WHEN json_valid(jobs.tags)
      THEN EXISTS (SELECT 1 FROM json_each(jobs.tags) WHERE value = ?9) ELSE jobs.tags = ?9 END)
    AND (?10 IS NULL OR root.state BETWEEN ?10 AND ?11) AND (?12 IS NULL OR errors = ?12)
    AND (?14 IS NULL OR ?14 = EXISTS (SELECT 1 FROM tasks AS still INDEXED BY stalled
      WHERE still.job = jobs.id AND still.stalls > 0 AND still.state = 0))
  ORDER BY ",
            $order,
            "jobs.created DESC, jobs.id DESC LIMIT ?13"
        )
    };
}

/// All jobs.
pub(in crate::store::sqlite) const JOBS: &str = page!("jobs", "");

/// Those of which the root failed or was cancelled.
pub(in crate::store::sqlite) const FALLEN: &str =
    page!("jobs INDEXED BY fallen_jobs", "jobs.fallen = ?10 AND ");

/// Those of which a task below the root failed.
pub(in crate::store::sqlite) const WITH_ERRORS: &str =
    page!("jobs INDEXED BY with_errors", "jobs.errors = 1 AND ");

/// Those of a kind: of each second in which one was created, the newest first, all jobs that were created in it are read.
pub(in crate::store::sqlite) const OF_KIND: &str = page!(
    "kinds_by_second AS by_second CROSS JOIN jobs
       ON jobs.created >= by_second.second * 1000000
      AND jobs.created < (by_second.second + 1) * 1000000",
    "by_second.kind = ?6 AND by_second.second BETWEEN ?2 / 1000000 AND ?3 / 1000000
     AND jobs.kind = ?6 AND ",
    "+jobs.created >= ?2 AND +jobs.created < ?3 AND (+jobs.created, jobs.id) < (?4, ?5)",
    "by_second.second DESC, "
);

/// The statement that reads past the fewest jobs.
fn listed(filter: &JobFilter) -> &'static str {
    match filter.status {
        Some(Status::Failed | Status::Cancelled) => FALLEN,
        Some(Status::CompletedWithErrors) => WITH_ERRORS,
        _ if filter.kind.is_some() => OF_KIND,
        _ => JOBS,
    }
}

by_name! {
    running_columns one {
        job,
        progress_done,
        progress_total,
    }
}

const RUNNING: &str =
    concat!("SELECT ", running_columns!(), " FROM tasks INDEXED BY running WHERE state = 1");

const WAITING: &str = concat!(
    "SELECT ",
    running_columns!(),
    " FROM tasks INDEXED BY waiting WHERE state = 2 AND job = ?1 LIMIT ?2"
);

const LOG: &str = concat!(
    "SELECT ",
    line_columns!(),
    " FROM logs WHERE job = ?1 AND number > ?2 ORDER BY number LIMIT ?3"
);

const FAILED_ATTEMPTS: &str = concat!(
    "SELECT ",
    line_columns!(),
    " FROM logs WHERE job = ?1 AND task = ?2 AND \"key\" >= ?3 AND \"key\" < ?4
      ORDER BY number DESC LIMIT ?5"
);

impl Tx<'_> {
    fn counts(
        &self,
        root: &TaskView,
        running: Option<&BTreeMap<JobId, Running>>,
    ) -> Result<(Counts, Partly)> {
        let job = root.id.job;
        let mut partly = Partly::default();
        let members = self.sums(OF_JOB, &[&job])?;
        let mut counts = Counts {
            succeeded: members.succeeded,
            failed: members.failed,
            cancelled: members.cancelled,
            ..Counts::default()
        };
        match root.state {
            State::Succeeded => counts.succeeded += 1,
            State::Failed => counts.failed += 1,
            State::Cancelled => counts.cancelled += 1,
            State::Pending | State::Running | State::Waiting => {}
        }
        let open = (members.spawned + 1).saturating_sub(counts.ended());
        if open > 0 {
            counts.waiting = self
                .sql("SELECT count(*) FROM tasks INDEXED BY waiting WHERE state = 2 AND job = ?1")?
                .query_row([job], |row| count(row, 0))?;
            let of_job = match running {
                Some(running) => running.get(&job).copied(),
                None => self.running()?.get(&job).copied(),
            };
            (counts.running, partly) = of_job.map(|of| (of.tasks, of.partly)).unwrap_or_default();
            self.add_waiting(job, &mut partly)?;
        }
        counts.pending = open.saturating_sub(counts.waiting + counts.running);
        Ok((counts, partly))
    }

    /// How many tasks of each job run, and how far they are: never more rows than all workers have slots.
    fn running(&self) -> Result<BTreeMap<JobId, Running>> {
        let mut read = self.sql(RUNNING)?;
        let mut running: BTreeMap<JobId, Running> = BTreeMap::new();
        for row in read.query_map((), |row| Ok((row.get(one::job)?, told(row)?)))? {
            let (job, told) = row?;
            let of_job = running.entry(job).or_default();
            of_job.tasks += 1;
            of_job.partly.add(told);
        }
        Ok(running)
    }

    /// Adds how far the tasks of a job are that wait: of a page of them, so that a wide tree costs no more.
    fn add_waiting(&self, job: JobId, partly: &mut Partly) -> Result<()> {
        let mut read = self.sql(WAITING)?;
        for told in read.query_map(params![job, limit(limits::PAGE)], told)? {
            partly.add(told?);
        }
        Ok(())
    }

    pub(in crate::store::sqlite) fn job_view(&self, id: JobId) -> Result<Option<JobView>> {
        self.job_beside(id, None)
    }

    /// A job; `running` is what runs of all jobs, if that is known.
    fn job_beside(
        &self,
        id: JobId,
        running: Option<&BTreeMap<JobId, Running>>,
    ) -> Result<Option<JobView>> {
        let Some(root) = self.task_view(id.root())? else { return Ok(None) };
        let (counts, partly) = self.counts(&root, running)?;
        let mut read = self.sql(JOB)?;
        let mut rows = read.query(params![id, Local::ROOT])?;
        let Some(row) = rows.next()? else { return Ok(None) };
        let tags = maybe_text(row, at::tags)?;
        let origin: Option<JobId> = row.get(at::origin_job)?;
        Ok(Some(JobView {
            id,
            kind: root.kind,
            title: maybe_text(row, at::title)?,
            key: maybe_text(row, at::key)?,
            tags: tags.map(words).unwrap_or_default(),
            queue: root.queue,
            status: Status::of(root.state, row.get(at::errors)?, row.get(at::stalled)?),
            progress: crate::store::read::progress(root.state, root.progress, &counts, partly),
            told: root.progress.is_some(),
            counts,
            origin: match origin {
                Some(job) => Some(TaskId { job, local: row.get(at::origin_local)? }),
                None => None,
            },
            created: root.created,
            started: root.started,
            ended: root.ended,
            failure: root.failure,
        }))
    }

    pub(in crate::store::sqlite) fn jobs(&self, filter: &JobFilter) -> Result<Vec<JobView>> {
        let (from, to, errors, stalled) = filter.asked_of_status();
        let highest = (Time::NEVER, JobId::from_bytes([0xff; 16]));
        let after = filter.after.unwrap_or(highest);
        let rows = filter.rows();
        let mut list = self.sql(listed(filter))?;
        let ids = list.query_map(
            params![
                Local::ROOT,
                filter.since.unwrap_or(Time(i64::MIN)),
                filter.until.unwrap_or(Time::NEVER).min(Time(after.0.0.saturating_add(1))),
                after.0,
                after.1,
                filter.kind,
                filter.queue,
                filter.title,
                filter.tag,
                from,
                to,
                errors,
                limit(rows),
                stalled
            ],
            |row| row.get(0),
        )?;
        let ids = ids.collect::<rusqlite::Result<Vec<JobId>>>()?;
        let running = self.running()?;
        let mut jobs = Vec::with_capacity(ids.len());
        for id in ids {
            jobs.extend(self.job_beside(id, Some(&running))?);
        }
        Ok(jobs)
    }

    pub(in crate::store::sqlite) fn log(
        &self,
        job: JobId,
        after: u64,
        rows: usize,
    ) -> Result<Vec<Line>> {
        let mut read = self.sql(LOG)?;
        let values = params![job, above(after), limit(rows)];
        let lines = read.query_map(values, |row| line(row, job))?;
        Ok(lines.collect::<rusqlite::Result<_>>()?)
    }

    /// The last lines that tell of a task's failed attempts, crashes, ends from outside and standstills, in order.
    pub(in crate::store::sqlite) fn failed_attempts(
        &self,
        task: TaskId,
        rows: usize,
    ) -> Result<Vec<Line>> {
        let mut read = self.sql(FAILED_ATTEMPTS)?;
        let next = "\u{3}";
        let values = params![task.job, task.local, ATTEMPT, next, limit(rows)];
        let lines = read.query_map(values, |row| line(row, task.job))?;
        let mut lines = lines.collect::<rusqlite::Result<Vec<_>>>()?;
        lines.reverse();
        Ok(lines)
    }

    pub(in crate::store::sqlite) fn last_line(&self, job: JobId) -> Result<u64> {
        let mut last = self.sql("SELECT coalesce(max(number), 0) FROM logs WHERE job = ?1")?;
        Ok(last.query_row([job], |row| count(row, 0))?)
    }
}

fn line(row: &Row<'_>, job: JobId) -> rusqlite::Result<Line> {
    Ok(Line {
        number: count(row, line::number)?,
        time: row.get(line::time)?,
        level: Level::from_code(row.get(line::level)?),
        task: TaskId { job, local: row.get(line::task)? },
        message: text(row, line::message)?,
    })
}

/// How far a task has told that it is.
fn told(row: &Row<'_>) -> rusqlite::Result<Option<(u64, u64)>> {
    progress(row, (one::progress_done, one::progress_total))
}
