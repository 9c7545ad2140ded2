//! What people watch.
//!
//! The counts of a job come from the counts of its sets and from the rows of open tasks: a job of a
//! million ended tasks is as quick to show as one of ten.

use tokio_postgres::Row;

use super::Shared;
use crate::core::id::{JobId, Local, TaskId};
use crate::core::log::{ATTEMPT, Level, Line};
use crate::core::parameter::Parameter;
use crate::core::state::State;
use crate::core::time::Time;
use crate::limits;
use crate::store::postgres::link::fault::Result;
use crate::store::postgres::link::pipeline::{arrays, values};
use crate::store::postgres::transaction::bundle::{bundled_state, in_bundle, members};
use crate::store::postgres::transaction::columns::{above, count, limit, progress, small, task_id};
use crate::store::postgres::transaction::task::decode;
use crate::store::read::Partly;
use crate::store::read::{
    self, ChildCounts, Counts, JobFilter, JobView, KindView, QueueView, Settled, Status, TaskView,
    WorkerView,
};

/// Each by its key, in the order asked for.
const TASKS: &str = concat!(
    "SELECT t.parent, t.\"set\", t.number, t.kind, t.arguments, t.queue, t.priority,
    coalesce(o.state, e.state, ",
    bundled_state!(),
    "), coalesce(o.attempt, e.attempt, 1), coalesce(o.failures, e.failures, 0),
    coalesce(o.crashes, e.crashes, 0), coalesce(o.due, e.due, b.due), t.created,
    coalesce(o.started, e.started, b.started), e.ended, coalesce(o.worker, b.worker), o.waits,
    coalesce(o.reason, e.reason), e.outcome, coalesce(o.progress_done, e.progress_done),
    coalesce(o.progress_total, e.progress_total), coalesce(o.stalls, e.stalls, 0),
    coalesce(o.expires, e.expires),
    coalesce(o.deadline, e.deadline), c.spawned, c.succeeded, c.failed, c.cancelled, t.job, t.local,
    coalesce(t.tags, '{}')
  FROM unnest($1::uuid[], $2::uuid[]) WITH ORDINALITY AS asked (job, local, turn)
    JOIN homing.tasks AS t USING (job, local)
    LEFT JOIN homing.open AS o USING (job, local) LEFT JOIN homing.ended AS e USING (job, local)
    LEFT JOIN homing.bundles AS b ON ",
    in_bundle!(),
    " CROSS JOIN LATERAL (SELECT coalesce(sum(spawned), 0)::bigint AS spawned,
        coalesce(sum(succeeded), 0)::bigint AS succeeded, coalesce(sum(failed), 0)::bigint AS failed,
        coalesce(sum(cancelled + aborted), 0)::bigint AS cancelled
      FROM homing.sets AS s WHERE s.job = t.job AND s.task = t.local) AS c
  ORDER BY asked.turn"
);

/// Roots that are past their expiries or deadlines.
const OVERDUE: &str = concat!(
    "SELECT j.job FROM unnest($2::uuid[]) AS j (job) CROSS JOIN LATERAL (
    SELECT FROM homing.open AS o
      WHERE o.job = j.job AND o.local = '00000000-0000-0000-0000-000000000000' AND (o.deadline <= ",
    super::now!(),
    " OR (o.state = 0 AND o.started IS NULL AND o.expires <= ",
    super::now!(),
    ")) OFFSET 0) AS o"
);

/// Each by its key. A root has one row of the two, or is in a bundle; none of them is no job.
const OUTCOMES: &str = concat!(
    "SELECT asked.job, one.state, CASE WHEN coalesce(sum(octet_length(one.outcome))
      OVER (ORDER BY asked.turn ROWS BETWEEN UNBOUNDED PRECEDING AND 1 PRECEDING), 0) < $3
    THEN one.outcome END
  FROM unnest($1::uuid[]) WITH ORDINALITY AS asked (job, turn)
    CROSS JOIN LATERAL (
      SELECT o.state, NULL AS outcome FROM homing.open AS o
        WHERE o.job = asked.job AND o.local = $2
      UNION ALL SELECT e.state, e.outcome FROM homing.ended AS e
        WHERE e.job = asked.job AND e.local = $2
      UNION ALL SELECT ",
    bundled_state!(),
    ", NULL FROM homing.tasks AS t JOIN homing.bundles AS b ON ",
    in_bundle!(),
    " WHERE t.job = asked.job AND t.local = $2 OFFSET 0) AS one
  ORDER BY asked.turn"
);

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
  SELECT t.job, t.kind, t.title, t.key, coalesce(t.tags, '{}'), t.queue, coalesce(o.state, e.state, ",
            bundled_state!(),
            "),
    EXISTS (SELECT FROM homing.sets AS f WHERE f.job = t.job AND f.failed > 0),
    s.spawned, s.succeeded, s.failed, s.cancelled, w.tasks, coalesce(r.tasks, 0),
    t.origin_job, t.origin_local, t.created, coalesce(o.started, e.started, b.started), e.ended,
    CASE WHEN e.state IN (4, 5) THEN e.outcome END,
    coalesce(o.progress_done, e.progress_done), coalesce(o.progress_total, e.progress_total),
    EXISTS (SELECT FROM homing.open AS x WHERE x.job = t.job AND x.stalls > 0 AND x.state = 0),
    r.done || p.done, r.total || p.total
  FROM homing.tasks AS t
    LEFT JOIN homing.open AS o ON o.job = t.job AND o.local = $1
    LEFT JOIN homing.ended AS e ON e.job = t.job AND e.local = $1
    LEFT JOIN homing.bundles AS b ON ",
            in_bundle!(),
            " LEFT JOIN running AS r ON r.job = t.job
    CROSS JOIN LATERAL (SELECT coalesce(sum(spawned), 0)::bigint AS spawned,
        coalesce(sum(succeeded), 0)::bigint AS succeeded, coalesce(sum(failed), 0)::bigint AS failed,
        coalesce(sum(cancelled + aborted), 0)::bigint AS cancelled
      FROM homing.sets AS s WHERE s.job = t.job) AS s
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

/// A page of a list. What a filter asks of the status is asked of the root's state and the job's losses.
pub(super) const JOBS: &str = jobs!(
    "t.created >= $2 AND t.created < $3 AND (t.created, t.job) < ($4, $5)
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
  ORDER BY t.created DESC, t.job DESC LIMIT $13"
);

const LOG: &str = "SELECT number, time, level, task, message FROM homing.logs
  WHERE job = $1 AND number > $2 ORDER BY number LIMIT $3";

const QUEUES: &str = concat!(
    "WITH clock AS MATERIALIZED (SELECT ",
    super::now!(),
    " AS now)
  SELECT coalesce(q.queue, p.queue) COLLATE \"C\" AS name, coalesce(q.ready, 0),
    coalesce(q.scheduled, 0), q.oldest, p.queue IS NOT NULL, coalesce(q.stalled, 0)
  FROM (SELECT o.queue, count(*) FILTER (WHERE o.due <= c.now) AS ready,
      count(*) FILTER (WHERE o.due > c.now) AS scheduled,
      min(o.due) FILTER (WHERE o.due <= c.now) AS oldest,
      count(*) FILTER (WHERE o.stalls > 0) AS stalled
    FROM (SELECT queue, due, stalls FROM homing.open WHERE state = 0
        UNION ALL SELECT b.queue, b.due, 0 FROM homing.bundles AS b ",
    members!(),
    " WHERE b.worker IS NULL) AS o
      CROSS JOIN clock AS c GROUP BY o.queue) AS q
    FULL JOIN homing.paused AS p ON p.queue = q.queue
  ORDER BY name"
);

const WORKERS: &str = concat!(
    "SELECT id, name, kinds, queues, slots,
    ((SELECT count(*) FROM homing.open AS o WHERE o.state = 1 AND o.worker = w.id)
      + (SELECT coalesce(sum(b.here), 0) FROM homing.bundles AS b WHERE b.worker = w.id))::integer, resident,
    started, heartbeat, ended, heartbeat + lease >= ",
    super::now!(),
    " AND id <> ALL ($2::uuid[])
  FROM homing.workers AS w ORDER BY id"
);

/// From each pair to the next along the index; bundles are few. In the order of bytes only at the end: the
/// index has another where the database's collation has.
const PENDING_KINDS: &str = "WITH RECURSIVE pair AS (
    (SELECT queue, kind FROM homing.open WHERE state = 0 AND crashes = 0 AND NOT at_once ORDER BY queue, kind LIMIT 1)
    UNION ALL SELECT n.queue, n.kind FROM pair CROSS JOIN LATERAL (
      SELECT queue, kind FROM homing.open
      WHERE state = 0 AND crashes = 0 AND NOT at_once AND (queue, kind) > (pair.queue, pair.kind)
      ORDER BY queue, kind LIMIT 1) AS n)
  SELECT queue COLLATE \"C\" AS queue, kind COLLATE \"C\" AS kind FROM pair
  UNION SELECT queue COLLATE \"C\", kind COLLATE \"C\" FROM homing.bundles WHERE worker IS NULL
  UNION SELECT queue COLLATE \"C\", kind COLLATE \"C\" FROM homing.open
    WHERE state = 0 AND (crashes > 0 OR at_once) AND crashes < 2
  ORDER BY queue, kind LIMIT $1";

/// Open children in a state. A job's open rows are neighbours.
const OPEN_CHILDREN: &str = concat!(
    "(SELECT local FROM homing.open WHERE job = $1 AND parent = $2 AND state = $3 LIMIT $4)
  UNION ALL (SELECT m.local FROM homing.bundles AS b ",
    members!(),
    " WHERE b.job = $1 AND b.parent = $2 AND (b.worker IS NOT NULL)::integer = $3 LIMIT $4) LIMIT $4"
);

/// Ended children in a state, set by set.
const ENDED_CHILDREN: &str = "SELECT e.local FROM homing.sets AS s CROSS JOIN LATERAL (
    SELECT e.local FROM homing.ended AS e
      WHERE e.job = s.job AND e.\"set\" = s.\"set\" AND e.state = $3 AND e.\"end\" IS NOT NULL
      LIMIT $4) AS e
  WHERE s.job = $1 AND s.task = $2 LIMIT $4";

/// Those that failed or were cancelled: an index holds nothing else.
const FALLEN_CHILDREN: &str = "SELECT e.local FROM homing.sets AS s CROSS JOIN LATERAL (
    SELECT e.local FROM homing.ended AS e
      WHERE e.job = s.job AND e.\"set\" = s.\"set\" AND e.state = $3 AND e.state >= 4
        AND e.\"set\" IS NOT NULL
      LIMIT $4) AS e
  WHERE s.job = $1 AND s.task = $2 LIMIT $4";

/// By the task's part of the index on keys, which are not in their order there whatever the collation.
const FAILED_ATTEMPTS: &str = "SELECT number, time, level, task, message FROM homing.logs
  WHERE job = $1 AND task = $2 AND starts_with(key, $3) ORDER BY number DESC LIMIT $4";

const LAST_LINE: &str = "SELECT coalesce(max(number), 0) FROM homing.logs WHERE job = $1";

const KINDS: &str = "SELECT name, arguments FROM homing.kinds ORDER BY name COLLATE \"C\"";

const HOLDER: &str = "SELECT job FROM homing.keys WHERE key = $1";

impl Shared {
    pub(super) async fn task_view(&self, id: TaskId) -> Result<Option<TaskView>> {
        Ok(self.task_views(&[id]).await?.into_iter().next())
    }

    pub(super) async fn task_views(&self, tasks: &[TaskId]) -> Result<Vec<TaskView>> {
        let rows = self.read(TASKS, arrays!(tasks, task => task.job, task.local)).await?;
        rows.iter().map(|row| task_view(row, task_id(row, 28)?)).collect()
    }

    pub(super) async fn overdue(&self, jobs: &[JobId]) -> Result<Vec<JobId>> {
        let rows = self.read(OVERDUE, values![self.manual_now(), jobs.to_vec()]).await?;
        rows.iter().map(|row| Ok(row.try_get(0)?)).collect()
    }

    pub(super) async fn outcomes(&self, jobs: &[JobId]) -> Result<Vec<(JobId, Settled)>> {
        let rows = self
            .read(OUTCOMES, values![jobs.to_vec(), Local::ROOT, limit(limits::PAGE_BYTES)])
            .await?;
        let settled = |row: &Row| {
            Ok((row.try_get(0)?, Settled { state: row.try_get(1)?, outcome: row.try_get(2)? }))
        };
        rows.iter().map(settled).collect()
    }

    pub(super) async fn job_view(&self, id: JobId) -> Result<Option<JobView>> {
        let rows = self.read(JOB, values![Local::ROOT, id]).await?;
        rows.first().map(job_view).transpose()
    }

    pub(super) async fn jobs(&self, filter: &JobFilter) -> Result<Vec<JobView>> {
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
        self.read(JOBS, values).await?.iter().map(job_view).collect()
    }

    pub(super) async fn log(&self, job: JobId, after: u64, rows: usize) -> Result<Vec<Line>> {
        let lines = self.read(LOG, values![job, above(after), limit(rows)]).await?;
        lines.iter().map(|row| line(row, job)).collect()
    }

    pub(super) async fn failed_attempts(&self, task: TaskId, rows: usize) -> Result<Vec<Line>> {
        let values = values![task.job, task.local, ATTEMPT, limit(rows)];
        let lines = self.read(FAILED_ATTEMPTS, values).await?;
        lines.iter().rev().map(|row| line(row, task.job)).collect()
    }

    pub(super) async fn last_line(&self, job: JobId) -> Result<u64> {
        let rows = self.read(LAST_LINE, values![job]).await?;
        rows.first().map_or(Ok(0), |row| count(row, 0))
    }

    pub(super) async fn children_in(
        &self,
        task: TaskId,
        state: State,
        rows: usize,
    ) -> Result<Vec<TaskId>> {
        let sql = match state {
            State::Pending | State::Running | State::Waiting => OPEN_CHILDREN,
            State::Succeeded => ENDED_CHILDREN,
            State::Failed | State::Cancelled => FALLEN_CHILDREN,
        };
        let rows = self.read(sql, values![task.job, task.local, state, limit(rows)]).await?;
        rows.iter().map(|row| Ok(TaskId { job: task.job, local: row.try_get(0)? })).collect()
    }

    pub(super) async fn queues(&self) -> Result<Vec<QueueView>> {
        let rows = self.read(QUEUES, values![self.manual_now()]).await?;
        let view = |row: &Row| {
            Ok(QueueView {
                name: row.try_get(0)?,
                ready: count(row, 1)?,
                scheduled: count(row, 2)?,
                oldest: row.try_get(3)?,
                paused: row.try_get(4)?,
                stalled: count(row, 5)?,
            })
        };
        rows.iter().map(view).collect()
    }

    pub(super) async fn pending_kinds(&self) -> Result<Vec<(String, String)>> {
        let rows = self.read(PENDING_KINDS, values![limit(limits::PAGE)]).await?;
        rows.iter().map(|row| Ok((row.try_get(0)?, row.try_get(1)?))).collect()
    }

    pub(super) async fn workers(&self) -> Result<Vec<WorkerView>> {
        let rows = self.read(WORKERS, values![self.manual_now(), self.killed()]).await?;
        let view = |row: &Row| {
            Ok(WorkerView {
                id: row.try_get(0)?,
                name: row.try_get(1)?,
                kinds: row.try_get(2)?,
                queues: row.try_get(3)?,
                slots: small(row, 4)?,
                running: small(row, 5)?,
                resident: small(row, 6)?,
                started: row.try_get(7)?,
                heartbeat: row.try_get(8)?,
                ended: count(row, 9)?,
                alive: row.try_get(10)?,
            })
        };
        rows.iter().map(view).collect()
    }

    pub(super) async fn kinds(&self) -> Result<Vec<KindView>> {
        let rows = self.read(KINDS, values![]).await?;
        let view = |row: &Row| {
            let arguments: Vec<&str> = row.try_get(1)?;
            let arguments = arguments.into_iter().map(Parameter::from_text).collect();
            Ok(KindView { name: row.try_get(0)?, arguments })
        };
        rows.iter().map(view).collect()
    }

    pub(super) async fn holder(&self, key: &str) -> Result<Option<JobId>> {
        let rows = self.read(HOLDER, values![key]).await?;
        Ok(rows.first().map(|row| row.try_get(0)).transpose()?)
    }
}

fn line(row: &Row, job: JobId) -> Result<Line> {
    Ok(Line {
        number: count(row, 0)?,
        time: row.try_get(1)?,
        level: Level::from_code(i64::from(row.try_get::<_, i16>(2)?)),
        task: TaskId { job, local: row.try_get(3)? },
        message: row.try_get(4)?,
    })
}

fn task_view(row: &Row, id: TaskId) -> Result<TaskView> {
    let parent: Option<Local> = row.try_get(0)?;
    let number: Option<i64> = row.try_get(2)?;
    let state: State = row.try_get(7)?;
    let outcome: Option<String> = row.try_get(18)?;
    let (value, failure) = match state {
        State::Succeeded => (outcome, None),
        _ => (None, outcome),
    };
    let (kind, attempt): (String, u32) = (row.try_get(3)?, small(row, 8)?);
    let failure = failure.map(|text| read::failure(&text, &kind, id, attempt));
    let (mut waits, mut reason) = (Vec::new(), row.try_get(17)?);
    if state == State::Waiting {
        match decode(row.try_get(16)?) {
            Ok(decoded) => waits = decoded,
            Err(fault) => reason = Some(read::unreadable_text(id, &fault.to_string())),
        }
    }
    Ok(TaskView {
        id,
        parent: parent.map(|local| TaskId { job: id.job, local }),
        set: row.try_get::<_, Option<Local>>(1)?.zip(number.map(|number| number as u32)),
        kind,
        arguments: row.try_get(4)?,
        queue: row.try_get(5)?,
        priority: row.try_get(6)?,
        state,
        attempt,
        failures: small(row, 9)?,
        crashes: small(row, 10)?,
        due: row.try_get(11)?,
        created: row.try_get(12)?,
        started: row.try_get(13)?,
        ended: row.try_get(14)?,
        worker: row.try_get(15)?,
        waits,
        reason,
        value,
        failure,
        progress: progress(row, (19, 20))?,
        stalls: small(row, 21)?,
        expires: row.try_get(22)?,
        deadline: row.try_get(23)?,
        tags: row.try_get(30)?,
        children: ChildCounts {
            spawned: count(row, 24)?,
            succeeded: count(row, 25)?,
            failed: count(row, 26)?,
            cancelled: count(row, 27)?,
        },
    })
}

/// How far tasks are: what they have done, and of how much.
fn partly(row: &Row, column: usize) -> Result<Partly> {
    let mut partly = Partly::default();
    let done: Option<Vec<i64>> = row.try_get(column)?;
    let total: Option<Vec<i64>> = row.try_get(column + 1)?;
    let told = done.into_iter().flatten().zip(total.into_iter().flatten());
    told.for_each(|(done, total)| partly.add(Some((done as u64, total as u64))));
    Ok(partly)
}

fn job_view(row: &Row) -> Result<JobView> {
    let root: State = row.try_get(6)?;
    let mut counts = Counts {
        succeeded: count(row, 9)?,
        failed: count(row, 10)?,
        cancelled: count(row, 11)?,
        ..Counts::default()
    };
    match root {
        State::Succeeded => counts.succeeded += 1,
        State::Failed => counts.failed += 1,
        State::Cancelled => counts.cancelled += 1,
        State::Pending | State::Running | State::Waiting => {}
    }
    let open = (count(row, 8)? + 1).saturating_sub(counts.ended());
    (counts.waiting, counts.running) = (count(row, 12)?.min(open), count(row, 13)?.min(open));
    counts.pending = open.saturating_sub(counts.waiting + counts.running);
    let origin: Option<JobId> = row.try_get(14)?;
    let failure: Option<&str> = row.try_get(19)?;
    let told = progress(row, (20, 21))?;
    let partly = partly(row, 23)?;
    let (id, kind): (JobId, String) = (row.try_get(0)?, row.try_get(1)?);
    Ok(JobView {
        id,
        title: row.try_get(2)?,
        key: row.try_get(3)?,
        tags: row.try_get(4)?,
        queue: row.try_get(5)?,
        status: Status::of(root, row.try_get(7)?, row.try_get(22)?),
        progress: crate::store::read::progress(root, told, &counts, partly),
        told: told.is_some(),
        counts,
        origin: match origin {
            Some(_) => Some(task_id(row, 14)?),
            None => None,
        },
        created: row.try_get(16)?,
        started: row.try_get(17)?,
        ended: row.try_get(18)?,
        failure: failure.map(|text| read::failure(text, &kind, id.root(), 0)),
        kind,
    })
}
