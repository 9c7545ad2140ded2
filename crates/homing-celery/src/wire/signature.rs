//! A signature: a call of Celery's at rest, as it stands in a message's canvas.

use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

/// A call of a Celery task, not yet sent.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Signature {
    /// The task's name.
    pub task: String,
    /// Positional arguments.
    #[serde(default)]
    pub args: Vec<Value>,
    /// Arguments by name.
    #[serde(default)]
    pub kwargs: Map<String, Value>,
    /// What `apply_async` takes: `task_id`, `queue`, `link`, `chord` and more.
    #[serde(default)]
    pub options: Map<String, Value>,
    /// `null` for a plain task; `chain`, `group`, `chord` and others for a canvas.
    #[serde(default)]
    pub subtask_type: Option<String>,
    /// Whether the value before is kept from it.
    #[serde(default)]
    pub immutable: bool,
}

impl Signature {
    /// A text among the options; `None` too where it is of another type.
    pub fn option(&self, name: &str) -> Option<&str> {
        self.options.get(name)?.as_str()
    }

    /// A list of signatures among the options: one stands for a list of one.
    pub(crate) fn signatures(&self, name: &str) -> Result<Vec<Self>, String> {
        let Some(value) = self.options.get(name).filter(|value| !value.is_null()) else {
            return Ok(Vec::new());
        };
        many(value.clone()).map_err(|error| format!("its option `{name}`: {error}"))
    }

    /// Whether it is a canvas that a Celery worker has to expand, and which.
    pub fn canvas(&self) -> Option<&str> {
        let named = ["celery.chain", "celery.group", "celery.chord"];
        let name = named.into_iter().find(|name| *name == self.task);
        self.subtask_type.as_deref().or(name.and_then(|name| name.strip_prefix("celery.")))
    }

    /// The arguments once the value before it is there.
    pub(crate) fn arguments(&self, value: Option<&Value>) -> Vec<Value> {
        let before = value.filter(|_| !self.immutable);
        before.cloned().into_iter().chain(self.args.iter().cloned()).collect()
    }
}

/// Signatures as Celery writes them: a list, one alone, or nothing.
pub(super) fn many(value: Value) -> Result<Vec<Signature>, serde_json::Error> {
    match value {
        Value::Null => Ok(Vec::new()),
        Value::Array(_) => serde_json::from_value(value),
        one => Ok(vec![serde_json::from_value(one)?]),
    }
}
