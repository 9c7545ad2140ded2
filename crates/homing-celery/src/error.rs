//! What the bridge may say when it is started, and what its loops and steps may come upon.

use homing::StoreError;

/// Why a bridge did not start, or a check was not made.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum StartError {
    /// A URL is refused.
    #[error("the URL of {what} is refused: {reason}")]
    Url {
        /// The broker or the result backend.
        what: &'static str,
        /// Why, and what to do.
        reason: String,
    },
    /// A name or number is refused.
    #[error("{field} `{value}` is refused: {reason}")]
    Value {
        /// What it is.
        field: &'static str,
        /// What was given.
        value: String,
        /// What it must be.
        reason: &'static str,
    },
    /// The server does not answer.
    #[error("{what} at {location} cannot be reached: {reason}")]
    Unreachable {
        /// The broker or the result backend.
        what: &'static str,
        /// Host and database or virtual host.
        location: String,
        /// What the network or the server said.
        reason: String,
    },
    /// A queue cannot be served.
    #[error("the queue `{queue}` cannot be served: {reason}")]
    Queue {
        /// Its name.
        queue: String,
        /// What the server said, and what to do.
        reason: String,
    },
    /// The bridge's own worker did not start.
    #[error(transparent)]
    Worker(#[from] homing::StartError),
    /// The store failed.
    #[error(transparent)]
    Store(#[from] StoreError),
}

/// What a loop or a step of the bridge may come upon. Each is tried again.
#[derive(Debug, thiserror::Error)]
pub(crate) enum Fault {
    #[error(transparent)]
    Redis(#[from] redis::RedisError),
    #[error(transparent)]
    Rabbit(#[from] lapin::Error),
    #[error(transparent)]
    Store(#[from] StoreError),
    #[error(transparent)]
    Submit(#[from] homing::SubmitError),
    /// A connection on which nothing was heard for so long that it may be dead.
    #[error("{0}")]
    Silent(&'static str),
    /// What a server said, in our words.
    #[error("{0}")]
    Told(String),
}
