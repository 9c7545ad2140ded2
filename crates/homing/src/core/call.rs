//! A call at rest: its kind a name, its arguments and options as they stand in arguments, outcomes and plans.

use std::time::Duration;

use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

use crate::core::id::digest;
use crate::core::invalid::Invalid;
use crate::core::names::name;
use crate::core::new_task::{NewTask, Policy};
use crate::core::state::Backoff;
use crate::core::time::Time;
use crate::limits;

/// What the attribute may say of a kind; a call's own options go before it.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Options {
    /// The queue; else the parent's, else `default`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub queue: Option<String>,
    /// The priority; else the parent's, else 0. Higher goes first.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub priority: Option<i16>,
    /// Retries in a row; else [`limits::RETRIES`](crate::limits::RETRIES).
    #[serde(skip_serializing_if = "Option::is_none")]
    pub retries: Option<u32>,
    /// Pauses between retries; else from 1 second to 10 minutes.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub backoff: Option<Backoff>,
    /// Attempts in all; else [`limits::MAX_ATTEMPTS`](crate::limits::MAX_ATTEMPTS).
    #[serde(skip_serializing_if = "Option::is_none")]
    pub max_attempts: Option<u32>,
    /// The longest stretch from claim to park or end; else none.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub timeout: Option<Duration>,
    /// After how much of a stretch the body is told; else never.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub soft_timeout: Option<Duration>,
    /// The longest life of the whole task; else none.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub deadline: Option<Duration>,
    /// The longest time until it starts; else none.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub expires: Option<Duration>,
}

impl Options {
    /// Refuses numbers that mean nothing. There is no upper bound: a duration without end never passes.
    pub(crate) fn check(&self) -> std::result::Result<(), Invalid> {
        if let Some(queue) = &self.queue {
            crate::core::names::name("the queue", queue)?;
        }
        if self.max_attempts == Some(0) {
            let (field, value) = ("max_attempts", "0".to_owned());
            return Err(Invalid::Value { field, value, reason: "it must be at least 1" });
        }
        let spans = [
            ("the task's timeout", self.timeout),
            ("the task's soft timeout", self.soft_timeout),
            ("the task's deadline", self.deadline),
            ("the task's expiry", self.expires),
        ];
        match spans.into_iter().find(|(_, span)| *span == Some(Duration::ZERO)) {
            Some((field, _)) => Err(Invalid::Value {
                field,
                value: "0s".to_owned(),
                reason: "it must be longer, or the task could never run",
            }),
            None => Ok(()),
        }
    }

    /// What a call takes over from its kind. Retries, backoff and timeouts stay with the worker's version
    /// of the task unless a call says otherwise, so that a release can change them for what is queued.
    pub(crate) fn of_a_call(self) -> Self {
        let Self { queue, priority, deadline, expires, .. } = self;
        Self { queue, priority, deadline, expires, ..Self::default() }
    }
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

/// A call as it is stored.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(crate) struct Stored {
    pub(crate) kind: String,
    arguments: Map<String, Value>,
    /// The argument that the value before it becomes; empty: it lacks one, and does nothing with it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) lacks: Option<String>,
    #[serde(default, skip_serializing_if = "is_default")]
    options: Options,
    #[serde(default, skip_serializing_if = "is_default")]
    start: Start,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    place: Option<String>,
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    tags: Vec<String>,
}

fn is_default<T: Default + PartialEq>(value: &T) -> bool {
    *value == T::default()
}

impl Stored {
    /// A call that is about to be stored; refuses what a spawn of it would refuse.
    pub(crate) fn of(draft: Draft) -> Result<Self, Invalid> {
        draft.clone().fix(Time(0), "default", 0)?;
        let Draft { kind, arguments, options, start, place, tags, lacks } = draft;
        let not_json = |reason: serde_json::Error| Invalid::NotJson {
            field: format!("the arguments of `{kind}`"),
            reason: reason.to_string(),
        };
        let arguments = serde_json::from_str(&arguments?).map_err(not_json)?;
        Ok(Self { kind, arguments, lacks, options, start, place, tags })
    }

    /// The call, given the value before it if it wants one.
    pub(crate) fn draft(self, value: &Value) -> Draft {
        let field = format!("the argument list of `{}`", self.kind);
        self.given(value).drafted(|list| crate::core::encode::arguments_of(&field, list))
    }

    /// As [`draft`](Self::draft), however long the arguments become.
    pub(crate) fn unbounded(self, value: &Value) -> Draft {
        self.given(value).into_draft()
    }

    fn given(mut self, value: &Value) -> Self {
        if let Some(name) = self.lacks.take().filter(|name| !name.is_empty()) {
            self.arguments.insert(name, value.clone());
        }
        self
    }

    pub(crate) fn into_draft(self) -> Draft {
        self.drafted(crate::core::encode::long_arguments)
    }

    fn drafted(self, text: impl FnOnce(&Value) -> Result<String, Invalid>) -> Draft {
        let Self { kind, arguments, lacks, options, start, place, tags } = self;
        let arguments = text(&Value::Object(arguments));
        Draft { kind, arguments, options, start, place, tags, lacks }
    }
}
