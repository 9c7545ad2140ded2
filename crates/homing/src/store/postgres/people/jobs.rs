//! Jobs as people see them: their counts, how far they are, their lists and their logs.

use tokio_postgres::Row;

use super::super::Shared;
use super::child_counts;
use crate::core::id::{JobId, Local, TaskId};
use crate::core::log::{ATTEMPT, Level, Line};
use crate::core::state::State;
use crate::core::time::Time;
use crate::limits;
use crate::store::columns::line;
use crate::store::postgres::link::fault::Result;
use crate::store::postgres::link::pipeline::values;
use crate::store::postgres::transaction::bundle::{bundled_state, in_bundle, members};
use crate::store::postgres::transaction::columns::{above, count, limit, progress};
use crate::store::read::{self, Counts, JobFilter, JobView, Partly, Status};

by_name! {
    columns at {
        job = "t.job",
        kind = "t.kind",
        title = "t.title",
        key = "t.key",
        tags = "coalesce(t.tags, '{}')",
        queue = "t.queue",
        state = concat!("coalesce(o.state, e.state, ", bundled_state!(), ")"),
        errors = "EXISTS (SELECT FROM homing.sets AS f WHERE f.job = t.job AND f.failed > 0)",
        waiting = "w.tasks",
        running = "coalesce(r.tasks, 0)",
        origin_job = "t.origin_job",
        origin_local = "t.origin_local",
        created = "t.created",
        started = "coalesce(o.started, e.started, b.started)",
        ended = "e.ended",
        failure = "CASE WHEN e.state IN (4, 5) THEN e.outcome END",
        progress_done = "coalesce(o.progress_done, e.progress_done)",
        progress_total = "coalesce(o.progress_total, e.progress_total)",
        stalled =
            "EXISTS (SELECT FROM homing.open AS x WHERE x.job = t.job AND x.stalls > 0 AND x.state = 0)",
        done = "r.done || p.done",
        total = "r.total || p.total",
        members = sums!(),
    }
}

/// Of the waiting tasks of a job a page is asked how far they are, so that a wide tree costs no more.
const _: () = assert!(limits::PAGE == 1000);

/// Jobs with all that is shown of them. `$1` is the key of roots.
macro_rules! jobs {
    ($which:literal) => {
        concat!(
            "WITH running AS MATERIALIZED (
      SELECT job, count(*) AS tasks,
          array_agg(done) FILTER (WHERE total IS NOT NULL) AS done,
          array_agg(total) FILTER (WHERE total IS NOT NULL) AS total FROM (
        SELECT job, progress_done AS done, progress_total AS total FROM homing.open WHERE state = 1
        UNION ALL SELECT m.job, NULL, NULL FROM homing.bundles AS b ",
            members!(),
            " WHERE b.worker IS NOT NULL) AS one GROUP BY job)
  SELECT ",
            columns!(),
            "
  FROM homing.tasks AS t
    LEFT JOIN homing.open AS o ON o.job = t.job AND o.local = $1
    LEFT JOIN homing.ended AS e ON e.job = t.job AND e.local = $1
    LEFT JOIN homing.bundles AS b ON ",
            in_bundle!(),
            " LEFT JOIN running AS r ON r.job = t.job
    CROSS JOIN LATERAL ",
            sums_of!("s.job = t.job"),
            "
    CROSS JOIN LATERAL (SELECT count(*) AS tasks FROM homing.open AS w
      WHERE w.state = 2 AND w.job = t.job) AS w
    CROSS JOIN LATERAL (SELECT array_agg(one.done) FILTER (WHERE one.total IS NOT NULL) AS done,
        array_agg(one.total) FILTER (WHERE one.total IS NOT NULL) AS total
      FROM (SELECT w.progress_done AS done, w.progress_total AS total FROM homing.open AS w
        WHERE w.state = 2 AND w.job = t.job LIMIT 1000) AS one) AS p
  WHERE t.parent IS NULL AND t.local = $1 AND ",
            $which
        )
    };
}

const JOB: &str = jobs!("t.job = $2");

/// A page of a list, read in its order along an index. What a filter asks of the status is asked of the root's state
/// and the job's losses. The first condition leads into the index.
macro_rules! page {
    ($leads:literal, $order:literal) => {
        concat!(
            jobs!(""),
            $leads,
            " AND t.created >= $2 AND t.created < $3 AND (t.created, t.job) < ($4, $5)
    AND ($6::text IS NULL OR t.kind = $6) AND ($7::text IS NULL OR t.queue = $7)
    AND ($8::text IS NULL OR strpos(translate(coalesce(t.title, ''), 'ABCDEFGHIJKLMNOPQRSTUVWXYZ',
      'abcdefghijklmnopqrstuvwxyz'), $8) > 0)
    AND ($9::text IS NULL OR $9 = ANY (t.tags))
    AND ($10::smallint IS NULL
      OR coalesce(o.state, e.state, (b.worker IS NOT NULL)::integer::smallint) BETWEEN $10 AND $11::smallint)
    AND ($12::boolean IS NULL
      OR $12 = EXISTS (SELECT FROM homing.sets AS f WHERE f.job = t.job AND f.failed > 0))
    AND ($14::boolean IS NULL OR $14 = EXISTS (SELECT FROM homing.open AS x
      WHERE x.job = t.job AND x.stalls > 0 AND x.state = 0))
  ORDER BY ",
            $order,
            " LIMIT $13"
        )
    };
}

/// All jobs.
pub(in crate::store::postgres) const JOBS: &str = page!("true", "t.created DESC, t.job DESC");

/// Those of which the root failed or was cancelled.
pub(in crate::store::postgres) const FALLEN: &str = page!(
    "e.created IS NOT NULL AND e.state = $10 AND e.created >= $2 AND e.created < $3
      AND (e.created, e.job) < ($4, $5)",
    "e.created DESC, e.job DESC"
);

/// Those of a kind.
pub(in crate::store::postgres) const OF_KIND: &str =
    page!("t.kind = $6", "t.created DESC, t.job DESC");

/// The statement that reads past the fewest jobs.
fn listed(filter: &JobFilter) -> &'static str {
    match filter.status {
        Some(Status::Failed | Status::Cancelled) => FALLEN,
        _ if filter.kind.is_some() => OF_KIND,
        _ => JOBS,
    }
}

const LOG: &str = concat!(
    "SELECT ",
    line_columns!(),
    " FROM homing.logs WHERE job = $1 AND number > $2 ORDER BY number LIMIT $3"
);

/// By the task's part of the index on keys, which are not in their order there whatever the collation.
const FAILED_ATTEMPTS: &str = concat!(
    "SELECT ",
    line_columns!(),
    " FROM homing.logs
  WHERE job = $1 AND task = $2 AND starts_with(key, $3) ORDER BY number DESC LIMIT $4"
);

const LAST_LINE: &str = "SELECT coalesce(max(number), 0) FROM homing.logs WHERE job = $1";

impl Shared {
    pub(in crate::store::postgres) async fn job_view(&self, id: JobId) -> Result<Option<JobView>> {
        let rows = self.read(JOB, values![Local::ROOT, id]).await?;
        rows.first().map(job_view).transpose()
    }

    pub(in crate::store::postgres) async fn jobs(
        &self,
        filter: &JobFilter,
    ) -> Result<Vec<JobView>> {
        let (from, to, errors, stalled) = filter.asked_of_status();
        let highest = (Time::NEVER, JobId::from_bytes([0xff; 16]));
        let after = filter.after.unwrap_or(highest);
        let values = values![
            Local::ROOT,
            filter.since.unwrap_or(Time(i64::MIN)),
            filter.until.unwrap_or(Time::NEVER).min(Time(after.0.0.saturating_add(1))),
            after.0,
            after.1,
            filter.kind.as_deref(),
            filter.queue.as_deref(),
            filter.title.as_ref().map(|title| title.to_ascii_lowercase()),
            filter.tag.as_deref(),
            from,
            to,
            errors,
            limit(filter.rows()),
            stalled
        ];
        self.read(listed(filter), values).await?.iter().map(job_view).collect()
    }

    pub(in crate::store::postgres) async fn log(
        &self,
        job: JobId,
        after: u64,
        rows: usize,
    ) -> Result<Vec<Line>> {
        let lines = self.read(LOG, values![job, above(after), limit(rows)]).await?;
        lines.iter().map(|row| line(row, job)).collect()
    }

    pub(in crate::store::postgres) async fn failed_attempts(
        &self,
        task: TaskId,
        rows: usize,
    ) -> Result<Vec<Line>> {
        let values = values![task.job, task.local, ATTEMPT, limit(rows)];
        let lines = self.read(FAILED_ATTEMPTS, values).await?;
        lines.iter().rev().map(|row| line(row, task.job)).collect()
    }

    pub(in crate::store::postgres) async fn last_line(&self, job: JobId) -> Result<u64> {
        let rows = self.read(LAST_LINE, values![job]).await?;
        rows.first().map_or(Ok(0), |row| count(row, 0))
    }
}

fn line(row: &Row, job: JobId) -> Result<Line> {
    Ok(Line {
        number: count(row, line::number)?,
        time: row.try_get(line::time)?,
        level: Level::from_code(i64::from(row.try_get::<_, i16>(line::level)?)),
        task: TaskId { job, local: row.try_get(line::task)? },
        message: row.try_get(line::message)?,
    })
}

/// How far tasks are: what they have done, and of how much.
fn partly(row: &Row) -> Result<Partly> {
    let mut partly = Partly::default();
    let done: Option<Vec<i64>> = row.try_get(at::done)?;
    let total: Option<Vec<i64>> = row.try_get(at::total)?;
    let told = done.into_iter().flatten().zip(total.into_iter().flatten());
    told.for_each(|(done, total)| partly.add(Some((done as u64, total as u64))));
    Ok(partly)
}

fn job_view(row: &Row) -> Result<JobView> {
    let root: State = row.try_get(at::state)?;
    let members = child_counts(row, at::members)?;
    let mut counts = Counts {
        succeeded: members.succeeded,
        failed: members.failed,
        cancelled: members.cancelled,
        ..Counts::default()
    };
    match root {
        State::Succeeded => counts.succeeded += 1,
        State::Failed => counts.failed += 1,
        State::Cancelled => counts.cancelled += 1,
        State::Pending | State::Running | State::Waiting => {}
    }
    let open = (members.spawned + 1).saturating_sub(counts.ended());
    counts.waiting = count(row, at::waiting)?.min(open);
    counts.running = count(row, at::running)?.min(open);
    counts.pending = open.saturating_sub(counts.waiting + counts.running);
    let origin: Option<JobId> = row.try_get(at::origin_job)?;
    let failure: Option<&str> = row.try_get(at::failure)?;
    let told = progress(row, (at::progress_done, at::progress_total))?;
    let partly = partly(row)?;
    let (id, kind): (JobId, String) = (row.try_get(at::job)?, row.try_get(at::kind)?);
    Ok(JobView {
        id,
        title: row.try_get(at::title)?,
        key: row.try_get(at::key)?,
        tags: row.try_get(at::tags)?,
        queue: row.try_get(at::queue)?,
        status: Status::of(root, row.try_get(at::errors)?, row.try_get(at::stalled)?),
        progress: read::progress(root, told, &counts, partly),
        told: told.is_some(),
        counts,
        origin: match origin {
            Some(job) => Some(TaskId { job, local: row.try_get(at::origin_local)? }),
            None => None,
        },
        created: row.try_get(at::created)?,
        started: row.try_get(at::started)?,
        ended: row.try_get(at::ended)?,
        failure: failure.map(|text| read::failure(text, &kind, id.root(), 0)),
        kind,
    })
}
