//! Events of a worker, as Flower and `celery events` hear them. They are not stored anywhere.

use serde_json::{Map, Value};

use super::Envelope;

/// One event, without what every event has.
#[derive(Debug, Clone, PartialEq)]
pub struct Event {
    /// `task-started`, `worker-heartbeat` and so on.
    pub kind: &'static str,
    /// Its own fields.
    pub fields: Map<String, Value>,
}

impl Event {
    pub(crate) fn new(kind: &'static str, fields: Value) -> Self {
        let Value::Object(fields) = fields else { return Self { kind, fields: Map::new() } };
        Self { kind, fields }
    }

    /// The channel's ending, and what is published on it.
    pub(crate) fn published(
        mut self,
        hostname: &str,
        (clock, now): (u64, f64),
    ) -> (String, String) {
        let own = [
            ("type", Value::from(self.kind)),
            ("hostname", Value::from(hostname)),
            ("utcoffset", Value::from(0)),
            ("pid", Value::from(std::process::id())),
            ("clock", Value::from(clock)),
            ("timestamp", Value::from(now)),
        ];
        self.fields.extend(own.map(|(name, value)| (name.to_owned(), value)));
        let routing = self.kind.replacen('-', ".", 1);
        let headers = serde_json::json!({ "hostname": hostname });
        let tag = format!("{hostname}:{clock}");
        let body = Value::Object(self.fields);
        let envelope = Envelope::around(&body, headers, ("celeryev", &routing), &tag);
        (routing, envelope.text())
    }
}
