//! What a store cannot do. Callers branch on the class, by method, never on the text.

use crate::core::id::TaskId;

/// A verb that failed; nothing was changed.
#[derive(Debug, Clone, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// Passing: the same call may work a moment later.
    #[error("the store is busy: {reason}")]
    Busy {
        /// What the database said.
        reason: String,
    },
    /// Passing: the server is not there, or the connection to it broke.
    #[error("the store `{store}` cannot be reached: {reason}")]
    Unreachable {
        /// The database.
        store: String,
        /// What the network or the server said.
        reason: String,
    },
    /// The disk is full.
    #[error("the store's disk is full: free some space, work goes on by itself ({reason})")]
    Full {
        /// What the database said.
        reason: String,
    },
    /// The database cannot be written.
    #[error("the store `{store}` is read-only: {reason}")]
    ReadOnly {
        /// The database.
        store: String,
        /// What to look at.
        reason: String,
    },
    /// The server does not let the role in, has no such database, or does not let the role do what it must.
    #[error("the store `{store}` refuses this connection: {reason}")]
    Refused {
        /// The database.
        store: String,
        /// What the database said.
        reason: String,
    },
    /// The server is not who the URL asks for, or does not take this program for who it says it is.
    #[error("the connection to the store `{store}` is not trusted: {reason}")]
    Untrusted {
        /// The database.
        store: String,
        /// What is wrong with which certificate.
        reason: String,
    },
    /// The schema is newer than this program.
    #[error(
        "the store's schema has version {found}, this program knows up to {known}: use a newer homing"
    )]
    NewerSchema {
        /// The store's version.
        found: i64,
        /// The newest version known here.
        known: i64,
    },
    /// The schema is older than this program, which did not or may not change it.
    #[error(
        "the store's schema has version {found}, this program needs {known} ({reason}): run `homing store migrate` with a role that may create tables"
    )]
    OlderSchema {
        /// The store's version.
        found: i64,
        /// The version needed.
        known: i64,
        /// Why it was not changed.
        reason: String,
    },
    /// There is no store, and none was to be created.
    #[error("there is no store at `{path}`")]
    Missing {
        /// Where it was looked for.
        path: String,
    },
    /// The database is not a store.
    #[error("`{path}` is not a homing store: {reason}")]
    NotAStore {
        /// The database.
        path: String,
        /// What is wrong.
        reason: String,
    },
    /// The database was deleted or replaced while it was open.
    #[error(
        "the store's file `{path}` was deleted or replaced while it was open: what was written since is lost, start anew"
    )]
    Replaced {
        /// Where it was.
        path: String,
    },
    /// No task or job has the id.
    #[error("no task has the id {id}: it was never submitted to this store, or it was pruned")]
    Unknown {
        /// The id.
        id: TaskId,
    },
    /// The store has been closed.
    #[error("the store is closed")]
    Closed,
    /// Anything else the database reports.
    #[error("the store failed: {reason}")]
    Failed {
        /// What the database said.
        reason: String,
    },
}

impl Error {
    /// Whether the same call may work a moment later, with nothing done by anybody here.
    pub fn is_transient(&self) -> bool {
        matches!(
            self,
            Self::Busy { .. }
                | Self::Unreachable { .. }
                | Self::Full { .. }
                | Self::ReadOnly { .. }
        )
    }
}

/// Why a store was not opened.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum OpenError {
    /// The URL names no store.
    #[error("`{url}` names no store: use {}", super::known())]
    UnknownStore {
        /// The URL, without credentials.
        url: String,
    },
    /// The URL has an option the store does not know.
    #[error("the store URL has an unknown option `{option}`: known are {known}")]
    UnknownOption {
        /// The option.
        option: String,
        /// The known ones.
        known: &'static str,
    },
    /// An option's value is not allowed.
    #[error("the option `{option}` of the store URL is `{value}`: {expected}")]
    InvalidOption {
        /// The option.
        option: String,
        /// Its value.
        value: String,
        /// What is allowed.
        expected: &'static str,
    },
    /// The URL of a server cannot be read.
    #[error("`{url}` is not the URL of a store: {reason}")]
    InvalidUrl {
        /// The URL, without credentials.
        url: String,
        /// What is wrong.
        reason: &'static str,
    },
    /// What an option names cannot be used: a file that is missing, say.
    #[error("the option `{option}` of the store URL cannot be used: {reason}")]
    UnusableOption {
        /// The option.
        option: &'static str,
        /// Why.
        reason: String,
    },
    /// The store itself says no.
    #[error(transparent)]
    Store(#[from] Error),
}
