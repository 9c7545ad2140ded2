//! Locking and reading: the first round trip of every verb that moves tasks.
//!
//! Rows are locked once, by one statement, in the order of depth and id: those of the verb's own tasks
//! and, where a task may end, its parent's. Later statements read what the rules decide upon: under READ COMMITTED
//! they see all that the locks' last holders committed, and the statement that waited for the locks does not. The
//! parent's lock guards the counts of its sets.

use std::collections::BTreeSet;

use tokio_postgres::Row;

use crate::core::id::{JobId, Local, TaskId, Token};
use crate::core::state::State;
use crate::core::wait::{self, Standing, Wait};
use crate::store::postgres::link::fault::{Fault, Result};
use crate::store::postgres::link::pipeline::{self, Session, Statement, arrays, values};
use crate::store::postgres::transaction::bundle::{self, BundledTasks, dissolve};
use crate::store::postgres::transaction::columns::Hash;
use crate::store::postgres::transaction::loaded::{Load, Loads};
use crate::store::postgres::transaction::task::{Task, columns, named};
use crate::store::postgres::transaction::tx::Tx;
use crate::store::{Addition, Event, NewJob, NewTask, Unit};

/// What is to be locked and read.
#[derive(Debug, Default)]
pub(in crate::store::postgres) struct LoadPlan<'e> {
    /// Tasks, and whether each may end.
    pub(in crate::store::postgres) tasks: Vec<(TaskId, bool)>,
    /// How many of them, the first, are those that units speak of: they have rows, or are in bundles, or their worker has
    /// lost them. The others may have ended long ago.
    own: usize,
    /// Tasks that are in bundles as far as is known, which are locked by their tokens: no row of theirs is
    /// looked for.
    pub(in crate::store::postgres) bundled: Vec<TaskId>,
    /// Whether tasks that are to have rows are in bundles: they leave them now, or a reply was lost.
    looks_in_bundles: bool,
    /// Whether one of them is a child and may end.
    child_ends: bool,
    /// Under which claims their own worker speaks of them: their bundles are locked as such.
    tokens: BTreeSet<Token>,
    /// Tasks that somebody else speaks of: their bundles are dissolved.
    others: Vec<TaskId>,
    sets: Vec<(TaskId, Local)>,
    children: Vec<TaskId>,
    waits: Vec<(TaskId, u64)>,
    /// Tasks that may fall, and everything below them with them.
    falling: Vec<TaskId>,
    /// Children that units abort one by one.
    pub(in crate::store::postgres) aborted: usize,
    /// Tasks to be below others: whose, in which set, and as what.
    spawns: Vec<(TaskId, Local, Local, &'e NewTask)>,
    detached: Vec<&'e NewJob>,
    /// Jobs that waits name.
    jobs: Vec<JobId>,
    /// Jobs that may end: whoever waits for them is looked for.
    closing: Vec<JobId>,
    /// Signals that are sent: whose entries they are, and who is to have them.
    signals: Vec<(TaskId, u64, TaskId)>,
    /// Entries of members that add, and the parents to whose sets.
    additions: Vec<(TaskId, u64, TaskId)>,
    /// Tasks whose waits somebody else may satisfy.
    waiters: Vec<TaskId>,
    /// Keys that jobs to be would take.
    held: Vec<&'e str>,
    lines: Vec<(TaskId, &'e str)>,
}

impl<'e> LoadPlan<'e> {
    /// What units need.
    pub(in crate::store::postgres) fn by(units: &[&'e Unit], held: &BundledTasks) -> Self {
        let (mut bundled, looks_in_bundles) = held.of(units);
        let mut wanted = Self { looks_in_bundles, ..Self::default() };
        for unit in units {
            let ends = unit.events.iter().any(|event| matches!(event, Event::End(_)));
            if ends && unit.task.is_root() {
                wanted.closing.push(unit.task.job);
            }
            // A task that is added is counted where an end is: under the parent's lock.
            let adds = unit.events.iter().any(|event| matches!(event, Event::Add(_)));
            if bundled.remove(&unit.task) {
                wanted.bundled.push(unit.task);
                wanted.child_ends |= ends && !unit.task.is_root();
            } else {
                wanted.tasks.push((unit.task, ends || adds));
            }
            wanted.tokens.insert(unit.token);
        }
        wanted.own = wanted.tasks.len();
        for unit in units {
            for event in &unit.events {
                wanted.look(unit.task, event);
            }
        }
        wanted
    }

    fn look(&mut self, task: TaskId, event: &'e Event) {
        match event {
            Event::Spawn(child) => {
                self.sets.push((task, child.set));
                self.spawns.push((task, child.set, child.local, &child.task));
            }
            Event::Add(addition) => {
                let Addition { seq, parent, set, local, task: new, .. } = &**addition;
                let parent = TaskId { job: task.job, local: *parent };
                self.spawns.push((parent, *set, *local, new));
                self.additions.push((task, *seq, parent));
            }
            Event::Detach(job) => {
                self.detached.push(job);
                self.held.extend(job.key.as_deref());
            }
            Event::Abort(abort) => {
                if let Some(local) = abort.child {
                    self.aborted += 1;
                    self.ending([TaskId { job: task.job, local }]);
                }
            }
            Event::Log(line) => self.lines.push((task, &line.key)),
            Event::Signal(signal) => {
                let to = TaskId { job: task.job, local: signal.to };
                self.signals.push((task, signal.seq, to));
                self.other(to);
                self.waiters.push(to);
            }
            Event::Park { waits, .. } => {
                self.waiting(task, waits);
                // Locked, so that none ends between the look at it and the commit of whoever waits for it.
                for job in wait::jobs(waits) {
                    self.other(job.root());
                }
            }
            Event::End(crate::store::End::Failed { .. }) => self.falling.push(task),
            Event::Begin
            | Event::End(crate::store::End::Succeeded(_))
            | Event::Record { .. }
            | Event::Progress { .. }
            | Event::Retry { .. }
            | Event::Stall { .. }
            | Event::HandBack => {}
        }
    }

    /// Also locks what an earlier run of the transaction has missed: those that wait for jobs which may end, and bundles.
    pub(in crate::store::postgres) fn missed(&mut self, session: &Session<'_>) {
        self.looks_in_bundles |= session.looks_in_bundles();
        for waiter in session.watchers() {
            self.tasks.push((waiter, false));
            self.waiters.push(waiter);
        }
    }

    /// What the answer to waits depends on.
    pub(in crate::store::postgres) fn waiting(&mut self, task: TaskId, waits: &[Wait]) {
        let (sets, children) = named(waits);
        self.sets.extend(sets.into_iter().map(|set| (task, set)));
        self.children.extend(children.into_iter().map(|local| TaskId { job: task.job, local }));
        self.waits.extend(waits.iter().map(|wait| (task, wait.seq)));
        self.jobs.extend(wait::jobs(waits));
    }

    /// Tasks that somebody else than their body may end.
    pub(in crate::store::postgres) fn ending(&mut self, tasks: impl IntoIterator<Item = TaskId>) {
        for task in tasks {
            self.tasks.push((task, true));
            self.falling.push(task);
            self.others.push(task);
            self.closing.extend(task.is_root().then_some(task.job));
        }
    }

    /// A task that somebody else than its body speaks of.
    pub(in crate::store::postgres) fn other(&mut self, task: TaskId) {
        self.tasks.push((task, false));
        self.others.push(task);
    }

    /// Jobs to be, with nothing else. Whether their ids are free is asked elsewhere.
    pub(in crate::store::postgres) fn submitting(jobs: &'e [NewJob]) -> Self {
        let held = jobs.iter().filter_map(|job| job.key.as_deref()).collect();
        Self { held, ..Self::default() }
    }

    /// The statements, as many as are needed.
    pub(in crate::store::postgres) fn steps(&self, steps: &mut Vec<Statement<'e>>) -> Loads {
        let mut whats = Vec::new();
        if !self.others.is_empty() {
            whats.push((pipeline::add(steps, dissolve::named(&self.others)), Load::Dissolved));
        }
        let tokens: Vec<Token> = self.tokens.iter().copied().collect();
        if !self.bundled.is_empty() || (self.looks_in_bundles && !tokens.is_empty()) {
            whats.push((pipeline::add(steps, bundle::held(&tokens)), Load::Bundles));
        }
        // A root has no parent whose sets and waits it could touch.
        let ends =
            self.child_ends || self.tasks.iter().any(|(task, ends)| *ends && !task.is_root());
        let mut add = |needed: bool, what, sql, more: Vec<_>| {
            if needed {
                let own = matches!(what, Load::Sets | Load::Over | Load::Signals);
                let mut values = if own { self.keys() } else { Vec::new() };
                values.extend(more);
                whats.push((pipeline::add(steps, Statement::new(sql, values)), what));
            }
        };
        let own = arrays!(self.tasks, (task, _) => task.job, task.local);
        add(!self.tasks.is_empty() && !ends, Load::Rows, LOCK_OWN, own);
        add(ends, Load::Rows, LOCK, self.keys());
        let sets = arrays!(self.sets, (task, set) => task.job, task.local, *set);
        add(ends || !self.sets.is_empty(), Load::Sets, SETS, sets);
        let children = arrays!(self.children, child => child.job, child.local);
        add(ends || !self.children.is_empty(), Load::Over, OVER, children);
        let listening = arrays!(self.waits, (task, _) => task.job, task.local);
        add(!self.waits.is_empty(), Load::Signals, SIGNALS, listening);
        let additions: Vec<_> = self.additions.iter().map(|(task, seq, _)| (*task, *seq)).collect();
        let signals: Vec<_> = self.signals.iter().map(|(task, seq, _)| (*task, *seq)).collect();
        let known = [&self.waits[..], &signals[..], &additions[..]].concat();
        let waits = arrays!(known, (task, seq) => task.job, task.local, *seq as i64);
        add(!known.is_empty(), Load::Records, RECORDS, waits);
        add(!self.jobs.is_empty(), Load::Jobs, JOBS, values![self.jobs.clone()]);
        add(!self.closing.is_empty(), Load::Watchers, WATCHERS, values![self.closing.clone()]);
        let numbers = values![self.signals.len() as i64];
        add(!self.signals.is_empty(), Load::Numbers, NUMBERS, numbers);
        let receivers = arrays!(self.signals, (_, _, to) => to.job, to.local);
        add(!self.signals.is_empty(), Load::Fallen, FALLEN, receivers);
        let falling = arrays!(self.falling, task => task.job, task.local);
        add(!self.falling.is_empty(), Load::Above, ABOVE, falling);
        let spawns = arrays!(self.spawns, (task, set, local, new) =>
            task.job, task.local, *set, *local, new.kind.as_str(), Hash(new.hash));
        add(!self.spawns.is_empty(), Load::Siblings, SIBLINGS, spawns);
        let growing = arrays!(self.additions, (_, _, parent) => parent.job, parent.local);
        add(
            !additions.is_empty(),
            Load::Descending,
            crate::store::postgres::sweep::DESCENDING,
            growing,
        );
        let detached = arrays!(self.detached, job => job.id);
        add(!self.detached.is_empty(), Load::Roots, ROOTS, detached);
        add(!self.held.is_empty(), Load::Holders, HOLDERS, values![self.held.clone()]);
        let lines = arrays!(self.lines, (task, key) => task.job, task.local, *key);
        add(!self.lines.is_empty(), Load::Said, crate::store::postgres::log::SAID, lines);
        Loads(whats)
    }

    fn keys(&self) -> Vec<crate::store::postgres::link::pipeline::Value<'e>> {
        let mut values = arrays!(self.tasks, (task, ends) => task.job, task.local, *ends);
        values.extend(arrays!(self.tokens, token => token.worker, token.claim as i64));
        values
    }

    /// Locks and reads in a round trip of its own.
    pub(in crate::store::postgres) async fn load(
        &self,
        session: &Session<'_>,
        tx: &mut Tx<'_>,
    ) -> Result<()> {
        let mut steps = Vec::new();
        let whats = self.steps(&mut steps);
        let answers = session.run(steps).await?;
        whats.absorb(&answers, tx)
    }

    /// After what was wanted has been absorbed: what the waits depend on that somebody else may satisfy.
    /// Their rows are locked, so it will not change.
    pub(in crate::store::postgres) async fn follow(
        &self,
        session: &Session<'_>,
        tx: &mut Tx<'_>,
    ) -> Result<()> {
        session.know_watchers(tx)?;
        session.know_bundles(self, tx)?;
        let mut wanted = LoadPlan::default();
        let waiting = |row: &&Task| row.state == State::Waiting;
        for row in self.waiters.iter().filter_map(|waiter| tx.task(*waiter)).filter(waiting) {
            wanted.tasks.push((row.id, false));
            wanted.waiting(row.id, &row.waits);
        }
        // A parent that its child's end wakes may wait for a job or a signal, too; so may one that something else has woken,
        // and that this exchange claims. Mostly nobody has sent it anything.
        for row in tx.rows.values().map(|known| &known.task) {
            wanted.jobs.extend(wait::jobs(&row.waits));
            if row.signalled && !self.waits.iter().any(|(task, _)| *task == row.id) {
                wanted.waits.extend(row.waits.iter().map(|wait| (row.id, wait.seq)));
            }
        }
        if wanted.tasks.is_empty() && wanted.waits.is_empty() && wanted.jobs.is_empty() {
            return Ok(());
        }
        wanted.load(session, tx).await
    }
}

impl Tx<'_> {
    /// Reads how a job stands.
    pub(in crate::store::postgres) fn add_standing(&mut self, row: &Row) -> Result<()> {
        let standing = match (row.try_get(1)?, row.try_get::<_, Option<State>>(2)?) {
            (false, _) => Standing::Unknown,
            (true, None) => Standing::Open,
            (true, Some(state)) => Standing::of(state, row.try_get(3)?),
        };
        self.standing.insert(row.try_get(0)?, standing);
        Ok(())
    }
}

impl Session<'_> {
    /// Of what a worker speaks and has no row is in a bundle, or no longer the worker's. A process knows what it
    /// has claimed in bundles, but for claims of which it was not told.
    fn know_bundles(&self, plan: &LoadPlan<'_>, tx: &Tx<'_>) -> Result<()> {
        let is_missing = |(task, _): &(TaskId, bool)| !tx.rows.contains_key(task);
        let was_asked = plan.looks_in_bundles || !plan.bundled.is_empty();
        if was_asked || !plan.tasks[..plan.own].iter().any(is_missing) {
            return Ok(());
        }
        self.look_in_bundles();
        Err(Fault::Stale)
    }

    /// Whoever waits for a job that may end must be locked as all rows are, in their order and at once: if
    /// somebody has come who is not, the transaction runs again and knows them.
    fn know_watchers(&self, tx: &Tx<'_>) -> Result<()> {
        let known = self.watchers();
        let mut missing: Vec<TaskId> = tx.watchers.iter().map(|(_, waiter)| *waiter).collect();
        missing.retain(|waiter| !tx.rows.contains_key(waiter) && !known.contains(waiter));
        if missing.is_empty() {
            return Ok(());
        }
        self.watched(missing);
        Err(Fault::Stale)
    }
}

/// The verb's own tasks, and the parents of those that may end.
macro_rules! up {
    () => {
        "WITH own AS MATERIALIZED (SELECT * FROM unnest($1::uuid[], $2::uuid[], $3::boolean[])
             AS own (job, local, ends)),
           up AS MATERIALIZED (SELECT DISTINCT o.job, o.parent AS local, o.\"set\"
             FROM own JOIN homing.open AS o USING (job, local)
             WHERE own.ends AND o.parent IS NOT NULL
             UNION SELECT b.job, b.parent, b.\"set\"
             FROM unnest($4::uuid[], $5::bigint[]) AS c (worker, claim) JOIN homing.bundles AS b
               ON b.worker = c.worker AND b.claim = c.claim
             WHERE b.parent IS NOT NULL)"
    };
}

/// Locks rows, in the order in which everybody does.
macro_rules! locked {
    () => {
        " FROM keys JOIN homing.open AS o USING (job, local)
  ORDER BY o.depth, o.job, o.local FOR UPDATE OF o"
    };
}

/// The verb's own tasks alone.
const LOCK_OWN: &str = concat!(
    "WITH keys AS (SELECT * FROM unnest($1::uuid[], $2::uuid[]) AS own (job, local)) SELECT ",
    columns!(),
    locked!()
);

/// The verb's own tasks, and the parents of those that end. All are locked by one statement and in one order, parents
/// before children: two transactions that lock one after the other could each hold what the other waits for.
const LOCK: &str = concat!(
    up!(),
    ", keys AS (SELECT job, local FROM own UNION SELECT job, local FROM up) SELECT ",
    columns!(),
    locked!()
);

/// After the rows of tasks, so that these are locked first everywhere. An ended parent has no row:
/// then this is the only lock.
const SETS: &str = concat!(
    up!(),
    ", wanted (job, task, \"set\") AS (
      SELECT * FROM unnest($6::uuid[], $7::uuid[], $8::uuid[])
      UNION SELECT job, local, \"set\" FROM up
      UNION SELECT p.job, p.local, w.\"set\" FROM up JOIN homing.open AS p USING (job, local)
        CROSS JOIN LATERAL unnest(p.wait_sets) AS w (\"set\"))
  SELECT s.job, s.task, s.\"set\", ",
    set_counts_columns!(),
    "
  FROM wanted AS w JOIN homing.sets AS s
    ON s.job = w.job AND s.task = w.task AND s.\"set\" = w.\"set\"
  ORDER BY s.job, s.task, s.\"set\" FOR UPDATE OF s"
);

/// Which children that waits name have ended. After the locks: a child that ends meanwhile finds its parent locked, and
/// looks at the parent's waits itself.
const OVER: &str = concat!(
    up!(),
    ", wanted (job, local) AS (
      SELECT * FROM unnest($6::uuid[], $7::uuid[])
      UNION SELECT p.job, w.local FROM up JOIN homing.open AS p USING (job, local)
        CROSS JOIN LATERAL unnest(p.wait_children) AS w (local))
  SELECT w.job, w.local FROM wanted AS w CROSS JOIN LATERAL (
      SELECT FROM homing.ended AS e WHERE e.job = w.job AND e.local = w.local OFFSET 0) AS e"
);

/// Of tasks that are about to wait and of parents that may. More than one of a name only for branches that
/// wait for the same signal at the same time.
const SIGNALS: &str = concat!(
    up!(),
    ", keys AS (SELECT * FROM unnest($6::uuid[], $7::uuid[]) AS w (job, local)
      UNION SELECT job, local FROM up)
  SELECT s.job, s.task, s.number, s.name, s.value
  FROM (SELECT o.job, o.local FROM keys JOIN homing.open AS o USING (job, local)
      WHERE o.signalled OFFSET 0) AS o
    CROSS JOIN LATERAL (SELECT g.job, g.task, g.number, g.name, g.value,
        row_number() OVER (PARTITION BY g.name ORDER BY g.number) AS turn
      FROM homing.signals AS g WHERE g.job = o.job AND g.task = o.local) AS s
  WHERE s.turn <= 8"
);

/// Row by row by its key, here and below: what is asked for may be a small part of one large job, of
/// which a join would read all.
const RECORDS: &str = "SELECT w.job, w.task, w.seq, r.place, r.entry
  FROM unnest($1::uuid[], $2::uuid[], $3::bigint[]) AS w (job, task, seq)
    CROSS JOIN LATERAL (SELECT r.place, r.entry FROM homing.records AS r
      WHERE r.job = w.job AND r.task = w.task AND r.seq = w.seq OFFSET 0) AS r";

/// Which of the tasks that fall have open children, for which a cancellation must be on its way.
const ABOVE: &str = "SELECT f.job, f.local FROM unnest($1::uuid[], $2::uuid[]) AS f (job, local)
  WHERE EXISTS (SELECT FROM homing.sets AS s WHERE s.job = f.job AND s.task = f.local
    AND s.spawned > s.succeeded + s.failed + s.cancelled + s.aborted)";

/// The first children of a set need no look.
const SIBLINGS: &str = "SELECT n.job, n.local, t.kind, t.hash,
    CASE WHEN t.kind <> n.kind OR t.hash <> n.hash THEN t.arguments END
  FROM unnest($1::uuid[], $2::uuid[], $3::uuid[], $4::uuid[], $5::text[], $6::uuid[])
      AS n (job, task, \"set\", local, kind, hash)
    CROSS JOIN LATERAL (SELECT FROM homing.sets AS s
      WHERE s.job = n.job AND s.task = n.task AND s.\"set\" = n.\"set\" OFFSET 0) AS s
    CROSS JOIN LATERAL (SELECT t.kind, t.hash, t.arguments FROM homing.tasks AS t
      WHERE t.job = n.job AND t.local = n.local OFFSET 0) AS t";

/// Which of the jobs to be detached exist: an earlier run of the body has detached them.
const ROOTS: &str = "SELECT job FROM homing.tasks
  WHERE job = ANY ($1::uuid[]) AND local = '00000000-0000-0000-0000-000000000000'";

/// After the locks: a root that is open in here is locked, or it came later.
pub(in crate::store::postgres) const JOBS: &str =
    "SELECT j.job, t.job IS NOT NULL, e.state, e.outcome
  FROM unnest($1::uuid[]) AS j (job)
    LEFT JOIN LATERAL (SELECT t.job FROM homing.tasks AS t WHERE t.job = j.job
      AND t.local = '00000000-0000-0000-0000-000000000000' OFFSET 0) AS t ON true
    LEFT JOIN LATERAL (SELECT e.state, e.outcome FROM homing.ended AS e WHERE e.job = j.job
      AND e.local = '00000000-0000-0000-0000-000000000000' OFFSET 0) AS e ON true";

/// After the locks: nobody else can begin to wait for a job whose root is locked.
const WATCHERS: &str = "SELECT w.waiter_job, w.waiter, w.job FROM homing.watchers AS w
  WHERE w.job = ANY ($1::uuid[])";

/// Of those that are sent signals. After their rows were locked: one that is open keeps them in any case.
const FALLEN: &str = "SELECT w.job, w.local FROM unnest($1::uuid[], $2::uuid[]) AS w (job, local)
  CROSS JOIN LATERAL (SELECT FROM homing.ended AS e
    WHERE e.job = w.job AND e.local = w.local AND e.state IN (4, 5) OFFSET 0) AS e";

/// Numbers for signals. One that a transaction takes and does not commit is left out.
const NUMBERS: &str = "SELECT nextval('homing.numbers') FROM generate_series(1, $1::bigint)";

/// Without a lock. A key that another transaction takes meanwhile is a conflict of the insert, and the verb runs again.
pub(in crate::store::postgres) const HOLDERS: &str =
    "SELECT key, job FROM homing.keys WHERE key = ANY ($1::text[])";
