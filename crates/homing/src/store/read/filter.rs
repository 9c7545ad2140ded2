//! Which jobs a list has: what a filter asks, in the terms of every store.

use super::{JobView, Status};
use crate::core::id::JobId;
#[cfg(any(feature = "sqlite", feature = "postgres"))]
use crate::core::state::State;
use crate::core::time::Time;

/// Which jobs to list. The list is read from the newest on until the page is full. SQLite and PostgreSQL have indexes of the
/// roots that failed or were cancelled and of the kinds of roots, and read past no others; Redis looks at the jobs in
/// which a task failed alone while there are at most [`limits::FAILURES`](crate::limits::FAILURES). No index knows of
/// other statuses, or of title, tag or queue: such a filter that few jobs match reads past the others. `since` bounds that.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct JobFilter {
    /// Only this status. Open jobs have one of two, [`Status::InProgress`] and [`Status::Stalled`].
    pub status: Option<Status>,
    /// Only roots of this kind.
    pub kind: Option<String>,
    /// Only titles that contain this, whatever the case of ASCII letters.
    pub title: Option<String>,
    /// Only jobs with this tag.
    pub tag: Option<String>,
    /// Only roots on this queue.
    pub queue: Option<String>,
    /// Only jobs submitted at or after this instant.
    pub since: Option<Time>,
    /// Only jobs submitted before this instant.
    pub until: Option<Time>,
    /// Only jobs after this one in the list: the last of the page before.
    pub after: Option<(Time, JobId)>,
    /// How many at most; zero, or more than [`limits::PAGE`](crate::limits::PAGE), is that.
    pub limit: usize,
}

/// See [`JobFilter::asked_of_status`].
#[cfg(any(feature = "sqlite", feature = "postgres"))]
type AskedOfStatus = (Option<State>, Option<State>, Option<bool>, Option<bool>);

impl JobFilter {
    /// Rows of the page: the limit, at most [`limits::PAGE`](crate::limits::PAGE).
    pub fn rows(&self) -> usize {
        if self.limit == 0 { crate::limits::PAGE } else { self.limit.min(crate::limits::PAGE) }
    }

    /// What the status asks: the first and last state of the root, whether tasks below it failed, whether
    /// tasks of the job stand still; `None` where that does not matter.
    #[cfg(any(feature = "sqlite", feature = "postgres"))]
    pub(crate) fn asked_of_status(&self) -> AskedOfStatus {
        let asked = |from, to, errors, stalled| (Some(from), Some(to), errors, stalled);
        match self.status {
            None => (None, None, None, None),
            Some(Status::InProgress) => asked(State::Pending, State::Waiting, None, Some(false)),
            Some(Status::Stalled) => asked(State::Pending, State::Waiting, None, Some(true)),
            Some(Status::Completed) => asked(State::Succeeded, State::Succeeded, Some(false), None),
            Some(Status::CompletedWithErrors) => {
                asked(State::Succeeded, State::Succeeded, Some(true), None)
            }
            Some(Status::Failed) => asked(State::Failed, State::Failed, None, None),
            Some(Status::Cancelled) => asked(State::Cancelled, State::Cancelled, None, None),
        }
    }

    /// Whether a job belongs on the list.
    pub fn admits(&self, job: &JobView) -> bool {
        let title = |wanted: &String| {
            let title = job.title.as_deref().unwrap_or_default().to_ascii_lowercase();
            title.contains(&wanted.to_ascii_lowercase())
        };
        self.status.is_none_or(|status| status == job.status)
            && self.kind.as_ref().is_none_or(|kind| *kind == job.kind)
            && self.title.as_ref().is_none_or(title)
            && self.tag.as_ref().is_none_or(|tag| job.tags.contains(tag))
            && self.queue.as_ref().is_none_or(|queue| *queue == job.queue)
            && self.since.is_none_or(|since| job.created >= since)
            && self.until.is_none_or(|until| job.created < until)
            && self.after.is_none_or(|after| (job.created, job.id) < after)
    }
}
