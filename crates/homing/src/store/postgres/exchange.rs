//! `exchange`: units first, then upkeep, then the claim.
//!
//! One transaction of two round trips: lock and read, decide, write and commit. A third where a claim
//! resumes tasks whose waits are to be answered, one where there is nothing to write. Where upkeep is
//! due, units, upkeep and claim are transactions of their own, and where there are many units, these and
//! the claim are so at the same time: each is harmless if another is lost.

use super::claim::{self, Candidates};
use super::{Shared, bundle};
use super::columns::{count, maybe, task_id};
use super::fault::{Fault, Result};
use super::front::{self, Found, Level, List, Look};
use super::load::Wanted;
use super::pipeline::{Session, Step, add, values};
use super::scene::{Effects, Scene};
use super::task::Task;
use super::worker;
use crate::clock::Time;
use crate::id::{TaskId, Token};
use crate::state::State;
use crate::store::{Exchange, Refusal, Reply, Unit};

/// What an exchange looks at beside its units: the time, whether the worker is known, whether an instant
/// has come, a cancellation is on its way, or a worker is dead.
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
    ARRAY(SELECT queue FROM homing.paused)"
);

const NOTICES: &str =
    "SELECT job, local, claim, told FROM homing.notices WHERE worker = $1 ORDER BY number";
const KNOWN: &str = "DELETE FROM homing.notices WHERE worker = $1 AND told <= $2";
const TOLD: &str = "UPDATE homing.notices SET told = $2 WHERE worker = $1 AND told IS NULL";

/// From how many units on they are applied beside the claim, over a connection of their own. With fewer
/// one transaction is the faster.
const APART: usize = 32;

/// How far an exchange goes in one transaction.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Reach {
    /// Units alone: upkeep or a claim follows, or is made beside them.
    Units,
    /// Units, and the claim unless upkeep is due.
    UnitsAndClaim,
    /// The claim: upkeep has been done.
    Claim,
}

/// What a transaction has come to.
#[derive(Debug, Default)]
struct Turn {
    reply: Reply,
    effects: Effects,
    /// Whether upkeep must be done before tasks are claimed.
    upkeep: bool,
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
        let (mut reply, upkeep) = if units.len() >= APART && exchange.claim.tasks > 0 {
            self.side_by_side(exchange, &units, effects).await?
        } else {
            self.tolerant(exchange, &units, Reach::UnitsAndClaim, effects).await?
        };
        if upkeep {
            reply.more = self.keep_up(exchange.claim.max_crashes).await?;
            let (claimed, _) = self.turn(exchange, &[], Reach::Claim, effects).await?;
            reply.claimed = claimed.claimed;
            reply.left = claimed.left;
            reply.cancelled = claimed.cancelled;
            reply.next_due = claimed.next_due;
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
            self.tolerant(exchange, units, Reach::Units, effects),
            self.turn(exchange, &[], Reach::UnitsAndClaim, &mut of_claim),
        );
        effects.extend(of_claim);
        let ((units, cascades), (claim, upkeep)) = (applied?, claimed?);
        let mut reply = Reply { refused: units.refused, ready: units.ready, ..claim };
        if cascades && !upkeep {
            reply.more = self.keep_up(exchange.claim.max_crashes).await?;
        }
        Ok((reply, upkeep))
    }

    /// A transaction that loses only what the database cannot hold.
    async fn tolerant(
        &self,
        exchange: &Exchange,
        units: &[&Unit],
        reach: Reach,
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
            match self.turn(exchange, part, Reach::Units, effects).await {
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
        reach: Reach,
        effects: &mut Effects,
    ) -> Result<(Reply, bool)> {
        let turn =
            self.transaction(async |session| Talk { exchange, units, reach, session }.run().await);
        let turn = turn.await?;
        // The rest of the exchange is to find it.
        self.wake.fronts().ready(&turn.effects.claimable);
        effects.extend(turn.effects);
        Ok((turn.reply, turn.upkeep))
    }
}

/// One transaction of an exchange.
struct Talk<'t, 's> {
    exchange: &'t Exchange,
    units: &'t [&'t Unit],
    reach: Reach,
    session: &'t Session<'s>,
}

/// What the first round trip brings beside the scene.
#[derive(Debug, Default)]
struct Seen {
    known: bool,
    upkeep: bool,
    paused: Vec<String>,
    /// Bundles that were locked to be claimed.
    bundles: Vec<TaskId>,
    more_bundles: bool,
    /// Tasks claimed under exchanges whose replies never arrived.
    again: Vec<TaskId>,
    notices: Vec<(TaskId, Token, Option<u64>)>,
    next_due: Option<Time>,
    /// Candidates whose waits are to be answered, and nothing is known of what they wait for.
    unread: Vec<TaskId>,
    /// What there is, where everything was looked at.
    levels: Vec<Level>,
    /// Ready tasks that were locked, in their order, and whether there may be more.
    locked: Option<Vec<TaskId>>,
    more: bool,
}

impl Seen {
    /// What was found and what of it is left, where something was looked for.
    fn found(&self, scene: &Scene<'_>) -> Option<Found> {
        let tasks = self.locked.as_ref()?.iter().filter_map(|task| {
            let row = &scene.rows.get(task)?.task;
            Some((Level::of(row), front::place(row), row.state != State::Pending))
        });
        let tasks = List { places: tasks.collect(), more: self.more };
        let bundles = scene.found_bundles(&self.bundles);
        let bundles = List { places: bundles, more: self.more_bundles };
        let (levels, paused) = (self.levels.clone(), self.paused.clone());
        Some(Found { now: scene.now, levels, lists: [tasks, bundles], paused })
    }
}

impl Talk<'_, '_> {
    async fn run(&self) -> Result<Turn> {
        let bundle_from = self.session.shared.bundle_from;
        let mut scene = Scene { bundle_from, ..Scene::default() };
        let look = self.session.shared.wake.fronts().look(&self.exchange.claim);
        let mut seen = self.look(&look, &mut scene).await?;
        let mut turn = Turn::default();
        for unit in self.units {
            match scene.apply(unit)? {
                Ok(None) => {}
                Ok(Some(answers)) => turn.reply.ready.push((unit.task, answers)),
                Err(refusal) => turn.reply.refused.push((unit.task, refusal)),
            }
        }
        scene.wake_parents()?;
        turn.upkeep = match self.reach {
            Reach::Units => scene.needs_upkeep(),
            Reach::UnitsAndClaim => seen.upkeep || scene.needs_upkeep(),
            Reach::Claim => false,
        };
        let goes_on = self.reach != Reach::Units && !turn.upkeep;
        if goes_on && seen.known {
            self.answer_unread(&mut seen, &mut scene).await?;
            self.claim(&seen, &mut scene, &mut turn.reply)?;
        }
        if goes_on {
            self.tell_notices(&seen, &scene, &mut turn.reply);
        }
        let found = seen.found(&scene);
        self.write(&look, scene, seen, &mut turn).await?;
        if let Some(found) = found {
            look.found(&self.exchange.claim, &found);
        }
        Ok(turn)
    }

    /// The first round trip.
    async fn look(&self, look: &Look<'_>, scene: &mut Scene<'_>) -> Result<Seen> {
        let Exchange { worker, acknowledged, claim, .. } = self.exchange;
        let wanted = Wanted::by(self.units, &self.session.shared.held);
        let mut steps = vec![Step::begin(), worker::share(*worker)];
        let whats = wanted.steps(&mut steps);
        let manual = self.session.shared.manual_now();
        let killed = self.session.shared.killed();
        let facts = add(&mut steps, Step::new(LOOK, values![manual, *worker, killed]));
        let claims = self.reach != Reach::Units;
        let own = claims.then(|| {
            let again = self.session.shared.spoken.may_be_again(self.exchange).then(|| {
                let again = Step::new(claim::AGAIN, values![*worker, *acknowledged as i64]);
                let again = add(&mut steps, again);
                (again, add(&mut steps, bundle::again(*worker, *acknowledged)))
            });
            (again, add(&mut steps, Step::new(NOTICES, values![*worker])))
        });
        let candidates =
            Candidates { worker: *worker, claim, aborted: wanted.aborted, now: manual, look };
        let ready = (claims && claim.tasks > 0).then(|| {
            let levels = [candidates.levels(), candidates.bundled_levels()];
            let levels = levels.map(|step| step.map(|step| add(&mut steps, step)));
            let bundles = add(&mut steps, candidates.bundles());
            let ready = add(&mut steps, candidates.ready());
            (levels, bundles, [ready, add(&mut steps, candidates.suspect())])
        });
        let due = self.units.is_empty().then(|| add(&mut steps, candidates.next_due()));
        let answers = self.session.run(steps).await?;
        whats.absorb(&answers, scene)?;
        if wanted.bundled.iter().any(|task| !scene.rows.contains_key(task)) {
            // A bundle was dissolved: its members' rows are to be looked for.
            self.session.shared.held.leave(*worker);
            return Err(Fault::Stale);
        }
        let mut seen = Seen::default();
        if let Some(row) = answers[facts].first() {
            scene.now = row.try_get(0)?;
            (seen.known, seen.upkeep) = (row.try_get(1)?, row.try_get(2)?);
            seen.paused = row.try_get(3)?;
        }
        if let Some((again, notices)) = own {
            if let Some((again, bundles)) = again {
                for row in &answers[again] {
                    let task = Task::of(row)?;
                    seen.again.push(task.id);
                    scene.add(task);
                }
                for row in &answers[bundles] {
                    let key = scene.add_bundle(row)?;
                    seen.again.extend(scene.members(key));
                }
                seen.again.sort_unstable();
            }
            for row in &answers[notices] {
                let token = Token { worker: *worker, claim: count(row, 2)? };
                seen.notices.push((task_id(row, 0)?, token, maybe(row, 3)?));
            }
        }
        if let Some((levels, bundles, [ready, _])) = ready {
            for row in levels.iter().flatten().flat_map(|at| &answers[*at]) {
                let (queue, kind) = (row.try_get(0)?, row.try_get(1)?);
                let level = Level { queue, kind, priority: row.try_get(2)? };
                if !seen.levels.contains(&level) {
                    seen.levels.push(level);
                }
            }
            for row in &answers[bundles] {
                seen.bundles.push(scene.add_bundle(row)?);
            }
            // So many of them, or so many members of them, may be all that were asked for.
            let all = seen.bundles.len() < bundle::SEEN
                && scene.members_of(&seen.bundles) < claim.tasks;
            seen.more_bundles = !all;
            let locked = answers[ready].iter().map(|row| task_id(row, 0));
            seen.locked = Some(locked.collect::<Result<_>>()?);
            seen.more = answers[ready].len() >= candidates.limit();
        }
        for row in ready.iter().flat_map(|(_, _, at)| at).flat_map(|at| &answers[*at]) {
            let task = Task::of(row)?;
            if !scene.rows.contains_key(&task.id) && !task.waits.is_empty() {
                seen.unread.push(task.id);
            }
            scene.add(task);
        }
        if let Some(row) = due.and_then(|at| answers[at].first()) {
            seen.next_due = row.try_get(0)?;
        }
        Ok(seen)
    }

    /// Reads what the waits of candidates depend on. Their rows are locked, so it will not change.
    async fn answer_unread(&self, seen: &mut Seen, scene: &mut Scene<'_>) -> Result<()> {
        let mut wanted = Wanted::default();
        for task in seen.unread.drain(..) {
            wanted.tasks.push((task, false));
            if let Some(row) = scene.task(task) {
                wanted.waiting(task, &row.waits);
            }
        }
        if wanted.tasks.is_empty() { Ok(()) } else { wanted.load(self.session, scene).await }
    }

    fn claim(&self, seen: &Seen, scene: &mut Scene<'_>, reply: &mut Reply) -> Result<()> {
        let Exchange { worker, number, acknowledged, claim, .. } = self.exchange;
        for task in &seen.again {
            if let Some(row) = scene.task(*task)
                && let Some(token) = row.token.filter(|token| token.worker == *worker)
                && token.claim > *acknowledged
            {
                reply.claimed.push(claim::claimed(row, token));
            }
        }
        let free = claim.tasks.saturating_sub(reply.claimed.len());
        let token = Token { worker: *worker, claim: *number };
        let mut chosen = scene.to_claim(*worker, claim, &seen.paused, free);
        reply.left = scene.spare_bundles(&mut chosen);
        for task in chosen {
            reply.claimed.extend(scene.take(task, token)?);
        }
        Ok(())
    }

    /// Puts what the worker is to be told into the reply.
    fn tell_notices(&self, seen: &Seen, scene: &Scene<'_>, reply: &mut Reply) {
        let Exchange { worker, acknowledged, .. } = self.exchange;
        let untold =
            seen.notices.iter().filter(|(.., told)| told.is_none_or(|n| n > *acknowledged));
        reply.cancelled.extend(untold.map(|(task, token, _)| (*task, *token)));
        let own = scene.notices.iter().filter(|(_, token)| token.worker == *worker);
        reply.cancelled.extend(own.copied());
        let gone = reply.cancelled.iter().map(|(task, _)| *task);
        self.session.shared.held.forget(*worker, gone);
    }

    /// The last round trip.
    async fn write(
        &self,
        look: &Look<'_>,
        scene: Scene<'_>,
        seen: Seen,
        turn: &mut Turn,
    ) -> Result<()> {
        let Exchange { worker, number, acknowledged, claim, .. } = self.exchange;
        let goes_on = self.reach != Reach::Units && !turn.upkeep;
        // A notice is told by this exchange only if its reply carries it.
        let mut steps = scene.steps(goes_on.then_some((*worker, *number)));
        let notices = goes_on && !seen.notices.is_empty();
        if notices {
            steps.push(Step::new(KNOWN, values![*worker, *acknowledged as i64]));
            steps.push(Step::new(TOLD, values![*worker, *number as i64]));
        }
        if steps.is_empty() && turn.reply.claimed.is_empty() && self.units.is_empty() {
            turn.reply.next_due = seen.next_due;
            return self.session.leave().await;
        }
        // A claim lost with the server's memory is no loss: the row is pending again, and the token that
        // the worker minted holds nothing. Answers are different: the body sees them.
        let passing = self.units.is_empty() && !notices && scene.answers.is_empty();
        if passing && !steps.is_empty() {
            steps.insert(0, Step::plain(claim::PASSING));
        }
        let claimed = &turn.reply.claimed;
        let details =
            (!claimed.is_empty()).then(|| add(&mut steps, claim::details(claimed, &scene)));
        let due = goes_on.then(|| {
            let now = Some(scene.now);
            let candidates = Candidates { worker: *worker, claim, aborted: 0, now, look };
            add(&mut steps, candidates.next_due())
        });
        steps.push(Step::plain("COMMIT"));
        super::applied("exchange");
        let answers = self.session.run(steps).await?;
        if let Some(at) = details {
            claim::complete(&mut turn.reply.claimed, &answers[at])?;
        }
        if let Some(row) = due.and_then(|at| answers[at].first()) {
            let here = scene.next_due(*worker, claim, &seen.paused);
            turn.reply.next_due = here.into_iter().chain(row.try_get::<_, Option<Time>>(0)?).min();
        }
        self.session.shared.held.add(*worker, scene.claimed_in_bundles());
        turn.effects = scene.effects();
        Ok(())
    }
}
