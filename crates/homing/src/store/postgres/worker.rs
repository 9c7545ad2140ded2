//! `heartbeat` and `leave`: workers come and go. The lease, by the server's clock, says who lives.
//!
//! Every exchange of a worker holds a lock of the worker's, shared; whoever gives the worker up holds it
//! alone. So no task is claimed for a worker that is just being forgotten. It is an advisory lock: a row's
//! would be a write in every exchange. It is taken before any row's.

use std::sync::{Mutex, MutexGuard, PoisonError};

use super::Shared;
use super::sweep::{HELD, ids};
use crate::core::id::{Map, WorkerId};
use crate::store::postgres::link::fault::Result;
use crate::store::postgres::link::pipeline::{Statement, values};
use crate::store::postgres::transaction::bundle::dissolve;
use crate::store::postgres::transaction::load_plan::LoadPlan;
use crate::store::postgres::transaction::task::words;
use crate::store::rules::upkeep;
use crate::store::{Exchange, Heartbeat};

/// Without the worker's lock. An exchange of the worker may hold that for long, and its lease must not run out meanwhile.
const RENEW: &str = concat!(
    "UPDATE homing.workers SET heartbeat = ",
    super::now!(),
    ", lease = $3, slots = $4, running = $5, resident = $6, name = $7, kinds = $8, queues = $9, ended = $10
  WHERE id = $2 RETURNING id"
);

const ANNOUNCE: &str = concat!(
    "INSERT INTO homing.workers (id, heartbeat, started, lease, slots, running, resident, name,
    kinds, queues, ended, session)
  SELECT $2, time, time, $3, $4, $5, $6, $7, $8, $9, $10, $11 FROM (SELECT ",
    super::now!(),
    " AS time) AS clock"
);

/// In the order of the names: workers that start at the same moment would otherwise lock each other out. A kind that is
/// known is not written again.
const LEARN: &str = "INSERT INTO homing.kinds AS k (name, arguments)
  SELECT name, arguments::text[] FROM unnest($1::text[], $2::text[]) AS new (name, arguments)
  ORDER BY name
  ON CONFLICT (name) DO UPDATE SET arguments = excluded.arguments
    WHERE k.arguments <> excluded.arguments";

/// Waits for the worker's exchange under way.
const ALONE: &str = "SELECT pg_advisory_xact_lock($1)";
/// Does not wait: a worker of which an exchange is under way lives.
pub(super) const TRY_ALONE: &str = "SELECT pg_try_advisory_xact_lock($1)";
pub(super) const FORGET: &str = "DELETE FROM homing.workers WHERE id = $1";
pub(super) const FORGET_NOTICES: &str = "DELETE FROM homing.notices WHERE worker = $1";

pub(super) const NOTICES: &str =
    "SELECT job, local, claim, told FROM homing.notices WHERE worker = $1 ORDER BY number";
/// What a reply has told that the worker has acknowledged.
pub(super) const KNOWN: &str = "DELETE FROM homing.notices WHERE worker = $1 AND told <= $2";
/// What this reply tells for the first time. It is told again until the worker acknowledges it.
pub(super) const TOLD: &str =
    "UPDATE homing.notices SET told = $2 WHERE worker = $1 AND told IS NULL";

/// The last exchange of each worker that this process has taken to the server.
#[derive(Debug, Default)]
pub(super) struct LastExchange(Mutex<Map<WorkerId, u64>>);

impl LastExchange {
    fn known(&self) -> MutexGuard<'_, Map<WorkerId, u64>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Whether an exchange may have been committed before, and tasks claimed of which the worker was not told.
    pub(super) fn may_be_again(&self, exchange: &Exchange) -> bool {
        let last = self.known().insert(exchange.worker, exchange.number);
        exchange.acknowledged + 1 != exchange.number
            || last.is_none_or(|last| last >= exchange.number)
    }

    fn leave(&self, worker: WorkerId) {
        self.known().remove(&worker);
    }
}

/// The number of a worker's lock. Advisory locks belong to the whole database, so the schema is part of it: a copy
/// of a schema has the same workers. Two with the same number would only wait for each other.
pub(super) fn lock(schema: &str, worker: WorkerId) -> i64 {
    let digest = crate::core::id::digest(&[schema.as_bytes(), worker.as_bytes()]);
    let mut number = [0; 8];
    number.copy_from_slice(&digest[..8]);
    i64::from_be_bytes(number)
}

impl Shared {
    /// Begins a transaction that keeps a worker from being given up until its end. Before any row: it waits for a process
    /// that is just giving the worker up, and the exchange then finds no worker. `passing`: its loss is likely to be no
    /// loss.
    pub(super) fn begin_for<'e>(&self, worker: WorkerId, passing: bool) -> Vec<Statement<'e>> {
        Statement::begin_sharing(lock(self.schema.name(), worker), passing)
    }

    pub(super) async fn heartbeat(&self, told: &Heartbeat) -> Result<bool> {
        self.transaction(async |session| {
            let values = || {
                let lease = i64::try_from(told.lease.as_micros()).unwrap_or(i64::MAX);
                values![
                    self.manual_now(),
                    told.worker,
                    lease.min(i64::MAX / 4),
                    told.slots as i32,
                    told.running as i32,
                    told.resident as i32,
                    told.name.as_str(),
                    told.kinds.to_vec(),
                    told.queues.to_vec(),
                    i64::try_from(told.ended).unwrap_or(i64::MAX)
                ]
            };
            self.revive(told.worker);
            super::applied("heartbeat");
            if !session.one(RENEW, values()).await?.is_empty() {
                return Ok(true);
            }
            if !told.first {
                return Ok(false);
            }
            let arguments = told.arguments.iter();
            let arguments: Vec<String> = arguments.map(|names| words(names)).collect();
            let presence = self.wake.presence();
            let announcing = Statement::new(ANNOUNCE, values()).with(values![presence.session()]);
            session
                .run(vec![
                    Statement::begin(),
                    announcing,
                    Statement::new(LEARN, values![told.kinds.to_vec(), arguments]),
                    Statement::plain("COMMIT"),
                ])
                .await?;
            presence.announced();
            Ok(true)
        })
        .await
    }

    pub(super) async fn leave(&self, worker: WorkerId) -> Result<()> {
        let left = self.transaction(async |session| {
            let answers = session
                .run(vec![
                    Statement::begin(),
                    Statement::new(ALONE, values![lock(self.schema.name(), worker)]),
                    Statement::new(FORGET, values![worker]),
                    Statement::new(FORGET_NOTICES, values![worker]),
                    dissolve::held(worker),
                    Statement::new(HELD, values![worker]),
                ])
                .await?;
            let tasks = ids(&answers[5])?;
            let mut wanted = LoadPlan::default();
            wanted.tasks.extend(tasks.iter().map(|task| (*task, false)));
            let mut tx = self.locked(session, Vec::new(), &wanted).await?;
            for task in tasks {
                upkeep::leave(&mut tx, task, worker)?;
            }
            super::applied("leave");
            tx.commit(session).await
        });
        let effects = left.await?;
        self.revive(worker);
        self.held.leave(worker);
        self.spoken.leave(worker);
        self.tell(effects);
        Ok(())
    }
}
