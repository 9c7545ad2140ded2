//! A job by the name of its kind: what is known of the kind is checked first.

use std::future::IntoFuture;
use std::time::Duration;

use serde_json::{Map, Value};

use super::{Homing, JobHandle, Order, order};
use crate::body::context::refuse_inside;
use crate::core::schema;
use crate::error::{Invalid, SubmitError};
use crate::store::read::KindView;
use futures_util::future::BoxFuture;

/// A submission by name about to be sent; see [`Homing::submit_named`].
#[must_use = "nothing is submitted until this is awaited"]
#[derive(Debug)]
pub struct SubmitNamed {
    pub(super) homing: Homing,
    pub(super) order: Order,
    pub(super) force: bool,
}

order!(SubmitNamed);

impl SubmitNamed {
    /// Submits the call even if no worker has ever registered the kind, or its arguments are not what the last
    /// worker to register it takes: a release that does may be on its way.
    pub fn force(mut self) -> Self {
        self.force = true;
        self
    }

    /// The queue. Default: `default`.
    pub fn queue(mut self, queue: impl Into<String>) -> Self {
        self.order.draft.options.queue = Some(queue.into());
        self
    }

    /// Higher goes first. Default: 0.
    pub fn priority(mut self, priority: i16) -> Self {
        self.order.draft.options.priority = Some(priority);
        self
    }

    /// Words to filter jobs by; at most 20.
    pub fn tags<T: Into<String>>(mut self, tags: impl IntoIterator<Item = T>) -> Self {
        self.order.draft.tags = tags.into_iter().map(Into::into).collect();
        self
    }

    /// Starts no earlier than this long from now.
    pub fn delay(mut self, delay: Duration) -> Self {
        self.order.draft.start = crate::task::call::Start::After(delay);
        self
    }

    async fn run(self) -> Result<JobHandle<Value>, SubmitError> {
        refuse_inside("submit_named")?;
        let kind = &self.order.draft.kind;
        if !self.force {
            let known = self.homing.store.kinds().await?;
            match known.iter().find(|view| view.name == *kind) {
                Some(view) => check_arguments(&self.order.draft.arguments.clone()?, view)?,
                None => return Err(unknown_kind(kind, &known)),
            }
        }
        self.order.send(&self.homing).await
    }
}

impl IntoFuture for SubmitNamed {
    type Output = Result<JobHandle<Value>, SubmitError>;
    type IntoFuture = BoxFuture<'static, Self::Output>;

    fn into_future(self) -> Self::IntoFuture {
        Box::pin(self.run())
    }
}

/// Arguments by their names, as they are stored.
pub(super) fn arguments(given: &Value) -> Result<String, Invalid> {
    if given.is_object() {
        return crate::core::encode::arguments(given);
    }
    let reason = "give an object with a field for each argument".to_owned();
    Err(Invalid::NotJson { field: "the arguments".to_owned(), reason })
}

/// Whether the arguments are what the last worker to register the kind takes.
pub(super) fn check_arguments(given: &str, kind: &KindView) -> Result<(), Invalid> {
    let field = "the arguments".to_owned();
    let given: Map<String, Value> = serde_json::from_str(given)
        .map_err(|error| Invalid::NotJson { field, reason: error.to_string() })?;
    if let Some(name) =
        given.keys().find(|name| kind.arguments.iter().all(|known| known.name != **name))
    {
        let reason = if kind.arguments.is_empty() {
            format!("`{}` takes none", kind.name)
        } else {
            let names: Vec<&str> = kind.arguments.iter().map(|known| known.name.as_str()).collect();
            format!("`{}` takes {}", kind.name, names.join(", "))
        };
        return Err(Invalid::Argument { name: name.clone(), reason });
    }
    for argument in &kind.arguments {
        let mismatch = |reason| Invalid::Mismatch {
            field: format!("the argument `{}` of `{}`", argument.name, kind.name),
            reason,
        };
        match given.get(&argument.name) {
            None if argument.required => {
                let takes = schema::words(&argument.schema);
                return Err(mismatch(format!("it is missing, and takes {takes}")));
            }
            None => {}
            Some(value) => {
                if let Some(reason) = schema::misfit(&argument.schema, value) {
                    return Err(mismatch(reason));
                }
            }
        }
    }
    Ok(())
}

pub(super) fn unknown_kind(kind: &str, known: &[KindView]) -> SubmitError {
    // Those of homing itself are parts of chains, groups and chords.
    let names = known.iter().map(|view| view.name.as_str());
    let names: Vec<&str> = names.filter(|name| !name.starts_with("homing.")).collect();
    let known = if names.is_empty() {
        "no kind is known yet, start a worker first".to_owned()
    } else {
        format!("known are {}", names.join(", "))
    };
    SubmitError::UnknownKind { kind: kind.to_owned(), known }
}
