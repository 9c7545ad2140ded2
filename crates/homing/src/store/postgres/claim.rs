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
use crate::store::postgres::link::fault::Result;
use crate::store::postgres::link::pipeline::{Statement, arrays};
use crate::store::postgres::transaction::columns::count;
use crate::store::postgres::transaction::columns::maybe;
use crate::store::postgres::transaction::task::Task;
use crate::store::postgres::transaction::tx::{LockedTask, Tx};
use crate::store::rules::{upkeep, wake};
use crate::store::{Claim, Claimed, Event, Policy, Unit};

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
                && claim.serves(&row.queue, &row.kind)
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
        later.filter(suits).map(|row| row.due).min()
    }

    /// When the first instant comes that one of the scene's tasks waits for, whoever takes it.
    pub(super) fn first_timer(&self) -> Option<Time> {
        self.rows.values().filter_map(|known| known.task.timer()).min()
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
