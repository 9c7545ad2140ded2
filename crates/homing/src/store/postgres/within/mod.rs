//! `submit_in`: a job comes into being in a transaction of the caller's, on the caller's connection.
//!
//! The statements are those of `submit`; whatever could fail them, an id or a key that is taken, is looked
//! at first without failing, because an error would take the caller's transaction down. Values are sent
//! as the bytes of the protocol, so that any driver can carry them.

use tokio_postgres::types::{FromSql, ToSql, Type};

use super::transactions::Transactions;
use crate::clock::Clock;
use crate::core::id::JobId;
use crate::store::postgres::link::fault::{Fault, Result};
use crate::store::postgres::link::schema::Schema;
use crate::store::postgres::transaction::columns::Hash;
use crate::store::postgres::transaction::tx::Tx;
use crate::store::{Error, NewJob, Submitted};
use futures_util::future::BoxFuture;

#[cfg(feature = "sqlx")]
mod sqlx;

/// A transaction of the caller's, open on a connection to the database that the store is in:
/// `&tokio_postgres::Transaction`, `&deadpool_postgres::Transaction` or, with the feature `sqlx`,
/// `&mut sqlx::PgConnection`, which `&mut *transaction` is.
pub trait Within: Carry {}

impl<T: Carry> Within for T {}

/// One answer: the columns of its rows, as bytes.
pub(crate) type Rows = Vec<Vec<Option<Vec<u8>>>>;

/// Values for a statement's parameters.
pub(crate) type Values<'v> = Vec<&'v (dyn ToSql + Sync)>;

/// Carries statements to a transaction; sealed, because this module cannot be named from outside.
pub trait Carry: Send {
    /// Runs one statement.
    fn carry<'a>(
        &'a mut self,
        text: String,
        values: Values<'a>,
    ) -> BoxFuture<'a, Result<Rows, Error>>;
}

/// The bytes of a column of any type.
struct Raw(Vec<u8>);

impl FromSql<'_> for Raw {
    fn from_sql(
        _: &Type,
        raw: &[u8],
    ) -> std::result::Result<Self, Box<dyn std::error::Error + Sync + Send>> {
        Ok(Self(raw.to_vec()))
    }

    fn accepts(_: &Type) -> bool {
        true
    }
}

fn columns(row: &tokio_postgres::Row) -> Result<Vec<Option<Vec<u8>>>> {
    (0..row.len())
        .map(|column| Ok(row.try_get::<_, Option<Raw>>(column)?.map(|Raw(bytes)| bytes)))
        .collect()
}

impl Carry for &tokio_postgres::Transaction<'_> {
    fn carry<'a>(
        &'a mut self,
        text: String,
        values: Values<'a>,
    ) -> BoxFuture<'a, Result<Rows, Error>> {
        Box::pin(async move {
            let rows = self.query(&text, &values).await.map_err(|error| told(&error.into()))?;
            rows.iter().map(columns).collect::<Result<_>>().map_err(|fault| told(&fault))
        })
    }
}

impl Carry for &deadpool_postgres::Transaction<'_> {
    fn carry<'a>(
        &'a mut self,
        text: String,
        values: Values<'a>,
    ) -> BoxFuture<'a, Result<Rows, Error>> {
        Box::pin(async move {
            let statement =
                self.prepare_cached(&text).await.map_err(|error| told(&error.into()))?;
            let rows =
                self.query(&statement, &values).await.map_err(|error| told(&error.into()))?;
            rows.iter().map(columns).collect::<Result<_>>().map_err(|fault| told(&fault))
        })
    }
}

/// What a caller is told: where its connection leads is its own affair.
fn told(fault: &Fault) -> Error {
    fault.told("the caller's transaction")
}

/// The time, and whether the job whose id this is has the same call.
const LOOK: &str = concat!(
    "SELECT ",
    super::now!(),
    ", (SELECT kind = $3 AND hash = $4 FROM homing.tasks
        WHERE job = $2 AND local = '00000000-0000-0000-0000-000000000000')"
);

/// Waits for whoever is about to take or free the key, and fails for nobody.
const HOLD: &str =
    "INSERT INTO homing.keys (key, job) VALUES ($1, $2) ON CONFLICT DO NOTHING RETURNING job";

const HOLDER: &str = "SELECT job FROM homing.keys WHERE key = $1";

/// How often a key is asked for that was held when it was to be taken and free when its holder was asked for.
const TRIES: u32 = 10;

/// Submits a job within a caller's transaction.
pub(crate) async fn submit(
    within: &mut dyn Carry,
    transactions: &Transactions,
    clock: &Clock,
    job: &NewJob,
) -> Result<Submitted, Error> {
    Caller { within, schema: transactions.schema() }.submit(clock, job).await
}

struct Caller<'c> {
    within: &'c mut dyn Carry,
    schema: &'c Schema,
}

impl Caller<'_> {
    async fn submit(mut self, clock: &Clock, job: &NewJob) -> Result<Submitted, Error> {
        let manual = clock.is_told().then(|| clock.now());
        let hash = Hash(job.task.hash);
        let rows = self.run(LOOK, vec![&manual, &job.id, &job.task.kind, &hash]).await?;
        let row = rows.first().map_or(&[][..], Vec::as_slice);
        if let Some(same) = column::<bool>(row, 1, &Type::BOOL)? {
            return Ok(known(job.id, same));
        }
        let mut tx = Tx { now: column(row, 0, &Type::INT8)?.unwrap_or_default(), ..Tx::default() };
        if let Some(holder) = self.take_key(job).await? {
            return Ok(Submitted::Existing(holder));
        }
        tx.submit(job);
        // It is taken already.
        tx.keys.clear();
        for step in tx.steps(&tx.partings(), None) {
            let (sql, values) = step.parts();
            self.run(sql, values).await?;
        }
        Ok(Submitted::New(job.id))
    }

    /// Takes the job's key, if it has one, or says who holds it.
    async fn take_key(&mut self, job: &NewJob) -> Result<Option<JobId>, Error> {
        let Some(key) = &job.key else { return Ok(None) };
        for _ in 0..TRIES {
            if !self.run(HOLD, vec![key, &job.id]).await?.is_empty() {
                return Ok(None);
            }
            let held = self.run(HOLDER, vec![key]).await?;
            if let Some(row) = held.first() {
                return column(row, 0, &Type::UUID);
            }
        }
        let reason = format!("the key `{key}` changes hands all the time");
        Err(Error::Busy { reason })
    }

    async fn run(&mut self, sql: &str, values: Values<'_>) -> Result<Rows, Error> {
        self.within.carry(self.schema.render(sql), values).await
    }
}

fn known(job: JobId, same: bool) -> Submitted {
    if same { Submitted::Existing(job) } else { Submitted::Conflict(job) }
}

fn column<'r, T: FromSql<'r>>(
    row: &'r [Option<Vec<u8>>],
    number: usize,
    own: &Type,
) -> Result<Option<T>, Error> {
    let Some(Some(bytes)) = row.get(number) else { return Ok(None) };
    let value = T::from_sql(own, bytes);
    value
        .map(Some)
        .map_err(|error| told(&Fault::Other(format!("a column does not decode: {error}"))))
}
