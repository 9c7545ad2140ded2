//! A task message of Celery's protocol 2: headers, arguments, and what is to follow.
//!
//! It is what homing keeps of a message: delivery tags and marks of redelivery are left out, so that a message that
//! comes twice is the same value, and so the same job.

use std::time::SystemTime;

use serde::{Deserialize, Serialize};
use serde_json::{Map, Value, json};

use super::envelope::shown;
use super::signature::many;
use super::{Refused, Signature, beyond, read_iso};

/// A call of a task, as a Celery client sends it.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Message {
    /// Who, when, for whom.
    pub headers: Headers,
    /// Positional arguments.
    pub args: Vec<Value>,
    /// Arguments by name.
    pub kwargs: Map<String, Value>,
    /// What follows.
    pub embed: Embed,
    /// Celery's priority. On Redis it is 0 to 9, and 0 goes first; on RabbitMQ the highest does.
    pub priority: u8,
    /// The queue in which the sender waits for results, with the backend `rpc://`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reply_to: Option<String>,
}

/// The headers of a message. Those that are absent are as if `null`.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct Headers {
    /// The language of the sender.
    pub lang: String,
    /// The task's name.
    pub task: String,
    /// The task's id.
    pub id: String,
    /// A name for people.
    pub shadow: Option<String>,
    /// No earlier than this.
    pub eta: Option<String>,
    /// Not once this is over.
    pub expires: Option<String>,
    /// The group it is a member of.
    pub group: Option<String>,
    /// Its number in the group.
    pub group_index: Option<u64>,
    /// How often Celery has sent it again, under the same id.
    pub retries: u64,
    /// The hard and the soft limit, in seconds.
    pub timelimit: (Option<f64>, Option<f64>),
    /// The first task of the workflow.
    pub root_id: Option<String>,
    /// The task that sent it.
    pub parent_id: Option<String>,
    /// The arguments for people.
    pub argsrepr: Option<String>,
    /// Those by name.
    pub kwargsrepr: Option<String>,
    /// The process that sent it.
    pub origin: Option<String>,
    /// Whether nobody wants the result. `null`: the sender does not know the task.
    pub ignore_result: Option<bool>,
    /// How often it has been replaced.
    pub replaced_task_nesting: u64,
    /// The names of its stamps.
    pub stamped_headers: Option<Vec<String>>,
    /// Its stamps, handed on to what follows.
    pub stamps: Map<String, Value>,
    /// The user's own headers.
    #[serde(flatten)]
    pub others: Map<String, Value>,
}

/// What follows a task.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct Embed {
    /// After its success, each given its value.
    pub callbacks: Vec<Signature>,
    /// After its failure.
    pub errbacks: Vec<Signature>,
    /// The rest of its chain, the next one last.
    pub chain: Vec<Signature>,
    /// The body of the chord that it is a member of.
    pub chord: Option<Signature>,
}

impl Embed {
    fn read(value: Value) -> Result<Self, Refused> {
        let mut fields = match value {
            Value::Null => Map::new(),
            Value::Object(fields) => fields,
            _ => return Err(Refused::field("the third part of the body", "it is no object")),
        };
        let mut list = |name: &'static str| {
            let value = fields.remove(name).unwrap_or_default();
            many(value).map_err(|error| Refused::field(name, error.to_string()))
        };
        let (callbacks, errbacks) = (list("callbacks")?, list("errbacks")?);
        let (chain, mut chord) = (list("chain")?, list("chord")?);
        Ok(Self { callbacks, errbacks, chain, chord: chord.pop() })
    }

    fn write(&self) -> Value {
        let list = |list: &Vec<Signature>| if list.is_empty() { Value::Null } else { json!(list) };
        json!({
            "callbacks": list(&self.callbacks),
            "errbacks": list(&self.errbacks),
            "chain": list(&self.chain),
            "chord": self.chord,
        })
    }
}

impl Message {
    /// A message from its headers and its body, both JSON.
    ///
    /// # Errors
    /// What is not of protocol 2, or has a field of the wrong type.
    pub fn read(headers: Value, text: &[u8], priority: u8) -> Result<Self, Refused> {
        let Value::Object(mut given) = headers else {
            return Err(Refused::field("the headers", "they are no object"));
        };
        if !given.contains_key("task") {
            return Err(Refused::Protocol1);
        }
        // What may be absent may be `null`, whatever its type.
        given.retain(|_, value| !value.is_null());
        let headers: Headers = serde_json::from_value(Value::Object(given))
            .map_err(|error| Refused::field("a header", error.to_string()))?;
        headers.check()?;
        let body: Value = serde_json::from_slice(text).map_err(|error| {
            let hint = "send numbers that JSON has, and nothing nested deeper than 100 levels";
            Refused::field("the body", format!("it is no JSON ({error}): {hint}"))
        })?;
        if let Some(number) = beyond(text) {
            let reason = format!(
                "it holds the integer {}, which has more than 64 bits: send it as text",
                shown(&number)
            );
            return Err(Refused::field("the body", reason));
        }
        let parts = match body {
            Value::Array(parts) => <[Value; 3]>::try_from(parts).ok(),
            _ => None,
        };
        let Some([args, kwargs, embed]) = parts else {
            return Err(Refused::field("the body", "it is no list of args, kwargs and embed"));
        };
        let Value::Array(args) = args else {
            return Err(Refused::field("args", "they are no list"));
        };
        let Value::Object(kwargs) = kwargs else {
            return Err(Refused::field("kwargs", "they are no object"));
        };
        Ok(Self { headers, args, kwargs, embed: Embed::read(embed)?, priority, reply_to: None })
    }

    /// The body as it is sent.
    pub fn body(&self) -> Value {
        json!([self.args, self.kwargs, self.embed.write()])
    }

    /// The headers as they are sent.
    pub fn header_values(&self) -> Value {
        let mut headers = serde_json::to_value(&self.headers).unwrap_or_default();
        let (hard, soft) = self.headers.timelimit;
        let number = |limit: Option<f64>| match limit {
            Some(limit) if limit.fract() == 0.0 && limit.abs() < 1e15 => json!(limit as i64),
            other => json!(other),
        };
        headers["timelimit"] = json!([number(hard), number(soft)]);
        headers
    }
}

/// The longest id that is taken: Celery's own database backend takes no longer one.
const ID: usize = 155;
/// The longest name of a task: that of a kind.
const NAME: usize = homing::limits::NAME;

impl Headers {
    pub(crate) fn check(&self) -> Result<(), Refused> {
        let plain = |text: &str| !text.chars().any(char::is_control);
        if self.id.is_empty() || self.id.len() > ID || !plain(&self.id) {
            let reason = format!("it must be 1 to {ID} bytes without control characters");
            return Err(Refused::field("the header `id`", reason));
        }
        if self.task.is_empty() || self.task.len() > NAME || !plain(&self.task) {
            let reason = format!("it must be 1 to {NAME} bytes without control characters");
            return Err(Refused::field("the header `task`", reason));
        }
        let limits = [self.timelimit.0, self.timelimit.1];
        if limits.into_iter().flatten().any(|limit| !(limit > 0.0 && limit < 1e9)) {
            return Err(Refused::field("the header `timelimit`", "it must be a time above zero"));
        }
        instant("the header `eta`", self.eta.as_deref())?;
        instant("the header `expires`", self.expires.as_deref())
    }

    /// When it may start.
    pub fn eta(&self) -> Option<SystemTime> {
        read_iso(self.eta.as_deref()?).ok()
    }

    /// When it is too late.
    pub fn expires(&self) -> Option<SystemTime> {
        read_iso(self.expires.as_deref()?).ok()
    }
}

fn instant(field: &'static str, text: Option<&str>) -> Result<(), Refused> {
    text.map_or(Ok(()), |text| {
        read_iso(text).map(|_| ()).map_err(|reason| Refused::field(field, reason))
    })
}
