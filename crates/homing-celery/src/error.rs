//! What the bridge may say when it is started.

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
        /// Host and database.
        location: String,
        /// What the network or the server said.
        reason: String,
    },
    /// The bridge's own worker did not start.
    #[error(transparent)]
    Worker(#[from] homing::StartError),
    /// The store failed.
    #[error(transparent)]
    Store(#[from] StoreError),
}
