//! The audit: every breach of an invariant that a scan finds. Slow, for tests and the curious.

use std::collections::{HashMap, HashSet};

use super::Shared;
use super::cancel::CLOCK;
use crate::core::id::{JobId, Local, TaskId};
use crate::core::state::State;
use crate::core::wait;
use crate::store::columns::whose_set;
use crate::store::postgres::link::fault::Result;
use crate::store::postgres::link::pipeline::{Statement, arrays, values};
use crate::store::postgres::transaction::bundle::{self, bundle, in_bundle};
use crate::store::postgres::transaction::columns::{count, set_counts, small, task_id};
use crate::store::postgres::transaction::load_plan::JOBS;
use crate::store::postgres::transaction::task::{self, Task, columns, named};
use crate::store::postgres::transaction::tx::{ChangedCounts, Tx};
use crate::store::read::Breach;
use crate::store::rules::wake::WaitFacts;
use crate::store::{Entry, Policy};

/// One snapshot of all that is compared. Nothing is written and nothing is locked.
const BEGIN: &str = "BEGIN ISOLATION LEVEL REPEATABLE READ, READ ONLY";

/// Open tasks, the instants their rows are looked at, and whether their parents have ended.
const OPEN: &str = concat!(
    "SELECT ",
    columns!(),
    ", o.timer, EXISTS (SELECT FROM homing.ended AS u WHERE u.job = o.job AND u.local = o.parent)
  FROM homing.open AS o ORDER BY o.job, o.local"
);

/// Bundles; whether they count their members rightly, and have none below an ended parent.
const BUNDLES: &str = concat!(
    "SELECT ",
    bundle!(),
    ", b.here, EXISTS (SELECT FROM homing.ended AS u WHERE u.job = b.job AND u.local = b.parent)
  FROM homing.bundles AS b ORDER BY b.job, b.local"
);

const SETS: &str = concat!("SELECT ", whose_set_columns!(), " FROM homing.sets");

by_name! {
    signal_columns signal {
        job,
        task,
        number,
        name,
        value,
    }
}

const SIGNALS: &str = concat!("SELECT ", signal_columns!(), " FROM homing.signals");

const CASCADES: &str = "SELECT job, task FROM homing.cascades";

/// Which of the children that waits name have ended.
const OVER: &str = "SELECT e.job, e.local
  FROM unnest($1::uuid[], $2::uuid[]) AS w (job, local) JOIN homing.ended AS e USING (job, local)";

/// Sets whose counts differ from their rows. Jobs that are being pruned have lost some.
const MISCOUNTED: &str = "SELECT s.job, s.task, s.\"set\" FROM homing.sets AS s
    LEFT JOIN (SELECT t.job, t.\"set\", count(*) AS spawned,
        count(*) FILTER (WHERE t.number >= 2147483648) AS added,
        count(*) FILTER (WHERE e.state = 3) AS succeeded, count(*) FILTER (WHERE e.state = 4) AS failed,
        count(*) FILTER (WHERE e.state = 5 AND e.cancelled_by NOT IN (2, 3)) AS cancelled,
        count(*) FILTER (WHERE e.state = 5 AND e.cancelled_by IN (2, 3)) AS aborted
      FROM homing.tasks AS t LEFT JOIN homing.ended AS e USING (job, local)
      WHERE t.\"set\" IS NOT NULL GROUP BY t.job, t.\"set\") AS c USING (job, \"set\")
    JOIN homing.tasks AS r ON r.job = s.job AND r.local = '00000000-0000-0000-0000-000000000000'
  WHERE r.pruning IS NULL AND (s.spawned, s.added, s.succeeded, s.failed, s.cancelled, s.aborted)
    IS DISTINCT FROM (coalesce(c.spawned, 0), coalesce(c.added, 0), coalesce(c.succeeded, 0), coalesce(c.failed, 0), coalesce(c.cancelled, 0),
      coalesce(c.aborted, 0))
  ORDER BY s.job, s.task, s.\"set\"";

/// A task has a row as an open or as an ended one, or is in a bundle, and only one of these.
const ASTRAY: &str = concat!(
    "SELECT t.job, t.local FROM homing.tasks AS t
  WHERE 1 <> (SELECT count(*) FROM homing.open AS o WHERE o.job = t.job AND o.local = t.local)
    + (SELECT count(*) FROM homing.ended AS e WHERE e.job = t.job AND e.local = t.local)
    + (SELECT count(*) FROM homing.bundles AS b WHERE ",
    in_bundle!(),
    ")
  ORDER BY t.job, t.local"
);

/// Policies and records of open tasks, which are to be decoded.
const POLICIES: &str = "SELECT t.job, t.local, t.policy FROM homing.tasks AS t
  WHERE t.policy IS NOT NULL AND NOT EXISTS (SELECT FROM homing.ended AS e
    WHERE e.job = t.job AND e.local = t.local) ORDER BY t.job, t.local";

const RECORDS: &str = "SELECT r.job, r.task, r.seq, r.entry FROM homing.records AS r
    JOIN homing.open AS o ON o.job = r.job AND o.local = r.task ORDER BY r.job, r.task, r.seq";

impl Shared {
    pub(super) async fn audit(&self) -> Result<Vec<Breach>> {
        self.transaction(async |session| {
            let answers = session
                .run(vec![
                    Statement::plain(BEGIN),
                    Statement::new(CLOCK, values![self.manual_now()]),
                    Statement::plain(OPEN),
                    Statement::plain(SETS),
                    Statement::plain(SIGNALS),
                    Statement::plain(CASCADES),
                    Statement::plain(MISCOUNTED),
                    Statement::plain(ASTRAY),
                    Statement::plain(BUNDLES),
                    Statement::plain(POLICIES),
                    Statement::plain(RECORDS),
                ])
                .await?;
            let mut audit = Audit::default();
            if let Some(row) = answers[1].first() {
                audit.tx.now = row.try_get(0)?;
            }
            audit.read(&answers)?;
            let over = session.one(OVER, audit.named()).await?;
            let jobs = session.one(JOBS, values![audit.jobs()]).await?;
            session.run(vec![Statement::plain("COMMIT")]).await?;
            for row in &over {
                audit.tx.over.insert(task_id(row, 0)?);
            }
            jobs.iter().try_for_each(|row| audit.tx.add_standing(row))?;
            audit.look()?;
            for row in &answers[6] {
                let what = format!(
                    "the counts of set {} differ from its rows",
                    row.try_get::<_, Local>(2)?
                );
                audit.breaches.push(Breach { task: task_id(row, 0)?, what });
            }
            for row in &answers[7] {
                let what = "both open and ended, or neither".to_owned();
                audit.breaches.push(Breach { task: task_id(row, 0)?, what });
            }
            audit.decode([&answers[9], &answers[10]])?;
            Ok(audit.breaches)
        })
        .await
    }
}

#[derive(Default)]
struct Audit {
    tx: Tx<'static>,
    open: Vec<TaskId>,
    /// Tasks below ended parents.
    orphans: HashSet<TaskId>,
    cascades: HashSet<TaskId>,
    timers: HashMap<TaskId, crate::core::time::Time>,
    breaches: Vec<Breach>,
}

impl Audit {
    fn read(&mut self, answers: &[Vec<tokio_postgres::Row>]) -> Result<()> {
        for row in &answers[2] {
            let task = Task::of(row)?;
            if let Some(timer) = row.try_get(task::BEHIND)? {
                self.timers.insert(task.id, timer);
            }
            if row.try_get(task::BEHIND + 1)? {
                self.orphans.insert(task.id);
            }
            self.open.push(task.id);
            self.tx.add(task);
        }
        for row in &answers[8] {
            let key = self.tx.add_bundle(row)?;
            let members: Vec<TaskId> = self.tx.members(key).collect();
            if members.len() != small(row, bundle::BEHIND)? as usize {
                self.breaches.push(Breach { task: key, what: "a bundle miscounts".to_owned() });
            }
            if row.try_get(bundle::BEHIND + 1)? {
                self.orphans.extend(&members);
            }
            self.open.extend(members);
        }
        for row in &answers[3] {
            let task =
                TaskId { job: row.try_get(whose_set::job)?, local: row.try_get(whose_set::task)? };
            let counts = set_counts(row, whose_set::counts)?;
            let key = (task, row.try_get(whose_set::set)?);
            self.tx.sets.insert(key, ChangedCounts { counts, changed: false });
        }
        for row in &answers[4] {
            let task = TaskId { job: row.try_get(signal::job)?, local: row.try_get(signal::task)? };
            let sent = (row.try_get(signal::name)?, row.try_get(signal::value)?);
            self.tx.signals.insert((task, row.try_get(signal::number)?), sent);
        }
        for row in &answers[5] {
            self.cascades.insert(task_id(row, 0)?);
        }
        Ok(())
    }

    /// What is stored of open tasks and does not decode: they stand still, or will.
    fn decode(&mut self, [policies, records]: [&[tokio_postgres::Row]; 2]) -> Result<()> {
        for row in policies {
            if let Err(error) = serde_json::from_str::<Policy>(row.try_get(2)?) {
                let what = format!("its policy does not decode: {error}");
                self.breaches.push(Breach { task: task_id(row, 0)?, what });
            }
        }
        for row in records {
            if let Err(error) = serde_json::from_str::<Entry>(row.try_get(3)?) {
                let seq = count(row, 2)?;
                let what = format!("entry {seq} of its record does not decode: {error}");
                self.breaches.push(Breach { task: task_id(row, 0)?, what });
            }
        }
        Ok(())
    }

    /// The children that waits name.
    fn named(&self) -> Vec<crate::store::postgres::link::pipeline::Value<'static>> {
        let rows = self.open.iter().filter_map(|id| self.tx.task(*id));
        let named: Vec<TaskId> = rows
            .flat_map(|row| {
                let (_, children) = named(&row.waits);
                children.into_iter().map(|local| TaskId { job: row.id.job, local })
            })
            .collect();
        arrays!(named, id => id.job, id.local)
    }

    /// The jobs that waits name.
    fn jobs(&self) -> Vec<JobId> {
        let rows = self.open.iter().filter_map(|id| self.tx.task(*id));
        rows.flat_map(|row| wait::jobs(&row.waits)).collect()
    }

    fn look(&mut self) -> Result<()> {
        for id in std::mem::take(&mut self.open) {
            let Some(row) = self.tx.task(id).cloned() else { continue };
            let mut breach = |what: &str| {
                self.breaches.push(Breach { task: id, what: what.to_owned() });
            };
            if (row.state == State::Running) != row.token.is_some() {
                breach("running without a token, or a token without running");
            }
            if let Some(what) = self.tx.what_is_unreadable(id) {
                breach(what);
                continue;
            }
            if self.timers.get(&id).copied() != row.timer() {
                breach("its timer is not the earliest of its instants");
            }
            let overdue = row.timer().is_some_and(|time| time <= self.tx.now);
            if row.state == State::Waiting
                && !overdue
                && wait::satisfied(&row.waits, &mut WaitFacts { rows: &mut self.tx, task: id })?
            {
                breach("waiting, yet satisfied");
            }
            if self.orphans.contains(&id) && !self.is_falling(&row) {
                self.breaches
                    .push(Breach { task: id, what: "open below an ended parent".to_owned() });
            }
        }
        Ok(())
    }

    /// Whether a cancellation on its way down will reach the task. Open parents are here; an ended one
    /// that is above an open child is the top of what falls, or below another such.
    fn is_falling(&self, row: &Task) -> bool {
        let mut next = row.parent();
        while let Some(parent) = next {
            if self.cascades.contains(&parent) {
                return true;
            }
            next = self.tx.task(parent).and_then(|row| row.parent());
        }
        false
    }
}
