//! Transactions of a body's own: what it writes and the fact that it was written are one commit.

use std::sync::Arc;
use std::time::Duration;

use serde::Serialize;
use serde::de::DeserializeOwned;
use tokio_postgres::Transaction;

use crate::body::context::{Context, Halt, current};
use crate::body::step::{Once, Words};
use crate::error::{Error, Misuse, Result, StepError};
use crate::store::postgres::{Commit, Transactions};
use crate::store::{Entry, Unit};

const TRANSACTION: Words = Words {
    verb: "transaction",
    one: "a transaction",
    name: "the transaction's name",
    result: "the transaction's result",
};

/// Runs `work` in a transaction of the PostgreSQL database that the store is in, and remembers its
/// result under `name` in the same commit: what `work` writes takes effect exactly once, however often
/// the body runs. A replay is given the result and opens no transaction.
///
/// ```no_run
/// # async fn body(rows: Vec<String>) -> homing::Result<()> {
/// let written: u64 = homing::transaction("write", async |tx| {
///     let sql = "INSERT INTO airports SELECT unnest($1::text[])";
///     Ok(tx.execute(sql, &[&rows]).await?)
/// })
/// .await?;
/// # Ok(())
/// # }
/// ```
///
/// As with [`step`](crate::step()), a name may be used again, and nothing durable may stand inside `work`
/// except [`submit_in`](crate::Homing::submit_in). The transaction is `READ COMMITTED` unless the first
/// statement of `work` says `SET TRANSACTION`, whatever the role's or the server's default. It has a
/// connection of its own, at most as many at a time as the URL's `pool=`; one that stands idle for longer
/// than [`limits::POSTGRES_IDLE`](crate::limits::POSTGRES_IDLE) between two statements is ended by the
/// server.
///
/// # Errors
/// [`StepError`], which is any error to `?`: that of `work`, of the server or of the commit: then nothing was written and nothing is
/// remembered. [`Misuse`] outside a task and on other stores, as a final error; so is a result that JSON
/// cannot hold.
///
/// # Durability
/// Returns after the commit. If the connection breaks while the commit is on its way, the record tells
/// whether it happened; nothing is written twice. A task that is no longer this worker's (its lease ran
/// out, it was cancelled) commits nothing.
///
/// # Cancel safety
/// Dropping it rolls back, or leaves the commit to the server if it was on its way: the next run of the
/// body finds out.
pub async fn transaction<T, F>(name: &str, work: F) -> Result<T, StepError>
where
    T: Serialize + DeserializeOwned,
    F: AsyncFnOnce(&Transaction<'_>) -> Result<T>,
{
    let context = current("transaction")?;
    let (once, recorded) = Once::begin(&context, &TRANSACTION, name).await?;
    let text = if let Some(text) = recorded {
        text
    } else {
        // Whatever was said before stands in the record before it.
        context.commit().await;
        context.work(run(&once, work)).await?
    };
    Ok(once.end(&text).await?)
}

async fn run<T, F>(once: &Once<'_>, work: F) -> Result<String>
where
    T: Serialize,
    F: AsyncFnOnce(&Transaction<'_>) -> Result<T>,
{
    let context = once.context;
    let store = Arc::clone(context.store());
    let Some(transactions) = store.transactions() else {
        return Err(Error::from(Misuse::NoTransactions).fatal());
    };
    let (mut client, _permit) = transactions.lend().await?;
    let tx = transactions.begin(&mut client).await?;
    let value = {
        let _transacting = context.transacting();
        work(&tx).await?
    };
    let text = once.encoded(value)?;
    let Some(unit) = context.record_elsewhere(once.place(), Entry::Value(text.clone())) else {
        return context.halt(Halt::Lost).await;
    };
    match transactions.commit(tx, &unit).await? {
        Commit::Done => {}
        Commit::Refused => return context.halt(Halt::Lost).await,
        Commit::Unknown => {
            drop(client);
            if !found(context, transactions, &unit).await? {
                let reason = "the connection was lost before the commit: nothing was written";
                return Err(crate::store::Error::Busy { reason: reason.to_owned() }.into());
            }
        }
    }
    context.recorded_elsewhere();
    Ok(text)
}

/// Asks the record until the store answers: whoever knows has the task's row.
async fn found(context: &Context, transactions: &Transactions, unit: &Unit) -> Result<bool> {
    let mut pause = Duration::from_millis(10);
    loop {
        match transactions.find(unit).await {
            Err(error) if error.is_transient() => {
                let task = context.task;
                tracing::warn!(%task, %error, "whether a transaction was committed is not known yet");
            }
            answer => return Ok(answer?),
        }
        tokio::time::sleep(pause).await;
        pause = (pause * 2).min(Duration::from_secs(2));
    }
}
