//! The claim: what a worker is given.
//!
//! Every lane (a queue and a kind) is probed by itself in the index of ready tasks, and every priority
//! of it, so that no row is passed over that this worker could not take: not those of other kinds or
//! paused queues, nor those due later. Rows that another worker is just taking are skipped.

use std::sync::Arc;

use tokio_postgres::Row;

use crate::core::id::{Local, Map, TaskId, Token, WorkerId};
use crate::core::state::State;
use crate::core::time::Time;
use crate::limits;
use crate::store::exchange::Choice;
use crate::store::postgres::hints::scan_starts::ClaimScan;
use crate::store::postgres::link::fault::Result;
use crate::store::postgres::link::pipeline::{Statement, arrays, values};
use crate::store::postgres::transaction::columns::count;
use crate::store::postgres::transaction::columns::maybe;
use crate::store::postgres::transaction::task::{Task, columns};
use crate::store::postgres::transaction::tx::{LockedTask, Tx};
use crate::store::rules::{upkeep, wake};
use crate::store::{Claim, Claimed, Event, Policy, Unit};

/// The statements below say so too.
const _: () = assert!(limits::SUSPECT == 2);

/// Lanes that are served, and the priorities there are ready tasks of.
macro_rules! levels {
    ($queues:literal, $kinds:literal) => {
        super::claim::levels!($queues, $kinds, "homing.open AS o WHERE o.state = 0 AND o.crashes = 0 AND NOT o.at_once")
    };
    ($queues:literal, $kinds:literal, $ready:literal) => {
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

pub(super) use levels;

/// As [`levels`], where it is known which there are and where each begins.
macro_rules! known {
    () => {
        "levels AS (
      SELECT l.queue, l.kind, l.priority, l.start, l.start_job, l.start_local
      FROM unnest($6::text[], $7::text[], $8::smallint[], $9::bigint[], $10::uuid[], $11::uuid[])
        AS l (queue, kind, priority, start, start_job, start_local)
      CROSS JOIN LATERAL (SELECT FROM homing.open AS o WHERE o.state = 0 AND o.crashes = 0 AND NOT o.at_once
        AND o.queue = l.queue AND o.kind = l.kind AND o.priority = l.priority
        AND (o.due, o.job, o.local) >= (l.start, l.start_job, l.start_local) LIMIT 1) AS o
      WHERE l.queue = ANY ($3::text[]) AND l.kind = ANY ($4::text[])
        AND NOT EXISTS (SELECT FROM homing.paused AS p WHERE p.queue = l.queue))"
    };
}

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
            "homing.open AS o WHERE o.state = 0 AND o.crashes = 0 AND NOT o.at_once AND o.queue = l.queue
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
/// more than are asked for, though there be many lanes. A level that is alone has them all.
macro_rules! ready {
    ($levels:expr) => {
        concat!(
            "WITH RECURSIVE ",
            $levels,
            ", front AS (
      SELECT l.queue, l.kind, l.priority, l.start, l.start_job, l.start_local
      FROM levels AS l CROSS JOIN LATERAL (
        SELECT o.due, o.job, o.local FROM ",
            of_level!(),
            " LIMIT $5) AS o
      WHERE (SELECT count(*) FROM levels) > 1
      ORDER BY l.priority DESC, o.due, o.job, o.local LIMIT $5),
    shares AS (
      SELECT queue, kind, priority, start, start_job, start_local, count(*) AS tasks FROM front
        GROUP BY queue, kind, priority, start, start_job, start_local
      UNION ALL SELECT queue, kind, priority, start, start_job, start_local, $5 FROM levels
        WHERE (SELECT count(*) FROM levels) = 1)
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
pub(super) const READY: &str = ready!(levels!("$3", "$4"));
/// As [`READY`], from the places that the process remembers (`hints/scan_starts`). Measured with 100,000 tasks beside a
/// snapshot that is held open: from the beginning of the index a task costs twice as much.
pub(super) const READY_KNOWN: &str = ready!(known!());

/// What a look at everything learns beside.
const LEVELS: &str =
    concat!("WITH RECURSIVE ", levels!("$1", "$2"), " SELECT queue, kind, priority FROM levels");

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

/// The next instant at which there may be something to do.
macro_rules! next {
    ($levels:expr, $of_bundles:expr) => {
        concat!(
    "WITH RECURSIVE ",
    $levels,
    " SELECT min(next.time) FROM (
    (SELECT o.timer AS time FROM homing.open AS o WHERE o.timer > ",
    super::now!(),
    " ORDER BY o.timer LIMIT 1)
    UNION ALL SELECT o.due FROM levels AS l CROSS JOIN LATERAL (
      SELECT o.due FROM homing.open AS o WHERE o.state = 0 AND o.crashes = 0 AND NOT o.at_once AND o.queue = l.queue
        AND o.kind = l.kind AND o.priority = l.priority AND o.due > ",
    super::now!(),
    " AND ",
    free!(),
    " ORDER BY o.due LIMIT 1) AS o
    UNION ALL (WITH RECURSIVE ",
    $of_bundles,
    " SELECT min(b.due) FROM levels AS l CROSS JOIN LATERAL (
        SELECT b.due FROM homing.bundles AS b WHERE b.worker IS NULL AND b.queue = l.queue
          AND b.kind = l.kind AND b.priority = l.priority AND b.due > ",
    super::now!(),
    " ORDER BY b.due LIMIT 1) AS b)
    UNION ALL SELECT min(o.due) FROM homing.open AS o WHERE ($5 OR o.crashes < 2) AND o.state = 0
      AND (o.crashes > 0 OR o.at_once)
      AND o.queue = ANY ($3::text[]) AND o.kind = ANY ($4::text[]) AND o.due > ",
    super::now!(),
    " AND ",
    free!(),
    " AND NOT EXISTS (SELECT FROM homing.paused AS p WHERE p.queue = o.queue)
    UNION ALL SELECT min(o.held_until) FROM homing.open AS o WHERE o.state = 0
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
    next!(levels!("$3", "$4"), crate::store::postgres::transaction::bundle::levels!("$3", "$4"));
pub(super) const NEXT_KNOWN: &str =
    next!(known!(), crate::store::postgres::transaction::bundle::known!());

/// What a worker has claimed above `$2`, the last claim of which it has acknowledged the reply: a later reply may be
/// lost. Only where the process cannot rule that out; see `LastExchange`.
pub(super) const AGAIN: &str = concat!(
    "SELECT ",
    columns!(),
    " FROM homing.open AS o WHERE o.state = 1 AND o.worker = $1 AND o.claim > $2
  ORDER BY o.job, o.local"
);

/// For a transaction whose loss would be no loss.
pub(super) const PASSING: &str = "SELECT set_config('synchronous_commit', 'off', true)";

by_name! {
    details detail {
        job = "t.job",
        local = "t.local",
        arguments = "t.arguments",
        policy = "t.policy",
        records = "CASE WHEN c.begins THEN 0 ELSE coalesce((SELECT max(r.seq) FROM homing.records AS r
      WHERE r.job = t.job AND r.task = t.local), 0) END",
        spawned = "CASE WHEN c.begins THEN 0 ELSE coalesce((SELECT sum(s.spawned - s.added)
      FROM homing.sets AS s WHERE s.job = t.job AND s.task = t.local), 0)::bigint END",
        set = "t.\"set\"",
        number = "t.number",
    }
}

/// After the writes, so that what this transaction recorded and spawned is counted. A task that begins has
/// done neither.
pub(super) const DETAILS: &str = concat!(
    "SELECT ",
    details!(),
    " FROM unnest($1::uuid[], $2::uuid[], $3::boolean[]) AS c (job, local, begins)
    JOIN homing.tasks AS t USING (job, local)"
);

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
    fn step(
        &self,
        sql: &'static str,
        last: crate::store::postgres::link::pipeline::Value<'c>,
    ) -> Statement<'c> {
        let [queues, kinds] = self.lanes();
        let mut values = values![self.now, self.worker, queues, kinds];
        values.push(last);
        Statement::new(sql, values)
    }

    /// The same statement, where it is known which levels there are.
    pub(super) fn looking(
        &self,
        [everywhere, known]: [&'static str; 2],
        last: crate::store::postgres::link::pipeline::Value<'c>,
    ) -> Statement<'c> {
        let Some(levels) = &self.look.levels else { return self.step(everywhere, last) };
        let levels = arrays!(levels, (level, (due, job, local)) =>
            level.queue.as_str(), level.kind.as_str(), level.priority, *due, *job, *local);
        self.step(known, last).with(levels)
    }

    fn lanes(&self) -> [Vec<&'c str>; 2] {
        let Claim { queues, kinds, .. } = self.claim;
        [queues, kinds].map(|names| names.iter().map(String::as_str).collect())
    }

    /// What there is, where that is not known.
    pub(super) fn levels(&self) -> Option<Statement<'c>> {
        self.levels_by(LEVELS)
    }

    pub(super) fn levels_by(&self, sql: &'static str) -> Option<Statement<'c>> {
        let [queues, kinds] = self.lanes();
        self.look.levels.is_none().then(|| Statement::new(sql, values![queues, kinds]))
    }

    /// How many of the ready tasks are locked at most.
    pub(super) fn limit(&self) -> usize {
        self.claim.most() + self.aborted
    }

    pub(super) fn ready(&self) -> Statement<'c> {
        self.looking(
            [READY, READY_KNOWN],
            Box::new(crate::store::postgres::transaction::columns::limit(self.limit())),
        )
    }

    pub(super) fn direct(&self) -> Statement<'c> {
        let Claim { tasks, suspect, .. } = self.claim;
        let most = crate::store::postgres::transaction::columns::limit(tasks + self.aborted);
        self.step(DIRECT, Box::new(most)).with(values![i64::from(*suspect && *tasks > 0)])
    }

    /// Tasks for which a worker that fetches others ahead may have no slot.
    pub(super) fn left(&self) -> Option<Statement<'c>> {
        let Claim { tasks, ahead, suspect, .. } = self.claim;
        let most = crate::store::postgres::transaction::columns::limit(tasks + self.aborted + 1);
        (*ahead > 0).then(|| self.step(LEFT, Box::new(most)).with(values![*suspect]))
    }

    pub(super) fn next_due(&self) -> Statement<'c> {
        if self.claim.most() == 0 {
            return Statement::new(TIMER, values![self.now]);
        }
        self.looking([NEXT, NEXT_KNOWN], Box::new(self.claim.suspect))
    }
}

/// As [`NEXT`], for a worker without a free slot: it would still do the upkeep.
const TIMER: &str = concat!("SELECT min(timer) FROM homing.open WHERE timer > ", super::now!());

impl Tx<'_> {
    /// The tasks of the scene that a worker takes, best first, and whether each is fetched ahead.
    pub(super) fn to_claim(
        &self,
        worker: WorkerId,
        claim: &Claim,
        paused: &[String],
        choice: &mut Choice,
    ) -> Vec<(TaskId, bool)> {
        let ready = self.eligible(worker, claim, paused).filter(|row| row.due <= self.now);
        let mut ready: Vec<_> = ready
            .map(|row| (-i32::from(row.priority), row.due, row.id, row.crashes, row.at_once))
            .collect();
        ready.sort_unstable();
        let chosen = ready
            .into_iter()
            .filter_map(|(_, _, id, crashes, at_once)| Some((id, choice.takes(crashes, at_once)?)));
        chosen.collect()
    }

    /// Whether tasks are left that the worker could take if it began them at once: of those that were found beside the
    /// scene's, with their crashes in a row, or of the scene's.
    pub(super) fn leaves(
        &self,
        worker: WorkerId,
        claim: &Claim,
        paused: &[String],
        (found, suspects): (&[(TaskId, u32)], bool),
    ) -> bool {
        let suits = |crashes| crashes < limits::SUSPECT || suspects;
        let is_open =
            |task| self.rows.get(task).is_none_or(|known| known.task.state == State::Pending);
        let mut here = self.eligible(worker, claim, paused).filter(|row| row.due <= self.now);
        found.iter().any(|(task, crashes)| is_open(task) && suits(*crashes))
            || here.any(|row| (row.at_once || row.crashes > 0) && suits(row.crashes))
    }

    /// The tasks of the scene that are the worker's to take, now or later.
    fn eligible(
        &self,
        worker: WorkerId,
        claim: &Claim,
        paused: &[String],
    ) -> impl Iterator<Item = &Task> {
        let now = self.now;
        let is_free = move |row: &Task| {
            let other = row.holder.is_some_and(|holder| holder != worker) && row.holder_lives;
            !other || row.held_until.is_none_or(|until| until <= now)
        };
        let may = move |row: &&Task| {
            row.state == State::Pending
                && claim.queues.contains(&row.queue)
                && claim.kinds.contains(&row.kind)
                && !paused.contains(&row.queue)
                && is_free(row)
        };
        self.rows.values().map(|known| &known.task).filter(may)
    }

    /// When the first of them will be due: whoever knew where to look knew nothing of these.
    pub(super) fn next_due(
        &self,
        worker: WorkerId,
        claim: &Claim,
        paused: &[String],
    ) -> Option<Time> {
        let suits = |row: &&Task| claim.suspect || row.crashes < limits::SUSPECT;
        let later = self.eligible(worker, claim, paused).filter(|row| row.due > self.now);
        later.filter(suits).map(|row| row.due).min().filter(|_| claim.most() > 0)
    }

    /// Why a task cannot be given to any worker: something of it does not decode, or an answer to one of its
    /// waits could not be written. The claim of all others must not fail of it.
    fn unclaimable(&self, id: TaskId) -> Option<String> {
        if let Some(what) = self.what_is_unreadable(id) {
            return Some(what.to_owned());
        }
        let mut places = self.task(id)?.waits.iter().map(|wait| &wait.place);
        let place = places.find(|place| place.contains('\0'))?;
        Some(format!("the place {place:?} of a wait has a zero byte, which PostgreSQL cannot hold"))
    }

    /// Gives a task to a worker, with the answers to its waits.
    pub(super) fn take(&mut self, id: TaskId, token: Token) -> Result<Option<Claimed>> {
        let now = self.now;
        if let Some(what) = self.unclaimable(id) {
            self.stand_still(id, &what);
            return Ok(None);
        }
        let untouched = self.rows.get(&id).is_some_and(|known| !known.moved);
        let Some(row) = self.change_task(id) else { return Ok(None) };
        // One that may expire has begun when it says so, and may have recorded something by then.
        let first = untouched
            && row.started.is_none()
            && row.waits.is_empty()
            && !row.at_once
            && row.expires.is_none();
        let waits = std::mem::take(&mut row.waits);
        let answers = wake::answer(self, id, &waits)?;
        let Some(row) = self.change_task(id) else { return Ok(None) };
        if !answers.is_empty() {
            // An answer is progress.
            row.renew();
        }
        let mut claimed = claimed(row, token);
        claimed.answers = answers;
        row.state = State::Running;
        row.token = Some(token);
        (row.holder, row.held_until) = (None, None);
        // A future that another worker has parked is older than what this one may record: its right ends.
        // The worker's own keeps it, as the reply may be lost and the task handed out again.
        row.parked = claimed.parked;
        if !(token.is_ahead() && row.expires.is_some()) {
            row.started = row.started.or(Some(now));
        }
        if let Some(known) = self.rows.get_mut(&id).filter(|_| first) {
            known.begun = true;
        }
        Ok(Some(claimed))
    }
}

/// A task as its worker gets it; [`complete`] adds what other tables hold.
pub(super) fn claimed(row: &Task, token: Token) -> Claimed {
    Claimed {
        task: row.id,
        parent: row.parent,
        set: None,
        depth: row.depth,
        token,
        kind: row.kind.clone(),
        arguments: String::new(),
        queue: row.queue.clone(),
        priority: row.priority,
        due: row.due,
        not_after: [row.expires.filter(|_| row.started.is_none()), row.deadline]
            .into_iter()
            .flatten()
            .min(),
        policy: Policy::default(),
        attempt: row.attempt,
        failures: row.failures,
        crashes: row.crashes,
        stalls: row.stalls,
        records: 0,
        spawned: 0,
        answers: Vec::new(),
        parked: row.parked.filter(|parked| parked.worker == token.worker),
    }
}

/// The statement that reads what other tables hold of claimed tasks.
pub(super) fn details<'e>(claimed: &[Claimed], tx: &Tx<'_>) -> Statement<'e> {
    let begins = |task| tx.rows.get(&task).is_some_and(|known: &LockedTask| known.begun);
    Statement::new(DETAILS, arrays!(claimed, c => c.task.job, c.task.local, begins(c.task)))
}

/// Adds what other tables hold of claimed tasks. Those of which it does not decode are taken out again: what
/// they are is said by units that are to be applied at once, before the worker could hear of the claim.
pub(super) fn complete(
    claimed: &mut Vec<Claimed>,
    rows: &[Row],
    now: Time,
) -> Result<Vec<Arc<Unit>>> {
    let mut unreadable = Vec::new();
    let mut found = Map::default();
    for row in rows {
        let task = TaskId { job: row.try_get(detail::job)?, local: row.try_get(detail::local)? };
        found.insert(task, row);
    }
    for claimed in claimed.iter_mut() {
        let Some(row) = found.get(&claimed.task) else { continue };
        claimed.arguments = row.try_get(detail::arguments)?;
        if let Some(policy) = row.try_get::<_, Option<&str>>(detail::policy)? {
            match serde_json::from_str(policy) {
                Ok(policy) => claimed.policy = policy,
                Err(error) => unreadable.push(standing(claimed, &error, now)),
            }
        }
        claimed.records = count(row, detail::records)?;
        claimed.spawned = count(row, detail::spawned)?;
        let number = maybe(row, detail::number)?.map(|number| number as u32);
        claimed.set = row.try_get::<_, Option<Local>>(detail::set)?.zip(number);
    }
    claimed.retain(|claimed| unreadable.iter().all(|unit: &Arc<Unit>| unit.task != claimed.task));
    Ok(unreadable)
}

/// What a worker would say of a task whose policy does not decode, if it had been given the task.
fn standing(claimed: &Claimed, error: &serde_json::Error, now: Time) -> Arc<Unit> {
    let Claimed { task, token, stalls, .. } = *claimed;
    let what = format!("its policy does not decode: {error}");
    let known = Some((claimed.kind.as_str(), claimed.attempt));
    let (reason, pause) = upkeep::standstill(task, known, stalls, &what);
    let due = now.after(pause);
    Arc::new(Unit { task, token, renew: false, events: vec![Event::Stall { reason, due }] })
}
