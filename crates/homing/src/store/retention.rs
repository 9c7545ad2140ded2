//! How long ended jobs are kept, and their removal once that is over.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use crate::core::id::JobId;
use crate::core::invalid::Invalid;
use crate::core::time::Time;
use crate::store::read::{JobFilter, JobView, Status};
use crate::store::{Error, Removed, Store};

/// How long ended jobs are kept, by their ends and kinds. What nothing is said of is kept for ever.
///
/// ```
/// # use std::time::Duration;
/// use homing::Retention;
///
/// let day = Duration::from_hours(24);
/// let retention = Retention::all(30 * day) // failed and cancelled ones too
///     .completed(day)
///     .kind("heartbeat", Duration::from_hours(1));
/// ```
#[derive(Debug, Clone, Default, PartialEq, Eq)]
#[must_use = "give it to a worker, or to `Homing::retain`"]
pub struct Retention {
    completed: Option<Duration>,
    failed: Option<Duration>,
    cancelled: Option<Duration>,
    kinds: BTreeMap<String, Duration>,
}

impl Retention {
    /// Keeps every ended job this long.
    pub fn all(age: Duration) -> Self {
        Self::default().completed(age).failed(age).cancelled(age)
    }

    /// Keeps jobs this long whose roots succeeded, also where a task below failed.
    pub fn completed(mut self, age: Duration) -> Self {
        self.completed = Some(age);
        self
    }

    /// Keeps jobs this long whose roots failed.
    pub fn failed(mut self, age: Duration) -> Self {
        self.failed = Some(age);
        self
    }

    /// Keeps jobs this long whose roots were cancelled.
    pub fn cancelled(mut self, age: Duration) -> Self {
        self.cancelled = Some(age);
        self
    }

    /// Keeps jobs of a kind this long, however they ended: this goes before the rest.
    pub fn kind(mut self, kind: impl Into<String>, age: Duration) -> Self {
        self.kinds.insert(kind.into(), age);
        self
    }

    /// Refuses names that no kind can have, and ages of zero: a job would be gone before its outcome is read.
    pub(crate) fn check(&self) -> Result<(), Invalid> {
        for kind in self.kinds.keys() {
            crate::core::names::name("the kind in the retention", kind)?;
        }
        let ages = [self.completed, self.failed, self.cancelled];
        if ages.iter().flatten().chain(self.kinds.values()).any(Duration::is_zero) {
            let (field, value) = ("the retention", "0".to_owned());
            let reason = "a job would be gone before its outcome is read: give at least a second";
            return Err(Invalid::Value { field, value, reason });
        }
        Ok(())
    }

    fn age(&self, job: &JobView) -> Option<Duration> {
        let by_end = match job.status {
            Status::InProgress | Status::Stalled => None,
            Status::Completed | Status::CompletedWithErrors => self.completed,
            Status::Failed => self.failed,
            Status::Cancelled => self.cancelled,
        };
        self.kinds.get(&job.kind).copied().or(by_end)
    }

    /// The age at which every ended job is over, if there is one.
    fn longest(&self) -> Option<Duration> {
        let all = [self.completed?, self.failed?, self.cancelled?];
        all.into_iter().chain(self.kinds.values().copied()).max()
    }

    fn shortest(&self) -> Option<Duration> {
        let some = [self.completed, self.failed, self.cancelled].into_iter().flatten();
        some.chain(self.kinds.values().copied()).min()
    }
}

/// Removes the jobs whose time is over, and says how many.
///
/// What is too old in any case goes by the index of ends; what is left is as much as is kept, and is walked
/// from the newest on.
pub(crate) async fn apply(store: &Arc<dyn Store>, retention: &Retention) -> Result<u64, Error> {
    let Some(shortest) = retention.shortest() else { return Ok(0) };
    let now = store.clock().now();
    let mut jobs = 0;
    if let Some(longest) = retention.longest() {
        jobs += prune(&**store, now.before(longest)).await?;
    }
    // A job has ended after it was submitted.
    let until = Some(now.before(shortest));
    let mut filter = JobFilter { until, ..JobFilter::default() };
    loop {
        let page = store.jobs(filter.clone()).await?;
        let Some(last) = page.last() else { return Ok(jobs) };
        filter.after = Some((last.created, last.id));
        for job in &page {
            let over = retention.age(job).zip(job.ended);
            if over.is_some_and(|(age, ended)| ended < now.before(age)) {
                jobs += u64::from(remove(&**store, job.id).await? == Some(true));
            }
        }
    }
}

/// Removes jobs that ended before an instant.
pub(crate) async fn prune(store: &dyn Store, before: Time) -> Result<u64, Error> {
    let mut jobs = 0;
    loop {
        let pruned = store.prune(before).await?;
        jobs += pruned.jobs;
        if !pruned.more {
            return Ok(jobs);
        }
    }
}

/// Removes a job. `Some(false)` if it is open, `None` if it is unknown.
pub(crate) async fn remove(store: &dyn Store, job: JobId) -> Result<Option<bool>, Error> {
    let mut begun = false;
    loop {
        match store.remove(job).await {
            Ok(Removed::Gone) => return Ok(Some(true)),
            Ok(Removed::Open) => return Ok(Some(false)),
            Ok(Removed::More) if begun => tokio::time::sleep(Duration::from_millis(1)).await,
            Ok(Removed::More) => begun = true,
            // Somebody else has removed the rest.
            Err(Error::Unknown { .. }) => return Ok(begun.then_some(true)),
            Err(error) => return Err(error),
        }
    }
}
