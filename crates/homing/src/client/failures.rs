//! Failures over all jobs, those alike together.

use serde::Serialize;

use super::Homing;
use crate::core::fingerprint::Fingerprint;
use crate::core::id::TaskId;
use crate::core::time::{Time, rfc3339};
use crate::error::Failure;
use crate::limits;
use crate::store;
use crate::store::read::{FailureFilter, TaskView};

/// Failed tasks that are alike. See [`Homing::failures`].
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[non_exhaustive]
pub struct FailureGroup {
    /// What they have in common.
    pub fingerprint: Fingerprint,
    /// How many tasks have failed so, and are still there.
    pub count: u64,
    /// When the first failed.
    #[serde(serialize_with = "rfc3339")]
    pub first: Time,
    /// When the last failed.
    #[serde(serialize_with = "rfc3339")]
    pub last: Time,
    /// The last one's failure, which stands for all: its kind, its task and its texts.
    pub latest: Failure,
}

impl Homing {
    /// Failed tasks over all jobs, those alike together, and those that failed last first. Alike are failures of the
    /// same kind for the same reason, whose texts differ in numbers, ids and quoted words only. Counted are tasks that
    /// have failed and are still there: a retry or a removal takes them out. A failure that a parent passes on
    /// counts once, at the task where it began; a cancelled task has not failed.
    ///
    /// It costs a look into an index for each failed task that is asked for. On Redis, which has no such index, those
    /// of the newest [`limits::FAILURES`] are grouped.
    ///
    /// ```
    /// # use homing::{FailureFilter, Homing, task};
    /// #[task(retries = 0)]
    /// async fn import(page: u64) -> homing::Result<()> {
    ///     Err(homing::Error::msg(format!("page {page} cannot be parsed")))
    /// }
    /// # #[tokio::main]
    /// # async fn main() -> Result<(), Box<dyn std::error::Error>> {
    /// # let homing = Homing::open("memory:").await?;
    /// # homing.worker().register(import).start().await?;
    /// for page in [3, 417] {
    ///     homing.submit(import(page)).await?.ended().await?;
    /// }
    /// let groups = homing.failures(FailureFilter::default()).await?;
    /// assert_eq!((groups.len(), groups[0].count), (1, 2));
    /// let failed = homing.failed_alike(groups[0].fingerprint, None, 10).await?;
    /// assert_eq!(failed.len(), 2);
    /// # Ok(())
    /// # }
    /// ```
    ///
    /// # Errors
    /// The store fails.
    pub async fn failures(&self, filter: FailureFilter) -> Result<Vec<FailureGroup>, store::Error> {
        let groups = self.store.failures(filter).await?;
        let mut latest = std::collections::HashMap::new();
        for some in groups.chunks(TOGETHER) {
            let ids = some.iter().map(|group| group.latest).collect();
            let views = self.store.tasks(ids).await?;
            latest.extend(views.into_iter().filter_map(|view| Some((view.id, view.failure?))));
        }
        // One that was retried or removed meanwhile stands for nothing any more.
        let view = |group: store::read::failures::Alike| {
            let latest = latest.remove(&group.latest)?;
            let store::read::failures::Alike { fingerprint, count, first, last, .. } = group;
            Some(FailureGroup { fingerprint, count, first, last, latest })
        };
        Ok(groups.into_iter().filter_map(view).collect())
    }

    /// Failed tasks that are alike, those that failed last first: at most `limit`, and at most [`limits::PAGE`]; the
    /// next page is `before` the last of this one, its [`ended`](TaskView::ended) and its id.
    ///
    /// # Errors
    /// The store fails. A fingerprint that no failed task has is that of none.
    pub async fn failed_alike(
        &self,
        fingerprint: Fingerprint,
        before: Option<(Time, TaskId)>,
        limit: usize,
    ) -> Result<Vec<TaskView>, store::Error> {
        let limit = limit.clamp(1, limits::PAGE);
        let mut before = before;
        loop {
            let page = self.store.failed_alike(fingerprint, before, limit).await?;
            let mut views = Vec::with_capacity(page.len());
            for some in page.chunks(TOGETHER) {
                views.extend(self.store.tasks(some.iter().map(|(_, id)| *id).collect()).await?);
            }
            // In the order of the page, whatever that of the views; without those that were retried meanwhile.
            views.retain(|view| view.failure.is_some() && view.ended.is_some());
            views.sort_by_key(|view| std::cmp::Reverse((view.ended, view.id)));
            // An empty page is the end, so one of which all were retried meanwhile is no page.
            if !views.is_empty() || page.len() < limit {
                return Ok(views);
            }
            before = page.last().copied();
        }
    }
}

/// Tasks that are read together: their arguments may be large.
const TOGETHER: usize = 100;
