//! Transactions of callers: their writes, and what the store adds to them before the commit.
//!
//! The store's own writes come last and are fenced by the task's token, under the lock of the task's row that
//! every exchange takes too. So a transaction that holds the lock knows whether an earlier one was committed. The
//! connections are not those of the verbs, so that slow callers delay no exchange and no heartbeat.

use deadpool_postgres::{Client, Transaction};
use tokio::sync::{Semaphore, SemaphorePermit};

use tokio_postgres::types::ToSql;

use crate::point::{self, Moment};
use crate::store::postgres::link::connect::{Connector, Pool};
use crate::store::postgres::link::fault::{Fault, Result};
use crate::store::postgres::link::options::Options;
use crate::store::postgres::link::pipeline;
use crate::store::postgres::link::schema::Schema;
use crate::store::postgres::transaction::bundle::{self, dissolve};
use crate::store::{Error, Event, Unit};

/// The way to transactions of callers.
#[derive(Debug)]
pub struct Transactions {
    pool: Pool,
    /// Callers wait for a connection as long as it takes: their slot is what is scarce.
    permits: Semaphore,
    schema: Schema,
}

/// What became of a commit.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Commit {
    /// It has happened.
    Done,
    /// The task is no longer the caller's: everything was rolled back.
    Refused,
    /// The connection broke while it was on its way.
    Unknown,
}

/// The lock of the task's row, if it is held under the token.
const LOCK: &str = "SELECT FROM homing.open
    WHERE job = $1 AND local = $2 AND state = 1 AND worker = $3 AND claim = $4 FOR UPDATE";

/// The same, and the budget of retries and crashes begins anew.
const RENEW: &str = "UPDATE homing.open SET failures = 0, crashes = 0, stalls = 0, at_once = false
    WHERE job = $1 AND local = $2 AND state = 1 AND worker = $3 AND claim = $4";

/// A task that was fetched ahead and may expire has begun.
const BEGIN: &str = concat!(
    "UPDATE homing.open SET started = ",
    super::now!(),
    " WHERE job = $2 AND local = $3 AND started IS NULL"
);

const RECORD: &str = concat!(
    "INSERT INTO homing.records (job, task, seq, place, entry, time) VALUES ($2, $3, $4, $5, $6, ",
    super::now!(),
    ")"
);

/// Waits for a commit of which nobody knows whether it arrived: that transaction holds the row until it is over.
const ANY_LOCK: &str = "SELECT FROM homing.open WHERE job = $1 AND local = $2 FOR UPDATE";

/// Under that lock, so that the answer is final.
const FIND: &str = "SELECT FROM homing.records
    WHERE job = $1 AND task = $2 AND seq = $3 AND place = $4";

impl Transactions {
    pub(super) fn new(options: &Options, connector: Connector) -> std::result::Result<Self, Error> {
        let pool = Pool::verified(options, connector)?;
        let permits = Semaphore::new(options.pool);
        Ok(Self { pool, permits, schema: options.schema.clone() })
    }

    /// Begins a transaction of a caller's on a connection that was lent.
    pub(crate) async fn begin<'c>(
        &self,
        client: &'c mut Client,
    ) -> std::result::Result<Transaction<'c>, Error> {
        pipeline::begin(client).await.map_err(|error| self.told(&error.into()))
    }

    /// A connection, for as long as the permit is held.
    pub(crate) async fn lend(&self) -> std::result::Result<(Client, SemaphorePermit<'_>), Error> {
        let permit = self.permits.acquire().await.map_err(|_| Error::Closed)?;
        Ok((self.pool.get().await?, permit))
    }

    /// Adds a unit's record to a transaction and commits it, if the task is held under the unit's token.
    pub(crate) async fn commit(
        &self,
        tx: Transaction<'_>,
        unit: &Unit,
    ) -> std::result::Result<Commit, Error> {
        if !self.add(&tx, unit).await.map_err(|fault| self.told(&fault))? {
            // A connection that is broken has rolled back.
            let _ = tx.rollback().await;
            return Ok(Commit::Refused);
        }
        point::verb("transaction", Moment::Applied);
        match tx.commit().await.map_err(Fault::from) {
            Ok(()) => {
                point::verb("transaction", Moment::Committed);
                Ok(Commit::Done)
            }
            Err(fault) if fault.is_of_the_connection() => Ok(Commit::Unknown),
            Err(fault) => Err(self.told(&fault)),
        }
    }

    async fn add(&self, tx: &Transaction<'_>, unit: &Unit) -> Result<bool> {
        let Unit { task, token, renew, events } = unit;
        let lock = self.schema.render(if *renew { RENEW } else { LOCK });
        let lock = tx.prepare_cached(&lock).await?;
        let claim = token.claim as i64;
        let key: [&(dyn ToSql + Sync); 4] = [&task.job, &task.local, &token.worker, &claim];
        if tx.execute(&lock, &key).await? == 0 {
            // It may be in a bundle still.
            let dissolve = tx.prepare_cached(&self.schema.render(dissolve::NAMED)).await?;
            tx.query(&dissolve, &[&vec![task.job], &vec![task.local]]).await?;
            if tx.execute(&lock, &key).await? == 0 {
                return Ok(false);
            }
        }
        if token.is_ahead() {
            let begin = tx.prepare_cached(&self.schema.render(BEGIN)).await?;
            tx.execute(&begin, &[&None::<i64>, &task.job, &task.local]).await?;
        }
        let record = tx.prepare_cached(&self.schema.render(RECORD)).await?;
        for event in events {
            if let Event::Record { seq, place, entry } = event {
                let (seq, entry) = (*seq as i64, crate::core::encode::json(entry));
                let now = None::<i64>;
                tx.execute(&record, &[&now, &task.job, &task.local, &seq, place, &entry]).await?;
            }
        }
        Ok(true)
    }

    /// Whether a unit's record is there. Waits for a transaction that is about to write it: that one has
    /// the lock of the task's row until it ends.
    pub(crate) async fn find(&self, unit: &Unit) -> std::result::Result<bool, Error> {
        self.look(unit).await.map_err(|fault| self.told(&fault))
    }

    async fn look(&self, unit: &Unit) -> Result<bool> {
        let mut client = self.pool.lend().await?;
        let tx = pipeline::begin(&mut client).await?;
        let task = unit.task;
        for lock in [bundle::WAIT, ANY_LOCK] {
            tx.execute(&self.schema.render(lock), &[&task.job, &task.local]).await?;
        }
        let mut found = true;
        for event in &unit.events {
            if let Event::Record { seq, place, .. } = event {
                let find = self.schema.render(FIND);
                let seq = *seq as i64;
                found &= tx.execute(&find, &[&task.job, &task.local, &seq, place]).await? == 1;
            }
        }
        tx.commit().await?;
        Ok(found)
    }

    pub(super) fn schema(&self) -> &Schema {
        &self.schema
    }

    /// What a caller is told of a fault.
    pub(super) fn told(&self, fault: &Fault) -> Error {
        fault.told(self.pool.location())
    }
}
