//! `retry`: a failed job goes on, and what failed runs again.
//!
//! One transaction, as everywhere: what is reopened must not be seen half. The root's row in `tasks` is
//! locked for its time, so that two of them, or one and a removal, follow each other. The tree is walked down
//! level by level.

use std::collections::{HashMap, HashSet};
use std::time::Duration;

use super::Shared;
use super::cancel::CLOCK;
use super::submit::OVERDUE;
use crate::core::id::{JobId, Local, TaskId};
use crate::core::state::State;
use crate::core::time::Time;
use crate::core::wait::SetCounts;
use crate::store::postgres::link::fault::{Fault, Result};
use crate::store::postgres::link::pipeline::{Session, Statement, arrays, values};
use crate::store::postgres::transaction::columns::{count, task_id};
use crate::store::postgres::transaction::load_plan::HOLDERS;
use crate::store::postgres::transaction::task::ids;
use crate::store::postgres::transaction::tx::Effects;
use crate::store::rules::retry::{self, LostChild};
use crate::store::{Cause, Retried, Retry};

/// The first lock: two retries of a job take turns, and a prune, which takes only what it can lock at once, passes over the
/// job.
const HOLD: &str = "SELECT coalesce(pruning, false) FROM homing.tasks
  WHERE job = $1 AND local = $2 FOR NO KEY UPDATE";

/// After the lock. No state: the root is open.
const ROOT: &str =
    "SELECT e.state, t.key, EXISTS (SELECT FROM homing.cascades AS c WHERE c.job = t.job),
    (SELECT k.job FROM homing.keys AS k WHERE k.key = t.key)
  FROM homing.tasks AS t LEFT JOIN homing.ended AS e USING (job, local)
  WHERE t.job = $1 AND t.local = $2";

/// What each task was first told of the loss that brought it down: from there on its record is taken back.
const CAUSES: &str = "SELECT e.job, e.local, e.cause
  FROM unnest($1::uuid[], $2::uuid[]) AS r (job, local) JOIN homing.ended AS e USING (job, local)
  WHERE e.cause IS NOT NULL";

/// What came after the loss: at the places of the waits and below them, from a number on, and what the body
/// returned. Each task comes once for each of its places, and at least once.
macro_rules! after {
    ($verb:literal, $from:literal, $end:literal) => {
        concat!(
            $verb,
            $from,
            " (SELECT DISTINCT r.job, r.task, r.seq FROM unnest($1::uuid[], $2::uuid[], $3::bigint[],
                $4::text[]) AS c (job, task, since, place)
              CROSS JOIN LATERAL (SELECT r.job, r.task, r.seq FROM homing.records AS r
                WHERE r.job = c.job AND r.task = c.task AND (r.seq >= c.since OR r.place = c.place
                  OR starts_with(r.place, c.place || '/') OR starts_with(r.entry, '{\"returned\":'))
                OFFSET 0) AS r) AS gone ",
            $end
        )
    };
}

/// Signals that had been given out are older than those that were not: they come before them, as they were sent.
const TAKE_BACK: &str = after!(
    "WITH taken AS (DELETE FROM homing.records AS r",
    " USING",
    "WHERE r.job = gone.job AND r.task = gone.task AND r.seq = gone.seq
        RETURNING r.job, r.task, r.seq, r.place, r.entry),
      answers AS (SELECT job, task, seq, entry::jsonb -> 'answer' AS answer FROM taken
        WHERE starts_with(entry, '{\"answer\":') AND (job, task, place) NOT IN (
          SELECT * FROM unnest($5::uuid[], $6::uuid[], $7::text[]))),
      sent AS (INSERT INTO homing.signals (job, task, number, name, value)
        SELECT job, task, (SELECT coalesce(min(g.number), 0) FROM homing.signals AS g
              WHERE g.job = a.job AND g.task = a.task)
            - row_number() OVER (PARTITION BY job, task ORDER BY seq DESC),
          answer ->> 'signal', answer ->> 'value'
        FROM answers AS a
        WHERE answer ->> 'signal' IS NOT NULL AND answer ->> 'value' IS NOT NULL)
    SELECT count(*) FROM taken"
);

by_name! {
    /// An ended child called `e`, whose unchanging row is called `t`.
    columns at {
        job = "e.job",
        local = "e.local",
        parent = "task",
        set = "e.\"set\"",
        number = "t.number",
        end = "coalesce(e.\"end\", 0)",
        state = "e.state",
        by = "e.cancelled_by",
    }
}

/// Children that were spawned after the loss, and what members have added that goes back to them (its number
/// stands in the key; see `Local::origin`).
const LATE: &str = concat!(
    "SELECT ",
    columns!(),
    " FROM unnest($1::uuid[], $2::uuid[], $3::uuid[], $4::bigint[]) AS g (job, task, \"set\", kept)
    CROSS JOIN LATERAL (
      SELECT t.job, t.local, t.number FROM homing.tasks AS t
        WHERE t.job = g.job AND t.local >= g.\"set\"
          AND t.local <= (left(g.\"set\"::text, 28) || 'ffffffff')::uuid AND NOT t.placed
          AND t.number >= g.kept
      UNION ALL SELECT t.job, t.local, t.number FROM homing.tasks AS t
        WHERE t.job = g.job AND t.\"set\" = g.\"set\" AND t.placed AND CASE
          WHEN t.number < 2147483648 THEN t.number
          ELSE ('x' || right(t.local::text, 8))::bit(32)::bigint END >= g.kept) AS t
    JOIN homing.ended AS e ON e.job = t.job AND e.local = t.local"
);

/// Children of tasks.
const BELOW: &str = "SELECT DISTINCT s.job, t.local
  FROM unnest($1::uuid[], $2::uuid[]) AS r (job, task) JOIN homing.sets AS s USING (job, task)
    CROSS JOIN LATERAL (
      SELECT t.local FROM homing.tasks AS t
        WHERE t.job = s.job AND t.local >= s.\"set\"
          AND t.local <= (left(s.\"set\"::text, 28) || 'ffffffff')::uuid AND NOT t.placed
      UNION ALL SELECT t.local FROM homing.tasks AS t
        WHERE t.job = s.job AND t.\"set\" = s.\"set\" AND t.placed) AS t";

/// Removes tasks, each with its record.
const GO: [&str; 5] = [
    "DELETE FROM homing.tasks AS t USING unnest($1::uuid[], $2::uuid[]) AS r (job, local)
      WHERE t.job = r.job AND t.local = r.local",
    "DELETE FROM homing.ended AS e USING unnest($1::uuid[], $2::uuid[]) AS r (job, local)
      WHERE e.job = r.job AND e.local = r.local",
    "DELETE FROM homing.sets AS s USING unnest($1::uuid[], $2::uuid[]) AS r (job, local)
      WHERE s.job = r.job AND s.task = r.local",
    "DELETE FROM homing.records AS t USING unnest($1::uuid[], $2::uuid[]) AS r (job, local)
      WHERE t.job = r.job AND t.task = r.local",
    "DELETE FROM homing.signals AS t USING unnest($1::uuid[], $2::uuid[]) AS r (job, local)
      WHERE t.job = r.job AND t.task = r.local",
];

const FALLEN: &str = concat!(
    "SELECT ",
    columns!(),
    " FROM unnest($1::uuid[], $2::uuid[]) AS r (job, task) JOIN homing.sets AS s USING (job, task)
    CROSS JOIN LATERAL (SELECT e.job, e.local, e.\"set\", e.\"end\", e.state, e.cancelled_by
      FROM homing.ended AS e WHERE e.job = s.job AND e.\"set\" = s.\"set\" AND e.state >= 4
        AND e.\"set\" IS NOT NULL OFFSET 0) AS e
    JOIN homing.tasks AS t ON t.job = s.job AND t.local = e.local
  WHERE s.failed + s.cancelled + s.aborted > 0"
);

const REOPEN: &str = "INSERT INTO homing.open (job, local, parent, \"set\", depth, state, priority,
    attempt, failures, crashes, stalls, lines, due, started, dropped, progress_done, progress_total,
    signalled, queue, kind, key, reason)
  SELECT t.job, t.local, t.parent, t.\"set\", t.depth, 0, t.priority, e.attempt + 1, 0, 0, 0, e.lines,
    $3, e.started, e.dropped, e.progress_done, e.progress_total,
    EXISTS (SELECT FROM homing.signals AS g WHERE g.job = t.job AND g.task = t.local),
    t.queue, t.kind, t.key, e.reason
  FROM unnest($1::uuid[], $2::uuid[]) AS r (job, local)
    JOIN homing.tasks AS t USING (job, local) JOIN homing.ended AS e USING (job, local)";

const UNEND: &str =
    "DELETE FROM homing.ended AS e USING unnest($1::uuid[], $2::uuid[]) AS r (job, local)
  WHERE e.job = r.job AND e.local = r.local";

/// After the rows are gone: the highest number that is left.
const UNCOUNT: &str = "UPDATE homing.sets AS s SET spawned = greatest(s.spawned - u.spawned, 0),
    added = greatest(s.added - u.added, 0),
    succeeded = greatest(s.succeeded - u.succeeded, 0), failed = greatest(s.failed - u.failed, 0),
    cancelled = greatest(s.cancelled - u.cancelled, 0), aborted = greatest(s.aborted - u.aborted, 0),
    last_end = coalesce((SELECT max(e.\"end\") FROM homing.ended AS e
      WHERE e.job = s.job AND e.\"set\" = s.\"set\" AND e.\"end\" IS NOT NULL), 0)
  FROM (SELECT job, task, \"set\", sum(spawned) AS spawned,
      sum(succeeded) AS succeeded, sum(failed) AS failed, sum(cancelled) AS cancelled,
      sum(aborted) AS aborted, sum(added) AS added
    FROM unnest($1::uuid[], $2::uuid[], $3::uuid[], $4::bigint[], $5::bigint[], $6::bigint[],
        $7::bigint[], $8::bigint[], $9::bigint[])
      AS u (job, task, \"set\", spawned, succeeded, failed, cancelled, aborted, added) GROUP BY job, task, \"set\") AS u
  WHERE s.job = u.job AND s.task = u.task AND s.\"set\" = u.\"set\"";

const UNNUMBER: &str = "UPDATE homing.ended AS e SET \"end\" = NULL
  FROM unnest($1::uuid[], $2::uuid[]) AS r (job, local) WHERE e.job = r.job AND e.local = r.local";

/// A key that another job has taken meanwhile is a conflict: the verb runs again and sees it.
const TAKE_KEY: &str = "INSERT INTO homing.keys (key, job) VALUES ($1, $2)";

/// Between two looks at cancellations that another process carries down.
const SETTLING: Duration = Duration::from_millis(5);

/// An ended child, and whose it is.
struct Child {
    parent: TaskId,
    lost: LostChild,
}

impl Child {
    fn of(row: &tokio_postgres::Row) -> Result<Self> {
        let lost = LostChild {
            local: row.try_get(at::local)?,
            set: row.try_get(at::set)?,
            number: count(row, at::number)? as u32,
            end: count(row, at::end)?,
            state: row.try_get(at::state)?,
            by: row.try_get(at::by)?,
        };
        let parent = TaskId { job: row.try_get(at::job)?, local: row.try_get(at::parent)? };
        Ok(Self { parent, lost })
    }

    fn id(&self) -> TaskId {
        TaskId { job: self.parent.job, local: self.lost.local }
    }

    /// One in the count that it is in.
    fn counts(&self) -> SetCounts {
        let mut counts = SetCounts::default();
        *self.lost.count_in(&mut counts) = 1;
        counts
    }
}

/// What became of an attempt to retry.
enum Tried {
    Answer(Retry),
    Unknown,
    /// Cancellations are on their way down: they would hit what is reopened.
    Settling,
    /// The key's holder is past its expiry or its deadline.
    Overdue(JobId),
    /// The key passed on while it was looked at.
    Again,
}

/// What has been done so far.
#[derive(Default)]
struct Done {
    reopened: Vec<TaskId>,
    taken_back: u64,
    removed: u64,
}

impl Shared {
    /// `None` if the job is unknown.
    pub(super) async fn retry(&self, job: JobId, preview: bool) -> Result<Option<Retry>> {
        loop {
            let tried =
                self.transaction(async |session| self.try_retry(session, job, preview).await);
            match tried.await? {
                Tried::Answer(answer) => {
                    if !preview && matches!(answer, Retry::Done(_)) {
                        self.tell(Effects::ready());
                    }
                    return Ok(Some(answer));
                }
                Tried::Unknown => return Ok(None),
                Tried::Settling => {
                    if !self.cascade().await? {
                        // It is done, or another process is at it.
                        tokio::time::sleep(SETTLING).await;
                    }
                }
                Tried::Overdue(holder) => self.end_overdue(&[holder]).await?,
                Tried::Again => {}
            }
        }
    }

    async fn try_retry(&self, session: &Session<'_>, job: JobId, preview: bool) -> Result<Tried> {
        let answers = session
            .run(vec![
                Statement::begin(),
                Statement::new(HOLD, values![job, Local::ROOT]),
                Statement::new(ROOT, values![job, Local::ROOT]),
                Statement::new(CLOCK, values![self.manual_now()]),
            ])
            .await?;
        let (Some(held), Some(root)) = (answers[1].first(), answers[2].first()) else {
            session.roll_back().await;
            return Ok(Tried::Unknown);
        };
        let key: Option<String> = root.try_get(1)?;
        if let Some(answer) = self.refusal(session, held, root).await? {
            session.roll_back().await;
            return Ok(answer);
        }
        let now: Time = answers[3].first().map_or(Ok(Time(0)), |row| row.try_get(0))?;
        let mut done = Done::default();
        let mut level = vec![job.root()];
        while !level.is_empty() {
            done.reopened.extend(&level);
            level = reopen(session, &level, now, &mut done).await?;
        }
        let retried = Retried::of(done.reopened, done.taken_back, done.removed);
        if preview {
            session.roll_back().await;
            return Ok(Tried::Answer(Retry::Done(retried)));
        }
        let mut last = Vec::new();
        if let Some(key) = key {
            last.push(Statement::new(TAKE_KEY, values![key, job]));
        }
        super::applied("retry");
        last.push(Statement::plain("COMMIT"));
        session.run(last).await?;
        Ok(Tried::Answer(Retry::Done(retried)))
    }

    /// Why the job is not reopened now.
    async fn refusal(
        &self,
        session: &Session<'_>,
        held: &tokio_postgres::Row,
        root: &tokio_postgres::Row,
    ) -> Result<Option<Tried>> {
        let state = root.try_get::<_, Option<State>>(0)?.unwrap_or(State::Pending);
        if let Some(refusal) = retry::refusal(state) {
            return Ok(Some(Tried::Answer(refusal)));
        }
        if held.try_get(0)? {
            return Ok(Some(Tried::Answer(Retry::Removing)));
        }
        if let Some(holder) = root.try_get::<_, Option<JobId>>(3)? {
            let keys = vec![root.try_get::<_, Option<String>>(1)?.unwrap_or_default()];
            let again = vec![
                Statement::new(OVERDUE, values![self.manual_now(), keys.clone()]),
                Statement::new(HOLDERS, values![keys]),
            ];
            let answers = session.run(again).await?;
            if let Some(row) = answers[0].first() {
                return Ok(Some(Tried::Overdue(row.try_get(1)?)));
            }
            let still = answers[1].first().map(|row| row.try_get::<_, JobId>(1)).transpose()?;
            let holds = still == Some(holder);
            return Ok(Some(if holds { Tried::Answer(Retry::Held(holder)) } else { Tried::Again }));
        }
        Ok(root.try_get::<_, bool>(2)?.then_some(Tried::Settling))
    }
}

/// Reopens tasks, and returns those of their children that are to be reopened too.
async fn reopen(
    session: &Session<'_>,
    tasks: &[TaskId],
    now: Time,
    done: &mut Done,
) -> Result<Vec<TaskId>> {
    let (jobs, locals) = ids(tasks);
    let read = || values![jobs.clone(), locals.clone()];
    let mut causes: HashMap<TaskId, Cause> = HashMap::new();
    for row in session.one(CAUSES, read()).await? {
        let task = task_id(&row, 0)?;
        let cause = serde_json::from_str(row.try_get(2)?)
            .map_err(|error| Fault::Other(format!("why task {task} failed: {error}")))?;
        causes.insert(task, cause);
    }
    take_back(session, &causes, done).await?;
    let mut lost = Vec::new();
    for row in session.one(FALLEN, read()).await? {
        let child = Child::of(&row)?;
        if child.lost.is_reopened(causes.get(&child.parent)) {
            lost.push(child);
        }
    }
    let mut again = read();
    again.push(Box::new(now));
    let mut steps = vec![Statement::new(REOPEN, again), Statement::new(UNEND, read())];
    // The children's rows go with the next level; their numbers must not count here any more.
    steps.extend(uncount(&lost, false));
    session.run(steps).await?;
    Ok(lost.iter().map(Child::id).collect())
}

/// Takes back what came after the losses: entries of records and children.
async fn take_back(
    session: &Session<'_>,
    causes: &HashMap<TaskId, Cause>,
    done: &mut Done,
) -> Result<()> {
    if causes.is_empty() {
        return Ok(());
    }
    let mut places = Vec::new();
    let (mut grown, mut bad) = (Vec::new(), Vec::new());
    for (task, cause) in causes {
        let since = cause.since.and_then(|since| i64::try_from(since).ok()).unwrap_or(i64::MAX);
        let own = cause.places.iter().map(|place| Some(place.as_str())).chain([None]);
        places.extend(own.map(|place| (task, since, place)));
        bad.extend(cause.bad_signals.iter().map(|place| (task, place.as_str())));
        grown.extend(cause.grown.iter().map(|(set, kept)| (task, *set, i64::from(*kept))));
    }
    let mut values = arrays!(places, (task, since, place) => task.job, task.local, *since, *place);
    values.extend(arrays!(bad, (task, place) => task.job, task.local, *place));
    let taken = session.one(TAKE_BACK, values).await?;
    done.taken_back += taken.first().map_or(Ok(0), |row| count(row, 0))?;
    if grown.is_empty() {
        return Ok(());
    }
    let values = arrays!(grown, (task, set, kept) => task.job, task.local, *set, *kept);
    let late = session.one(LATE, values).await?;
    let late = late.iter().map(Child::of).collect::<Result<Vec<_>>>()?;
    session.run(uncount(&late, true)).await?;
    let mut gone: HashSet<TaskId> = late.iter().map(Child::id).collect();
    let mut level: Vec<TaskId> = gone.iter().copied().collect();
    while !level.is_empty() {
        let (jobs, locals) = ids(&level);
        let below = session.one(BELOW, values![jobs, locals]).await?;
        level = super::sweep::ids(&below)?;
        gone.extend(&level);
    }
    done.removed += gone.len() as u64;
    let gone: Vec<TaskId> = gone.into_iter().collect();
    let (jobs, locals) = ids(&gone);
    let go = GO.iter().map(|sql| Statement::new(sql, values![jobs.clone(), locals.clone()]));
    session.run(go.collect()).await?;
    Ok(())
}

/// Takes ended children out of the counts of their sets, and of what was ever spawned where they are `gone`.
fn uncount(children: &[Child], gone: bool) -> Vec<Statement<'_>> {
    let all: Vec<TaskId> = children.iter().map(Child::id).collect();
    let (jobs, locals) = ids(&all);
    let spawned = i64::from(gone);
    let counts = arrays!(children, child =>
        child.parent.job, child.parent.local, child.lost.set, spawned,
        child.counts().succeeded as i64, child.counts().failed as i64,
        child.counts().cancelled as i64, child.counts().aborted as i64,
        i64::from(gone && child.lost.is_added()));
    vec![Statement::new(UNNUMBER, values![jobs, locals]), Statement::new(UNCOUNT, counts)]
}
