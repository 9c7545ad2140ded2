//! Errors: what a body returns, what a wait says of a child, what is refused at the door.
//!
//! One narrow enum per boundary. Mistakes of the caller are one family, [`Misuse`], because they are
//! mended in the source and not at run time.

use std::error::Error as StdError;
use std::fmt;
use std::time::Duration;

use crate::core::state::Directive;

mod boxed;
mod client;
mod join;
mod misuse;

pub(crate) use crate::core::failure::bounded;
pub use crate::core::failure::{Failure, Reason};
pub(crate) use crate::core::foreign::{chain, discard, panic_text, shown};
pub use crate::core::invalid::Invalid;
pub use crate::store::OpenError;
pub use client::{AmendError, OutcomeError, RemoveError, RetryError, StartError, SubmitError};
pub use join::{JoinError, TimedOut};
pub use misuse::Misuse;

/// What a body returns.
pub type Result<T, E = Error> = std::result::Result<T, E>;

type Inner = Box<dyn StdError + Send + Sync>;

/// The error of a body: any error at all, and what it means for retries.
///
/// Everything that converts into `Box<dyn Error + Send + Sync>` converts into it with `?` and retries by the
/// task's policy: every [`std::error::Error`], such a box itself, `anyhow::Error`, with the feature `eyre`
/// `eyre::Report`, and text (`Err("no such page")?`). A child's failure anywhere along the chain of sources is
/// final: the child had retries of its own.
///
/// It is no [`std::error::Error`] itself, as `anyhow::Error` is none; [`StepError`] is, made by
/// `StepError::from`. Into `anyhow::Error` and `eyre::Report` it converts with `?`.
///
/// ```
/// use homing::{step, task};
///
/// #[task]
/// async fn import(path: String) -> anyhow::Result<usize> {
///     let text = step("read", || async { Ok(std::fs::read_to_string(path)?) }).await?;
///     anyhow::ensure!(!text.is_empty(), "nothing in it");
///     Ok(text.len())
/// }
/// ```
pub struct Error {
    inner: Inner,
    directive: Directive,
}

impl Error {
    /// An error that is only a message.
    pub fn msg(message: impl fmt::Display) -> Self {
        Self::of(message.to_string().into())
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
        chain(&*self.inner).find_map(|error| match error.downcast_ref::<StepError>() {
            // Its source is that of the error in it, which is looked at itself here.
            Some(step) => step.0.find(),
            None => error.downcast_ref(),
        })
    }

    /// An error that stands alone, or that carries what was said of retries somewhere along its chain.
    fn of(inner: Inner) -> Self {
        match inner.downcast::<StepError>() {
            Ok(step) => step.0,
            Err(inner) => {
                let told = chain(&*inner).find_map(|error| error.downcast_ref::<StepError>());
                let directive = told.map_or(Directive::Policy, |step| step.0.directive);
                Self { inner, directive }
            }
        }
    }
}

impl<E: Into<Box<dyn StdError + Send + Sync>> + 'static> From<E> for Error {
    fn from(error: E) -> Self {
        Self::of(boxed::unwrap(error))
    }
}

impl From<Error> for anyhow::Error {
    fn from(error: Error) -> Self {
        Self::new(StepError(error))
    }
}

#[cfg(feature = "eyre")]
impl From<Error> for eyre::Report {
    fn from(error: Error) -> Self {
        Self::new(StepError(error))
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

/// What a [`step`](fn@crate::step) says instead of its value: an [`Error`] that is a [`std::error::Error`].
///
/// It converts with `?` into the error of any body: an [`Error`] again, with what was said of retries, an
/// `anyhow::Error`, a `Box<dyn Error + Send + Sync>`. Where a step stands last in a function, write
/// `Ok(step(…).await?)`.
pub struct StepError(pub(crate) Error);

impl StepError {
    /// The error of the step's work.
    pub fn into_inner(self) -> Error {
        self.0
    }
}

impl From<Error> for StepError {
    fn from(error: Error) -> Self {
        Self(error)
    }
}

impl From<Misuse> for StepError {
    fn from(misuse: Misuse) -> Self {
        Self(misuse.into())
    }
}

impl fmt::Debug for StepError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

impl fmt::Display for StepError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

impl StdError for StepError {
    fn source(&self) -> Option<&(dyn StdError + 'static)> {
        self.0.inner.source()
    }
}

/// `.fatal()` and `.retry_after(d)` on any error and on any result.
pub trait Retry: Sized {
    /// What the methods turn this into.
    type Into;
    /// Makes the failure final: the task is not retried.
    fn fatal(self) -> Self::Into;
    /// Chooses the pause before the retry; the budget of retries still counts.
    fn retry_after(self, pause: Duration) -> Self::Into;
}

impl<E: Into<Box<dyn StdError + Send + Sync>> + 'static> Retry for E {
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
