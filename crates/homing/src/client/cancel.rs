//! Cancelling from outside, and who wants it and why.

use std::future::IntoFuture;

use super::Homing;
use crate::core::id::TaskId;
use crate::error::bounded;
use crate::store;
use crate::store::events;
use futures_util::future::BoxFuture;

/// A cancellation to be; see [`Homing::cancel`]. It happens when it is awaited.
#[must_use = "nothing is cancelled until it is awaited"]
#[derive(Debug)]
pub struct Cancel<'h> {
    homing: &'h Homing,
    task: TaskId,
    by: Option<String>,
    reason: Option<String>,
}

impl Homing {
    /// Cancels a task and everything below it. `false` if it had ended. Who wants it, and why, is kept in the
    /// task's [`Failure`](crate::Failure), where it is told.
    ///
    /// ```
    /// # use homing::{Homing, task};
    /// # #[task]
    /// # async fn leaf() -> homing::Result<u64> { Ok(1) }
    /// # #[tokio::main]
    /// # async fn main() -> Result<(), Box<dyn std::error::Error>> {
    /// let homing = Homing::open("memory:").await?;
    /// let job = homing.submit(leaf()).await?;
    /// assert!(homing.cancel(job.id()).by("ada").reason("submitted twice").await?);
    /// let failure = job.view().await?.failure.unwrap();
    /// assert_eq!(failure.message, "ada cancelled it: submitted twice");
    /// # Ok(())
    /// # }
    /// ```
    ///
    /// # Errors
    /// [`store::Error::Unknown`] if there is no task with the id; or the store fails.
    ///
    /// # Durability
    /// The task has ended when this returns; what is below follows in bounded transactions, carried on
    /// by any worker should this process die.
    pub fn cancel(&self, task: impl Into<TaskId>) -> Cancel<'_> {
        Cancel { homing: self, task: task.into(), by: None, reason: None }
    }
}

impl Cancel<'_> {
    /// Who wants it. Default: "somebody".
    pub fn by(mut self, who: impl Into<String>) -> Self {
        self.by = Some(who.into());
        self
    }

    /// Why. More than [`limits::MESSAGE`](crate::limits::MESSAGE) bytes are cut in the middle.
    pub fn reason(mut self, why: impl Into<String>) -> Self {
        self.reason = Some(why.into());
        self
    }

    /// What the failure says; `None` where nobody has said anything.
    fn text(&self) -> Option<String> {
        if self.by.is_none() && self.reason.is_none() {
            return None;
        }
        let by = self.by.as_deref().unwrap_or("somebody");
        let reason = self.reason.as_ref().map(|reason| format!(": {reason}")).unwrap_or_default();
        Some(bounded(&format!("{by} cancelled it{reason}")))
    }
}

impl<'h> IntoFuture for Cancel<'h> {
    type Output = Result<bool, store::Error>;
    type IntoFuture = BoxFuture<'h, Self::Output>;

    fn into_future(self) -> Self::IntoFuture {
        Box::pin(async move {
            let (homing, task, text) = (self.homing, self.task, self.text());
            let told = |first: &bool| if *first { "done" } else { "it had ended" }.to_owned();
            let act = homing.store.cancel(task, text.clone());
            let first = homing.noted(("cancel", task), act, told).await?;
            if first {
                events::cancelled(task, text.as_deref());
            }
            homing.keep_up().await;
            Ok(first)
        })
    }
}
