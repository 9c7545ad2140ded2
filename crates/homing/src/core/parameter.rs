//! The arguments of a kind, as workers register them.

use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::core::schema;

/// An argument that a kind takes, as workers register it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct Parameter {
    /// Its name.
    pub name: String,
    /// What values it takes: a JSON schema of their outermost shape; `{}` takes anything.
    #[serde(default)]
    pub schema: Value,
    /// Whether a call without it cannot run.
    #[serde(default)]
    pub required: bool,
}

impl Parameter {
    /// An argument of the type `T`. One that takes `null` may be left out.
    pub fn of<T: Argument>(name: &str) -> Self {
        let schema = schema::of::<T>();
        let required = !schema::takes_null(&schema);
        Self { name: name.to_owned(), schema, required }
    }

    /// May be left out: it has a default.
    #[must_use]
    pub fn optional(self) -> Self {
        Self { required: false, ..self }
    }

    /// What values it takes, in words, such as `boolean` or `array of string`.
    pub fn takes(&self) -> String {
        schema::words(&self.schema)
    }

    /// As a store keeps it.
    pub(crate) fn to_text(&self) -> String {
        crate::core::encode::json(self)
    }

    /// As a store has kept it.
    pub(crate) fn from_text(text: &str) -> Self {
        let name =
            || Self { name: text.to_owned(), schema: serde_json::json!({}), required: false };
        serde_json::from_str(text).unwrap_or_else(|_| name())
    }
}

/// What can be an argument: it is stored, and read again by the worker.
#[diagnostic::on_unimplemented(
    message = "`{Self}` cannot be an argument of a task: an argument is stored as JSON",
    label = "not stored: `Serialize` or `Deserialize` is missing",
    note = "what a worker has, a pool for instance, is taken as a state: `State(name): State<{Self}>`, and given to the \
        worker with `.state(…)`",
    note = "what is to be stored has `#[derive(serde::Serialize, serde::Deserialize)]`"
)]
pub trait Argument: Serialize + DeserializeOwned {}

#[diagnostic::do_not_recommend]
impl<T: Serialize + DeserializeOwned> Argument for T {}
