//! Tasks as people see them, and how jobs stand that are waited for.

use tokio_postgres::Row;

use super::super::Shared;
use super::child_counts;
use crate::core::id::{JobId, Local, TaskId};
use crate::core::state::State;
use crate::limits;
use crate::store::postgres::link::fault::Result;
use crate::store::postgres::link::pipeline::{arrays, values};
use crate::store::postgres::now;
use crate::store::postgres::transaction::bundle::{bundled_state, in_bundle, members};
use crate::store::postgres::transaction::columns::{limit, progress, small};
use crate::store::postgres::transaction::task::decode;
use crate::store::read::{self, Settled, TaskView};

by_name! {
    columns at {
        job = "t.job",
        local = "t.local",
        parent = "t.parent",
        set = "t.\"set\"",
        number = "t.number",
        kind = "t.kind",
        arguments = "t.arguments",
        queue = "t.queue",
        priority = "t.priority",
        state = concat!("coalesce(o.state, e.state, ", bundled_state!(), ")"),
        attempt = "coalesce(o.attempt, e.attempt, 1)",
        failures = "coalesce(o.failures, e.failures, 0)",
        crashes = "coalesce(o.crashes, e.crashes, 0)",
        due = "coalesce(o.due, e.due, b.due)",
        created = "t.created",
        started = "coalesce(o.started, e.started, b.started)",
        ended = "e.ended",
        worker = "coalesce(o.worker, b.worker)",
        waits = "o.waits",
        reason = "coalesce(o.reason, e.reason)",
        outcome = "e.outcome",
        progress_done = "coalesce(o.progress_done, e.progress_done)",
        progress_total = "coalesce(o.progress_total, e.progress_total)",
        stalls = "coalesce(o.stalls, e.stalls, 0)",
        expires = "coalesce(o.expires, e.expires)",
        deadline = "coalesce(o.deadline, e.deadline)",
        tags = "coalesce(t.tags, '{}')",
        children = sums!(),
    }
}

/// Each by its key, in the order asked for.
const TASKS: &str = concat!(
    "SELECT ",
    columns!(),
    "  FROM unnest($1::uuid[], $2::uuid[]) WITH ORDINALITY AS asked (job, local, turn)
    JOIN homing.tasks AS t USING (job, local)
    LEFT JOIN homing.open AS o USING (job, local) LEFT JOIN homing.ended AS e USING (job, local)
    LEFT JOIN homing.bundles AS b ON ",
    in_bundle!(),
    " CROSS JOIN LATERAL ",
    sums_of!("s.job = t.job AND s.task = t.local"),
    "
  ORDER BY asked.turn"
);

/// Roots that are past their expiries or deadlines.
const OVERDUE: &str = concat!(
    "SELECT j.job FROM unnest($2::uuid[]) AS j (job) CROSS JOIN LATERAL (
    SELECT FROM homing.open AS o
      WHERE o.job = j.job AND o.local = '00000000-0000-0000-0000-000000000000' AND (o.deadline <= ",
    now!(),
    " OR (o.state = 0 AND o.started IS NULL AND o.expires <= ",
    now!(),
    ")) OFFSET 0) AS o"
);

by_name! {
    outcome_columns settled {
        job = "asked.job",
        state = "one.state",
        outcome = "CASE WHEN coalesce(sum(octet_length(one.outcome))
      OVER (ORDER BY asked.turn ROWS BETWEEN UNBOUNDED PRECEDING AND 1 PRECEDING), 0) < $3
    THEN one.outcome END",
    }
}

/// Each by its key. A root has one row of the two, or is in a bundle; none of them is no job.
const OUTCOMES: &str = concat!(
    "SELECT ",
    outcome_columns!(),
    "
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

impl Shared {
    pub(in crate::store::postgres) async fn task_view(
        &self,
        id: TaskId,
    ) -> Result<Option<TaskView>> {
        Ok(self.task_views(&[id]).await?.into_iter().next())
    }

    pub(in crate::store::postgres) async fn task_views(
        &self,
        tasks: &[TaskId],
    ) -> Result<Vec<TaskView>> {
        let rows = self.read(TASKS, arrays!(tasks, task => task.job, task.local)).await?;
        rows.iter().map(task_view).collect()
    }

    pub(in crate::store::postgres) async fn overdue(&self, jobs: &[JobId]) -> Result<Vec<JobId>> {
        let rows = self.read(OVERDUE, values![self.manual_now(), jobs.to_vec()]).await?;
        rows.iter().map(|row| Ok(row.try_get(0)?)).collect()
    }

    pub(in crate::store::postgres) async fn outcomes(
        &self,
        jobs: &[JobId],
    ) -> Result<Vec<(JobId, Settled)>> {
        let rows = self
            .read(OUTCOMES, values![jobs.to_vec(), Local::ROOT, limit(limits::PAGE_BYTES)])
            .await?;
        let settled = |row: &Row| {
            let state = row.try_get(settled::state)?;
            let outcome = row.try_get(settled::outcome)?;
            Ok((row.try_get(settled::job)?, Settled { state, outcome }))
        };
        rows.iter().map(settled).collect()
    }

    pub(in crate::store::postgres) async fn children_in(
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
}

fn task_view(row: &Row) -> Result<TaskView> {
    let id = TaskId { job: row.try_get(at::job)?, local: row.try_get(at::local)? };
    let parent: Option<Local> = row.try_get(at::parent)?;
    let number: Option<i64> = row.try_get(at::number)?;
    let state: State = row.try_get(at::state)?;
    let outcome: Option<String> = row.try_get(at::outcome)?;
    let (value, failure) = match state {
        State::Succeeded => (outcome, None),
        State::Failed | State::Cancelled => (None, outcome),
        State::Pending | State::Running | State::Waiting => (None, None),
    };
    let (kind, attempt): (String, u32) = (row.try_get(at::kind)?, small(row, at::attempt)?);
    let failure = failure.map(|text| read::failure(&text, &kind, id, attempt));
    let (mut waits, mut reason) = (Vec::new(), row.try_get(at::reason)?);
    if state == State::Waiting {
        match decode(row.try_get(at::waits)?) {
            Ok(decoded) => waits = decoded,
            Err(fault) => reason = Some(read::unreadable_text(id, &fault.to_string())),
        }
    }
    Ok(TaskView {
        id,
        parent: parent.map(|local| TaskId { job: id.job, local }),
        set: row.try_get::<_, Option<Local>>(at::set)?.zip(number.map(|number| number as u32)),
        kind,
        arguments: row.try_get(at::arguments)?,
        queue: row.try_get(at::queue)?,
        priority: row.try_get(at::priority)?,
        state,
        attempt,
        failures: small(row, at::failures)?,
        crashes: small(row, at::crashes)?,
        due: row.try_get(at::due)?,
        created: row.try_get(at::created)?,
        started: row.try_get(at::started)?,
        ended: row.try_get(at::ended)?,
        worker: row.try_get(at::worker)?,
        waits,
        reason,
        value,
        failure,
        progress: progress(row, (at::progress_done, at::progress_total))?,
        stalls: small(row, at::stalls)?,
        expires: row.try_get(at::expires)?,
        deadline: row.try_get(at::deadline)?,
        tags: row.try_get(at::tags)?,
        children: child_counts(row, at::children)?,
    })
}
