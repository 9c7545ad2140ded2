//! What a claim asks the database for: the ready tasks, and when the next one is due.

use crate::core::id::WorkerId;
use crate::core::time::Time;
use crate::limits;
use crate::store::postgres::hints::scan_starts::ClaimScan;
use crate::store::postgres::link::pipeline::{Statement, Value, add, arrays, values};
use crate::store::postgres::transaction::bundle::of_bundles;
use crate::store::postgres::transaction::columns::limit;
use crate::store::postgres::transaction::task::columns;
use crate::store::{Claim, Claimed};

/// The statements below say so too.
const _: () = assert!(limits::SUSPECT == 2);

/// The tasks that may be fetched ahead.
macro_rules! of_open {
    () => {
        "homing.open AS o WHERE o.state = 0 AND o.crashes = 0 AND NOT o.at_once"
    };
}

/// Lanes that are served, and the priorities there are ready tasks of: each lane is probed.
macro_rules! levels {
    ($queues:literal, $kinds:literal, $ready:expr) => {
        concat!(
            "lanes AS (SELECT DISTINCT q.queue, k.kind
      FROM unnest(",
            $queues,
            "::text[]) AS q (queue) CROSS JOIN unnest(",
            $kinds,
            "::text[]) AS k (kind)
      WHERE NOT EXISTS (SELECT FROM homing.paused AS p WHERE p.queue = q.queue)),
    levels AS (
      SELECT l.queue, l.kind, o.priority, -9223372036854775808 AS start,
        '00000000-0000-0000-0000-000000000000'::uuid AS start_job, '00000000-0000-0000-0000-000000000000'::uuid AS start_local FROM lanes AS l CROSS JOIN LATERAL (
        SELECT o.priority FROM ",
            $ready,
            " AND o.queue = l.queue AND o.kind = l.kind
        ORDER BY o.priority DESC LIMIT 1) AS o
      UNION ALL
      SELECT l.queue, l.kind, o.priority, l.start, l.start_job, l.start_local FROM levels AS l CROSS JOIN LATERAL (
        SELECT o.priority FROM ",
            $ready,
            " AND o.queue = l.queue AND o.kind = l.kind
          AND o.priority < l.priority
        ORDER BY o.priority DESC LIMIT 1) AS o)"
        )
    };
}

/// The same, of more lanes than are worth probing: in each queue that is served a step from each level with tasks to the
/// next, whoever knows its kind.
macro_rules! scanned {
    ($queues:literal, $kinds:literal, $ready:expr) => {
        concat!(
            "every AS (
      SELECT n.queue, n.kind, n.priority FROM unnest(",
            $queues,
            "::text[]) AS q (queue) CROSS JOIN LATERAL (
        SELECT o.queue, o.kind, o.priority FROM ",
            $ready,
            " AND o.queue = q.queue ORDER BY o.kind, o.priority DESC LIMIT 1) AS n
      UNION ALL
      SELECT n.queue, n.kind, n.priority FROM every AS l CROSS JOIN LATERAL (
        (SELECT o.queue, o.kind, o.priority FROM ",
            $ready,
            " AND o.queue = l.queue AND o.kind = l.kind AND o.priority < l.priority
          ORDER BY o.priority DESC LIMIT 1)
        UNION ALL
        (SELECT o.queue, o.kind, o.priority FROM ",
            $ready,
            " AND o.queue = l.queue AND o.kind > l.kind ORDER BY o.kind, o.priority DESC LIMIT 1)
        LIMIT 1) AS n),
    levels AS (
      SELECT e.queue, e.kind, e.priority, -9223372036854775808 AS start,
        '00000000-0000-0000-0000-000000000000'::uuid AS start_job,
        '00000000-0000-0000-0000-000000000000'::uuid AS start_local
      FROM every AS e WHERE e.kind = ANY (",
            $kinds,
            "::text[])
        AND NOT EXISTS (SELECT FROM homing.paused AS p WHERE p.queue = e.queue))"
        )
    };
}

/// Up to how many lanes each is probed. A probe and a step take as long as each other.
const PROBED: usize = 64;

/// As [`levels`], where it is known which there may be and where each begins: those of `$3` and `$4` alone, as whoever asks
/// has seen to. (To compare a thousand queues with a thousand took 15 ms.)
macro_rules! known {
    () => {
        "levels AS (
      SELECT l.* FROM unnest($6::text[], $7::text[], $8::smallint[], $9::bigint[], $10::uuid[], $11::uuid[])
        AS l (queue, kind, priority, start, start_job, start_local)
      WHERE $3::text[] IS NOT NULL AND $4::text[] IS NOT NULL
        AND NOT EXISTS (SELECT FROM homing.paused AS p WHERE p.queue = l.queue))"
    };
}

pub(super) use {known, levels, scanned};

/// Whether resumed work is nobody else's.
macro_rules! free {
    () => {
        concat!(
            "(o.holder IS NULL OR o.holder = $2 OR o.held_until IS NULL OR o.held_until <= ",
            super::now!(),
            " OR NOT EXISTS (SELECT FROM homing.workers AS w WHERE w.id = o.holder))"
        )
    };
}

/// The ready tasks of a level, in the order of the index.
macro_rules! of_level {
    () => {
        concat!(
            of_open!(),
            " AND o.queue = l.queue
          AND o.kind = l.kind AND o.priority = l.priority
          AND (o.due, o.job, o.local) >= (l.start, l.start_job, l.start_local) AND o.due <= ",
            super::now!(),
            " AND ",
            free!(),
            " ORDER BY o.due, o.job, o.local"
        )
    };
}

/// First how many of each level would be taken if nobody else took any, then so many are locked: never
/// more than are asked for, though there be many lanes. A level that is alone has them all. Of many, only those are read
/// further whose first task is among as many first tasks as are asked for: no other has a part.
macro_rules! ready {
    ($levels:expr) => {
        concat!(
            "WITH RECURSIVE ",
            $levels,
            ", heads AS MATERIALIZED (
      SELECT l.queue, l.kind, l.priority, l.start, l.start_job, l.start_local
      FROM levels AS l CROSS JOIN LATERAL (
        SELECT o.due, o.job, o.local FROM ",
            of_level!(),
            " LIMIT 1) AS o
      ORDER BY l.priority DESC, o.due, o.job, o.local LIMIT $5),
    front AS (
      SELECT l.queue, l.kind, l.priority, l.start, l.start_job, l.start_local
      FROM heads AS l CROSS JOIN LATERAL (
        SELECT o.due, o.job, o.local FROM ",
            of_level!(),
            " LIMIT $5) AS o
      WHERE (SELECT count(*) FROM heads) > 1
      ORDER BY l.priority DESC, o.due, o.job, o.local LIMIT $5),
    shares AS (
      SELECT queue, kind, priority, start, start_job, start_local, count(*) AS tasks FROM front
        GROUP BY queue, kind, priority, start, start_job, start_local
      UNION ALL SELECT queue, kind, priority, start, start_job, start_local, $5 FROM heads
        WHERE (SELECT count(*) FROM heads) = 1)
  SELECT ",
            columns!(),
            " FROM shares AS l CROSS JOIN LATERAL (
    SELECT o.* FROM ",
            of_level!(),
            " LIMIT l.tasks FOR UPDATE OF o SKIP LOCKED) AS o"
        )
    };
}

/// `$2` is the worker, `$3` its queues, `$4` its kinds.
pub(super) const READY: &str = ready!(levels!("$3", "$4", of_open!()));
pub(super) const READY_SCANNED: &str = ready!(scanned!("$3", "$4", of_open!()));
/// As [`READY`], from the places that the process remembers (`hints/scan_starts`). Measured with 200,000 tasks that have rows
/// of their own, beside a snapshot that is held open: from the beginning of the index a task costs 2.2 times as much as
/// without a snapshot, from here 1.1 times. What is claimed while one snapshot is held is passed over by each claim, so the
/// first grows with it. With bundles, a hundred tasks in an entry, no difference was seen beyond that of single runs.
pub(super) const READY_KNOWN: &str = ready!(known!());

/// What a look at everything learns beside.
macro_rules! learn {
    ($levels:expr) => {
        concat!("WITH RECURSIVE ", $levels, " SELECT queue, kind, priority FROM levels")
    };
}

pub(super) use learn;

const LEVELS: [&str; 2] =
    [learn!(levels!("$1", "$2", of_open!())), learn!(scanned!("$1", "$2", of_open!()))];

/// The ready tasks that must begin at once and of which something else is so, in the order of claims.
macro_rules! direct {
    ($which:literal) => {
        concat!(
            " FROM homing.open AS o WHERE o.state = 0 AND (o.crashes > 0 OR o.at_once)
      AND o.queue = ANY ($3::text[]) AND o.kind = ANY ($4::text[]) AND ",
            $which,
            " AND o.due <= ",
            super::now!(),
            " AND ",
            free!(),
            " AND NOT EXISTS (SELECT FROM homing.paused AS p WHERE p.queue = o.queue)
      ORDER BY o.priority DESC, o.due, o.job, o.local"
        )
    };
}

/// A worker runs one suspect at a time, so one is enough; of the others as many as begin at once.
pub(super) const DIRECT: &str = concat!(
    "WITH suspect AS (SELECT ",
    columns!(),
    direct!("o.crashes >= 2"),
    " LIMIT $6 FOR UPDATE OF o SKIP LOCKED), worn AS (SELECT ",
    columns!(),
    direct!("o.crashes < 2"),
    " LIMIT $5 FOR UPDATE OF o SKIP LOCKED) TABLE suspect UNION ALL TABLE worn"
);

/// One more of each than can be taken. They are not locked: another worker may have a slot for them.
const LEFT: &str = concat!(
    "(SELECT o.job, o.local, o.crashes",
    direct!("o.crashes >= 2 AND $6"),
    " LIMIT $5) UNION ALL (SELECT o.job, o.local, o.crashes",
    direct!("o.crashes < 2"),
    " LIMIT $5)"
);

/// The next instant at which there may be something to do, and that of upkeep alone.
macro_rules! next {
    ($levels:expr, $of_bundles:expr) => {
        concat!(
    "WITH RECURSIVE ",
    $levels,
    " SELECT min(next.time), min(next.time) FILTER (WHERE next.upkeep) FROM (
    (SELECT o.timer AS time, true AS upkeep FROM homing.open AS o WHERE o.timer > ",
    super::now!(),
    " ORDER BY o.timer LIMIT 1)
    UNION ALL SELECT o.due, false FROM levels AS l CROSS JOIN LATERAL (
      SELECT o.due FROM ",
    of_open!(),
    " AND o.queue = l.queue AND o.kind = l.kind AND o.priority = l.priority AND o.due > ",
    super::now!(),
    " AND ",
    free!(),
    " ORDER BY o.due LIMIT 1) AS o
    UNION ALL (WITH RECURSIVE ",
    $of_bundles,
    " SELECT min(b.due), false FROM levels AS l CROSS JOIN LATERAL (
        SELECT b.due FROM homing.bundles AS b WHERE b.worker IS NULL AND b.queue = l.queue
          AND b.kind = l.kind AND b.priority = l.priority AND b.due > ",
    super::now!(),
    " ORDER BY b.due LIMIT 1) AS b)
    UNION ALL SELECT min(o.due), false FROM homing.open AS o WHERE ($5 OR o.crashes < 2) AND o.state = 0
      AND (o.crashes > 0 OR o.at_once)
      AND o.queue = ANY ($3::text[]) AND o.kind = ANY ($4::text[]) AND o.due > ",
    super::now!(),
    " AND ",
    free!(),
    " AND NOT EXISTS (SELECT FROM homing.paused AS p WHERE p.queue = o.queue)
    UNION ALL SELECT min(o.held_until), false FROM homing.open AS o WHERE o.state = 0
      AND o.holder IS NOT NULL AND o.held_until > ",
    super::now!(),
    " AND NOT ",
    free!(),
    " AND o.queue = ANY ($3::text[]) AND o.kind = ANY ($4::text[]) AND (o.crashes < 2 OR $5)
      AND NOT EXISTS (SELECT FROM homing.paused AS p WHERE p.queue = o.queue)) AS next"
)
    };
}

/// Until when a worker may sleep for which there is nothing now.
pub(super) const NEXT: &str =
    next!(levels!("$3", "$4", of_open!()), levels!("$3", "$4", of_bundles!()));
pub(super) const NEXT_SCANNED: &str =
    next!(scanned!("$3", "$4", of_open!()), scanned!("$3", "$4", of_bundles!()));
pub(super) const NEXT_KNOWN: &str = next!(known!(), known!());

/// What a worker has claimed above `$2`, the last claim of which it has acknowledged the reply: a later reply may be
/// lost. Only where the process cannot rule that out; see `LastExchange`.
pub(super) const AGAIN: &str = concat!(
    "SELECT ",
    columns!(),
    " FROM homing.open AS o WHERE o.state = 1 AND o.worker = $1 AND o.claim > $2
  ORDER BY o.job, o.local"
);

/// As [`NEXT`], for a worker without a free slot, or with none that is left: it would still do the upkeep.
const TIMER: &str =
    concat!("SELECT min(timer), min(timer) FROM homing.open WHERE timer > ", super::now!());

/// What a claim asks the database for.
#[derive(Debug, Clone, Copy)]
pub(super) struct Candidates<'c> {
    pub(super) worker: WorkerId,
    pub(super) claim: &'c Claim,
    /// How many of them the units beside the claim may take away.
    pub(super) aborted: usize,
    /// The time, where it is not the server's.
    pub(super) now: Option<Time>,
    /// Where to look, if that is known.
    pub(super) look: &'c ClaimScan<'c>,
}

impl<'c> Candidates<'c> {
    fn step(&self, sql: &'static str, last: Value<'c>) -> Statement<'c> {
        self.about(sql, self.names(), last)
    }

    fn about(&self, sql: &'static str, names: Vec<Value<'c>>, last: Value<'c>) -> Statement<'c> {
        Statement::new(sql, values![self.now, self.worker]).with(names).with(vec![last])
    }

    /// All that the worker serves. There may be a thousand of each, and every statement that names them sends them.
    fn names(&self) -> Vec<Value<'c>> {
        let [queues, kinds] = self.lanes();
        values![queues, kinds]
    }

    /// A statement about levels, where it is known which there are. `narrow`: it asks about nothing beside them, and is given
    /// no names but theirs.
    pub(super) fn looking(
        &self,
        [probed, scanned, known]: [&'static str; 3],
        narrow: bool,
        last: Value<'c>,
    ) -> Statement<'c> {
        let Some(levels) = &self.look.levels else {
            return self.step(if self.has_many_lanes() { scanned } else { probed }, last);
        };
        let none: Vec<&str> = Vec::new();
        let names = if narrow { values![none.clone(), none] } else { self.names() };
        let levels = arrays!(levels, (level, (due, job, local)) =>
            level.queue.as_str(), level.kind.as_str(), level.priority, *due, *job, *local);
        self.about(known, names, last).with(levels)
    }

    fn lanes(&self) -> [Vec<&'c str>; 2] {
        let Claim { queues, kinds, .. } = self.claim;
        [queues, kinds].map(|names| names.iter().map(String::as_str).collect())
    }

    fn has_many_lanes(&self) -> bool {
        self.claim.queues.len().saturating_mul(self.claim.kinds.len()) > PROBED
    }

    /// What there is, where that is not known.
    pub(super) fn levels(&self) -> Option<Statement<'c>> {
        self.levels_by(LEVELS)
    }

    pub(super) fn levels_by(&self, [probed, scanned]: [&'static str; 2]) -> Option<Statement<'c>> {
        let [queues, kinds] = self.lanes();
        let sql = if self.has_many_lanes() { scanned } else { probed };
        self.look.levels.is_none().then(|| Statement::new(sql, values![queues, kinds]))
    }

    /// How many of the ready tasks are locked at most.
    pub(super) fn limit(&self) -> usize {
        self.claim.most() + self.aborted
    }

    pub(super) fn ready(&self) -> Statement<'c> {
        self.looking([READY, READY_SCANNED, READY_KNOWN], true, Box::new(limit(self.limit())))
    }

    /// The tasks that must begin at once, and where the answers will be: of those to take, and of those to tell of.
    pub(super) fn at_once(&self) -> (Vec<Statement<'c>>, (usize, Option<usize>)) {
        let mut steps = Vec::new();
        let direct = add(&mut steps, self.direct());
        let left = self.left().map(|step| add(&mut steps, step));
        (steps, (direct, left))
    }

    fn direct(&self) -> Statement<'c> {
        let Claim { tasks, suspect, .. } = self.claim;
        let most = limit(tasks + self.aborted);
        self.step(DIRECT, Box::new(most)).with(values![i64::from(*suspect && *tasks > 0)])
    }

    /// Tasks for which a worker that fetches others ahead may have no slot.
    fn left(&self) -> Option<Statement<'c>> {
        let Claim { tasks, ahead, suspect, .. } = self.claim;
        let most = limit(tasks + self.aborted + 1);
        (*ahead > 0).then(|| self.step(LEFT, Box::new(most)).with(values![*suspect]))
    }

    /// Asked behind a claim: one that is full needs to know of no more than upkeep.
    pub(super) fn next_due(&self, claimed: &[Claimed]) -> Statement<'c> {
        if self.claim.is_full(claimed) {
            return Statement::new(TIMER, values![self.now]);
        }
        self.looking([NEXT, NEXT_SCANNED, NEXT_KNOWN], false, Box::new(self.claim.suspect))
    }
}
