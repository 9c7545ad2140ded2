//! `retry`: a failed job goes on, and only what failed runs again.
//!
//! The row of its root is locked from beginning to end, so that two retries, or a retry and a prune, follow
//! each other. The tree is walked down level by level.

use std::time::Duration;

use super::Shared;
use super::cancel::CLOCK;
use super::columns::task_id;
use super::fault::{Fault, Result};
use super::pipeline::{Session, Step, arrays, values};
use super::scene::Effects;
use super::task::ids;
use crate::clock::Time;
use crate::id::{JobId, Local, TaskId};
use crate::state::State;
use crate::store::{CancelledBy, Cause};

const HOLD: &str = "SELECT coalesce(pruning, false) FROM homing.tasks
  WHERE job = $1 AND local = $2 FOR NO KEY UPDATE";

/// After the lock. No row: the root is open.
const ROOT: &str =
    "SELECT e.state, t.key, EXISTS (SELECT FROM homing.cascades AS c WHERE c.job = t.job)
  FROM homing.tasks AS t LEFT JOIN homing.ended AS e USING (job, local)
  WHERE t.job = $1 AND t.local = $2";

const CAUSES: &str = "SELECT e.job, e.local, e.cause
  FROM unnest($1::uuid[], $2::uuid[]) AS r (job, local) JOIN homing.ended AS e USING (job, local)
  WHERE e.cause IS NOT NULL";

/// The answer that brought a task down, and what was recorded on its account.
const FORGET: &str = "DELETE FROM homing.records AS r
  USING unnest($1::uuid[], $2::uuid[], $3::text[]) AS c (job, task, place)
  WHERE r.job = c.job AND r.task = c.task AND (r.place = c.place
    OR starts_with(r.place, c.place || '/') OR starts_with(r.entry, '{\"returned\":'))";

const FALLEN: &str = "SELECT e.job, e.local, s.task, e.\"set\", e.state, e.cancelled_by
  FROM unnest($1::uuid[], $2::uuid[]) AS r (job, task) JOIN homing.sets AS s USING (job, task)
    JOIN homing.ended AS e ON e.job = s.job AND e.\"set\" = s.\"set\" AND e.\"end\" IS NOT NULL
  WHERE s.failed + s.cancelled + s.aborted > 0 AND e.state IN (4, 5)";

const REOPEN: &str = "INSERT INTO homing.open (job, local, parent, \"set\", depth, state, priority,
    attempt, failures, crashes, stalls, lines, due, started, dropped, progress_done, progress_total,
    signalled, queue, kind, key, reason)
  SELECT t.job, t.local, t.parent, t.\"set\", t.depth, 0, t.priority, e.attempt + 1, 0, 0, 0, e.lines,
    $3, e.started, e.dropped, e.progress_done, e.progress_total, false, t.queue, t.kind, t.key, e.reason
  FROM unnest($1::uuid[], $2::uuid[]) AS r (job, local)
    JOIN homing.tasks AS t USING (job, local) JOIN homing.ended AS e USING (job, local)";

const UNEND: &str =
    "DELETE FROM homing.ended AS e USING unnest($1::uuid[], $2::uuid[]) AS r (job, local)
  WHERE e.job = r.job AND e.local = r.local";

/// After the rows are gone: the highest number that is left.
const UNCOUNT: &str = "UPDATE homing.sets AS s SET failed = greatest(s.failed - u.failed, 0),
    cancelled = greatest(s.cancelled - u.cancelled, 0), aborted = greatest(s.aborted - u.aborted, 0),
    last_end = coalesce((SELECT max(e.\"end\") FROM homing.ended AS e
      WHERE e.job = s.job AND e.\"set\" = s.\"set\" AND e.\"end\" IS NOT NULL), 0)
  FROM (SELECT job, task, \"set\", sum(failed) AS failed, sum(cancelled) AS cancelled,
      sum(aborted) AS aborted
    FROM unnest($1::uuid[], $2::uuid[], $3::uuid[], $4::bigint[], $5::bigint[], $6::bigint[])
      AS u (job, task, \"set\", failed, cancelled, aborted) GROUP BY job, task, \"set\") AS u
  WHERE s.job = u.job AND s.task = u.task AND s.\"set\" = u.\"set\"";

/// Unless another open job has it by now.
const TAKE_KEY: &str = "INSERT INTO homing.keys (key, job) VALUES ($1, $2) ON CONFLICT DO NOTHING";

/// Between two looks at cancellations that another process carries down.
const SETTLING: Duration = Duration::from_millis(5);

/// A child that is reopened.
struct Fallen {
    id: TaskId,
    parent: Local,
    set: Local,
    state: State,
    by: Option<CancelledBy>,
}

impl Fallen {
    fn of(row: &tokio_postgres::Row) -> Result<Self> {
        Ok(Self {
            id: task_id(row, 0)?,
            parent: row.try_get(2)?,
            set: row.try_get(3)?,
            state: row.try_get(4)?,
            by: row.try_get(5)?,
        })
    }

    /// Whether the retry of its parent, which this brought down, reopens it.
    fn goes_on(&self, cause: Option<&Cause>) -> bool {
        let named = cause.is_some_and(|cause| {
            cause.set == self.set && cause.child.is_none_or(|child| child == self.id.local)
        });
        match (self.state, self.by) {
            (State::Cancelled, Some(CancelledBy::Parent)) => true,
            (State::Failed, _)
            | (State::Cancelled, Some(CancelledBy::Policy | CancelledBy::User)) => named,
            _ => false,
        }
    }

    /// What it counts as: failed, cancelled, aborted.
    fn counts(&self) -> [i64; 3] {
        match self.state {
            State::Failed => [1, 0, 0],
            _ if self.by.is_some_and(CancelledBy::is_parent) => [0, 0, 1],
            _ => [0, 1, 0],
        }
    }
}

/// What became of an attempt to retry.
enum Retried {
    Done(bool),
    Unknown,
    /// Cancellations are on their way down: they would hit what is reopened.
    Settling,
}

impl Shared {
    /// `None` if the job is unknown.
    pub(super) async fn retry(&self, job: JobId) -> Result<Option<bool>> {
        loop {
            match self.transaction(async |session| self.try_retry(session, job).await).await? {
                Retried::Done(done) => {
                    if done {
                        self.tell(Effects::ready());
                    }
                    return Ok(Some(done));
                }
                Retried::Unknown => return Ok(None),
                Retried::Settling => {
                    if !self.cascade().await? {
                        // It is done, or another process is at it.
                        tokio::time::sleep(SETTLING).await;
                    }
                }
            }
        }
    }

    async fn try_retry(&self, session: &Session<'_>, job: JobId) -> Result<Retried> {
        let answers = session
            .run(vec![
                Step::begin(),
                Step::new(HOLD, values![job, Local::ROOT]),
                Step::new(ROOT, values![job, Local::ROOT]),
                Step::new(CLOCK, values![self.manual_now()]),
            ])
            .await?;
        let decided = match (answers[1].first(), answers[2].first()) {
            (Some(held), Some(root)) => {
                let state: Option<State> = root.try_get(0)?;
                let fell = matches!(state, Some(State::Failed | State::Cancelled));
                if !fell || held.try_get(0)? {
                    Some(Retried::Done(false))
                } else if root.try_get(2)? {
                    Some(Retried::Settling)
                } else {
                    None
                }
            }
            _ => Some(Retried::Unknown),
        };
        if let Some(decided) = decided {
            session.roll_back().await;
            return Ok(decided);
        }
        let now: Time = answers[3].first().map_or(Ok(Time(0)), |row| row.try_get(0))?;
        let mut level = vec![job.root()];
        while !level.is_empty() {
            level = reopen(session, &level, now).await?;
        }
        let mut last = Vec::new();
        if let Some(key) =
            answers[2].first().map_or(Ok(None), |row| row.try_get::<_, Option<String>>(1))?
        {
            last.push(Step::new(TAKE_KEY, values![key, job]));
        }
        super::applied("retry");
        last.push(Step::plain("COMMIT"));
        session.run(last).await?;
        Ok(Retried::Done(true))
    }
}

/// Reopens tasks, and returns those of their children that are to be reopened too.
async fn reopen(session: &Session<'_>, tasks: &[TaskId], now: Time) -> Result<Vec<TaskId>> {
    let (jobs, locals) = ids(tasks);
    let read = || values![jobs.clone(), locals.clone()];
    let answers = session.run(vec![Step::new(CAUSES, read()), Step::new(FALLEN, read())]).await?;
    let mut causes = std::collections::HashMap::new();
    for row in &answers[0] {
        let task = task_id(row, 0)?;
        let cause: Cause = serde_json::from_str(row.try_get(2)?)
            .map_err(|error| Fault::Other(format!("why task {task} failed: {error}")))?;
        causes.insert(task, cause);
    }
    let mut fallen = Vec::new();
    for row in &answers[1] {
        let child = Fallen::of(row)?;
        let parent = TaskId { job: child.id.job, local: child.parent };
        if child.goes_on(causes.get(&parent)) {
            fallen.push(child);
        }
    }
    let forget = arrays!(causes, (task, cause) => task.job, task.local, cause.place.as_str());
    let below: Vec<TaskId> = fallen.iter().map(|child| child.id).collect();
    let mut again = read();
    again.push(Box::new(now));
    let uncount = arrays!(fallen, child =>
        child.id.job, child.parent, child.set, child.counts()[0], child.counts()[1],
        child.counts()[2]);
    // The children's rows go with the next level; their numbers must not count here any more.
    let (child_jobs, child_locals) = ids(&below);
    session
        .run(vec![
            Step::new(FORGET, forget),
            Step::new(REOPEN, again),
            Step::new(UNEND, read()),
            Step::new(UNNUMBER, values![child_jobs, child_locals]),
            Step::new(UNCOUNT, uncount),
        ])
        .await?;
    Ok(below)
}

const UNNUMBER: &str = "UPDATE homing.ended AS e SET \"end\" = NULL
  FROM unnest($1::uuid[], $2::uuid[]) AS r (job, local) WHERE e.job = r.job AND e.local = r.local";
