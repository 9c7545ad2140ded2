//! Events of a worker, as Flower and `celery events` hear them. They are not stored anywhere.

use serde_json::{Map, Value};

use super::Letter;

/// The exchange of events.
pub(crate) const EVENTS: &str = "celeryev";

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

    /// With what every event has.
    fn whole(mut self, hostname: &str, (clock, now): (u64, f64)) -> Value {
        let own = [
            ("type", Value::from(self.kind)),
            ("hostname", Value::from(hostname)),
            ("utcoffset", Value::from(0)),
            ("pid", Value::from(std::process::id())),
            ("clock", Value::from(clock)),
            ("timestamp", Value::from(now)),
        ];
        self.fields.extend(own.map(|(name, value)| (name.to_owned(), value)));
        Value::Object(self.fields)
    }

    /// Events of one group, `task` or `worker`, as they are published: one alone, or a list.
    pub(crate) fn letter(
        events: Vec<Self>,
        hostname: &str,
        mut tick: impl FnMut() -> (u64, f64),
    ) -> Option<Letter> {
        let kind = events.first()?.kind;
        let (group, name) = kind.split_once('-').unwrap_or((kind, ""));
        let name = if events.len() == 1 { name } else { "multi" };
        let routing_key = format!("{group}.{name}");
        let mut clock = 0;
        let whole = |event: Self| {
            let now = tick();
            clock = now.0;
            event.whole(hostname, now)
        };
        let mut all: Vec<Value> = events.into_iter().map(whole).collect();
        let body = if all.len() == 1 { all.remove(0) } else { Value::Array(all) };
        let headers = serde_json::json!({ "hostname": hostname });
        let tag = format!("{hostname}:{clock}");
        Some(Letter { exchange: EVENTS.to_owned(), routing_key, headers, body, tag })
    }
}
