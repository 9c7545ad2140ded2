//! A job by the name of its kind: what is known of the kind is checked first.

use std::time::Duration;

use serde_json::{Map, Value};

use super::{Homing, Submit};
use crate::core::call::Start;
use crate::core::schema;
use crate::error::{Invalid, SubmitError};
use crate::store::read::KindView;
use crate::task::Options;
use crate::task::call::{Any, Draft};

impl Homing {
    /// Submits a kind by its name with arguments as a JSON object, once awaited. The kind must be
    /// known: some worker has registered it in this store at some time. An argument that it does not have, or
    /// that is plainly of another type, is refused, unless the submission is [forced](Submit::force).
    ///
    /// # Errors
    /// As [`submit`](Self::submit); [`SubmitError::UnknownKind`], and [`Invalid::Argument`] or
    /// [`Invalid::Mismatch`] for the arguments.
    pub fn submit_named(&self, kind: &str, arguments: &Value) -> Submit<Any<Value>> {
        let call = Draft::new(kind, self::arguments(arguments), Options::default());
        Submit { must_be_known: true, ..Submit::new(self, call, "submit_named") }
    }
}

/// Of a call that is named, whose own options have no other place.
impl Submit<Any<Value>> {
    /// Submits the call even if no worker has ever registered the kind, or its arguments are not what the last
    /// worker to register it takes: a release that does may be on its way.
    pub fn force(mut self) -> Self {
        self.must_be_known = false;
        self
    }

    /// The queue. Default: `default`.
    pub fn queue(mut self, queue: impl Into<String>) -> Self {
        self.job.call.options.queue = Some(queue.into());
        self
    }

    /// Higher goes first. Default: 0.
    pub fn priority(mut self, priority: i16) -> Self {
        self.job.call.options.priority = Some(priority);
        self
    }

    /// Words to filter jobs by; at most 20.
    pub fn tags<T: Into<String>>(mut self, tags: impl IntoIterator<Item = T>) -> Self {
        self.job.call.tags = tags.into_iter().map(Into::into).collect();
        self
    }

    /// Starts no earlier than this long from now.
    pub fn delay(mut self, delay: Duration) -> Self {
        self.job.call.start = Start::After(delay);
        self
    }
}

/// Whether some worker has registered the kind, and takes the arguments.
pub(super) async fn check(homing: &Homing, call: &Draft) -> Result<(), SubmitError> {
    let known = homing.store.kinds().await?;
    match known.iter().find(|view| view.name == call.kind) {
        Some(view) => Ok(check_arguments(&call.arguments.clone()?, view)?),
        None => Err(unknown_kind(&call.kind, &known)),
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

impl KindView {
    /// Whether the last worker to register the kind takes these arguments, given by their names, as far as is known
    /// of their types: what [`Homing::submit_named`] refuses is refused here.
    ///
    /// For programs that spawn by name what others have sent them: a task whose arguments do not fit would stand
    /// still.
    ///
    /// ```
    /// # use homing::{Homing, task};
    /// # use serde_json::json;
    /// #[task]
    /// async fn square(n: u64) -> homing::Result<u64> {
    ///     Ok(n * n)
    /// }
    ///
    /// # #[tokio::main]
    /// # async fn main() -> Result<(), Box<dyn std::error::Error>> {
    /// let homing = Homing::open("memory:").await?;
    /// homing.worker().register(square).start().await?;
    /// let kinds = homing.kinds().await?;
    /// let square = kinds.iter().find(|kind| kind.name == "square").unwrap();
    /// assert!(square.check_arguments(&json!({"n": 7})).is_ok());
    /// assert!(square.check_arguments(&json!({"n": "seven"})).is_err());
    /// assert!(square.check_arguments(&json!({"m": 7})).is_err());
    /// # Ok(())
    /// # }
    /// ```
    ///
    /// # Errors
    /// [`Invalid::Argument`] for a name that the kind does not have, [`Invalid::Mismatch`] for a value that is missing
    /// or of another type; what is no object, too long or too deep.
    pub fn check_arguments(&self, given: &Value) -> Result<(), Invalid> {
        check_arguments(&arguments(given)?, self)
    }
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
