//! Submitting within a transaction of the caller's own: the job is there if and only if that commits.

use std::sync::Arc;

use super::{Homing, Submit, accepted};
use crate::body::context::transacting::refuse_beside_transaction;
use crate::client::JobHandle;
use crate::error::{Misuse, SubmitError};
use crate::store::Submitted;
use crate::store::postgres::within::{self, Within};
use crate::task::Kind;
use crate::task::call::Call;

impl Homing {
    /// Submits a call within a transaction of the caller's own, open on a connection to the database that
    /// the store is in: the job becomes visible if and only if that transaction commits.
    ///
    /// ```no_run
    /// # use homing::{Homing, task};
    /// # #[task]
    /// # async fn welcome(user: i64) -> homing::Result<()> { Ok(()) }
    /// # async fn sign_up(homing: Homing, db: &mut tokio_postgres::Client)
    /// #     -> Result<(), Box<dyn std::error::Error>> {
    /// let tx = db.transaction().await?;
    /// let user: i64 = tx.query_one("INSERT INTO users DEFAULT VALUES RETURNING id", &[]).await?.get(0);
    /// homing.submit_in(&tx, welcome(user)).await?;
    /// tx.commit().await?;
    /// homing.nudge();
    /// # Ok(())
    /// # }
    /// ```
    ///
    /// For a title, a key or an id: `homing.submit(call).title("…").within(&tx)`.
    ///
    /// # Errors
    /// As [`submit`](Self::submit); [`Misuse`] on a store that is not in PostgreSQL, and in a body outside
    /// of its own [`transaction`](crate::transaction()). An error of the server takes the transaction down.
    ///
    /// # Durability
    /// That of the caller's commit. A key is held, and an id taken, as soon as this returns: others who ask
    /// for the same wait for the end of the transaction.
    ///
    /// Any isolation will do: nothing is decided but whether id and key are free. Above `READ COMMITTED` the
    /// transaction does not see who has taken them since it began; then the server ends it with an error
    /// (SQLSTATE 40001 or 23505), as it does with whatever else meets another's write: run it again whole.
    pub async fn submit_in<K: Kind>(
        &self,
        transaction: impl Within,
        call: Call<K>,
    ) -> Result<JobHandle<K::Output>, SubmitError> {
        self.submit(call).within(transaction).await
    }

    /// Says that there may be work: for one who has just committed a transaction with
    /// [`submit_in`](Self::submit_in), of which the store hears nothing. Without it workers find the job
    /// when they next look, within a second. A hint: it costs next to nothing and may be lost.
    pub fn nudge(&self) {
        self.store.nudge();
    }
}

impl<K: Kind> Submit<K> {
    /// Submits within a transaction of the caller's own; see [`Homing::submit_in`].
    ///
    /// # Errors
    /// As [`Homing::submit_in`].
    pub async fn within(
        self,
        mut transaction: impl Within,
    ) -> Result<JobHandle<K::Output>, SubmitError> {
        refuse_beside_transaction("submit_in")?;
        let store = Arc::clone(self.homing.store());
        let Some(transactions) = store.transactions() else {
            return Err(Misuse::NoTransactions.into());
        };
        let (homing, job) = self.fix().await?;
        let submitted: Submitted =
            within::submit(&mut transaction, transactions, store.clock(), &job).await?;
        accepted(&homing, submitted, None)
    }
}
