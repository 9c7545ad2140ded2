//! Other arguments for a task that stands still.

use std::future::IntoFuture;

use futures_util::future::BoxFuture;

use super::Homing;
use super::named::{check_arguments, unknown_kind};
use crate::core::id::TaskId;
use crate::error::{AmendError, Invalid, SubmitError};
use crate::store::events;
use crate::store::{self, Amended};

/// Arguments to be put in the place of others; see [`Homing::amend`]. It happens when it is awaited.
#[must_use = "nothing is changed until it is awaited"]
#[derive(Debug)]
pub struct Amend<'h> {
    homing: &'h Homing,
    task: TaskId,
    arguments: Result<String, Invalid>,
    force: bool,
}

impl Homing {
    /// Puts other arguments in the place of those of a task that stands still, and lets it go on at once: for
    /// arguments that no release will take, which no retry could mend.
    ///
    /// The arguments are an object with a field for each, and are held to what the last worker to register the
    /// kind takes, as by [`submit_named`](Self::submit_named); [`Amend::force`] goes past that. The task keeps its
    /// record: a body that does something else for the new arguments stands still again, with nothing lost. Its
    /// parent's call, and a submission under the same id, are still compared with the arguments it began with.
    ///
    /// ```
    /// # use homing::{AmendError, Homing, task};
    /// # #[task]
    /// # async fn square(number: u64) -> homing::Result<u64> { Ok(number * number) }
    /// # #[tokio::main]
    /// # async fn main() -> Result<(), Box<dyn std::error::Error>> {
    /// let homing = Homing::open("memory:").await?;
    /// let _worker = homing.worker().register(square).start().await?;
    /// let job = homing.submit_named("square", &serde_json::json!({"number": "three"})).force().await?;
    /// # let mut looks = 0;
    /// while !matches!(job.status().await?, homing::Status::Stalled) {
    ///     tokio::task::yield_now().await;
    /// #   looks += 1;
    /// #   assert!(looks < 10_000_000);
    /// }
    /// homing.amend(job.id(), &serde_json::json!({"number": 3})).await?;
    /// assert_eq!(job.outcome().await?, 9);
    /// # Ok(())
    /// # }
    /// ```
    ///
    /// # Errors
    /// Nothing has changed then: the task [does not stand still](AmendError::NotStalled) or
    /// [has ended](AmendError::Ended), the arguments are refused, or the store fails or does not know the task.
    ///
    /// # Durability
    /// The task has the arguments when this returns.
    pub fn amend(&self, task: impl Into<TaskId>, arguments: &serde_json::Value) -> Amend<'_> {
        let arguments = super::named::arguments(arguments);
        Amend { homing: self, task: task.into(), arguments, force: false }
    }
}

impl Amend<'_> {
    /// Takes the arguments even if they are not what the last worker to register the kind takes, or none has: a
    /// release that does may be on its way.
    pub fn force(mut self) -> Self {
        self.force = true;
        self
    }

    async fn run(self) -> Result<(), AmendError> {
        let Self { homing, task: id, arguments, force } = self;
        let arguments = arguments.map_err(SubmitError::from)?;
        if !force {
            let view = homing.store.task(id).await?.ok_or(store::Error::Unknown { id })?;
            let known = homing.store.kinds().await?;
            let kind = known.iter().find(|kind| kind.name == view.kind);
            let kind = kind.ok_or_else(|| unknown_kind(&view.kind, &known))?;
            check_arguments(&arguments, kind).map_err(SubmitError::from)?;
        }
        let act = async {
            match homing.store.amend(id, arguments).await? {
                Amended::Done => {
                    events::amended(id);
                    Ok(())
                }
                Amended::Ended => Err(AmendError::Ended { id }),
                Amended::NotStalled => Err(AmendError::NotStalled { id }),
            }
        };
        homing.noted(("amend", id), act, super::actions::done).await
    }
}

impl<'h> IntoFuture for Amend<'h> {
    type Output = Result<(), AmendError>;
    type IntoFuture = BoxFuture<'h, Self::Output>;

    fn into_future(self) -> Self::IntoFuture {
        Box::pin(self.run())
    }
}
