//! What a result backend holds of a task.

use serde::{Deserialize, Serialize};
use serde_json::{Map, Value, json};

/// A task's state and result, as Celery's backends store them in JSON.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Meta {
    /// Where it stands.
    pub status: Status,
    /// The value; of a failure, what was raised.
    #[serde(default)]
    pub result: Value,
    /// What Python shows of a failure.
    #[serde(default)]
    pub traceback: Option<String>,
    /// What it has sent: `[[ID, null], null]` each.
    #[serde(default)]
    pub children: Value,
    /// When it ended.
    #[serde(default)]
    pub date_done: Option<String>,
    /// Its id.
    #[serde(default)]
    pub task_id: String,
    /// The task that sent it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub parent_id: Option<String>,
    /// The group it is a member of.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub group_id: Option<String>,
    /// All else, with `result_extended`.
    #[serde(flatten)]
    pub others: Map<String, Value>,
}

/// Where a task stands.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(from = "String", into = "String")]
pub enum Status {
    /// Nobody has said anything. Never stored.
    Pending,
    /// A worker runs it: with `task_track_started`.
    Started,
    /// It failed and will be sent again.
    Retry,
    /// It has a value.
    Success,
    /// It has raised.
    Failure,
    /// It was revoked, or had expired.
    Revoked,
    /// A state of the user's own.
    Custom(String),
}

impl Status {
    /// The word.
    pub fn name(&self) -> &str {
        match self {
            Self::Pending => "PENDING",
            Self::Started => "STARTED",
            Self::Retry => "RETRY",
            Self::Success => "SUCCESS",
            Self::Failure => "FAILURE",
            Self::Revoked => "REVOKED",
            Self::Custom(name) => name,
        }
    }

    /// Whether nothing follows it, as far as Celery knows.
    pub fn is_final(&self) -> bool {
        match self {
            Self::Success | Self::Failure | Self::Revoked => true,
            Self::Pending | Self::Started | Self::Retry | Self::Custom(_) => false,
        }
    }
}

impl From<String> for Status {
    fn from(name: String) -> Self {
        match name.as_str() {
            "PENDING" => Self::Pending,
            "STARTED" => Self::Started,
            "RETRY" => Self::Retry,
            "SUCCESS" => Self::Success,
            "FAILURE" => Self::Failure,
            "REVOKED" => Self::Revoked,
            _ => Self::Custom(name),
        }
    }
}

impl From<Status> for String {
    fn from(status: Status) -> Self {
        status.name().to_owned()
    }
}

/// An exception as Celery stores it.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Raised {
    /// The class's name.
    pub exc_type: String,
    /// The arguments of the exception, or its text.
    #[serde(default)]
    pub exc_message: Value,
    /// The class's module.
    #[serde(default)]
    pub exc_module: Option<String>,
}

impl Raised {
    /// An exception with a text for its only argument.
    pub fn new(exc_type: &str, exc_module: &str, message: impl Into<Value>) -> Self {
        let exc_message = json!([message.into()]);
        Self { exc_type: exc_type.to_owned(), exc_message, exc_module: Some(exc_module.to_owned()) }
    }

    /// What was raised, of a result that is a failure. What it does not say is shown as it stands.
    pub fn of(result: &Value) -> Self {
        serde_json::from_value(result.clone()).unwrap_or_else(|_| Self {
            exc_type: "Exception".to_owned(),
            exc_message: result.clone(),
            exc_module: None,
        })
    }

    /// The message in one text.
    pub fn message(&self) -> String {
        let word = |value: &Value| value.as_str().map_or_else(|| value.to_string(), str::to_owned);
        match &self.exc_message {
            Value::Array(args) => args.iter().map(word).collect::<Vec<_>>().join(", "),
            Value::Null => String::new(),
            other => word(other),
        }
    }

    /// As it stands in a result.
    pub fn value(&self) -> Value {
        json!(self)
    }

    /// About as Python's `repr` shows it.
    pub(crate) fn repr(&self) -> String {
        let args = match &self.exc_message {
            Value::Array(args) => args.iter().map(repr).collect::<Vec<_>>().join(", "),
            Value::Null => String::new(),
            other => repr(other),
        };
        format!("{}({args})", self.exc_type)
    }
}

/// About as Python's `repr` shows a value; for people and events only.
pub(crate) fn repr(value: &Value) -> String {
    match value {
        Value::Null => "None".to_owned(),
        Value::Bool(true) => "True".to_owned(),
        Value::Bool(false) => "False".to_owned(),
        Value::Number(number) => number.to_string(),
        Value::String(text) => format!("'{}'", text.replace('\\', "\\\\").replace('\'', "\\'")),
        Value::Array(list) => format!("[{}]", list.iter().map(repr).collect::<Vec<_>>().join(", ")),
        Value::Object(fields) => {
            let fields = fields.iter().map(|(key, value)| format!("'{key}': {}", repr(value)));
            format!("{{{}}}", fields.collect::<Vec<_>>().join(", "))
        }
    }
}

impl Meta {
    /// A result as a backend holds it.
    ///
    /// # Errors
    /// What is compressed, no JSON, or holds an integer of more than 64 bits: with the setting to change.
    pub fn read(text: &[u8]) -> Result<Self, String> {
        if text.starts_with(b"\0celery-compressed\0") {
            return Err(
                "it is compressed: remove `result_compression` from the Celery application"
                    .to_owned(),
            );
        }
        if let Some(number) = super::beyond(text) {
            let begin: String = number.chars().take(80).collect();
            return Err(format!(
                "it holds the integer {begin}, which has more than 64 bits: return it as text"
            ));
        }
        serde_json::from_slice(text).map_err(|error| {
            format!("it is no JSON ({error}): set `result_serializer = \"json\"` in the Celery application")
        })
    }
}
