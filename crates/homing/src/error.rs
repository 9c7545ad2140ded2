//! Errors: what a body returns, what a wait says of a child, what is refused at the door.
//!
//! One narrow enum per boundary. Mistakes of the caller are one family, [`Misuse`], because they are
//! mended in the source and not at run time.

use std::error::Error as StdError;
use std::fmt;
use std::time::Duration;

use crate::state::Directive;

mod client;
mod failure;
mod foreign;
mod join;
mod misuse;

pub use client::{OpenError, OutcomeError, RemoveError, RetryError, StartError, SubmitError};
pub(crate) use failure::bounded;
pub use failure::{Failure, Reason};
pub(crate) use foreign::{chain, discard, panic_text, shown};
pub use join::{JoinError, TimedOut};
pub use misuse::{Invalid, Misuse};

/// What a body returns.
pub type Result<T, E = Error> = std::result::Result<T, E>;

/// The error of a body: any error at all, and what it means for retries.
///
/// Every [`std::error::Error`] converts into it with `?` and retries by the task's policy. A child's
/// failure anywhere along the chain of sources is final: the child had retries of its own.
pub struct Error {
    inner: Box<dyn StdError + Send + Sync>,
    directive: Directive,
}

impl Error {
    /// An error that is only a message.
    pub fn msg(message: impl fmt::Display) -> Self {
        Self::from(Message(message.to_string()))
    }

    /// Makes the failure final: the task is not retried.
    #[must_use]
    pub fn fatal(mut self) -> Self {
        self.directive = Directive::Fatal;
        self
    }

    /// Chooses the pause before the retry; the budget of retries still counts.
    #[must_use]
    pub fn retry_after(mut self, pause: Duration) -> Self {
        self.directive = Directive::After(pause);
        self
    }

    /// The error it was made of.
    pub fn inner(&self) -> &(dyn StdError + Send + Sync + 'static) {
        &*self.inner
    }

    pub(crate) fn directive(&self) -> Directive {
        self.directive
    }

    /// The first error of a type along the chain of sources.
    pub fn find<E: StdError + 'static>(&self) -> Option<&E> {
        chain(&*self.inner).find_map(|error| error.downcast_ref())
    }
}

impl<E: StdError + Send + Sync + 'static> From<E> for Error {
    fn from(error: E) -> Self {
        Self { inner: Box::new(error), directive: Directive::Policy }
    }
}

impl fmt::Debug for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (n, error) in chain(&*self.inner).enumerate() {
            f.write_str(if n == 0 { "" } else { "\n  caused by: " })?;
            f.write_str(&shown(&error))?;
        }
        Ok(())
    }
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.inner.fmt(f)
    }
}

#[derive(Debug)]
struct Message(String);

impl fmt::Display for Message {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl StdError for Message {}

/// `.fatal()` and `.retry_after(d)` on any error and on any result.
pub trait Retry: Sized {
    /// What the methods turn this into.
    type Into;
    /// Makes the failure final: the task is not retried.
    fn fatal(self) -> Self::Into;
    /// Chooses the pause before the retry; the budget of retries still counts.
    fn retry_after(self, pause: Duration) -> Self::Into;
}

impl<E: StdError + Send + Sync + 'static> Retry for E {
    type Into = Error;
    fn fatal(self) -> Error {
        Error::from(self).fatal()
    }
    fn retry_after(self, pause: Duration) -> Error {
        Error::from(self).retry_after(pause)
    }
}

/// `.fatal()` and `.retry_after(d)` on a result.
pub trait RetryResult<T>: Sized {
    /// Makes an error final: the task is not retried.
    fn fatal(self) -> Result<T>;
    /// Chooses the pause before the retry; the budget of retries still counts.
    fn retry_after(self, pause: Duration) -> Result<T>;
}

impl<T, E: Into<Error>> RetryResult<T> for std::result::Result<T, E> {
    fn fatal(self) -> Result<T> {
        self.map_err(|error| error.into().fatal())
    }
    fn retry_after(self, pause: Duration) -> Result<T> {
        self.map_err(|error| error.into().retry_after(pause))
    }
}
