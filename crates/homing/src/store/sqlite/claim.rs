//! The claim: what a worker is given.
//!
//! Measured: an exchange of 500 ends and 500 claims takes 5.4 ms, 10.8 µs for each task, of which the bare claim and
//! completion take about 5. A claim adds an entry to the index of running tasks, and looks the row up once more by its
//! number.

use rusqlite::{Row, params};

use super::columns::{count, token};
use super::fault::{Fault, Result};
use super::ledger::decode;
use super::ready::Lanes;
use super::tx::Tx;
use crate::core::id::{Local, TaskId, Token, WorkerId};
use crate::core::time::Time;
use crate::store::rules::wake;
use crate::store::{Claimed, Policy, Reply};

by_name! {
    again_columns again {
        job,
        local,
        claim,
        rowid,
    }
}

/// What a worker has claimed above `?2`, the last claim of which it has acknowledged the reply: a later reply may be lost.
pub(super) const AGAIN: &str = concat!(
    "SELECT ",
    again_columns!(),
    " FROM tasks INDEXED BY running
  WHERE state = 1 AND worker = ?1 AND claim > ?2 ORDER BY job, local"
);

by_name! {
    columns at {
        kind,
        arguments,
        queue,
        priority,
        policy,
        attempt,
        failures,
        crashes,
        stalls,
        parked_worker,
        parked_claim,
        waits,
        started,
        timer,
        parent,
        depth,
        set = "\"set\"",
        number,
        due,
        expires,
        deadline,
    }
}

// By the row's number, which every index knows: saves two descents by the key.
const READ: &str = concat!("SELECT ", columns!(), " FROM tasks WHERE rowid = ?1");

/// A future that another worker has parked is older than what this one may record: its right ends. The
/// worker's own keeps it, as the reply may be lost and the task handed out again.
const TAKE: &str = "UPDATE tasks SET state = 1, worker = ?2, claim = ?3, holder = NULL,
  held_until = NULL, waits = NULL, timer = deadline,
  started = coalesce(started, iif(?5 AND expires IS NOT NULL, NULL, ?4)),
  parked_claim = iif(parked_worker = ?2, parked_claim, NULL),
  parked_worker = iif(parked_worker = ?2, parked_worker, NULL)
  WHERE rowid = ?1";

/// As [`TAKE`], for a task that has never run and has no instant to be looked at: the columns left
/// out are as they should be, and their indexes are not touched.
const TAKE_FIRST: &str =
    "UPDATE tasks SET state = 1, worker = ?2, claim = ?3, started = ?4 WHERE rowid = ?1";

/// What a claim has to know of a row beside what its worker gets.
struct ClaimedRow {
    waits: Option<String>,
    started: bool,
    timer: bool,
}

impl Tx<'_> {
    /// Tasks whose claim was in a reply that never arrived.
    pub(super) fn hand_out_again(
        &mut self,
        worker: WorkerId,
        acknowledged: u64,
        reply: &mut Reply,
    ) -> Result<()> {
        let mut find = self.sql(AGAIN)?;
        let rows = find.query_map(params![worker, Token::last_of(acknowledged) as i64], |row| {
            let task = TaskId { job: row.get(again::job)?, local: row.get(again::local)? };
            Ok((task, count(row, again::claim)?, row.get(again::rowid)?))
        })?;
        for (task, claim, number) in rows.collect::<rusqlite::Result<Vec<_>>>()? {
            match self.claimed(task, number, Token { worker, claim }) {
                Ok((mut claimed, _)) => {
                    self.count_up(&mut claimed)?;
                    reply.claimed.push(claimed);
                }
                Err(fault) => self.stand_still(task, fault)?,
            }
        }
        Ok(())
    }

    pub(super) fn claim(
        &mut self,
        worker: WorkerId,
        number: u64,
        lanes: &mut Lanes<'_>,
        reply: &mut Reply,
    ) -> Result<()> {
        let mut choice = lanes.claim.choice(&reply.claimed);
        for (ready, ahead) in self.choose(worker, lanes, &mut choice)? {
            let token = Token::of(worker, number, ahead);
            match self.take(ready.turn.2, ready.row, token) {
                Ok(claimed) => reply.claimed.push(claimed),
                // An answer that was recorded before stands: it is found by the next claim.
                Err(fault) => self.stand_still(ready.turn.2, fault)?,
            }
        }
        reply.left =
            lanes.claim.ahead > 0 && self.leaves(worker, lanes, choice.takes_suspects())?;
        Ok(())
    }

    /// Gives a task to a worker, with the answers to its waits.
    fn take(&mut self, task: TaskId, row: i64, token: Token) -> Result<Claimed> {
        let (mut claimed, found) = self.claimed(task, row, token)?;
        // Most tasks run for the first time and have nothing to be looked up.
        if found.started || found.timer {
            claimed.answers = wake::answer(self, task, &decode(found.waits.as_deref())?)?;
            if !claimed.answers.is_empty() {
                self.renew(&mut claimed)?;
            }
            self.count_up(&mut claimed)?;
        }
        let (plain, now) = (!found.started && !found.timer, self.now);
        let take = self.kept(if plain { TAKE_FIRST } else { TAKE })?;
        if plain {
            take.execute(params![row, token.worker, token.claim as i64, now])?;
        } else {
            let Token { worker, claim } = token;
            take.execute(params![row, worker, claim as i64, now, token.is_ahead()])?;
        }
        Ok(claimed)
    }

    /// A task as its worker gets it, and what the claim has to know besides.
    fn claimed(&mut self, task: TaskId, row: i64, token: Token) -> Result<(Claimed, ClaimedRow)> {
        let mut rows = self.kept(READ)?.query([row])?;
        let Some(row) = rows.next()? else {
            return Err(rusqlite::Error::QueryReturnedNoRows.into());
        };
        let policy: Option<String> = row.get(at::policy)?;
        let found = ClaimedRow {
            waits: row.get(at::waits)?,
            started: row.get::<_, Option<Time>>(at::started)?.is_some(),
            timer: row.get::<_, Option<Time>>(at::timer)?.is_some(),
        };
        let mut claimed = of(row, task, token)?;
        if let Some(text) = policy {
            claimed.policy = serde_json::from_str(&text)
                .map_err(|error| Fault::from(error).of(|| "its policy".to_owned()))?;
        }
        Ok((claimed, found))
    }

    /// An answer is progress: it renews the budgets of retries and crashes.
    fn renew(&self, claimed: &mut Claimed) -> Result<()> {
        (claimed.failures, claimed.crashes, claimed.stalls) = (0, 0, 0);
        let mut renew = self.sql(
            "UPDATE tasks SET failures = 0, crashes = 0, stalls = 0, at_once = 0 WHERE job = ?1 AND local = ?2",
        )?;
        renew.execute(params![claimed.task.job, claimed.task.local])?;
        Ok(())
    }

    /// Adds how much a task has recorded and spawned.
    fn count_up(&mut self, claimed: &mut Claimed) -> Result<()> {
        let task = claimed.task;
        let mut last =
            self.sql("SELECT coalesce(max(seq), 0) FROM records WHERE job = ?1 AND task = ?2")?;
        claimed.records = last.query_row(params![task.job, task.local], |row| count(row, 0))?;
        claimed.spawned = self.spawned(task)?;
        Ok(())
    }
}

fn of(row: &Row<'_>, task: TaskId, token: Token) -> rusqlite::Result<Claimed> {
    let started: Option<Time> = row.get(at::started)?;
    let expires = row.get::<_, Option<Time>>(at::expires)?.filter(|_| started.is_none());
    Ok(Claimed {
        task,
        parent: row.get(at::parent)?,
        set: row.get::<_, Option<Local>>(at::set)?.zip(row.get(at::number)?),
        depth: row.get(at::depth)?,
        token,
        kind: row.get(at::kind)?,
        arguments: row.get(at::arguments)?,
        queue: row.get(at::queue)?,
        priority: row.get(at::priority)?,
        due: row.get(at::due)?,
        not_after: expires.into_iter().chain(row.get::<_, Option<Time>>(at::deadline)?).min(),
        policy: Policy::default(),
        attempt: row.get(at::attempt)?,
        failures: row.get(at::failures)?,
        crashes: row.get(at::crashes)?,
        stalls: row.get(at::stalls)?,
        records: 0,
        spawned: 0,
        answers: Vec::new(),
        parked: self::token(row, (at::parked_worker, at::parked_claim))?
            .filter(|parked| parked.worker == token.worker),
    })
}
