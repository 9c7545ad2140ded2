//! Why a command failed: what happened, what to do, and the exit code it means.

use std::io;

use homing::{FindError, OpenError, OutcomeError, StartError, StoreError, SubmitError};

use crate::Exit;

/// What a command returns.
pub(crate) type Result<T, E = Error> = std::result::Result<T, E>;

/// Why a command failed. Nothing was changed, unless the message says so.
#[derive(Debug, thiserror::Error)]
pub(crate) enum Error {
    /// An argument that clap could not judge.
    #[error("{message}")]
    Usage { message: String, hint: &'static str },
    /// Nobody said which store.
    #[error("no store is named")]
    NoStore,
    /// The store was not opened.
    #[error(transparent)]
    Open(#[from] OpenError),
    /// A verb failed.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// An id's beginning is that of none, or of several.
    #[error(transparent)]
    Find(#[from] FindError),
    /// A submission or a signal was refused.
    #[error(transparent)]
    Submit(#[from] SubmitError),
    /// Waiting for a job failed.
    #[error(transparent)]
    Outcome(#[from] OutcomeError),
    /// The worker did not start.
    #[error(transparent)]
    Start(#[from] StartError),
    /// Celery's servers were not reached, or a URL of theirs is refused.
    #[cfg(feature = "celery")]
    #[error(transparent)]
    Celery(#[from] homing_celery::StartError),
    /// The program's own part of its worker failed.
    #[error("the worker was not built: {0}")]
    Build(Box<dyn std::error::Error + Send + Sync>),
    /// What is printed cannot be written as JSON.
    #[error("cannot be written as JSON: {0}")]
    Json(#[from] serde_json::Error),
    /// The output is gone, or a file was not written.
    #[error(transparent)]
    Io(#[from] io::Error),
}

impl Error {
    /// An argument is wrong.
    pub(crate) fn usage(message: impl Into<String>, hint: &'static str) -> Self {
        Self::Usage { message: message.into(), hint }
    }

    /// Whether whoever read the output has read enough: no error.
    pub(crate) fn is_broken_pipe(&self) -> bool {
        let kind = match self {
            Self::Io(error) => Some(error.kind()),
            Self::Json(error) => error.io_error_kind(),
            _ => None,
        };
        kind == Some(io::ErrorKind::BrokenPipe)
    }

    /// The exit code.
    pub(crate) fn exit(&self) -> Exit {
        match self {
            Self::Open(OpenError::Store(error))
            | Self::Store(error)
            | Self::Find(FindError::Store(error))
            | Self::Submit(SubmitError::Store(error))
            | Self::Outcome(OutcomeError::Store(error)) => of_store(error),
            #[cfg(feature = "celery")]
            Self::Celery(error) if crate::commands::celery::is_away(error) => Exit::Store,
            #[cfg(feature = "celery")]
            Self::Celery(_) => Exit::Usage,
            Self::Find(FindError::Unknown { .. }) => Exit::Unknown,
            Self::Usage { .. }
            | Self::Find(_)
            | Self::NoStore
            | Self::Open(_)
            | Self::Submit(_)
            | Self::Start(_)
            | Self::Build(_) => Exit::Usage,
            Self::Outcome(_) => Exit::No,
            Self::Json(_) | Self::Io(_) => Exit::Store,
        }
    }

    /// What to do about it, where the message does not say.
    pub(crate) fn hint(&self) -> Option<&str> {
        match self {
            Self::Usage { hint, .. } => Some(hint),
            Self::NoStore => {
                Some("give --store URL, such as sqlite:jobs.db, or set HOMING_STORE to it")
            }
            Self::Find(FindError::Ambiguous { .. }) => Some("give more of its digits"),
            Self::Store(StoreError::Unknown { .. }) | Self::Find(FindError::Unknown { .. }) => {
                Some("`jobs` lists the jobs of the store that --store or HOMING_STORE names")
            }
            Self::Open(OpenError::Store(StoreError::Missing { .. })) => Some(
                "check --store and HOMING_STORE; `store migrate` creates a store, as does a worker",
            ),
            Self::Open(OpenError::Store(StoreError::OlderSchema { .. })) => {
                Some("workers of an older version cannot use it then")
            }
            _ => None,
        }
    }
}

fn of_store(error: &StoreError) -> Exit {
    if matches!(error, StoreError::Unknown { .. }) { Exit::Unknown } else { Exit::Store }
}
