//! A handle on a job: what any process can ask of it, by its id.

use std::fmt;
use std::marker::PhantomData;
use std::sync::Arc;
use std::time::Duration;

use serde::Serialize;

use super::outcomes::Fresh;
use super::{Cancel, Homing, Value};
use crate::body::context::refuse_inside;
use crate::client::Signalled;
use crate::core::id::JobId;
use crate::core::log::Line;
use crate::core::state::State;
use crate::error::{Failure, OutcomeError, Reason, RemoveError, RetryError, SubmitError};
use crate::limits;
use crate::store::read::{JobView, Settled, Status};
use crate::store::{self, Retried, Retry};

/// A job, re-opened by its id from any process. Dropping it changes nothing.
pub struct JobHandle<T> {
    homing: Homing,
    id: JobId,
    /// Of a job that was just submitted.
    fresh: Option<Arc<Fresh>>,
    output: PhantomData<fn() -> T>,
}

impl<T> JobHandle<T> {
    pub(super) fn new(homing: Homing, id: JobId, fresh: Option<Arc<Fresh>>) -> Self {
        Self { homing, id, fresh, output: PhantomData }
    }

    /// The job's id.
    pub fn id(&self) -> JobId {
        self.id
    }

    /// The job's record as of now. One that is past its expiry or its deadline is ended first.
    ///
    /// # Errors
    /// [`store::Error::Unknown`] if no job has the id.
    pub async fn view(&self) -> Result<JobView, store::Error> {
        let unknown = || store::Error::Unknown { id: self.id.root() };
        let view = self.homing.store.job(self.id).await?.ok_or_else(unknown)?;
        if view.status.is_ended() || self.homing.store.overdue(vec![self.id]).await?.is_empty() {
            return Ok(view);
        }
        self.homing.keep_up().await;
        self.homing.store.job(self.id).await?.ok_or_else(unknown)
    }

    /// Where the job stands.
    pub async fn status(&self) -> Result<Status, store::Error> {
        Ok(self.view().await?.status)
    }

    /// 0 to 100: what the root's body told, or ended tasks over spawned ones, with their shares of those at work.
    /// See [`JobView::progress`].
    pub async fn progress(&self) -> Result<f64, store::Error> {
        Ok(self.view().await?.progress)
    }

    /// Cancels the job. `false` if it had ended. See [`Homing::cancel`].
    pub fn cancel(&self) -> Cancel<'_> {
        self.homing.cancel(self.id)
    }

    /// Reopens a failed or cancelled job, and says what of it: what failed runs again with a fresh budget.
    ///
    /// Each failed task goes back to the moment before its body was first told of the loss that brought it
    /// down. What it had recorded and what had succeeded by then stays and does not run again; what it did
    /// since then (steps, answers, children) is taken back. See `docs/concepts/semantics.md`, *Retry*.
    ///
    /// # Errors
    /// Nothing has changed then: the job is [open](RetryError::Open) or
    /// [stands still](RetryError::Stalled), its root
    /// [has succeeded](RetryError::Succeeded), another open job [holds its key](RetryError::KeyTaken), it
    /// is [being removed](RetryError::Removing); or the store fails or does not know it.
    ///
    /// # Durability
    /// One transaction: the job is open again, whole, when this returns.
    pub async fn retry(&self) -> Result<Retried, RetryError> {
        self.retried(false).await
    }

    /// What [`retry`](Self::retry) would reopen and take back now. Changes nothing.
    ///
    /// # Errors
    /// As for the retry itself.
    pub async fn retry_preview(&self) -> Result<Retried, RetryError> {
        self.retried(true).await
    }

    async fn retried(&self, preview: bool) -> Result<Retried, RetryError> {
        if preview {
            return self.looked(true).await;
        }
        let told = |retried: &Retried| format!("reopened {} tasks", retried.reopened);
        self.homing.noted(("retry", self.id), self.looked(false), told).await
    }

    async fn looked(&self, preview: bool) -> Result<Retried, RetryError> {
        let id = self.id;
        match self.homing.store.retry(id, preview).await? {
            Retry::Done(retried) => Ok(retried),
            Retry::Open => {
                let view = self.homing.store.job(id).await?;
                let stalled = view.is_some_and(|view| view.status == Status::Stalled);
                Err(if stalled { RetryError::Stalled { id } } else { RetryError::Open { id } })
            }
            Retry::Succeeded => Err(RetryError::Succeeded { id }),
            Retry::Held(holder) => Err(RetryError::KeyTaken { id, holder }),
            Retry::Removing => Err(RetryError::Removing { id }),
        }
    }

    /// Removes the job, if it has ended. See [`Homing::remove`].
    pub async fn remove(&self) -> Result<(), RemoveError> {
        self.homing.remove(self.id).await
    }

    /// Sends a value to the root. See [`Homing::signal`].
    pub async fn signal<V: Serialize + ?Sized>(
        &self,
        name: &str,
        value: &V,
    ) -> Result<Signalled, SubmitError> {
        self.homing.signal(self.id, name, value).await
    }

    /// The job's log, from the first line on.
    pub fn log(&self) -> Log {
        Log { homing: self.homing.clone(), job: self.id, after: 0 }
    }

    /// Waits until the job has ended, however that was, and returns its status.
    pub async fn ended(&self) -> Result<Status, OutcomeError> {
        self.settled().await?;
        Ok(self.view().await?.status)
    }

    async fn settled(&self) -> Result<Settled, OutcomeError> {
        refuse_inside("outcome")?;
        Ok(self.homing.outcomes.of(self.id).await?)
    }
}

impl<T: Value> JobHandle<T> {
    /// Waits until the job has ended and returns the root's value. The handle of a submission learns a value
    /// of up to 1 KiB as it comes and keeps it, so that it asks the store only where that was not heard.
    ///
    /// # Errors
    /// The root's failure; an unknown id; a value that is no `T`.
    ///
    /// # Cancel safety
    /// Dropping it changes nothing; ask again at any time.
    pub async fn outcome(&self) -> Result<T, OutcomeError> {
        let settled = self.settled().await?;
        let text = settled.outcome.unwrap_or_else(|| "null".to_owned());
        if settled.state == State::Succeeded {
            let undecodable = |reason| OutcomeError::Undecodable { id: self.id, reason };
            return crate::core::encode::parse(&text).map_err(undecodable);
        }
        let failure = serde_json::from_str::<Failure>(&text).unwrap_or_else(|_| {
            Failure::new("?", self.id.root(), 0, Reason::Error, "its failure does not decode")
        });
        Err(OutcomeError::Failed(Box::new(failure)))
    }
}

impl<T> Clone for JobHandle<T> {
    fn clone(&self) -> Self {
        Self::new(self.homing.clone(), self.id, self.fresh.clone())
    }
}

impl<T> fmt::Debug for JobHandle<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("JobHandle").field(&self.id).finish()
    }
}

/// A job's log, read page by page, live from any process.
#[derive(Debug, Clone)]
pub struct Log {
    homing: Homing,
    job: JobId,
    after: u64,
}

impl Log {
    /// Skips the lines up to a number.
    #[must_use]
    pub fn after(mut self, number: u64) -> Self {
        self.after = number;
        self
    }

    /// Skips to the last so many lines there are now.
    ///
    /// # Errors
    /// The store fails.
    pub async fn last(mut self, lines: u64) -> Result<Self, store::Error> {
        self.after = self.homing.store.last_line(self.job).await?.saturating_sub(lines);
        Ok(self)
    }

    /// The next lines there are now, at most [`limits::PAGE`]; empty if there are none.
    pub async fn page(&mut self) -> Result<Vec<Line>, store::Error> {
        let lines = self.homing.store.log(self.job, self.after, limits::PAGE).await?;
        if let Some(last) = lines.last() {
            self.after = last.number;
        }
        Ok(lines)
    }

    /// Waits for the next lines; `None` when the job has ended and all have been read. A line of
    /// another process shows within 200 ms.
    ///
    /// # Errors
    /// An unknown job; or the store fails.
    pub async fn next(&mut self) -> Result<Option<Vec<Line>>, store::Error> {
        loop {
            let unknown = store::Error::Unknown { id: self.job.root() };
            let known = self.homing.store.outcomes(vec![self.job]).await?;
            let ended = known.first().ok_or(unknown)?.1.state.is_ended();
            let lines = self.page().await?;
            if !lines.is_empty() {
                return Ok(Some(lines));
            }
            if ended {
                return Ok(None);
            }
            tokio::time::sleep(Duration::from_millis(200)).await;
        }
    }
}
