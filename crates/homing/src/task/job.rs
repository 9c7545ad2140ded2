//! A job before it is sent: a call, and what only a job has.
//!
//! `submit`, `submit_named`, `submit_all` and `detach` have each a builder over it; the options and the words for
//! them stand here once.

use crate::core::id::{JobId, TaskId};
use crate::core::new_task::NewJob;
use crate::core::time::Time;
use crate::error::Invalid;
use crate::task::call::Draft;

/// What a job's builders hold.
#[derive(Debug, Clone)]
pub(crate) struct JobDraft {
    pub(crate) call: Draft,
    pub(crate) title: Option<String>,
    pub(crate) key: Option<String>,
    pub(crate) id: Option<JobId>,
}

impl JobDraft {
    pub(crate) fn new(call: Draft) -> Self {
        Self { call, title: None, key: None, id: None }
    }

    /// Checks the job and fixes what depends on the time. Without an id of its own it is given one.
    pub(crate) fn fix(
        self,
        now: Time,
        id: impl FnOnce() -> JobId,
        origin: Option<TaskId>,
    ) -> Result<NewJob, Invalid> {
        crate::core::names::job(self.title.as_deref(), self.key.as_deref())?;
        let task = self.call.fix(now, "default", 0)?;
        let id = self.id.unwrap_or_else(id);
        Ok(NewJob { id, task, title: self.title, key: self.key, origin })
    }
}

/// The options of a job, for a builder that holds a [`JobDraft`] in `job`: what is special to it stands behind the
/// words that all have.
macro_rules! job_options {
    ($builder:ident, key: $key:literal, id: $id:literal) => {
        impl<K: $crate::task::Kind> $builder<K> {
            /// What people read; at most 1,000 bytes. Default: the kind.
            pub fn title(mut self, title: impl Into<String>) -> Self {
                self.job.title = Some(title.into());
                self
            }

            /// Unique among open jobs: while a job holds the key, that job is the answer, and no other is
            /// made. At most 1,000 bytes. Default: none.
            #[doc = $key]
            pub fn key(mut self, key: impl Into<String>) -> Self {
                self.job.key = Some(key.into());
                self
            }

            /// The job's id: the same call under it again is the same job, finished or not, until that is
            /// removed; another call is refused.
            #[doc = $id]
            pub fn id(mut self, id: $crate::JobId) -> Self {
                self.job.id = Some(id);
                self
            }
        }
    };
}

pub(crate) use job_options;
