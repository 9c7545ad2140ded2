//! Upkeep: dead workers, due instants, cancellations on their way down.
//!
//! Each is a transaction of its own, bounded, and done by one process at a time: the others go on without.

use super::cancel::CLOCK;
use super::{Shared, worker};
use crate::core::id::{JobId, TaskId, WorkerId};
use crate::core::log::{Event, attempt_key};
use crate::core::state::State;
use crate::limits;
use crate::store::columns::cascade;
use crate::store::postgres::hints::presence;
use crate::store::postgres::hints::scan_starts::Ready;
use crate::store::postgres::link::fault::Result;
use crate::store::postgres::link::pipeline::arrays;
use crate::store::postgres::link::pipeline::{Session, Statement, add, values};
use crate::store::postgres::log::SAID;
use crate::store::postgres::transaction::bundle::dissolve;
use crate::store::postgres::transaction::columns::{limit, task_id};
use crate::store::postgres::transaction::load_plan::LoadPlan;
use crate::store::postgres::transaction::tx::Tx;
use crate::store::rules::{Cascade, end, upkeep, wake};

/// Instants acted on by one transaction.
const TIMERS_AT_ONCE: usize = 1000;
/// Bundles dissolved by one transaction for each cancellation on its way down: about as many children as
/// are cancelled at once.
const BUNDLES: usize = limits::CASCADE.div_ceil(limits::POSTGRES_BUNDLE_MOST);
/// Cancellations carried further by one transaction.
const CASCADES: usize = 100;

macro_rules! dead {
    () => {
        concat!("(heartbeat + lease < ", super::now!(), " OR id = ANY ($2::uuid[]))")
    };
}

/// Without a lock. Each of them is looked at again under its own lock.
const DEAD: &str = concat!("SELECT id FROM homing.workers WHERE ", dead!(), " ORDER BY id");

/// Under the worker's lock: it may have spoken meanwhile, or its process come back.
const STILL_DEAD: &str = concat!(
    "SELECT id FROM homing.workers WHERE id = $3 AND (",
    dead!(),
    " OR (id = ANY ($4::uuid[]) AND ",
    presence::gone!(),
    "))"
);

const NAME: &str = "SELECT name FROM homing.workers WHERE id = $1";

/// What a worker holds. Tasks in bundles have no such row: the worker's bundles are dissolved before.
pub(super) const HELD: &str = "SELECT job, local FROM homing.open WHERE state = 1 AND worker = $1";

/// One process at a time fires timers and carries cancellations down. The others do not wait for it: they claim.
const ONE_AT_A_TIME: &str =
    "SELECT pg_try_advisory_xact_lock(hashtextextended('homing upkeep ' || $1, 0))";

/// Found by their instants, and locked afterwards in the order in which all rows are locked.
pub(super) const DUE_TIMERS: &str = concat!(
    "SELECT job, local FROM homing.open WHERE timer <= ",
    super::now!(),
    " ORDER BY timer LIMIT $2"
);

/// The oldest first. What a transaction does not come to stays for the next one.
const CASCADING: &str =
    concat!("SELECT ", cascade_columns!(), " FROM homing.cascades ORDER BY number LIMIT $1");

/// On their way to the children of tasks. After the locks: an abort is committed under the parent's.
pub(super) const DESCENDING: &str = "SELECT c.job, c.task, c.\"set\", c.below
  FROM unnest($1::uuid[], $2::uuid[]) AS g (job, task) JOIN homing.cascades AS c USING (job, task)";

/// The open children of a task, in the order of their sets and numbers. Those whose key is the set's and
/// their number are a range of the key. The key of one that was spawned after a placed child has a lower
/// number than the child: it is in the range too, and must not be taken for an earlier one. What members have
/// added is meant with the child that it goes back to; see `Local::origin`.
pub(super) const BELOW: &str = "SELECT c.job, c.local FROM homing.sets AS s CROSS JOIN LATERAL (
    (SELECT o.job, o.local,
        ('x' || right(o.local::text, 8))::bit(32)::bigint AS number
      FROM homing.open AS o
      WHERE o.job = s.job AND o.\"set\" = s.\"set\" AND o.local >= s.\"set\"
        AND o.local < (left(s.\"set\"::text, 28) || lpad(to_hex($4::bigint), 8, '0'))::uuid
        AND NOT (SELECT t.placed FROM homing.tasks AS t WHERE t.job = o.job AND t.local = o.local)
      ORDER BY o.local LIMIT $5)
    UNION ALL
    (SELECT o.job, o.local, t.number FROM homing.tasks AS t JOIN homing.open AS o USING (job, local)
      WHERE t.job = s.job AND t.\"set\" = s.\"set\" AND t.placed AND CASE WHEN t.number < 2147483648
        THEN t.number ELSE ('x' || right(t.local::text, 8))::bit(32)::bigint END < $4
      ORDER BY t.number, t.local LIMIT $5)) AS c
  WHERE s.job = $1 AND s.task = $2 AND ($3::uuid IS NULL OR s.\"set\" = $3)
    AND s.spawned > s.succeeded + s.failed + s.cancelled + s.aborted
  ORDER BY s.\"set\", c.number, c.local LIMIT $5";

const DONE: &str = "DELETE FROM homing.cascades WHERE job = $1 AND number = $2";

impl Shared {
    /// Upkeep alone.
    pub(super) async fn sweep(&self, max_crashes: u32) -> Result<bool> {
        super::applied("sweep");
        self.keep_up(max_crashes).await
    }

    /// `true` if there is more to do now.
    pub(super) async fn keep_up(&self, max_crashes: u32) -> Result<bool> {
        self.reclaim_dead_workers(max_crashes).await?;
        let fired = self.fire_timers().await?;
        Ok(self.cascade().await? || fired)
    }

    /// Gives up workers whose lease has run out or whose session is gone, and takes back what they held.
    async fn reclaim_dead_workers(&self, max_crashes: u32) -> Result<()> {
        let values = || values![self.manual_now(), self.suspected()];
        let dead = self.transaction(async |session| session.one(DEAD, values()).await).await?;
        for row in dead {
            self.reclaim_worker(row.try_get(0)?, max_crashes).await?;
        }
        Ok(())
    }

    async fn reclaim_worker(&self, worker: WorkerId, max_crashes: u32) -> Result<()> {
        let buried = self.transaction(async |session| {
            let lost = self.wake.presence().lost();
            let values = values![self.manual_now(), self.killed(), worker, lost];
            let answers = session
                .run(vec![
                    Statement::begin(),
                    Statement::new(
                        worker::TRY_ALONE,
                        values![worker::lock(self.schema.name(), worker)],
                    ),
                    Statement::new(STILL_DEAD, values),
                    dissolve::held(worker),
                    Statement::new(HELD, values![worker]),
                    Statement::new(NAME, values![worker]),
                ])
                .await?;
            if !is_locked(&answers[1])? || answers[2].is_empty() {
                session.roll_back().await;
                return Ok(None);
            }
            let mut tasks = ids(&answers[4])?;
            // Their lines have one order in every store.
            tasks.sort_unstable();
            let first = vec![
                Statement::new(worker::FORGET, values![worker]),
                Statement::new(worker::FORGET_NOTICES, values![worker]),
            ];
            let name: String = match answers[5].first() {
                Some(row) => row.try_get(0)?,
                None => worker.to_string(),
            };
            let mut tx = self.ending(session, first, &tasks).await?;
            tx.know_said(session, &tasks).await?;
            for task in tasks {
                upkeep::crash(&mut tx, task, (worker, &name), max_crashes)?;
            }
            wake::wake_parents(&mut tx)?;
            Ok(Some(tx.commit(session).await?))
        });
        if let Some(effects) = buried.await? {
            self.revive(worker);
            self.tell(effects);
        }
        Ok(())
    }

    /// Locks and reads tasks that may end, after other statements.
    async fn ending<'e>(
        &self,
        session: &Session<'_>,
        first: Vec<Statement<'e>>,
        tasks: &[TaskId],
    ) -> Result<Tx<'e>> {
        let mut wanted = LoadPlan::default();
        wanted.ending(tasks.iter().copied());
        wanted.missed(session);
        self.locked(session, first, &wanted).await
    }

    /// Locks and reads what is wanted, after other statements, and the time.
    pub(super) async fn locked<'e>(
        &self,
        session: &Session<'_>,
        mut steps: Vec<Statement<'e>>,
        wanted: &LoadPlan<'e>,
    ) -> Result<Tx<'e>> {
        let whats = wanted.steps(&mut steps);
        let clock = add(&mut steps, Statement::new(CLOCK, values![self.manual_now()]));
        let answers = session.run(steps).await?;
        let mut tx = Tx::default();
        whats.absorb(&answers, &mut tx)?;
        wanted.follow(session, &mut tx).await?;
        if let Some(row) = answers[clock].first() {
            tx.now = row.try_get(0)?;
        }
        Ok(tx)
    }

    /// Acts on instants that have come. `true` if there may be more.
    async fn fire_timers(&self) -> Result<bool> {
        let fired = self.transaction(async |session| {
            let answers = session
                .run(vec![
                    Statement::begin(),
                    Statement::new(ONE_AT_A_TIME, values![self.schema_name()]),
                    Statement::new(DUE_TIMERS, values![self.manual_now(), limit(TIMERS_AT_ONCE)]),
                ])
                .await?;
            let mut tasks = ids(&answers[2])?;
            if !is_locked(&answers[1])? || tasks.is_empty() {
                session.roll_back().await;
                return Ok(None);
            }
            tasks.sort_unstable();
            let mut tx = self.ending(session, Vec::new(), &tasks).await?;
            let mut wanted = LoadPlan::default();
            for row in tasks.iter().filter_map(|task| tx.task(*task)) {
                if row.state == State::Waiting {
                    wanted.tasks.push((row.id, false));
                    wanted.waiting(row.id, &row.waits);
                }
            }
            if !wanted.tasks.is_empty() {
                wanted.load(session, &mut tx).await?;
            }
            tx.know_said(session, &tasks).await?;
            for task in &tasks {
                upkeep::fire_timer(&mut tx, *task)?;
            }
            wake::wake_parents(&mut tx)?;
            Ok(Some((tasks.len() == TIMERS_AT_ONCE, tx.commit(session).await?)))
        });
        let Some((more, effects)) = fired.await? else { return Ok(false) };
        self.tell(effects);
        Ok(more)
    }

    /// Ends roots that are past their expiries or deadlines: they hold keys that somebody wants.
    pub(super) async fn end_overdue(&self, jobs: &[JobId]) -> Result<()> {
        let roots: Vec<TaskId> = jobs.iter().map(|job| job.root()).collect();
        let ended = self.transaction(async |session| {
            let mut tx = self.ending(session, vec![Statement::begin()], &roots).await?;
            tx.know_said(session, &roots).await?;
            for root in &roots {
                upkeep::end_if_overdue(&mut tx, *root)?;
            }
            tx.commit(session).await
        });
        self.tell(ended.await?);
        Ok(())
    }

    /// Cancels up to [`limits::CASCADE`] children, top down. `true` if there are more.
    pub(super) async fn cascade(&self) -> Result<bool> {
        let mut left = limits::CASCADE;
        loop {
            let done = self.transaction(async |session| self.cancel_children(session, left).await);
            let Some((cancelled, more, effects)) = done.await? else { return Ok(false) };
            self.tell(effects);
            left -= cancelled;
            if more {
                return Ok(true);
            }
        }
    }

    /// Carries the first cancellations one step down, within `left` children. `None` if there are none;
    /// else how many were cancelled, and whether there are more children than that.
    async fn cancel_children(
        &self,
        session: &Session<'_>,
        left: usize,
    ) -> Result<Option<(usize, bool, crate::store::postgres::transaction::tx::Effects)>> {
        let answers = session
            .run(vec![
                Statement::begin(),
                Statement::new(ONE_AT_A_TIME, values![self.schema_name()]),
                Statement::new(CASCADING, values![limit(CASCADES)]),
            ])
            .await?;
        if !is_locked(&answers[1])? || answers[2].is_empty() {
            session.roll_back().await;
            return Ok(None);
        }
        let mut cascades = Vec::new();
        for row in &answers[2] {
            let cascade = Cascade {
                task: TaskId {
                    job: row.try_get(cascade::job)?,
                    local: row.try_get(cascade::task)?,
                },
                set: row.try_get(cascade::set)?,
                below: row.try_get::<_, i64>(cascade::below)? as u32,
                by: row.try_get(cascade::by)?,
            };
            cascades.push((row.try_get::<_, i64>(cascade::number)?, cascade));
        }
        let below = |cascade: &Cascade| {
            values![
                cascade.task.job,
                cascade.task.local,
                cascade.set,
                i64::from(cascade.below),
                limit(left + 1)
            ]
        };
        let steps = cascades.iter().flat_map(|(_, cascade)| {
            let bundles = dissolve::below(cascade.task, cascade.set, BUNDLES);
            [bundles, Statement::new(BELOW, below(cascade))]
        });
        let found = session.run(steps.collect()).await?;
        let found: Vec<_> = found.chunks(2).collect();
        let mut claimable = Ready::default();
        let mut falling = Vec::new();
        let mut done = Vec::new();
        let mut more = false;
        for ((number, cascade), rows) in cascades.iter().zip(&found) {
            let [bundles, children] = rows else { continue };
            claimable.extend(dissolve::claimable(bundles)?);
            let mut children = ids(children)?;
            let room = left - falling.len();
            more = children.len() > room;
            children.truncate(room);
            falling.extend(children.into_iter().map(|child| (child, cascade.by)));
            // With as many bundles as one pass dissolves there may be more: the next pass begins with this one.
            if more || bundles.len() >= BUNDLES {
                break;
            }
            done.push(Statement::new(DONE, values![cascade.task.job, *number]));
        }
        let tasks: Vec<TaskId> = falling.iter().map(|(task, _)| *task).collect();
        let mut tx = self.ending(session, done, &tasks).await?;
        tx.effects.claimable.extend(claimable);
        for (task, by) in &falling {
            end::cancel(&mut tx, *task, *by)?;
        }
        wake::wake_parents(&mut tx)?;
        Ok(Some((falling.len(), more, tx.commit(session).await?)))
    }
}

impl Tx<'_> {
    /// Reads which of the lines that upkeep may write of the ends of tasks have been written before: a child
    /// that a retry took back is born again under its id, and its lines stay. Those of crashes are named after
    /// claims and are always new.
    async fn know_said(&mut self, session: &Session<'_>, tasks: &[TaskId]) -> Result<()> {
        let ending = tasks.iter().filter_map(|id| self.task(*id));
        let ending = ending.filter(|row| row.token.is_some() || row.overdue(self.now).is_some());
        let keys = ending.map(|row| (row.id, attempt_key(row.attempt, Event::End(self.now))));
        let keys: Vec<(TaskId, String)> = keys.collect();
        if keys.is_empty() {
            return Ok(());
        }
        let values = arrays!(keys, (task, key) => task.job, task.local, key.as_str());
        for row in session.one(SAID, values).await? {
            self.said.insert((task_id(&row, 0)?, row.try_get(2)?));
        }
        Ok(())
    }
}

fn is_locked(rows: &[tokio_postgres::Row]) -> Result<bool> {
    rows.first().map_or(Ok(false), |row| Ok(row.try_get(0)?))
}

pub(super) fn ids(rows: &[tokio_postgres::Row]) -> Result<Vec<TaskId>> {
    rows.iter().map(|row| task_id(row, 0)).collect()
}
