//! A call: a task function applied to arguments, not yet sent.
//!
//! It is data. [`shape`] says whether it lacks its first argument, which the task before it brings;
//! [`stored`] is how it stands in arguments, outcomes and plans.

use std::fmt;
use std::marker::PhantomData;
use std::time::{Duration, SystemTime};

use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

use crate::clock::Time;
use crate::error::Invalid;
use crate::id::digest;
use crate::limits;
pub(crate) use crate::names::name;
use crate::state::Backoff;
use crate::store::{NewTask, Policy};
use crate::task::{Kind, Options};

mod any;
mod shape;
mod stored;

pub use any::{Any, AnyCall};
pub use shape::{Lacks, Next, Partial, Shape, Whole};
pub(crate) use stored::Stored;

/// A task function applied to arguments, with options; nothing happens until it is spawned,
/// submitted or detached.
///
/// Options said here go before those of the `#[task]` attribute, and those before what a child
/// inherits from its parent (queue and priority).
///
/// A call is a value: `Serialize` and `Deserialize`, so that a task can take one, return one, and spawn what
/// it was given. [`any`](Self::any) forgets its kind and keeps what it brings. `L` says whether the call is
/// whole; what lacks its first argument is a [`Partial`].
///
/// ```
/// # use homing::{AnyCall, task};
/// # #[task] async fn square(n: u64) -> homing::Result<u64> { Ok(n * n) }
/// let text = serde_json::to_string(&square(3).priority(9))?;
/// assert_eq!(text, r#"{"kind":"square","arguments":{"n":3},"options":{"priority":9}}"#);
/// let call: AnyCall<u64> = serde_json::from_str(&text)?; // spawn it, submit it
/// # Ok::<_, serde_json::Error>(())
/// ```
#[must_use = "a call does nothing until it is spawned, submitted or detached"]
pub struct Call<K: Kind, L = Whole> {
    pub(crate) draft: Draft,
    kind: PhantomData<fn() -> (K, L)>,
}

/// A call, its kind a name.
#[derive(Debug, Clone)]
pub(crate) struct Draft {
    pub(crate) kind: String,
    pub(crate) arguments: Result<String, Invalid>,
    pub(crate) options: Options,
    pub(crate) start: Start,
    pub(crate) place: Option<String>,
    pub(crate) tags: Vec<String>,
    /// The name of the argument that it still lacks.
    pub(crate) lacks: Option<String>,
}

/// When a task may start.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub(crate) enum Start {
    #[default]
    Now,
    After(Duration),
    At(Time),
}

impl Draft {
    pub(crate) fn new(kind: &str, arguments: Result<String, Invalid>, options: Options) -> Self {
        let kind = kind.to_owned();
        Self {
            kind,
            arguments,
            options,
            start: Start::Now,
            place: None,
            tags: Vec::new(),
            lacks: None,
        }
    }

    /// Checks the call and fixes what depends on the time and the parent.
    pub(crate) fn fix(self, now: Time, queue: &str, priority: i16) -> Result<NewTask, Invalid> {
        let arguments = self.arguments?;
        let options = self.options;
        options.check()?;
        let queue = options.queue.unwrap_or_else(|| queue.to_owned());
        name("the kind", &self.kind)?;
        name("the queue", &queue)?;
        if let Some(place) = &self.place {
            name("the place", place)?;
        }
        tags(&self.tags)?;
        let due = match self.start {
            Start::Now => None,
            Start::After(delay) => Some(now.after(delay)),
            Start::At(time) => Some(time),
        };
        let Options { retries, backoff, max_attempts, timeout, soft_timeout, .. } = options;
        Ok(NewTask {
            hash: digest(&[arguments.as_bytes()]),
            kind: self.kind,
            arguments,
            queue,
            priority: options.priority.unwrap_or(priority),
            due,
            expires: options.expires.map(|after| now.after(after)),
            deadline: options.deadline.map(|after| now.after(after)),
            policy: Policy { retries, backoff, max_attempts, timeout, soft_timeout, grows: false },
            tags: self.tags,
        })
    }
}

fn tags(tags: &[String]) -> Result<(), Invalid> {
    if tags.len() > limits::TAGS {
        return Err(Invalid::TooMany { field: "tags", count: tags.len(), limit: limits::TAGS });
    }
    tags.iter().try_for_each(|tag| name("a tag", tag))
}

impl<K: Kind> Call<K> {
    /// For `#[task]`: a call from its encoded arguments.
    #[doc(hidden)]
    pub fn build(arguments: &[(&str, Result<Value, Invalid>)]) -> Self {
        Self::of(Draft::new(K::NAME, object(arguments), K::options().of_a_call()))
    }
}

impl<In, K: Kind> Call<K, Lacks<In>> {
    /// For `#[task]`: a call that lacks its first argument, from the others.
    #[doc(hidden)]
    pub fn lacking(first: &str, rest: &[(&str, Result<Value, Invalid>)]) -> Self {
        let mut draft = Draft::new(K::NAME, object(rest), K::options().of_a_call());
        draft.lacks = Some(first.to_owned());
        Self::of(draft)
    }
}

impl<K: Kind, L> Call<K, L> {
    pub(crate) fn of(draft: Draft) -> Self {
        Self { draft, kind: PhantomData }
    }

    fn option(mut self, set: impl FnOnce(&mut Options)) -> Self {
        set(&mut self.draft.options);
        self
    }

    /// The queue the task waits in. Default: the attribute's, the parent's, `default`.
    pub fn queue(self, queue: impl Into<String>) -> Self {
        self.option(|options| options.queue = Some(queue.into()))
    }

    /// Higher goes first. Default: the attribute's, the parent's, 0.
    pub fn priority(self, priority: i16) -> Self {
        self.option(|options| options.priority = Some(priority))
    }

    /// Starts no earlier than this long from now; with [`Duration::MAX`], never.
    pub fn delay(mut self, delay: Duration) -> Self {
        self.draft.start = Start::After(delay);
        self
    }

    /// Starts no earlier than at this time of the store's clock.
    pub fn run_at(mut self, time: SystemTime) -> Self {
        self.draft.start = Start::At(time.into());
        self
    }

    /// Words to filter jobs by; at most 20. A job hands its tags down: see [`tags`](crate::tags).
    pub fn tags<T: Into<String>>(mut self, tags: impl IntoIterator<Item = T>) -> Self {
        self.draft.tags = tags.into_iter().map(Into::into).collect();
        self
    }

    /// Retries in a row beyond the first attempt; whatever is newly recorded renews them. Default: 3.
    pub fn retries(self, retries: u32) -> Self {
        self.option(|options| options.retries = Some(retries))
    }

    /// Pauses between retries. Default: from 1 second, doubling, to 10 minutes, with jitter.
    pub fn backoff(self, backoff: Backoff) -> Self {
        self.option(|options| options.backoff = Some(backoff))
    }

    /// Attempts in all, however often the budget of retries is renewed; 0 is refused. Default: 1,000.
    pub fn max_attempts(self, attempts: u32) -> Self {
        self.option(|options| options.max_attempts = Some(attempts))
    }

    /// The longest stretch from claim to park or end; longer is a failure. Zero is
    /// refused. Default: none.
    pub fn timeout(self, timeout: Duration) -> Self {
        self.option(|options| options.timeout = Some(timeout))
    }

    /// After how much of a stretch from claim to park or end the body is told, by the token of
    /// [`overdue`](crate::overdue()): it may finish in its own way before the [timeout](Self::timeout).
    /// Default: none.
    pub fn soft_timeout(self, after: Duration) -> Self {
        self.option(|options| options.soft_timeout = Some(after))
    }

    /// The longest life of the whole task, waits included; longer is a final failure. Zero is
    /// refused. Default: none.
    pub fn deadline(self, deadline: Duration) -> Self {
        self.option(|options| options.deadline = Some(deadline))
    }

    /// The longest time until the task starts; longer is a final failure. Zero is
    /// refused. Default: none.
    pub fn expires(self, expires: Duration) -> Self {
        self.option(|options| options.expires = Some(expires))
    }

    /// Gives the child a place of its own, so that it is found again whatever is spawned before it.
    /// Unique in its set. Default: the set and the number of the spawn. A job that is submitted from
    /// outside has no such place: there it is refused.
    pub fn at(mut self, place: impl Into<String>) -> Self {
        self.draft.place = Some(place.into());
        self
    }
}

impl<K: Kind, L> Clone for Call<K, L> {
    fn clone(&self) -> Self {
        Self::of(self.draft.clone())
    }
}

impl<K: Kind, L> fmt::Debug for Call<K, L> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Call").field(&self.draft).finish()
    }
}

/// An argument that does not know its name yet.
pub(crate) const ARGUMENT: &str = "an argument";

fn object(arguments: &[(&str, Result<Value, Invalid>)]) -> Result<String, Invalid> {
    let mut object = Map::new();
    for (name, value) in arguments {
        let value = value.clone().map_err(|error| match error {
            Invalid::NotJson { field, reason } if field == ARGUMENT => {
                Invalid::NotJson { field: format!("the argument `{name}`"), reason }
            }
            Invalid::TooDeep { field, depth, limit } if field == ARGUMENT => {
                Invalid::TooDeep { field: format!("the argument `{name}`"), depth, limit }
            }
            // Of a call within the arguments of a combinator: it has its name.
            other => other,
        })?;
        object.insert((*name).to_owned(), value);
    }
    crate::encode::arguments(&Value::Object(object))
}
