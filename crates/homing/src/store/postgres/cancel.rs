//! `cancel`, `signal`, `amend` and `pause`: words from outside.

use super::Shared;
use crate::core::failure::Reason;
use crate::core::id::TaskId;
use crate::core::state::State;
use crate::store::postgres::link::fault::Result;
use crate::store::postgres::link::pipeline::{Session, Statement, add, values};
use crate::store::postgres::transaction::load_plan::LoadPlan;
use crate::store::postgres::transaction::task::Task;
use crate::store::postgres::transaction::tx::{Effects, Tx};
use crate::store::rules::{end, wake};
use crate::store::{Amended, CancelledBy, Sent};

/// The instant of a verb, read once: whatever the verb writes has the same.
pub(super) const CLOCK: &str = concat!("SELECT ", super::now!());

/// Tells a task that has ended, and so has no row in `open`, from one that nobody knows.
const EXISTS: &str = "SELECT FROM homing.tasks WHERE job = $1 AND local = $2";

/// Under the lock of the task's row, so that the numbers of its signals are in the order of the commits: each value
/// answers one wait, the oldest first.
const SEND: &str = "INSERT INTO homing.signals (job, task, number, name, value)
  VALUES ($1, $2, nextval('homing.numbers'), $3, $4)";

/// An exchange looks for signals only of tasks with this mark: few tasks are ever sent one.
const MARK: &str = "UPDATE homing.open SET signalled = true WHERE job = $1 AND local = $2";

/// Under the lock of the row in `open`: a claim skips it, so no worker has read the old arguments.
const AMEND: &str = "UPDATE homing.tasks SET arguments = $3 WHERE job = $1 AND local = $2";

const PAUSE: &str = "INSERT INTO homing.paused (queue) VALUES ($1) ON CONFLICT DO NOTHING";
const RESUME: &str = "DELETE FROM homing.paused WHERE queue = $1";

impl Shared {
    /// `None` if the task is unknown.
    pub(super) async fn cancel(&self, task: TaskId, text: Option<&str>) -> Result<Option<bool>> {
        let by = CancelledBy::User;
        let text = text.unwrap_or(crate::core::state::cancelled_text(by));
        let ended = self.transaction(async |session| {
            let Some(mut tx) = self.with(session, task, true).await? else {
                session.roll_back().await;
                return Ok(None);
            };
            let first = end::fail(&mut tx, task, Reason::Cancelled, text, Some(by))?;
            wake::wake_parents(&mut tx)?;
            super::applied("cancel");
            Ok(Some((first, tx.commit(session).await?)))
        });
        let Some((first, effects)) = ended.await? else { return Ok(None) };
        self.tell(effects);
        self.cascade().await?;
        Ok(Some(first))
    }

    /// Begins a transaction with the row of one task, if it is open. `None` if it is unknown.
    async fn with<'e>(
        &self,
        session: &Session<'_>,
        task: TaskId,
        ends: bool,
    ) -> Result<Option<Tx<'e>>> {
        let mut wanted = LoadPlan::default();
        if ends {
            wanted.ending([task]);
        } else {
            wanted.other(task);
        }
        wanted.missed(session);
        let mut steps = vec![Statement::begin()];
        let whats = wanted.steps(&mut steps);
        let clock = add(&mut steps, Statement::new(CLOCK, values![self.manual_now()]));
        let exists = add(&mut steps, Statement::new(EXISTS, values![task.job, task.local]));
        let answers = session.run(steps).await?;
        if answers[exists].is_empty() {
            return Ok(None);
        }
        let mut tx = Tx::default();
        whats.absorb(&answers, &mut tx)?;
        wanted.follow(session, &mut tx).await?;
        if let Some(row) = answers[clock].first() {
            tx.now = row.try_get(0)?;
        }
        Ok(Some(tx))
    }

    /// `None` if the task is unknown.
    pub(super) async fn signal(
        &self,
        task: TaskId,
        name: &str,
        value: &str,
    ) -> Result<Option<Sent>> {
        let sent = self.transaction(async |session| {
            let known = self.with(session, task, false).await?;
            let Some(mut tx) = known else {
                session.roll_back().await;
                return Ok(None);
            };
            let Some(row) = tx.task(task).cloned() else {
                session.roll_back().await;
                return Ok(Some((Sent::Ended, Effects::default())));
            };
            let waits: &[_] = if row.state == State::Waiting { &row.waits } else { &[] };
            let sent = Sent::to(waits, name, value);
            if matches!(sent, Sent::Misfit(_)) {
                session.roll_back().await;
                return Ok(Some((sent, Effects::default())));
            }
            let row_of = values![task.job, task.local];
            let keep = Statement::new(SEND, values![task.job, task.local, name, value]);
            session.run(vec![keep, Statement::new(MARK, row_of)]).await?;
            if let Some(row) = tx.change_task(task) {
                row.signalled = true;
            }
            if row.state == State::Waiting {
                let mut wanted = LoadPlan::default();
                wanted.tasks.push((task, false));
                wanted.waiting(task, &row.waits);
                wanted.load(session, &mut tx).await?;
                wake::wake_waiting(&mut tx, task)?;
            }
            super::applied("signal");
            Ok(Some((sent, tx.commit(session).await?)))
        });
        let Some((sent, effects)) = sent.await? else { return Ok(None) };
        self.tell(effects);
        Ok(Some(sent))
    }

    /// Other arguments for a task that stands still. Its row is locked, so no claim has it meanwhile. `None` if
    /// it is unknown.
    pub(super) async fn amend(&self, task: TaskId, arguments: &str) -> Result<Option<Amended>> {
        let amended = self.transaction(async |session| {
            let Some(mut tx) = self.with(session, task, false).await? else {
                session.roll_back().await;
                return Ok(None);
            };
            let now = tx.now;
            let stands = |row: &Task| row.state == State::Pending && row.stalls > 0;
            let refusal = match tx.task(task) {
                None => Some(Amended::Ended),
                Some(row) => (!stands(row)).then_some(Amended::NotStalled),
            };
            if let Some(refusal) = refusal {
                session.roll_back().await;
                return Ok(Some((refusal, Effects::default())));
            }
            session
                .run(vec![Statement::new(AMEND, values![task.job, task.local, arguments])])
                .await?;
            if let Some(row) = tx.change_task(task) {
                row.due = now;
            }
            super::applied("amend");
            Ok(Some((Amended::Done, tx.commit(session).await?)))
        });
        let Some((amended, effects)) = amended.await? else { return Ok(None) };
        self.tell(effects);
        Ok(Some(amended))
    }

    pub(super) async fn pause(&self, queue: &str, paused: bool) -> Result<()> {
        super::applied("pause");
        let sql = if paused { PAUSE } else { RESUME };
        self.transaction(async |session| session.one(sql, values![queue]).await).await?;
        self.tell(if paused { Effects::default() } else { Effects::ready() });
        Ok(())
    }
}
