//! Statements sent one after another without waiting: as many as there are, in one round trip.
//!
//! A value is always a parameter. Each statement sees what the one before it did and, under READ
//! COMMITTED, what others have committed up to its own start: that is why whatever is locked is locked
//! by one statement and read by a later one.

use std::fmt;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::task::Poll;

use deadpool_postgres::{Client, Transaction};
use futures_util::future::{Either, ready};
use futures_util::poll;
use tokio_postgres::types::ToSql;
use tokio_postgres::{IsolationLevel, Row, Statement as Prepared};

use crate::core::id::TaskId;
use crate::store::postgres::Shared;
use crate::store::postgres::link::fault::Result;

macro_rules! plans {
    () => {
        "SELECT set_config('plan_cache_mode', 'force_generic_plan', true),
  set_config('enable_seqscan', 'off', true), set_config('enable_bitmapscan', 'off', true),
  set_config('enable_hashjoin', 'off', true), set_config('enable_mergejoin', 'off', true),
  set_config('jit', 'off', true)"
    };
}

/// Begins a transaction that writes. [`PLANS`] follows it. The isolation is named, because a role's or a
/// server's default may be another: under REPEATABLE READ what is read once the locks are held would be as
/// it was before, and a child's end or a parent's park would go unseen.
pub(in crate::store::postgres) const BEGIN: &str = "BEGIN ISOLATION LEVEL READ COMMITTED";

/// The same, on a connection that is no [`Session`].
pub(in crate::store::postgres) async fn begin(
    client: &mut Client,
) -> std::result::Result<Transaction<'_>, tokio_postgres::Error> {
    client.build_transaction().isolation_level(IsolationLevel::ReadCommitted).start().await
}

/// How statements are planned in it: once, by their indexes. What a statement is given is never more
/// than an exchange, while tables may be empty today and large tomorrow; and to plan a claim anew takes
/// longer than to make it. For the transaction alone: the connection may be a pooler's.
pub(in crate::store::postgres) const PLANS: &str = plans!();

/// As [`BEGIN`], where the next statement says how to plan, beside what else it does.
const BEGIN_ALONE: &str = "BEGIN TRANSACTION ISOLATION LEVEL READ COMMITTED";

/// [`PLANS`], and a lock of the number that is given, shared: in one statement, which sees nothing of any table.
const SHARED: &str = concat!(plans!(), ", pg_advisory_xact_lock_shared($1)");

/// The same, where the transaction is likely to be one whose loss would be no loss: it does not wait for the disk. If it
/// turns out to be another, [`DURABLE`] follows.
const PASSING: &str = concat!(
    plans!(),
    ", set_config('synchronous_commit', 'off', true), pg_advisory_xact_lock_shared($1)"
);

/// The transaction waits for whatever the session's settings say.
pub(in crate::store::postgres) const DURABLE: &str = "SET LOCAL synchronous_commit TO DEFAULT";

/// A parameter.
pub(in crate::store::postgres) type Value<'e> = Box<dyn ToSql + Sync + Send + 'e>;

/// One statement and its parameters.
pub(in crate::store::postgres) struct Statement<'e> {
    sql: &'static str,
    values: Vec<Value<'e>>,
}

impl fmt::Debug for Statement<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.sql)
    }
}

impl<'e> Statement<'e> {
    pub(in crate::store::postgres) fn new(sql: &'static str, values: Vec<Value<'e>>) -> Self {
        Self { sql, values }
    }

    /// With more parameters behind the others.
    pub(in crate::store::postgres) fn with(mut self, more: Vec<Value<'e>>) -> Self {
        self.values.extend(more);
        self
    }

    fn borrowed(&self) -> Vec<&(dyn ToSql + Sync)> {
        self.values.iter().map(|value| value.as_ref() as &(dyn ToSql + Sync)).collect()
    }

    pub(in crate::store::postgres) fn begin() -> Self {
        Self::plain(BEGIN)
    }

    /// Begins a transaction that shares a lock. `passing`: its loss is likely to be no loss.
    pub(in crate::store::postgres) fn begin_sharing(lock: i64, passing: bool) -> Vec<Self> {
        let sql = if passing { PASSING } else { SHARED };
        vec![Self::plain(BEGIN_ALONE), Self::new(sql, values![lock])]
    }

    /// The text, as it stands in the program, and the parameters.
    pub(in crate::store::postgres) fn parts(&self) -> (&'static str, Vec<&(dyn ToSql + Sync)>) {
        (self.sql, self.borrowed())
    }

    pub(in crate::store::postgres) fn plain(sql: &'static str) -> Self {
        Self::new(sql, Vec::new())
    }
}

/// Adds a statement to a round trip, and says where its answer will be.
pub(in crate::store::postgres) fn add<'e>(
    steps: &mut Vec<Statement<'e>>,
    step: Statement<'e>,
) -> usize {
    steps.push(step);
    steps.len() - 1
}

/// One array per column over the rows of a list: `arrays!(rows, row => row.id, row.name)`.
macro_rules! arrays {
    ($rows:expr, $row:pat => $($value:expr),+ $(,)?) => {
        vec![$({
            let mut column = Vec::new();
            #[allow(unused_variables, reason = "a column needs but a part of the row")]
            for $row in $rows.iter() {
                column.push($value);
            }
            Box::new(column) as $crate::store::postgres::link::pipeline::Value<'_>
        }),+]
    };
}

/// Parameters as they are: `values![worker, number]`.
macro_rules! values {
    ($($value:expr),* $(,)?) => {
        vec![$(Box::new($value) as $crate::store::postgres::link::pipeline::Value<'_>),*]
    };
}

pub(in crate::store::postgres) use {arrays, values};

/// A connection that is lent for one verb.
pub(in crate::store::postgres) struct Session<'s> {
    pub(in crate::store::postgres) shared: &'s Shared,
    client: Client,
    missed: Mutex<Missed>,
}

/// What earlier runs of a transaction have found that it must lock.
#[derive(Debug, Clone, Default)]
pub(in crate::store::postgres) struct Missed {
    /// Tasks that wait for jobs which may end in it.
    watchers: Vec<TaskId>,
    /// Whether tasks of its units may be in bundles that this process does not know of.
    bundles: bool,
}

impl<'s> Session<'s> {
    pub(in crate::store::postgres) fn new(
        shared: &'s Shared,
        client: Client,
        missed: Missed,
    ) -> Self {
        Self { shared, client, missed: Mutex::new(missed) }
    }

    /// What the next run of the transaction is to know.
    pub(in crate::store::postgres) fn into_missed(self) -> Missed {
        self.missed.into_inner().unwrap_or_else(PoisonError::into_inner)
    }

    fn missed(&self) -> MutexGuard<'_, Missed> {
        self.missed.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(in crate::store::postgres) fn watchers(&self) -> Vec<TaskId> {
        self.missed().watchers.clone()
    }

    pub(in crate::store::postgres) fn watched(&self, more: Vec<TaskId>) {
        self.missed().watchers.extend(more);
    }

    pub(in crate::store::postgres) fn looks_in_bundles(&self) -> bool {
        self.missed().bundles
    }

    pub(in crate::store::postgres) fn look_in_bundles(&self) {
        self.missed().bundles = true;
    }

    /// Runs statements in one round trip. The first error is the one that made the others.
    pub(in crate::store::postgres) async fn run(
        &self,
        steps: Vec<Statement<'_>>,
    ) -> Result<Vec<Vec<Row>>> {
        #[cfg(test)]
        self.shared.trips.fetch_add(1, std::sync::atomic::Ordering::SeqCst);
        let mut prepared = Vec::with_capacity(steps.len() + 1);
        for step in &steps {
            prepared.push((self.statement(step.sql).await?, step.borrowed()));
            if step.sql == BEGIN {
                prepared.push((self.statement(PLANS).await?, Vec::new()));
            }
        }
        let mut sent = Vec::with_capacity(prepared.len());
        for (statement, values) in &prepared {
            // The first poll sends. What cannot even be sent must not be followed by a commit.
            let mut query = Box::pin(self.client.query(statement, values));
            match poll!(&mut query) {
                Poll::Ready(Err(error)) => return Err(error.into()),
                Poll::Ready(Ok(rows)) => sent.push(Either::Left(ready(Ok(rows)))),
                Poll::Pending => sent.push(Either::Right(query)),
            }
        }
        let mut answers = Vec::with_capacity(sent.len());
        for answer in sent {
            answers.push(answer.await?);
        }
        if let Some(begin) = steps.iter().position(|step| step.sql == BEGIN) {
            answers.remove(begin + 1);
        }
        Ok(answers)
    }

    async fn statement(&self, sql: &'static str) -> Result<Prepared> {
        Ok(self.client.prepare_cached(&self.shared.text(sql)).await?)
    }

    /// Runs one statement.
    pub(in crate::store::postgres) async fn one(
        &self,
        sql: &'static str,
        values: Vec<Value<'_>>,
    ) -> Result<Vec<Row>> {
        let answers = self.run(vec![Statement::new(sql, values)]).await?;
        Ok(answers.into_iter().next().unwrap_or_default())
    }

    /// Ends a transaction that has written nothing, without waiting for it: the next one on the
    /// connection follows it.
    pub(in crate::store::postgres) async fn leave(&self) -> Result<()> {
        let statement = self.client.prepare_cached("COMMIT").await?;
        let mut commit = Box::pin(self.client.query(&statement, &[]));
        match poll!(&mut commit) {
            Poll::Ready(Err(error)) => Err(error.into()),
            _ => Ok(()),
        }
    }

    /// Ends a transaction that is given up; a connection that is broken has ended it.
    pub(in crate::store::postgres) async fn roll_back(&self) {
        if let Err(error) = self.client.batch_execute("ROLLBACK").await {
            tracing::debug!(%error, "a transaction ended with its connection");
        }
    }
}
