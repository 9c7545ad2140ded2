//! `job`: a durable wait for another job.
//!
//! The store wakes the task in the transaction that ends the job. How the job stood is recorded with the
//! answer, because the job may be retried or removed before the body looks.

use std::marker::PhantomData;
use std::sync::Arc;

use serde::de::DeserializeOwned;

use crate::body::context::{Context, Halt};
use crate::body::waiting::{Durable, Settled, Waiting};
use crate::core::id::{JobId, Local};
use crate::core::wait::{Condition, Standing};
use crate::error::{Failure, JoinError, Misuse, Reason};

/// Waits until another job has ended, and brings its root's value: for any job of the store, submitted by
/// whomever, or [detached](crate::detach) by this body.
///
/// The wait holds no slot, is woken by the job's end, takes a [timeout](Waiting::timeout) and may stand in
/// [`select!`](crate::select!) and in branches.
///
/// ```
/// use homing::{Homing, JobId, task};
///
/// #[task]
/// async fn monday() -> homing::Result<u64> {
///     Ok(20)
/// }
///
/// #[task]
/// async fn tuesday(before: JobId) -> homing::Result<u64> {
///     let value: u64 = homing::job(before).await?;
///     Ok(value + 1)
/// }
///
/// # #[tokio::main]
/// # async fn main() -> Result<(), Box<dyn std::error::Error>> {
/// let homing = Homing::open("memory:").await?;
/// homing.worker().register(monday).register(tuesday).start().await?;
/// let first = homing.submit(monday()).await?;
/// assert_eq!(homing.submit(tuesday(first.id())).await?.outcome().await?, 21);
/// # Ok(())
/// # }
/// ```
///
/// Jobs that wait for each other in a ring wait for ever: give such a wait a timeout.
///
/// # Errors
/// [`JoinError::Failed`] if the job failed or was cancelled; like a child's failure it is final for a task
/// that returns it, and a retry of the waiting job asks again. [`JoinError::UnknownJob`] at once if there is
/// no such job, or if it was removed before the answer was recorded. [`JoinError::Undecodable`] if its value
/// is no `T`, [`JoinError::TimedOut`] with a timeout. [`Misuse::OwnJob`] for the job that the task itself
/// belongs to, [`Misuse::OutsideTask`] outside a task.
///
/// # Durability
/// How the job ended is recorded with the answer. A replay is told the same, though the job may have been
/// retried or removed since.
///
/// # Cancel safety
/// Dropping it changes nothing for the other job.
pub fn job<T: DeserializeOwned + Send>(id: JobId) -> Waiting<'static, JobEnd<T>> {
    Waiting::new(JobEnd { id, value: PhantomData })
}

/// See [`job`].
#[derive(Debug)]
pub struct JobEnd<T> {
    id: JobId,
    value: PhantomData<fn() -> T>,
}

impl<T: DeserializeOwned + Send> Durable for JobEnd<T> {
    type Output = Result<T, JoinError>;

    fn name(&self) -> String {
        format!("job:{}", self.id)
    }

    async fn plan(&mut self, context: &Arc<Context>, _: &str) -> Option<Condition> {
        if self.id == context.task.job {
            return context.halt(Halt::Misuse(Misuse::OwnJob { id: self.id })).await;
        }
        Some(Condition::Job { job: self.id })
    }

    async fn settle(self, context: &Arc<Context>, settled: Settled) -> Self::Output {
        let (id, root) = (self.id, self.id.root());
        if settled.timed_out {
            return Err(context.timed_out(&settled.place, (Local::ROOT, None)).await);
        }
        let Some(text) = settled.value else {
            // The answer brings how the job stood. This one was that of a wait which stood here before.
            let text = "expected another wait, got one for a job";
            return context.drift(&settled.place, text).await;
        };
        let told = || {
            let moment = context.moment(&settled.place);
            context.tell_loss(&moment, None);
            Box::new(moment)
        };
        match crate::core::encode::parse::<Standing>(&text) {
            Ok(Standing::Succeeded(value)) => crate::core::encode::parse(&value)
                .map_err(|reason| JoinError::Undecodable { id: root, reason }),
            Ok(Standing::Fallen(failure)) => {
                let failure = serde_json::from_str(&failure).unwrap_or_else(|_| {
                    Failure::new("?", root, 0, Reason::Error, "its failure does not decode")
                });
                Err(JoinError::Failed { failure: Box::new(failure), moment: Some(told()) })
            }
            Ok(Standing::Unknown) => Err(JoinError::UnknownJob { id, moment: told() }),
            Ok(Standing::Open) => {
                context.drift(&settled.place, "expected an ended job, got an open one").await
            }
            Err(reason) => Err(JoinError::Undecodable { id: root, reason }),
        }
    }

    fn misuse(self, misuse: Misuse) -> Self::Output {
        Err(misuse.into())
    }
}
