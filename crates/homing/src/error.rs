//! Errors: what a body returns, what a wait says of a child, what is refused at the door.
//!
//! One narrow enum per boundary. Mistakes of the caller are one family, [`Misuse`], because they are
//! mended in the source and not at run time.

use std::error::Error as StdError;
use std::fmt;
use std::time::Duration;

use serde::{Deserialize, Serialize};

use crate::id::{JobId, TaskId};
use crate::limits;
use crate::state::Directive;
use crate::store;

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
        let mut next: Option<&(dyn StdError + 'static)> = Some(&*self.inner);
        while let Some(error) = next {
            if let Some(found) = error.downcast_ref() {
                return Some(found);
            }
            next = error.source();
        }
        None
    }
}

impl<E: StdError + Send + Sync + 'static> From<E> for Error {
    fn from(error: E) -> Self {
        Self { inner: Box::new(error), directive: Directive::Policy }
    }
}

impl fmt::Debug for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.inner)?;
        let mut source = self.inner.source();
        while let Some(error) = source {
            write!(f, "\n  caused by: {error}")?;
            source = error.source();
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

/// Why a task failed, as it is stored.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
#[non_exhaustive]
pub enum Reason {
    /// The body returned an error.
    Error,
    /// The body panicked.
    Panic,
    /// A stretch from claim to park or end took longer than `timeout`.
    Timeout,
    /// The task had not ended by its `deadline`.
    Deadline,
    /// The task had not started by its `expires`.
    Expired,
    /// The task took its worker down too often.
    Crashed,
    /// The body broke a rule of the programming model.
    Misuse,
    /// The task was cancelled.
    Cancelled,
}

/// A failed task: what is stored, and what a parent or client gets back.
///
/// Its sources are the messages of the original chain; their types stay on the worker.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Failure {
    /// The task's kind.
    pub kind: String,
    /// The task.
    pub id: TaskId,
    /// The attempt that failed, 1-based.
    pub attempt: u32,
    /// Why.
    pub reason: Reason,
    /// The error's message.
    pub message: String,
    /// The messages of its sources, outermost first.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub sources: Vec<String>,
}

impl Failure {
    /// A failure with no sources; an overlong message ends in a count of what is left out.
    pub(crate) fn new(kind: &str, id: TaskId, attempt: u32, reason: Reason, message: &str) -> Self {
        let kind = kind.to_owned();
        Self { kind, id, attempt, reason, message: bounded(message), sources: Vec::new() }
    }

    /// The same with the messages of an error's sources.
    pub(crate) fn with_sources(mut self, error: &(dyn StdError + 'static)) -> Self {
        let mut next = error.source();
        while let (Some(source), true) = (next, self.sources.len() < limits::SOURCES) {
            self.sources.push(bounded(&source.to_string()));
            next = source.source();
        }
        self
    }
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { kind, id, attempt, message, .. } = self;
        match self.reason {
            Reason::Cancelled => write!(f, "task {kind} {id} was cancelled: {message}"),
            Reason::Panic => write!(f, "task {kind} {id} panicked in attempt {attempt}: {message}"),
            _ => write!(f, "task {kind} {id} failed in attempt {attempt}: {message}"),
        }
    }
}

impl StdError for Failure {
    fn source(&self) -> Option<&(dyn StdError + 'static)> {
        None
    }
}

/// A text within [`limits::MESSAGE`]; what is left out is counted at its end.
pub(crate) fn bounded(text: &str) -> String {
    if text.len() <= limits::MESSAGE {
        return text.to_owned();
    }
    let cut = text.floor_char_boundary(limits::MESSAGE);
    format!("{} … ({} more bytes)", &text[..cut], text.len() - cut)
}

/// What a wait for children may say instead of their values.
#[derive(Debug, Clone, thiserror::Error)]
#[non_exhaustive]
pub enum JoinError {
    /// A child failed, or was cancelled by somebody else than this parent.
    #[error("{failure}")]
    Failed {
        /// The child's failure.
        failure: Box<Failure>,
        /// The wait that said so, for the job's retry.
        #[doc(hidden)]
        cause: Option<Box<store::Cause>>,
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
        cause: Option<Box<store::Cause>>,
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

    /// The wait that said so, for the job's retry.
    pub(crate) fn cause(&self) -> Option<store::Cause> {
        match self {
            Self::Failed { cause, .. } | Self::TooFew { cause, .. } => cause.as_deref().cloned(),
            Self::TimedOut(timed_out) => timed_out.cause.clone(),
            _ => None,
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
    pub cause: Option<store::Cause>,
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

/// A broken rule of the programming model: mended in the source. Final for the task it happens in.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum Misuse {
    /// A verb of a body was called where no task runs.
    #[error(
        "`{verb}` was called outside a task: call it in the body of a #[task], or in a function the body awaits; not in a future handed to `tokio::spawn`"
    )]
    OutsideTask {
        /// The verb.
        verb: &'static str,
    },
    /// A client's verb was called in a body.
    #[error(
        "`{verb}` was called inside a task: a body spawns children with `homing::spawn` or starts a new job with `homing::detach`"
    )]
    ClientInside {
        /// The verb.
        verb: &'static str,
    },
    /// A second durable operation was begun while one was open in the same branch.
    #[error(
        "`{second}` was begun while `{first}` is open: await one after the other, or use homing's own `join!`, `join_all` or `select!`, which give each branch its own places"
    )]
    TwoAtOnce {
        /// The open operation.
        first: String,
        /// The one that was begun.
        second: String,
    },
    /// A durable operation inside a step.
    #[error(
        "`{inner}` was begun inside the step `{step}`: a step holds plain work only, do this beside it"
    )]
    InsideStep {
        /// The step.
        step: String,
        /// The operation.
        inner: String,
    },
    /// A foreign future was awaited together with a durable wait.
    #[error(
        "a foreign future is awaited together with the durable wait `{wait}`: put plain work into a `step`, take a timeout with `.timeout(d)`, wait for several things with `homing::select!`"
    )]
    ForeignFuture {
        /// The open wait.
        wait: String,
    },
    /// A place that was given twice.
    #[error(
        "the place `{place}` is taken twice in this body: a name given with `.at(…)` is unique in its set, one given with `JoinSet::named` in the body"
    )]
    DoubledPlace {
        /// The place.
        place: String,
    },
    /// A detached job's id belongs to another call.
    #[error(
        "the id {id} belongs to a job of another kind or with other arguments: choose another id, or prune that job"
    )]
    TakenId {
        /// The id.
        id: JobId,
    },
    /// A name, place or value that cannot be kept.
    #[error(transparent)]
    Refused(#[from] Invalid),
}

/// Input refused at the door: names the field, changes nothing.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum Invalid {
    /// Something is too long.
    #[error("{field} has {length} bytes, at most {limit} are allowed{hint}")]
    TooLong {
        /// The field.
        field: String,
        /// Its length.
        length: usize,
        /// The limit.
        limit: usize,
        /// What to do.
        hint: &'static str,
    },
    /// Something is empty.
    #[error("{field} is empty")]
    Empty {
        /// The field.
        field: &'static str,
    },
    /// Too many of something.
    #[error("{count} {field} were given, at most {limit} are allowed")]
    TooMany {
        /// The field.
        field: &'static str,
        /// How many.
        count: usize,
        /// The limit.
        limit: usize,
    },
    /// An argument the kind does not have.
    #[error("there is no argument `{name}`: {reason}")]
    Argument {
        /// The argument.
        name: String,
        /// What there is.
        reason: String,
    },
    /// A value that JSON cannot hold.
    #[error("{field} cannot be written as JSON: {reason}")]
    NotJson {
        /// The field.
        field: String,
        /// What the encoder said.
        reason: String,
    },
    /// A character or number that is not allowed.
    #[error("{field} is `{value}`: {reason}")]
    Value {
        /// The field.
        field: &'static str,
        /// The value.
        value: String,
        /// What is allowed.
        reason: &'static str,
    },
}

/// Why a store was not opened.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum OpenError {
    /// The URL names no store.
    #[error("`{url}` names no store: use `memory:` or `sqlite:PATH`")]
    UnknownStore {
        /// The URL.
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
    /// The store itself says no.
    #[error(transparent)]
    Store(#[from] store::Error),
}

/// Why a job was not submitted. Nothing was changed.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum SubmitError {
    /// The input is refused.
    #[error(transparent)]
    Invalid(#[from] Invalid),
    /// The id belongs to another call.
    #[error(
        "the id {id} belongs to a job of another kind or with other arguments: choose another id, or prune that job"
    )]
    Conflict {
        /// The id.
        id: JobId,
    },
    /// No worker has ever registered the kind.
    #[error("no worker has ever registered the kind `{kind}`: {known}")]
    UnknownKind {
        /// The kind.
        kind: String,
        /// What is known instead.
        known: String,
    },
    /// The body called it.
    #[error(transparent)]
    Misuse(#[from] Misuse),
    /// The store failed.
    #[error(transparent)]
    Store(#[from] store::Error),
}

/// What waiting for a job's outcome may bring instead of its value.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum OutcomeError {
    /// The root failed or was cancelled.
    #[error(transparent)]
    Failed(Box<Failure>),
    /// The value is not of the type asked for.
    #[error("the value of job {id} does not decode: {reason}")]
    Undecodable {
        /// The job.
        id: JobId,
        /// What the decoder said.
        reason: String,
    },
    /// The body called it.
    #[error(transparent)]
    Misuse(#[from] Misuse),
    /// The store failed, or does not know the id.
    #[error(transparent)]
    Store(#[from] store::Error),
}

impl OutcomeError {
    /// The root's failure, if that is what it is.
    pub fn failure(&self) -> Option<&Failure> {
        if let Self::Failed(failure) = self { Some(failure) } else { None }
    }
}

/// Why a worker did not start.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum StartError {
    /// Two functions have the same kind.
    #[error("the kind `{kind}` is registered twice: give one of them `#[task(kind = \"…\")]`")]
    DoubledKind {
        /// The kind.
        kind: String,
    },
    /// A task wants a state that the worker was not given.
    #[error("the task `{kind}` wants `State<{state}>`: give it to the worker with `.state(…)`")]
    MissingState {
        /// The task.
        kind: String,
        /// The type.
        state: &'static str,
    },
    /// No task was registered.
    #[error("the worker has no task: add `.register(my_task)` before `.start()`")]
    NoTask,
    /// A name or number is refused.
    #[error(transparent)]
    Invalid(#[from] Invalid),
    /// The store failed.
    #[error(transparent)]
    Store(#[from] store::Error),
}
