//! `submit_all`: many jobs in few transactions, none of whose handles is lost.

use std::error::Error as StdError;
use std::fmt;
use std::marker::PhantomData;
use std::sync::Arc;

use super::{Homing, JobHandle};
use crate::body::context::refuse_inside;
use crate::core::id::JobId;
use crate::error::SubmitError;
use crate::limits;
use crate::store::{NewJob, Submitted};
use crate::task::Kind;
use crate::task::call::Call;
use crate::task::job::{JobDraft, job_options};

/// One of many jobs to be submitted: a call, and what only a job has. See [`Homing::submit_all`].
#[must_use = "nothing is submitted until `submit_all` is awaited"]
pub struct Submission<K: Kind> {
    job: JobDraft,
    kind: PhantomData<fn() -> K>,
}

job_options!(Submission, key: "", id: "Default: a fresh one.");

impl<K: Kind> Submission<K> {
    /// A call to be submitted as a job.
    pub fn of(call: Call<K>) -> Self {
        Self { job: JobDraft::new(call.draft), kind: PhantomData }
    }
}

impl<K: Kind> From<Call<K>> for Submission<K> {
    fn from(call: Call<K>) -> Self {
        Self::of(call)
    }
}

impl<K: Kind> fmt::Debug for Submission<K> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Submission").field(&self.job).finish()
    }
}

/// Why [`Homing::submit_all`] stopped, and what it had submitted by then.
#[non_exhaustive]
pub struct SubmitAllError<T> {
    /// Which was refused, counted from 0; of a page that failed as a whole the first.
    pub index: usize,
    /// What was submitted, each with its number.
    pub submitted: Vec<(usize, JobHandle<T>)>,
    /// What may or may not have been submitted, because the store failed in doing so: their handles say
    /// which, once it answers again.
    pub unknown: Vec<(usize, JobHandle<T>)>,
    /// Why.
    pub error: SubmitError,
}

impl<T> fmt::Debug for SubmitAllError<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { index, submitted, unknown, error } = self;
        f.debug_struct("SubmitAllError")
            .field("index", index)
            .field("submitted", submitted)
            .field("unknown", unknown)
            .field("error", error)
            .finish()
    }
}

impl<T> fmt::Display for SubmitAllError<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (index, submitted, unknown) = (self.index, self.submitted.len(), self.unknown.len());
        write!(f, "submission {index} was refused, {submitted} others were submitted")?;
        if unknown > 0 {
            write!(f, ", and {unknown} may have been")?;
        }
        f.write_str(": their handles are with this error")
    }
}

impl<T> StdError for SubmitAllError<T> {
    fn source(&self) -> Option<&(dyn StdError + 'static)> {
        Some(&self.error)
    }
}

impl<T> From<SubmitAllError<T>> for SubmitError {
    /// Forgets what was submitted.
    fn from(refused: SubmitAllError<T>) -> Self {
        refused.error
    }
}

impl Homing {
    /// Submits many jobs of one kind in as few transactions as the limits allow: calls, or
    /// [`Submission`]s, which have keys, ids and titles. The handles are in the order of the calls.
    ///
    /// ```
    /// # use homing::{Homing, Submission, task};
    /// # #[task]
    /// # async fn greet(user: u64) -> homing::Result<u64> { Ok(user) }
    /// # #[tokio::main(flavor = "current_thread")]
    /// # async fn main() -> Result<(), Box<dyn std::error::Error>> {
    /// # let homing = Homing::open("memory:").await?;
    /// let users = [7, 8, 9];
    /// let each = users.map(|user| Submission::of(greet(user)).key(format!("greet {user}")));
    /// assert_eq!(homing.submit_all(each).await?.len(), 3);
    /// # Ok(())
    /// # }
    /// ```
    ///
    /// # Errors
    /// As [`submit`](Self::submit). It stops at the page with the first that is refused; the error has the
    /// handles of all that were submitted.
    ///
    /// # Durability
    /// What the error or the answer has a handle of is committed. Each page is a transaction.
    pub async fn submit_all<K: Kind>(
        &self,
        calls: impl IntoIterator<Item = impl Into<Submission<K>>>,
    ) -> Result<Vec<JobHandle<K::Output>>, SubmitAllError<K::Output>> {
        let mut sent = Sent { homing: self, handles: Vec::new(), page: Vec::new(), bytes: 0 };
        if let Err(misuse) = refuse_inside("submit_all") {
            return Err(sent.refused(0, misuse.into()));
        }
        for (index, call) in calls.into_iter().enumerate() {
            match super::fix(call.into().job, self) {
                Ok(job) => sent.add(index, job).await?,
                Err(invalid) => {
                    sent.send().await?;
                    return Err(sent.refused(index, invalid.into()));
                }
            }
        }
        sent.send().await?;
        Ok(sent.handles.into_iter().map(|(_, handle)| handle).collect())
    }
}

/// What has been submitted, and the page that is next.
struct Sent<'h, T> {
    homing: &'h Homing,
    handles: Vec<(usize, JobHandle<T>)>,
    page: Vec<(usize, NewJob)>,
    bytes: usize,
}

impl<T> Sent<'_, T> {
    async fn add(&mut self, index: usize, job: NewJob) -> Result<(), SubmitAllError<T>> {
        self.bytes += job.task.arguments.len();
        self.page.push((index, job));
        if self.page.len() >= limits::PAGE || self.bytes >= limits::EXCHANGE_BYTES {
            self.send().await?;
        }
        Ok(())
    }

    async fn send(&mut self) -> Result<(), SubmitAllError<T>> {
        self.bytes = 0;
        let (numbers, page): (Vec<usize>, Vec<NewJob>) =
            std::mem::take(&mut self.page).into_iter().unzip();
        let Some(first) = numbers.first().copied() else { return Ok(()) };
        let ids: Vec<JobId> = page.iter().map(|job| job.id).collect();
        let fresh = self.homing.outcomes.expect(ids.iter().copied());
        let submitted = match self.homing.store.submit(page).await {
            Ok(submitted) => submitted,
            Err(error) => {
                let mut refused = self.refused(first, error.into());
                let handle = |(number, id)| (number, self.homing.job(id));
                refused.unknown = numbers.into_iter().zip(ids).map(handle).collect();
                return Err(refused);
            }
        };
        let mut conflict = None;
        for ((number, submitted), fresh) in numbers.into_iter().zip(submitted).zip(fresh) {
            let handle = match submitted {
                Submitted::New(id) => {
                    JobHandle::new(self.homing.clone(), id, Some(Arc::new(fresh)))
                }
                Submitted::Existing(id) => self.homing.job(id),
                Submitted::Conflict(id) => {
                    conflict.get_or_insert((number, id));
                    continue;
                }
            };
            self.handles.push((number, handle));
        }
        match conflict {
            Some((number, id)) => Err(self.refused(number, SubmitError::Conflict { id })),
            None => Ok(()),
        }
    }

    fn refused(&mut self, index: usize, error: SubmitError) -> SubmitAllError<T> {
        let submitted = std::mem::take(&mut self.handles);
        SubmitAllError { index, submitted, unknown: Vec::new(), error }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::clock::{Clock, ManualClock};
    use crate::store::memory::Memory;
    use crate::store::{NewTask, Policy};

    /// A page of submissions is sent once it is as large as an exchange may be, however few they are.
    #[tokio::test]
    async fn pages_of_submissions_are_bounded_in_bytes() {
        let store = Memory::new(Clock::Manual(ManualClock::default()));
        let homing = Homing::over(Arc::new(store));
        let mut sent =
            Sent::<()> { homing: &homing, handles: Vec::new(), page: Vec::new(), bytes: 0 };
        let arguments = "x".repeat(1_000_000);
        for n in 0..20 {
            let task = NewTask {
                kind: "large".to_owned(),
                arguments: arguments.clone(),
                hash: [1; 16],
                queue: "default".to_owned(),
                priority: 0,
                due: None,
                expires: None,
                deadline: None,
                policy: Policy::default(),
                tags: Vec::new(),
            };
            let id = JobId::fresh();
            let job = NewJob { id, task, title: None, key: None, origin: None };
            sent.add(n, job).await.unwrap();
            let waiting: usize = sent.page.iter().map(|(_, job)| job.task.arguments.len()).sum();
            assert!(waiting < limits::EXCHANGE_BYTES, "{waiting} bytes after {n}");
            assert_eq!(sent.handles.len() + sent.page.len(), n + 1);
        }
        assert!(!sent.handles.is_empty());
    }
}
