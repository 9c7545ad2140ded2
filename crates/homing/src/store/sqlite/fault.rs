//! What goes wrong inside a transaction, and what a caller is told of it.
//!
//! The class is taken from SQLite's result code, never from a text.

use rusqlite::ffi::ErrorCode;

use crate::store::Error;

/// Why a transaction was given up.
#[derive(Debug)]
pub(super) enum Fault {
    /// SQLite said no.
    Database(rusqlite::Error),
    /// A row holds what nobody wrote, or what only another version can read.
    Unreadable(String),
    /// A file beside the database could not be used.
    Other(String),
}

pub(super) type Result<T> = std::result::Result<T, Fault>;

impl From<rusqlite::Error> for Fault {
    fn from(error: rusqlite::Error) -> Self {
        Self::Database(error)
    }
}

impl From<std::io::Error> for Fault {
    fn from(error: std::io::Error) -> Self {
        Self::Other(error.to_string())
    }
}

impl From<serde_json::Error> for Fault {
    fn from(error: serde_json::Error) -> Self {
        Self::Unreadable(format!("a stored value does not decode: {error}"))
    }
}

impl std::fmt::Display for Fault {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Database(error) => error.fmt(f),
            Self::Unreadable(reason) | Self::Other(reason) => f.write_str(reason),
        }
    }
}

impl Fault {
    pub(super) fn code(&self) -> Option<ErrorCode> {
        let Self::Database(error) = self else { return None };
        error.sqlite_error_code()
    }

    /// Whether another connection holds a lock that is needed.
    pub(super) fn is_busy(&self) -> bool {
        matches!(self.code(), Some(ErrorCode::DatabaseBusy | ErrorCode::DatabaseLocked))
    }

    /// Whether a row cannot be read: the fault of its task, and of no other.
    pub(super) fn is_unreadable(&self) -> bool {
        use rusqlite::Error;
        matches!(
            self,
            Self::Unreadable(_)
                | Self::Database(
                    Error::FromSqlConversionFailure(..)
                        | Error::IntegralValueOutOfRange(..)
                        | Error::InvalidColumnType(..)
                        | Error::Utf8Error(..)
                )
        )
    }

    /// The same fault, which says of whose row it is.
    pub(super) fn of(self, whose: impl FnOnce() -> String) -> Self {
        if self.is_unreadable() { Self::Unreadable(format!("{}: {self}", whose())) } else { self }
    }

    /// Whether the fault lies in the data of one request, so that a smaller part of it may pass.
    pub(super) fn is_of_the_data(&self) -> bool {
        self.is_unreadable()
            || matches!(
                self.code(),
                Some(
                    ErrorCode::TooBig
                        | ErrorCode::ConstraintViolation
                        | ErrorCode::TypeMismatch
                        | ErrorCode::ParameterOutOfRange
                )
            )
    }

    /// What a caller is told of a database that takes no writes.
    pub(super) fn read_only(store: String) -> Error {
        let reason = "check the permissions of the file and its directory".to_owned();
        Error::ReadOnly { store, reason }
    }

    /// What the caller is told.
    pub(super) fn told(&self, path: &str) -> Error {
        let (path, reason) = (path.to_owned(), self.to_string());
        match self.code() {
            _ if self.is_busy() => Error::Busy { reason },
            Some(ErrorCode::DiskFull) => Error::Full { reason },
            Some(ErrorCode::ReadOnly) => Self::read_only(path),
            Some(ErrorCode::NotADatabase) => Error::NotAStore { path, reason },
            _ => Error::Failed { reason },
        }
    }
}
