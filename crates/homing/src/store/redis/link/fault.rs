//! What goes wrong between this process and the server, and what a caller is told of it.
//!
//! The class is taken from the error's kind and code, never from a text. A command that was not answered is not
//! known to have failed: whoever calls sends the same again.

use std::error::Error as StdError;
use std::sync::Arc;

use redis::{ErrorKind, RedisError, ServerErrorKind};

use crate::store::{Error, certificates};

/// Why a verb was given up.
#[derive(Debug)]
pub(in crate::store::redis) enum Fault {
    /// The server, or the way to it, said no.
    Server(RedisError),
    /// What is stored does not decode.
    Unreadable(String),
    /// A later exchange of this worker was carried out before this one came.
    Stale,
    /// Anything that a caller is told as it is.
    Told(Error),
}

pub(in crate::store::redis) type Result<T, E = Fault> = std::result::Result<T, E>;

impl From<RedisError> for Fault {
    fn from(error: RedisError) -> Self {
        Self::Server(error)
    }
}

impl From<Error> for Fault {
    fn from(error: Error) -> Self {
        Self::Told(error)
    }
}

impl From<serde_json::Error> for Fault {
    fn from(error: serde_json::Error) -> Self {
        Self::unreadable(&error)
    }
}

impl Fault {
    pub(in crate::store::redis) fn unreadable(error: &dyn std::fmt::Display) -> Self {
        Self::Unreadable(format!("a stored value does not decode: {error}"))
    }

    /// Whether the server refuses scripts because its memory is full. The script did not begin.
    pub(in crate::store::redis) fn is_of_memory(&self) -> bool {
        matches!(self, Self::Server(error) if error.code() == Some("OOM"))
    }

    /// The same fault, which says of whose value it is.
    pub(in crate::store::redis) fn of(self, whose: impl FnOnce() -> String) -> Self {
        match self {
            Self::Unreadable(what) => Self::Unreadable(format!("{}: {what}", whose())),
            other @ (Self::Server(_) | Self::Stale | Self::Told(_)) => other,
        }
    }

    /// Whether the connection is of no use any more.
    pub(in crate::store::redis) fn is_of_the_connection(&self) -> bool {
        match self {
            Self::Server(error) => {
                error.is_connection_dropped()
                    || error.is_io_error()
                    || error.is_unrecoverable_error()
                    || error.kind() == ErrorKind::Server(ServerErrorKind::ReadOnly)
            }
            Self::Unreadable(_) | Self::Stale | Self::Told(_) => false,
        }
    }

    /// Whether a node of a cluster cannot serve, as it does not see enough of the others. They may see each other.
    pub(in crate::store::redis) fn is_of_the_cluster(&self) -> bool {
        let down = ErrorKind::Server(ServerErrorKind::ClusterDown);
        matches!(self, Self::Server(error) if error.kind() == down)
    }

    /// What a caller is told. `store` is where the server is, without credentials.
    pub(in crate::store::redis) fn told(self, store: &str) -> Error {
        let error = match self {
            Self::Server(error) => error,
            Self::Told(error) => return error,
            Self::Unreadable(reason) => return Error::Failed { reason },
            Self::Stale => {
                let reason = "a later exchange of this worker came first".to_owned();
                return Error::Failed { reason };
            }
        };
        of_server(&error, store)
    }
}

/// Whether one side refused the other's certificate: it will do so the next time.
fn is_untrusted(error: &RedisError) -> bool {
    type Held = Arc<dyn StdError + Send + Sync>;
    let Some(source) = error.source() else { return false };
    let inner = source.downcast_ref::<Held>().map(|held| &**held as &(dyn StdError + 'static));
    certificates::is_untrusted(inner.unwrap_or(source))
}

fn of_server(error: &RedisError, store: &str) -> Error {
    let (store, reason) = (store.to_owned(), said(error));
    if is_untrusted(error) {
        return Error::Untrusted { store, reason };
    }
    match error.kind() {
        ErrorKind::Io => return Error::Unreachable { store, reason },
        ErrorKind::AuthenticationFailed => return Error::Refused { store, reason },
        ErrorKind::Server(
            ServerErrorKind::BusyLoading
            | ServerErrorKind::TryAgain
            | ServerErrorKind::ClusterDown
            | ServerErrorKind::MasterDown
            | ServerErrorKind::ReadOnly
            | ServerErrorKind::NoScript
            | ServerErrorKind::Moved
            | ServerErrorKind::Ask,
        ) => return Error::Busy { reason },
        _ => {}
    }
    match error.code() {
        Some("OOM" | "MISCONF") => Error::Full { reason },
        Some("BUSY" | "NOREPLICAS" | "LOADING" | "MASTERDOWN" | "UNBLOCKED") => {
            Error::Busy { reason }
        }
        Some("NOPERM" | "NOAUTH" | "WRONGPASS") => Error::Refused { store, reason },
        _ if error.is_timeout() || error.is_connection_dropped() => {
            Error::Unreachable { store, reason }
        }
        _ => Error::Failed { reason },
    }
}

/// The server's words in one line. A script's name and the line that failed are for nobody.
fn said(error: &RedisError) -> String {
    let text = error.to_string();
    text.split(" script: ").next().unwrap_or_default().replace('\n', " ")
}
