//! Bundles: tasks that were born together, in one row instead of a row of each in `open`.
//!
//! A wide fan-out has nothing to say of its tasks one by one before they end: they are pending together,
//! and mostly run on one worker together. So they are one row until one of them does more than run:
//! - a claim that takes a bundle whole writes one row; a claim that takes a part dissolves the bundle first;
//! - a member of a claimed bundle leaves it when it ends, or does anything that a row has to tell;
//! - a verb from outside (a cancellation, a signal, upkeep for a dead worker) dissolves the bundle first.
//!
//! A transaction that needs both locks bundles before rows of tasks.

use std::collections::{BTreeMap, BTreeSet};

use tokio_postgres::Row;

use crate::core::id::{JobId, Local, Map, TaskId, Token, WorkerId};
use crate::core::state::State;
use crate::core::time::Time;
use crate::limits::POSTGRES_BUNDLE_MOST as MOST;
use crate::store::postgres::hints::scan_starts::{self, Level, Place};
use crate::store::postgres::link::fault::Result;
use crate::store::postgres::link::pipeline::{Statement, arrays, values};
use crate::store::postgres::ready::{Candidates, known, learn, levels, scanned};
use crate::store::postgres::transaction::columns::{limit, small, token};
use crate::store::postgres::transaction::task::Task;
use crate::store::postgres::transaction::tx::{LockedTask, Tx};

pub(in crate::store::postgres) mod dissolve;
mod held;

pub(in crate::store::postgres) use held::{BundledTasks, stays};

by_name! {
    /// The columns that [`Bundle::of`] reads, of a table called `b`.
    bundle at {
        job = "b.job",
        local = "b.local",
        parent = "b.parent",
        set = "b.\"set\"",
        depth = "b.depth",
        priority = "b.priority",
        due = "b.due",
        worker = "b.worker",
        claim = "b.claim",
        started = "b.started",
        queue = "b.queue",
        kind = "b.kind",
        gone = "b.gone",
        members = "b.members",
    }
}

/// Where what follows these columns begins.
pub(in crate::store::postgres) const BEHIND: usize = at::COUNT;

/// Whether a task of a table called `t` is in a bundle called `b`.
macro_rules! in_bundle {
    () => {
        "t.bundle IS NOT NULL
      AND b.job = CASE WHEN t.parent IS NULL THEN t.bundle ELSE t.job END
      AND b.local = CASE WHEN t.parent IS NULL THEN t.local ELSE t.bundle END
      AND get_bit(b.gone, array_position(b.members,
        CASE WHEN t.parent IS NULL THEN t.job ELSE t.local END) - 1) = 0"
    };
}

/// The state of whoever is in a bundle called `b`.
macro_rules! bundled_state {
    () => {
        "CASE WHEN b.job IS NOT NULL THEN (b.worker IS NOT NULL)::integer::smallint END"
    };
}

/// The members that bundles called `b` still have, as a table of their ids called `m`.
macro_rules! members {
    () => {
        "CROSS JOIN LATERAL (
      SELECT CASE WHEN b.parent IS NULL THEN u.id ELSE b.job END AS job,
        CASE WHEN b.parent IS NULL THEN b.local ELSE u.id END AS local
      FROM unnest(b.members) WITH ORDINALITY AS u (id, turn)
      WHERE get_bit(b.gone, (u.turn - 1)::integer) = 0) AS m"
    };
}

pub(in crate::store::postgres) use {bundle, bundled_state, in_bundle, members};

/// For the caller of a transaction: waits for whoever is dissolving a task's bundle.
pub(in crate::store::postgres) const WAIT: &str = concat!(
    "SELECT FROM homing.tasks AS t JOIN homing.bundles AS b ON ",
    in_bundle!(),
    " WHERE t.job = $1 AND t.local = $2 FOR UPDATE OF b"
);

/// Locks the bundles that were claimed under tokens.
const HELD: &str = concat!(
    "SELECT ",
    bundle!(),
    " FROM unnest($1::uuid[], $2::bigint[]) AS c (worker, claim) JOIN homing.bundles AS b
    ON b.worker = c.worker AND b.claim = c.claim
  ORDER BY b.job, b.local FOR UPDATE OF b"
);

/// Those whose claims' replies never arrived.
const AGAIN: &str = concat!(
    "SELECT ",
    bundle!(),
    " FROM homing.bundles AS b WHERE b.worker = $1 AND b.claim > $2 ORDER BY b.job, b.local"
);

pub(in crate::store::postgres) fn held<'e>(tokens: &[Token]) -> Statement<'e> {
    Statement::new(HELD, arrays!(tokens, token => token.worker, token.claim as i64))
}

pub(in crate::store::postgres) fn again<'e>(worker: WorkerId, acknowledged: u64) -> Statement<'e> {
    Statement::new(AGAIN, values![worker, Token::last_of(acknowledged) as i64])
}

/// The ready bundles of levels, as many as have the members that are asked for. So many are counted first, among more of
/// them, and then so many are locked: where other workers hold the first, those behind them are taken.
macro_rules! ready {
    ($levels:expr) => {
        concat!(
            "WITH RECURSIVE ",
            $levels,
            ", first AS MATERIALIZED (
      SELECT o.job, o.local, l.priority, o.due, sum(o.here) OVER (
        ORDER BY l.priority DESC, o.due, o.job, o.local ROWS UNBOUNDED PRECEDING) - o.here AS before
      FROM levels AS l CROSS JOIN LATERAL (
        SELECT b.job, b.local, b.due, b.here FROM homing.bundles AS b
        WHERE b.worker IS NULL AND b.queue = l.queue AND b.kind = l.kind AND b.priority = l.priority
          AND (b.due, b.job, b.local) >= (l.start, l.start_job, l.start_local) AND b.due <= ",
            crate::store::postgres::now!(),
            " ORDER BY b.due, b.job, b.local LIMIT $5::bigint / 8 + 16) AS o)
    SELECT ",
            bundle!(),
            " FROM first AS o JOIN homing.bundles AS b USING (job, local)
  WHERE b.worker IS NULL AND $2::uuid IS NOT NULL
  ORDER BY o.priority DESC, o.due, o.job, o.local
  LIMIT (SELECT count(*) FROM first WHERE before < $5) FOR UPDATE OF b SKIP LOCKED"
        )
    };
}

/// The ready bundles.
macro_rules! of_bundles {
    () => {
        "homing.bundles AS o WHERE o.worker IS NULL"
    };
}

pub(in crate::store::postgres) use of_bundles;

const READY: [&str; 3] = [
    ready!(levels!("$3", "$4", of_bundles!())),
    ready!(scanned!("$3", "$4", of_bundles!())),
    ready!(known!()),
];

/// What a look at everything learns beside.
const LEVELS: [&str; 2] =
    [learn!(levels!("$1", "$2", of_bundles!())), learn!(scanned!("$1", "$2", of_bundles!()))];

impl<'c> Candidates<'c> {
    /// Bundles that the worker may claim.
    pub(in crate::store::postgres) fn bundles(&self) -> Statement<'c> {
        self.looking(READY, true, Box::new(limit(self.claim.most())))
    }

    /// As [`levels`](Self::levels), of bundles.
    pub(in crate::store::postgres) fn bundled_levels(&self) -> Option<Statement<'c>> {
        self.levels_by(LEVELS)
    }
}

/// A bundle that is locked.
#[derive(Debug)]
pub(in crate::store::postgres) struct Bundle {
    level: Level,
    due: Time,
    /// Whose all members are; `None`: pending.
    token: Option<Token>,
    members: Vec<TaskId>,
    gone: Vec<u8>,
}

impl Bundle {
    /// Reads a row: the bundle, and what its members have in common as a task.
    fn of(row: &Row) -> Result<(Self, Task)> {
        let key = TaskId { job: row.try_get(at::job)?, local: row.try_get(at::local)? };
        let parent: Option<Local> = row.try_get(at::parent)?;
        let (due, token) = (row.try_get(at::due)?, token(row, (at::worker, at::claim))?);
        let (queue, kind): (String, String) = (row.try_get(at::queue)?, row.try_get(at::kind)?);
        let members = if parent.is_some() {
            let locals = row.try_get::<_, Vec<Local>>(at::members)?.into_iter();
            locals.map(|local| TaskId { job: key.job, local }).collect()
        } else {
            row.try_get::<_, Vec<JobId>>(at::members)?.into_iter().map(JobId::root).collect()
        };
        let mut task = Task::blank(key, queue, kind);
        (task.parent, task.set, task.depth) =
            (parent, row.try_get(at::set)?, small(row, at::depth)?);
        task.state = if token.is_some() { State::Running } else { State::Pending };
        task.priority = row.try_get(at::priority)?;
        (task.due, task.token, task.started) = (due, token, row.try_get(at::started)?);
        let gone = row.try_get(at::gone)?;
        Ok((Self { level: Level::of(&task), due, token, members, gone }, task))
    }

    /// The members that are here, with their turns.
    fn here(&self) -> impl Iterator<Item = (usize, TaskId)> {
        let members = self.members.iter().copied().enumerate();
        members.filter(|(turn, _)| {
            self.gone.get(turn / 8).is_none_or(|byte| byte & 1 << (turn % 8) == 0)
        })
    }

    /// Where the members that are pending stand: with the first of them.
    fn place(&self) -> Option<Place> {
        self.members.first().map(|first| (self.due, first.job, first.local))
    }
}

/// What is written of the bundles that were locked, beside the rows of those who leave.
#[derive(Debug, Default)]
pub(in crate::store::postgres) struct BundleWrites {
    /// Members that get rows of their own, unless they have ended.
    pub(in crate::store::postgres) leaving: BTreeSet<TaskId>,
    claimed: Vec<(TaskId, Token)>,
    left: Vec<(TaskId, Vec<u8>, i32)>,
    emptied: Vec<TaskId>,
}

impl Tx<'_> {
    /// Adds the members of a bundle. Returns its key.
    pub(in crate::store::postgres) fn add_bundle(&mut self, row: &Row) -> Result<TaskId> {
        let (bundle, task) = Bundle::of(row)?;
        let key = task.id;
        for (_, id) in bundle.here() {
            self.rows.entry(id).or_insert_with(|| {
                let mut member = task.clone();
                member.id = id;
                LockedTask { bundle: Some(key), ..LockedTask::of(member) }
            });
        }
        self.bundles.entry(key).or_insert(bundle);
        Ok(key)
    }

    fn known_of<'s>(&'s self, bundle: &'s Bundle) -> impl Iterator<Item = (usize, &'s LockedTask)> {
        bundle.here().filter_map(|(turn, id)| Some((turn, self.rows.get(&id)?)))
    }

    /// Takes back what was chosen of bundles that do not fit whole, if enough else was chosen: to dissolve
    /// them costs more than to wait for the next exchange. Returns whether anything was.
    pub(in crate::store::postgres) fn spare_bundles(
        &self,
        chosen: &mut Vec<(TaskId, bool)>,
    ) -> bool {
        let mut parts: Map<TaskId, usize> = Map::default();
        for (task, _) in chosen.iter() {
            if let Some(key) = self.rows.get(task).and_then(|known| known.bundle) {
                *parts.entry(key).or_default() += 1;
            }
        }
        parts.retain(|key, part| {
            self.bundles.get(key).is_some_and(|bundle| bundle.here().count() > *part)
        });
        let spared: usize = parts.values().sum();
        if spared == 0 || chosen.len() - spared < MOST {
            return false;
        }
        chosen.retain(|(task, _)| {
            let bundle = self.rows.get(task).and_then(|known| known.bundle);
            bundle.is_none_or(|key| !parts.contains_key(&key))
        });
        true
    }

    /// Bundles by their places in the order of claims, and whether each was taken.
    pub(in crate::store::postgres) fn found_bundles(
        &self,
        keys: &[TaskId],
    ) -> Vec<(Level, Place, bool)> {
        let bundles = keys.iter().filter_map(|key| self.bundles.get(key));
        let found = bundles.filter_map(|bundle| {
            let taken = self.known_of(bundle).all(|(_, row)| row.task.state != State::Pending);
            Some((bundle.level.clone(), bundle.place()?, taken))
        });
        found.collect()
    }

    /// The members that a bundle still has.
    pub(in crate::store::postgres) fn members(&self, key: TaskId) -> impl Iterator<Item = TaskId> {
        self.bundles.get(&key).into_iter().flat_map(|bundle| bundle.here().map(|(_, id)| id))
    }

    /// The members of bundles that are claimed whole.
    pub(in crate::store::postgres) fn claimed_in(&self, partings: &BundleWrites) -> Vec<TaskId> {
        partings.claimed.iter().flat_map(|(key, _)| self.members(*key)).collect()
    }

    /// What was done to the bundles.
    pub(in crate::store::postgres) fn partings(&self) -> BundleWrites {
        let mut partings = BundleWrites::default();
        for (key, bundle) in &self.bundles {
            let moved = || self.known_of(bundle).filter(|(_, known)| known.moved);
            if moved().next().is_none() {
                continue;
            }
            if bundle.token.is_none() {
                let token = moved().next().and_then(|(_, known)| known.task.token);
                let alike = |known: &LockedTask| known.begun && known.task.token == token;
                let whole = self.known_of(bundle).all(|(_, known)| alike(known));
                if let Some(token) = token.filter(|_| whole) {
                    partings.claimed.push((*key, token));
                } else {
                    partings.leaving.extend(bundle.here().map(|(_, id)| id));
                    partings.emptied.push(*key);
                }
                continue;
            }
            let mut gone = bundle.gone.clone();
            for (turn, known) in moved() {
                if let Some(byte) = gone.get_mut(turn / 8) {
                    *byte |= 1 << (turn % 8);
                }
                partings.leaving.insert(known.task.id);
            }
            match bundle.here().count() - moved().count() {
                0 => partings.emptied.push(*key),
                left => partings.left.push((*key, gone, left as i32)),
            }
        }
        partings
    }

    /// The newborn tasks that become bundles: those of which nothing is to be said but what they have in
    /// common.
    pub(in crate::store::postgres) fn bundled<'s>(
        &self,
        newborns: &[&'s Task],
    ) -> Vec<Vec<&'s Task>> {
        let mut alike: BTreeMap<_, Vec<&Task>> = BTreeMap::new();
        if self.bundle_from == 0 {
            return Vec::new();
        }
        // A link's end asks for its arguments, which a row has.
        let joins = |task: &&Task| task.is_plain() && task.due <= self.now && task.link.is_none();
        for task in newborns.iter().copied().filter(joins) {
            let family = task.parent.map(|parent| (task.id.job, parent, task.set));
            let Task { queue, priority, .. } = task;
            alike.entry((family, queue, &task.kind, *priority, task.due)).or_default().push(task);
        }
        let mut bundles = Vec::new();
        for mut tasks in alike.into_values() {
            tasks.sort_unstable_by_key(|task| task.id);
            let parts = tasks.chunks(MOST).filter(|part| part.len() >= self.bundle_from);
            bundles.extend(parts.map(<[_]>::to_vec));
        }
        bundles
    }
}

/// Up to a hundred tasks by one write. Measured: all that is written of a bundle takes 1 µs of the server's time for each
/// task, where the claim of a row in `open` took 8.
const CLAIM: &str =
    "UPDATE homing.bundles AS b SET worker = c.worker, claim = c.claim, started = $5
  FROM unnest($1::uuid[], $2::uuid[], $3::uuid[], $4::bigint[]) AS c (job, local, worker, claim)
  WHERE b.job = c.job AND b.local = c.local";

/// Members that have ended or got rows of their own are marked. The list of members is never written again.
const LEAVE: &str = "UPDATE homing.bundles AS b SET gone = l.gone, here = l.here
  FROM unnest($1::uuid[], $2::uuid[], $3::bytea[], $4::integer[]) AS l (job, local, gone, here)
  WHERE b.job = l.job AND b.local = l.local";

/// A bundle goes with its last member.
const EMPTY: &str = "DELETE FROM homing.bundles AS b
  USING unnest($1::uuid[], $2::uuid[]) AS e (job, local)
  WHERE b.job = e.job AND b.local = e.local";

impl BundleWrites {
    /// The statements that write this.
    pub(in crate::store::postgres) fn steps(&self, now: Time, steps: &mut Vec<Statement<'_>>) {
        if !self.claimed.is_empty() {
            let values = arrays!(self.claimed, (key, token) =>
                key.job, key.local, token.worker, token.claim as i64);
            steps.push(Statement::new(CLAIM, values).with(values![now]));
        }
        if !self.left.is_empty() {
            let values = arrays!(self.left, (key, gone, here) =>
                key.job, key.local, gone.clone(), *here);
            steps.push(Statement::new(LEAVE, values));
        }
        if !self.emptied.is_empty() {
            steps.push(Statement::new(EMPTY, arrays!(self.emptied, key => key.job, key.local)));
        }
    }
}

/// The members of all bundles travel as one list, and each bundle cuts its own out of it: `unnest` would make one list of
/// an array of arrays.
const BEAR: &str = "INSERT INTO homing.bundles (job, local, parent, \"set\", depth, priority, here, due, queue,
    kind, gone, members)
  SELECT n.job, n.local, n.parent, n.\"set\", n.depth, n.priority, n.here, n.due, n.queue, n.kind, n.gone,
    ($13::uuid[])[n.first:n.first + n.here - 1]
  FROM unnest($1::uuid[], $2::uuid[], $3::uuid[], $4::uuid[], $5::integer[], $6::smallint[],
    $7::integer[], $8::bigint[], $9::text[], $10::text[], $11::bytea[], $12::integer[])
    AS n (job, local, parent, \"set\", depth, priority, here, due, queue, kind, gone, first)";

/// Writes newborn bundles.
pub(in crate::store::postgres) fn bear<'s>(bundles: &[Vec<&'s Task>]) -> Statement<'s> {
    // The members of all in one list, and where in it each begins.
    let (mut members, mut firsts) = (Vec::new(), Vec::new());
    for tasks in bundles {
        firsts.extend(tasks.first().map(|first| (*first, members.len() as i32 + 1, tasks.len())));
        members.extend(tasks.iter().map(|task| name(task)));
    }
    let values = arrays!(firsts, (t, first, here) =>
        t.id.job, t.id.local, t.parent, t.set, t.depth as i32, t.priority, *here as i32, t.due,
        t.queue.as_str(), t.kind.as_str(), vec![0_u8; here.div_ceil(8)], *first);
    Statement::new(BEAR, values).with(values![members])
}

/// What a member is called among the others: a child by its local, a root by its job.
fn name(task: &Task) -> Local {
    if task.id.is_root() { Local(*task.id.job.as_bytes()) } else { task.id.local }
}

/// Which tasks are born in which bundles, as their rows say it.
pub(in crate::store::postgres) fn births(bundles: &[Vec<&Task>]) -> Map<TaskId, Local> {
    let mut births = Map::default();
    for tasks in bundles {
        let Some(first) = tasks.first() else { continue };
        births.extend(tasks.iter().map(|task| (task.id, name(first))));
    }
    births
}

/// Of a row that is left to be claimed: where it is found, in its bundle or, if it has left that, by itself.
pub(in crate::store::postgres) fn place(tx: &Tx<'_>, known: &LockedTask) -> Place {
    let own = scan_starts::place(&known.task);
    let bundle = known.bundle.and_then(|key| tx.bundles.get(&key));
    bundle.and_then(Bundle::place).map_or(own, |place| place.min(own))
}
