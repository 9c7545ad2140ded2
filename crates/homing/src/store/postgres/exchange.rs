//! `exchange`: units first, then upkeep, then the claim.
//!
//! One transaction of two round trips: lock and read, decide, write and commit. A third where a claim
//! resumes tasks whose waits are to be answered, one where there is nothing to write. If upkeep is due,
//! units, upkeep and claim run as three transactions. From 32 units on, units and claim run at the same time in two.
//! Each is harmless if another is lost.

use std::sync::Arc;

use super::claim;
use super::looked::{Looked, ReadyAnswers};
use super::ready::{self, Candidates};
use super::worker::{KNOWN, NOTICES, TOLD};
use crate::core::id::Token;
use crate::store::postgres::hints::scan_starts::ClaimScan;
use crate::store::postgres::link::fault::{Fault, Result};
use crate::store::postgres::link::pipeline::{DURABLE, Session, Statement, add, values};
use crate::store::postgres::transaction::columns::{count, maybe, task_id};
use crate::store::postgres::transaction::load_plan::LoadPlan;
use crate::store::postgres::transaction::tx::{Effects, Tx};
use crate::store::postgres::{Shared, transaction::bundle};
use crate::store::rules::{unit, wake};
use crate::store::{Claimed, Exchange, Refusal, Reply, Unit};

/// What an exchange looks at beside its units: the time, whether the worker is known, whether an instant
/// has come, a cancellation is on its way, or a worker is dead; which queues are paused. Whether there is something to
/// tell the worker, or a task that must begin at once: both are seldom so, and asked for by themselves.
const LOOK: &str = concat!(
    "SELECT ",
    super::now!(),
    ", EXISTS (SELECT FROM homing.workers WHERE id = $2),
    EXISTS (SELECT FROM homing.open WHERE timer <= ",
    super::now!(),
    ") OR EXISTS (SELECT FROM homing.cascades)
    OR EXISTS (SELECT FROM homing.workers WHERE heartbeat + lease < ",
    super::now!(),
    " OR id = ANY ($3::uuid[])),
    ARRAY(SELECT queue FROM homing.paused),
    EXISTS (SELECT FROM homing.notices WHERE worker = $2),
    EXISTS (SELECT FROM homing.open WHERE state = 0 AND (crashes > 0 OR at_once))"
);

/// From how many units on they are applied beside the claim, over a connection of their own. With fewer
/// one transaction is the faster.
const APART: usize = 32;

/// How far an exchange goes in one transaction.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Scope {
    /// Units alone: upkeep or a claim follows, or is made beside them.
    Units,
    /// Units, and the claim unless upkeep is due.
    UnitsAndClaim,
    /// The claim: upkeep has been done.
    Claim,
}

/// What a transaction has come to.
#[derive(Debug, Default)]
struct TxResult {
    reply: Reply,
    effects: Effects,
    /// Whether upkeep must be done before tasks are claimed.
    upkeep: bool,
    /// What is to be said at once of tasks that were claimed and cannot be given to the worker.
    unreadable: Vec<Arc<Unit>>,
}

impl Shared {
    pub(super) async fn exchange(&self, exchange: &Exchange) -> Result<Reply> {
        let mut effects = Effects::default();
        let done = self.talk(exchange, &mut effects).await;
        // Last, so that whoever is told of a job's end finds its tasks ended too.
        self.tell(effects);
        done
    }

    async fn talk(&self, exchange: &Exchange, effects: &mut Effects) -> Result<Reply> {
        let units: Vec<&Unit> = exchange.units.iter().map(|unit| &**unit).collect();
        let claim = &exchange.claim;
        // Without a search the claim is of what the units make ready, in their own transaction.
        let apart = units.len() >= APART && claim.most() > 0 && claim.search;
        let (mut reply, upkeep) = if apart {
            self.side_by_side(exchange, &units, effects).await?
        } else {
            self.tolerant(exchange, &units, Scope::UnitsAndClaim, effects).await?
        };
        if upkeep {
            let more = self.keep_up(claim.max_crashes).await?;
            let (claimed, _) = self.turn(exchange, &[], Scope::Claim, effects).await?;
            reply.claimed = claimed.claimed;
            (reply.left, reply.spared) = (claimed.left, claimed.spared);
            reply.cancelled = claimed.cancelled;
            reply.next_due = if more { Some(self.clock.now()) } else { claimed.next_due };
        }
        Ok(reply)
    }

    /// Units in one transaction and the claim in another, at the same time: with many units each takes
    /// as long as the other. What the units make ready is claimed by the next exchange, which the hint
    /// about it brings about.
    async fn side_by_side(
        &self,
        exchange: &Exchange,
        units: &[&Unit],
        effects: &mut Effects,
    ) -> Result<(Reply, bool)> {
        let mut of_claim = Effects::default();
        let (applied, claimed) = tokio::join!(
            self.tolerant(exchange, units, Scope::Units, effects),
            self.turn(exchange, &[], Scope::UnitsAndClaim, &mut of_claim),
        );
        effects.extend(of_claim);
        let ((units, cascades), (claim, upkeep)) = (applied?, claimed?);
        let mut reply = Reply { refused: units.refused, ready: units.ready, ..claim };
        if cascades && !upkeep && self.keep_up(exchange.claim.max_crashes).await? {
            reply.next_due = Some(self.clock.now());
        }
        Ok((reply, upkeep))
    }

    /// A transaction that loses only what the database cannot hold.
    async fn tolerant(
        &self,
        exchange: &Exchange,
        units: &[&Unit],
        reach: Scope,
        effects: &mut Effects,
    ) -> Result<(Reply, bool)> {
        match self.turn(exchange, units, reach, effects).await {
            Err(fault) if fault.is_of_the_data() && !units.is_empty() => {
                Ok((self.apart(exchange, units, effects).await?, true))
            }
            done => done,
        }
    }

    /// Applies units so that only those are lost which the database cannot hold: halves what fails
    /// until the unit at fault stands alone.
    async fn apart(
        &self,
        exchange: &Exchange,
        units: &[&Unit],
        effects: &mut Effects,
    ) -> Result<Reply> {
        let mut reply = Reply::default();
        let mut parts = vec![units];
        while let Some(part) = parts.pop() {
            match self.turn(exchange, part, Scope::Units, effects).await {
                Ok((some, _)) => {
                    reply.refused.extend(some.refused);
                    reply.ready.extend(some.ready);
                }
                Err(fault) if fault.is_of_the_data() => match part {
                    [] => {}
                    [unit] => {
                        reply.refused.push((unit.task, Refusal::Unfit(fault.to_string())));
                    }
                    _ => {
                        let (first, second) = part.split_at(part.len() / 2);
                        parts.extend([second, first]);
                    }
                },
                Err(fault) => return Err(fault),
            }
        }
        Ok(reply)
    }

    /// One transaction of an exchange, again while it loses to others.
    async fn turn(
        &self,
        exchange: &Exchange,
        units: &[&Unit],
        reach: Scope,
        effects: &mut Effects,
    ) -> Result<(Reply, bool)> {
        let turn = self.transaction(async |session| {
            ExchangeTx { exchange, units, reach, session }.run().await
        });
        let mut turn = turn.await?;
        // The rest of the exchange is to find it.
        self.wake.scan_starts().ready(&turn.effects.claimable);
        effects.extend(std::mem::take(&mut turn.effects));
        if !turn.unreadable.is_empty() {
            let units: Vec<&Unit> = turn.unreadable.iter().map(|unit| &**unit).collect();
            let (units, reach) = (&units[..], Scope::Units);
            let stood = self.transaction(async |session| {
                ExchangeTx { exchange, units, reach, session }.run().await
            });
            effects.extend(stood.await?.effects);
        }
        Ok((turn.reply, turn.upkeep))
    }
}

/// One transaction of an exchange.
struct ExchangeTx<'t, 's> {
    exchange: &'t Exchange,
    units: &'t [&'t Unit],
    reach: Scope,
    session: &'t Session<'s>,
}

impl ExchangeTx<'_, '_> {
    /// Whether to look for all that is ready. What units have made ready in a transaction before is not in this one.
    fn searches(&self) -> bool {
        match self.reach {
            Scope::Units => false,
            Scope::UnitsAndClaim => self.exchange.claim.search,
            Scope::Claim => true,
        }
    }

    async fn run(&self) -> Result<TxResult> {
        let bundle_from = self.session.shared.bundle_from;
        let mut tx = Tx { bundle_from, ..Tx::default() };
        let look = self.session.shared.wake.scan_starts().look(&self.exchange.claim);
        let mut seen = self.look(&look, &mut tx).await?;
        let mut turn = TxResult::default();
        for unit in self.units {
            match unit::apply(&mut tx, unit)? {
                Ok(None) => {}
                Ok(Some(answers)) => turn.reply.ready.push((unit.task, answers)),
                Err(refusal) => turn.reply.refused.push((unit.task, refusal)),
            }
        }
        wake::wake_parents(&mut tx)?;
        turn.upkeep = match self.reach {
            Scope::Units => tx.needs_upkeep(),
            Scope::UnitsAndClaim => seen.upkeep || tx.needs_upkeep(),
            Scope::Claim => false,
        };
        let goes_on = self.reach != Scope::Units && !turn.upkeep;
        if goes_on && seen.known {
            self.answer_unread(&mut seen, &mut tx).await?;
            self.claim(&seen, &mut tx, &mut turn.reply)?;
        }
        if goes_on {
            self.tell_notices(&seen, &tx, &mut turn.reply);
        }
        let found = seen.found(&tx);
        self.write(&look, tx, seen, &mut turn).await?;
        if let Some(found) = found {
            look.found(&self.exchange.claim, &found);
        }
        Ok(turn)
    }

    /// The first round trip.
    async fn look(&self, look: &ClaimScan<'_>, tx: &mut Tx<'_>) -> Result<Looked> {
        let Exchange { worker, acknowledged, claim, .. } = self.exchange;
        let mut wanted = LoadPlan::by(self.units, &self.session.shared.held);
        wanted.missed(self.session);
        let mut steps = self.session.shared.begin_for(*worker, self.units.is_empty());
        let whats = wanted.steps(&mut steps);
        let manual = self.session.shared.manual_now();
        let suspected = self.session.shared.suspected();
        let facts = add(&mut steps, Statement::new(LOOK, values![manual, *worker, suspected]));
        let claims = self.reach != Scope::Units;
        let again = (claims && self.session.shared.spoken.may_be_again(self.exchange)).then(|| {
            let last = Token::last_of(*acknowledged) as i64;
            let again = add(&mut steps, Statement::new(ready::AGAIN, values![*worker, last]));
            (again, add(&mut steps, bundle::again(*worker, *acknowledged)))
        });
        let candidates =
            Candidates { worker: *worker, claim, aborted: wanted.aborted, now: manual, look };
        let searches = self.searches();
        let ready =
            (searches && claim.most() > 0).then(|| ReadyAnswers::of(&candidates, &mut steps));
        let due =
            (searches && self.units.is_empty()).then(|| add(&mut steps, candidates.next_due(&[])));
        let answers = self.session.run(steps).await?;
        whats.absorb(&answers, tx)?;
        if wanted.bundled.iter().any(|task| !tx.rows.contains_key(task)) {
            // A bundle was dissolved: its members' rows are to be looked for.
            self.session.shared.held.leave(*worker);
            return Err(Fault::Stale);
        }
        wanted.follow(self.session, tx).await?;
        let (mut seen, mut at_once) = (Looked::default(), false);
        if let Some(row) = answers[facts].first() {
            tx.now = row.try_get(0)?;
            (seen.known, seen.upkeep) = (row.try_get(1)?, row.try_get(2)?);
            seen.paused = row.try_get(3)?;
            if claims && row.try_get(4)? {
                self.read_notices(&mut seen).await?;
            }
            at_once = row.try_get(5)?;
        }
        if let Some((again, bundles)) = again {
            seen.read_again([&answers[again], &answers[bundles]], tx)?;
        }
        if let Some(asked) = &ready {
            seen.read_ready(asked, &candidates, &answers, tx)?;
            if at_once {
                let (steps, asked) = candidates.at_once();
                seen.read_at_once(asked, &self.session.run(steps).await?, tx)?;
            }
        }
        if let Some(row) = due.and_then(|at| answers[at].first()) {
            (seen.next_due, seen.next_upkeep) = (row.try_get(0)?, row.try_get(1)?);
        }
        Ok(seen)
    }

    async fn read_notices(&self, seen: &mut Looked) -> Result<()> {
        let worker = self.exchange.worker;
        for row in self.session.one(NOTICES, values![worker]).await? {
            let token = Token { worker, claim: count(&row, 2)? };
            seen.notices.push((task_id(&row, 0)?, token, maybe(&row, 3)?));
        }
        Ok(())
    }

    /// Reads what the waits of candidates depend on. Their rows are locked, so it will not change.
    async fn answer_unread(&self, seen: &mut Looked, tx: &mut Tx<'_>) -> Result<()> {
        let mut wanted = LoadPlan::default();
        for task in seen.unread.drain(..) {
            wanted.tasks.push((task, false));
            if let Some(row) = tx.task(task) {
                wanted.waiting(task, &row.waits);
            }
        }
        if wanted.tasks.is_empty() { Ok(()) } else { wanted.load(self.session, tx).await }
    }

    fn claim(&self, seen: &Looked, tx: &mut Tx<'_>, reply: &mut Reply) -> Result<()> {
        let Exchange { worker, number, acknowledged, claim, .. } = self.exchange;
        for task in &seen.again {
            if let Some(row) = tx.task(*task)
                && let Some(token) = row.token.filter(|token| token.worker == *worker)
                && token.exchange() > *acknowledged
            {
                reply.claimed.push(claim::claimed(row, token));
            }
        }
        let mut choice = claim.choice(&reply.claimed);
        let mut chosen = tx.to_claim(*worker, claim, &seen.paused, &mut choice);
        reply.spared = tx.spare_bundles(&mut chosen);
        for (task, ahead) in chosen {
            let token = Token::of(*worker, *number, ahead);
            reply.claimed.extend(tx.take(task, token)?);
        }
        if let Some(left) = seen.ready.as_ref().and_then(|locked| locked.left.as_ref()) {
            let left = (&left[..], choice.takes_suspects());
            reply.left = tx.leaves(*worker, claim, &seen.paused, left);
        }
        Ok(())
    }

    /// Puts what the worker is to be told into the reply.
    fn tell_notices(&self, seen: &Looked, tx: &Tx<'_>, reply: &mut Reply) {
        let Exchange { worker, acknowledged, .. } = self.exchange;
        let untold =
            seen.notices.iter().filter(|(.., told)| told.is_none_or(|n| n > *acknowledged));
        reply.cancelled.extend(untold.map(|(task, token, _)| (*task, *token)));
        let own = tx.notices.iter().filter(|(_, token)| token.worker == *worker);
        reply.cancelled.extend(own.copied());
        let gone = reply.cancelled.iter().map(|(task, _)| *task);
        self.session.shared.held.forget(*worker, gone);
    }

    /// Whether the next instant that was seen at first has to be looked for again. A claim alone moves none, but for
    /// those until when its tasks had to begin.
    fn moves_instants(&self, claimed: &[Claimed], tx: &Tx<'_>) -> bool {
        let expires = |task| tx.task(task).is_some_and(|row| row.expires.is_some());
        let moves = !self.units.is_empty() || claimed.iter().any(|one| expires(one.task));
        self.searches() && moves
    }

    /// The last round trip.
    async fn write(
        &self,
        look: &ClaimScan<'_>,
        tx: Tx<'_>,
        seen: Looked,
        turn: &mut TxResult,
    ) -> Result<()> {
        let Exchange { worker, number, acknowledged, claim, .. } = self.exchange;
        let goes_on = self.reach != Scope::Units && !turn.upkeep;
        // A notice is told by this exchange only if its reply carries it.
        let partings = tx.partings();
        let mut steps = tx.steps(&partings, goes_on.then_some((*worker, *number)));
        let notices = goes_on && !seen.notices.is_empty();
        if notices {
            steps.push(Statement::new(KNOWN, values![*worker, *acknowledged as i64]));
            steps.push(Statement::new(TOLD, values![*worker, *number as i64]));
        }
        if steps.is_empty() && turn.reply.claimed.is_empty() && self.units.is_empty() {
            turn.reply.next_due = seen.next_due;
            return self.session.leave().await;
        }
        // A claim lost with the server's memory is no loss: the row is pending again, and the token that
        // the worker minted holds nothing. Answers are different: the body sees them.
        let passing = self.units.is_empty() && !notices && tx.answers.is_empty();
        if self.units.is_empty() && !passing {
            steps.insert(0, Statement::plain(DURABLE));
        }
        let claimed = &turn.reply.claimed;
        let full = claim.is_full(claimed);
        let details = (!claimed.is_empty()).then(|| add(&mut steps, claim::details(claimed, &tx)));
        let due = (goes_on && self.moves_instants(claimed, &tx)).then(|| {
            let now = Some(tx.now);
            let candidates = Candidates { worker: *worker, claim, aborted: 0, now, look };
            add(&mut steps, candidates.next_due(claimed))
        });
        steps.push(Statement::plain("COMMIT"));
        super::applied("exchange");
        let answers = self.session.run(steps).await?;
        if let Some(at) = details {
            turn.unreadable = claim::complete(&mut turn.reply.claimed, &answers[at], tx.now)?;
        }
        if goes_on {
            let there = match due.and_then(|at| answers[at].first()) {
                Some(row) => row.try_get(0)?,
                None if self.searches() && full => seen.next_upkeep,
                None if self.searches() => seen.next_due,
                None => tx.first_timer(),
            };
            let here = tx.next_due(*worker, claim, &seen.paused).filter(|_| !full);
            turn.reply.next_due = here.into_iter().chain(there).min();
        }
        self.session.shared.held.add(*worker, tx.claimed_in(&partings));
        turn.effects = tx.effects();
        Ok(())
    }
}
