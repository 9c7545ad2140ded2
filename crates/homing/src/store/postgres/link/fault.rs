//! What goes wrong inside a transaction, and what a caller is told of it.
//!
//! The class is taken from the error's kind and SQLSTATE, never from a text. What callers are told holds
//! the server's one-line message only: its detail may quote rows.

use std::error::Error as StdError;
use std::io;

use deadpool_postgres::{PoolError, TimeoutType};
use tokio_postgres::error::SqlState;

use crate::store::Error;

/// Why a transaction was given up.
#[derive(Debug)]
pub(in crate::store::postgres) enum Fault {
    /// The server, or the way to it, said no.
    Database(tokio_postgres::Error),
    /// Every connection of the pool was in use for as long as the caller may wait.
    Exhausted,
    /// The server did not answer a new connection in time.
    Unreachable,
    /// A caller's own driver said no.
    #[cfg(feature = "sqlx")]
    Foreign {
        /// The server's code, if the server spoke.
        code: Option<SqlState>,
        /// What was said.
        reason: String,
    },
    /// What this process remembered of the store is no longer so, and is forgotten.
    Stale,
    /// A task's row holds what nobody wrote, or what only another version can read.
    Unreadable(String),
    /// What is stored beside the tasks is not as it should be, or the store cannot be used as it is.
    Other(String),
}

pub(in crate::store::postgres) type Result<T, E = Fault> = std::result::Result<T, E>;

impl From<tokio_postgres::Error> for Fault {
    fn from(error: tokio_postgres::Error) -> Self {
        Self::Database(error)
    }
}

impl From<PoolError> for Fault {
    fn from(error: PoolError) -> Self {
        match error {
            PoolError::Backend(error) => Self::Database(error),
            PoolError::Timeout(TimeoutType::Wait) => Self::Exhausted,
            PoolError::Timeout(_) => Self::Unreachable,
            other => Self::Other(other.to_string()),
        }
    }
}

impl From<serde_json::Error> for Fault {
    fn from(error: serde_json::Error) -> Self {
        Self::Other(format!("a stored value does not decode: {error}"))
    }
}

impl std::fmt::Display for Fault {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let error = match self {
            Self::Database(error) => error,
            Self::Stale => return f.write_str("a bundle was dissolved meanwhile"),
            Self::Exhausted => {
                return f.write_str(
                    "every connection of the pool stayed in use: raise `pool=` or `pool_timeout=`",
                );
            }
            Self::Unreachable => return f.write_str("the server does not answer"),
            #[cfg(feature = "sqlx")]
            Self::Foreign { reason, .. } => return f.write_str(reason),
            Self::Unreadable(reason) | Self::Other(reason) => return f.write_str(reason),
        };
        if let Some(told) = error.as_db_error() {
            return write!(f, "{} (SQLSTATE {})", told.message(), told.code().code());
        }
        error.fmt(f)?;
        let mut source = error.source();
        while let Some(cause) = source {
            write!(f, ": {cause}")?;
            source = cause.source();
        }
        Ok(())
    }
}

impl Fault {
    /// The server's code, if the server spoke.
    pub(in crate::store::postgres) fn code(&self) -> Option<&SqlState> {
        match self {
            Self::Database(error) => error.code(),
            #[cfg(feature = "sqlx")]
            Self::Foreign { code, .. } => code.as_ref(),
            _ => None,
        }
    }

    /// Whether the connection broke or could not be made, so that nobody knows whether a commit that was
    /// on its way has happened.
    pub(in crate::store::postgres) fn is_of_the_connection(&self) -> bool {
        if let Self::Database(error) = self
            && (error.is_closed() || error.source().is_some_and(<dyn StdError>::is::<io::Error>))
        {
            return true;
        }
        let codes = [
            SqlState::ADMIN_SHUTDOWN,
            SqlState::CRASH_SHUTDOWN,
            SqlState::CANNOT_CONNECT_NOW,
            SqlState::DATABASE_DROPPED,
            SqlState::IDLE_IN_TRANSACTION_SESSION_TIMEOUT,
            SqlState::IDLE_SESSION_TIMEOUT,
        ];
        matches!(self, Self::Unreachable)
            || self.code().is_some_and(|code| code.code().starts_with("08") || codes.contains(code))
    }

    /// Whether the transaction lost to another and is to be run again whole, at once. Whoever inserts has
    /// looked before: a row that is there all the same was inserted meanwhile.
    pub(in crate::store::postgres) fn is_conflict(&self) -> bool {
        matches!(self, Self::Stale)
            || matches!(
                self.code(),
                Some(
                    &SqlState::T_R_SERIALIZATION_FAILURE
                        | &SqlState::T_R_DEADLOCK_DETECTED
                        | &SqlState::UNIQUE_VIOLATION
                )
            )
    }

    /// Whether one side refused the other's certificate: it will do so the next time.
    fn is_untrusted(&self) -> bool {
        let Self::Database(error) = self else { return false };
        error.source().is_some_and(crate::store::certificates::is_untrusted)
    }

    /// Whether the same may work a moment later.
    pub(in crate::store::postgres) fn is_busy(&self) -> bool {
        matches!(self, Self::Exhausted)
            || (self.is_of_the_connection() && !self.is_untrusted())
            || self.is_conflict()
            || matches!(
                self.code(),
                Some(
                    &SqlState::QUERY_CANCELED
                        | &SqlState::LOCK_NOT_AVAILABLE
                        | &SqlState::TOO_MANY_CONNECTIONS
                        | &SqlState::OUT_OF_MEMORY
                        | &SqlState::INSUFFICIENT_RESOURCES
                        | &SqlState::OBJECT_IN_USE
                )
            )
    }

    /// Whether the fault lies in the data of one request, so that a smaller part of it may pass.
    pub(in crate::store::postgres) fn is_of_the_data(&self) -> bool {
        !self.is_conflict()
            && self.code().is_some_and(|code| {
                // Data exceptions, broken constraints, limits such as the size of an index entry.
                ["22", "23", "54"].iter().any(|class| code.code().starts_with(class))
            })
    }

    /// Whether the role may not do what was asked.
    pub(in crate::store::postgres) fn is_forbidden(&self) -> bool {
        matches!(self.code(), Some(&SqlState::INSUFFICIENT_PRIVILEGE))
    }

    /// Whether the server takes no writes.
    pub(in crate::store::postgres) fn is_read_only(&self) -> bool {
        matches!(self.code(), Some(&SqlState::READ_ONLY_SQL_TRANSACTION))
    }

    /// Whether the server does not let this role in, or has no such database.
    fn is_refused(&self) -> bool {
        self.is_forbidden()
            || self.code().is_some_and(|code| {
                code.code().starts_with("28") || *code == SqlState::INVALID_CATALOG_NAME
            })
    }

    /// What the caller is told. `store` names the database, without credentials.
    pub(in crate::store::postgres) fn told(&self, store: &str) -> Error {
        let (store, reason) = (store.to_owned(), self.to_string());
        match self.code() {
            Some(&SqlState::DISK_FULL) => Error::Full { reason },
            _ if self.is_read_only() => Error::ReadOnly {
                store,
                reason: "check for a standby or `default_transaction_read_only`; work goes on by itself once it takes writes".to_owned(),
            },
            _ if self.is_untrusted() => Error::Untrusted { store, reason },
            _ if self.is_of_the_connection() => Error::Unreachable { store, reason },
            _ if self.is_busy() => Error::Busy { reason: format!("{store}: {reason}") },
            Some(
                &SqlState::INVALID_SQL_STATEMENT_NAME | &SqlState::DUPLICATE_PSTATEMENT,
            ) => Error::Failed {
                reason: format!(
                    "{store}: {reason}; a pooler that lends connections for one transaction must keep \
                     prepared statements: PgBouncer from 1.21 with `max_prepared_statements`, or its session mode"
                ),
            },
            _ if self.is_refused() => Error::Refused { store, reason },
            _ => Error::Failed { reason: format!("{store}: {reason}") },
        }
    }
}
