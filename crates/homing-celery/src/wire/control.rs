//! Remote control: what `celery inspect` and `celery control` send to all workers, and the way back.

use serde::{Deserialize, Serialize};
use serde_json::{Map, Value, json};

use super::{Envelope, Letter, Refused};

/// The exchange of commands.
pub(crate) const PIDBOX: &str = "celery.pidbox";
/// The exchange of their answers.
pub(crate) const REPLIES: &str = "reply.celery.pidbox";

/// A command to workers.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Command {
    /// What is to be done.
    pub method: String,
    /// With what.
    #[serde(default)]
    pub arguments: Option<Map<String, Value>>,
    /// The workers that are meant; none: all.
    #[serde(default)]
    pub destination: Option<Vec<String>>,
    /// The names that are meant.
    #[serde(default)]
    pub pattern: Option<String>,
    /// How names are compared with the pattern: `glob` or `pcre`.
    #[serde(default)]
    pub matcher: Option<String>,
    /// What the answer is to bear.
    #[serde(default)]
    pub ticket: Option<String>,
    /// Where to answer; none: nobody waits.
    #[serde(default)]
    pub reply_to: Option<ReplyTo>,
}

/// Where a command is answered.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct ReplyTo {
    /// The exchange.
    pub exchange: String,
    /// What the asker's queue is bound with.
    pub routing_key: String,
}

impl Command {
    /// A command as it is published, and the clock of the one who sent it.
    ///
    /// # Errors
    /// It is none.
    pub fn read(text: &[u8]) -> Result<(Self, u64), Refused> {
        let envelope = Envelope::read(text)?;
        Self::of(&envelope.headers, &envelope.bytes()?)
    }

    /// A command as it comes without an envelope, its type looked at already.
    pub(crate) fn of(headers: &Value, body: &[u8]) -> Result<(Self, u64), Refused> {
        let clock = headers.get("clock").and_then(Value::as_u64).unwrap_or(0);
        let command = serde_json::from_slice(body)
            .map_err(|error| Refused::field("a command", error.to_string()))?;
        Ok((command, clock))
    }

    /// A command that asks all workers to revoke a task; nobody answers.
    pub(crate) fn revoke(id: &str, terminate: bool, clock: u64) -> Letter {
        let arguments = json!({"task_id": id, "terminate": terminate, "signal": "SIGTERM"});
        Self::to_all(("revoke", arguments), clock, format!("revoke {id}"))
    }

    /// A command that all workers answer to the queue that is bound with a key.
    pub(crate) fn ask(method: &str, arguments: Value, key: &str) -> Letter {
        let mut letter = Self::to_all((method, arguments), 1, key.to_owned());
        letter.body["ticket"] = json!(key);
        letter.body["reply_to"] = json!({"exchange": REPLIES, "routing_key": key});
        letter
    }

    fn to_all((method, arguments): (&str, Value), clock: u64, tag: String) -> Letter {
        let body = json!({
            "method": method,
            "arguments": arguments,
            "destination": null,
            "pattern": null,
            "matcher": null,
        });
        let headers = json!({"clock": clock, "expires": 0});
        Letter { exchange: PIDBOX.to_owned(), routing_key: String::new(), headers, body, tag }
    }

    /// Whether a worker of this name is meant.
    pub fn is_for(&self, name: &str) -> bool {
        if let Some(names) = self.destination.as_ref().filter(|names| !names.is_empty()) {
            return names.iter().any(|other| other == name);
        }
        match (self.pattern.as_deref(), self.matcher.as_deref()) {
            (Some(pattern), Some("glob")) => glob(pattern.as_bytes(), name.as_bytes()),
            // A regular expression is not looked at: it names workers of somebody else's.
            (Some(_), Some(_)) => false,
            _ => true,
        }
    }

    /// The ids of a `revoke`.
    pub(crate) fn ids(&self) -> Vec<String> {
        let arguments = self.arguments.as_ref();
        let given = arguments.and_then(|arguments| arguments.get("task_id"));
        match given {
            Some(Value::String(id)) => vec![id.clone()],
            Some(Value::Array(ids)) => {
                ids.iter().filter_map(|id| id.as_str().map(str::to_owned)).collect()
            }
            _ => Vec::new(),
        }
    }

    /// An answer on its way to the asker's queue.
    pub(crate) fn reply(&self, name: &str, answer: Value, (to, clock): (&str, u64)) -> Letter {
        let body = Value::Object([(name.to_owned(), answer)].into_iter().collect());
        let headers = json!({"ticket": self.ticket, "clock": clock});
        let tag = format!("{name}:{clock}");
        let exchange = self.reply_to.as_ref().map_or(REPLIES, |to| &to.exchange).to_owned();
        Letter { exchange, routing_key: to.to_owned(), headers, body, tag }
    }
}

/// Whether a text matches a pattern of `*` and `?`.
fn glob(pattern: &[u8], text: &[u8]) -> bool {
    let (mut p, mut t) = (0, 0);
    let mut star: Option<(usize, usize)> = None;
    while t < text.len() {
        if p < pattern.len() && pattern[p] == b'*' {
            star = Some((p, t));
            p += 1;
        } else if p < pattern.len() && (pattern[p] == b'?' || pattern[p] == text[t]) {
            p += 1;
            t += 1;
        } else if let Some((at, from)) = star {
            (p, t) = (at + 1, from + 1);
            star = Some((at, from + 1));
        } else {
            return false;
        }
    }
    pattern[p..].iter().all(|byte| *byte == b'*')
}
