//! What a wait for children may say instead of their values.

use std::error::Error as StdError;
use std::fmt;

use serde::{Deserialize, Serialize};

use super::{Failure, Misuse};
use crate::core::id::{JobId, TaskId};
use crate::core::record::Moment;

/// What a wait for children may say instead of their values.
#[derive(Debug, Clone, thiserror::Error)]
#[non_exhaustive]
pub enum JoinError {
    /// A child failed, or was cancelled by somebody else than this parent.
    #[error("{failure}")]
    Failed {
        /// The child's failure.
        failure: Box<Failure>,
        /// Before it was told, for the job's retry.
        #[doc(hidden)]
        moment: Option<Box<Moment>>,
    },
    /// This parent aborted the child.
    #[error("task {id} was aborted by its parent")]
    Aborted {
        /// The child.
        id: TaskId,
    },
    /// The wait's timeout passed first. The children run on.
    #[error("{0}")]
    TimedOut(Box<TimedOut>),
    /// More outcomes than one call may return.
    #[error(
        "the set has {children} children, `{verb}` returns at most {limit}: use `join_next` or `for_each`"
    )]
    TooMany {
        /// The wait.
        verb: &'static str,
        /// Children in the set.
        children: u64,
        /// [`limits::JOIN_ALL`](crate::limits::JOIN_ALL).
        limit: u64,
    },
    /// A child's value is not what this wait expects.
    #[error("the value of task {id} does not decode: {reason}")]
    Undecodable {
        /// The child.
        id: TaskId,
        /// What the decoder said.
        reason: String,
    },
    /// A signal brought a value that the wait does not take. The value is used up.
    #[error("the signal `{name}` brought no value of the type that the body waits for: {reason}")]
    Signal {
        /// The signal's name.
        name: String,
        /// What the decoder said.
        reason: String,
        #[doc(hidden)]
        moment: Box<Moment>,
    },
    /// There is no such job, or it was removed before the wait was answered.
    #[error(
        "no job has the id {id}: it was never submitted to this store, or it was removed; submit it before the task that waits for it"
    )]
    UnknownJob {
        /// The job.
        id: JobId,
        #[doc(hidden)]
        moment: Box<Moment>,
    },
    /// Fewer children succeeded than the wait needs.
    #[error("{succeeded} of {spawned} children succeeded, {needed} were needed")]
    TooFew {
        /// Children that succeeded.
        succeeded: u64,
        /// Children in the set.
        spawned: u64,
        /// What the wait or the policy asks for.
        needed: u64,
        #[doc(hidden)]
        moment: Option<Box<Moment>>,
    },
    /// The body broke a rule.
    #[error(transparent)]
    Misuse(#[from] Misuse),
}

impl JoinError {
    /// The child's failure, if that is what it is.
    pub fn failure(&self) -> Option<&Failure> {
        if let Self::Failed { failure, .. } = self { Some(failure) } else { None }
    }

    /// The child or root that this is about, where it is about one.
    pub fn id(&self) -> Option<TaskId> {
        match self {
            Self::Failed { failure, .. } => Some(failure.id),
            Self::Aborted { id } | Self::Undecodable { id, .. } => Some(*id),
            Self::UnknownJob { id, .. } => Some(id.root()),
            Self::TimedOut(_)
            | Self::TooMany { .. }
            | Self::TooFew { .. }
            | Self::Signal { .. }
            | Self::Misuse(_) => None,
        }
    }

    /// The moment before it was told, for the job's retry.
    pub(crate) fn moment(&self) -> Option<&Moment> {
        match self {
            Self::Failed { moment, .. } | Self::TooFew { moment, .. } => moment.as_deref(),
            Self::TimedOut(timed_out) => timed_out.moment.as_ref(),
            Self::UnknownJob { moment, .. } | Self::Signal { moment, .. } => Some(moment),
            Self::Aborted { .. }
            | Self::TooMany { .. }
            | Self::Undecodable { .. }
            | Self::Misuse(_) => None,
        }
    }

    /// Whether the wait's timeout passed.
    pub fn is_timeout(&self) -> bool {
        matches!(self, Self::TimedOut(_))
    }
}

/// A wait whose timeout passed: which children are done, which are open.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct TimedOut {
    /// The wait's place.
    pub place: String,
    /// Children that had ended.
    pub done: u64,
    /// Children that were still open.
    pub open: u64,
    /// The first open ones, at most 20.
    pub oldest_open: Vec<TaskId>,
    #[doc(hidden)]
    pub moment: Option<Moment>,
}

impl fmt::Display for TimedOut {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { place, done, open, oldest_open, .. } = self;
        write!(f, "the wait at `{place}` timed out")?;
        if done + open > 0 {
            write!(f, ": {done} children done, {open} open")?;
        }
        for (n, id) in oldest_open.iter().enumerate() {
            write!(f, "{}{id}", if n == 0 { " (" } else { ", " })?;
        }
        f.write_str(match (oldest_open.len() as u64).cmp(open) {
            _ if oldest_open.is_empty() => "",
            std::cmp::Ordering::Less => ", …)",
            _ => ")",
        })
    }
}

impl StdError for TimedOut {}
