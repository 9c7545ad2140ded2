//! An order: what is to be submitted, by the name of its kind.

use std::str::FromStr;

use homing::JobId;
use homing_view::words::parse_duration;
use serde::Deserialize;
use serde_json::Value;

use crate::problem::{Refusal, Result};
use crate::site::Cx;

/// What the body of `POST /jobs` has.
#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Order {
    pub(crate) kind: String,
    #[serde(default = "none")]
    pub(crate) arguments: Value,
    pub(crate) id: Option<String>,
    pub(crate) title: Option<String>,
    pub(crate) key: Option<String>,
    pub(crate) queue: Option<String>,
    pub(crate) priority: Option<i16>,
    #[serde(default)]
    pub(crate) tags: Vec<String>,
    pub(crate) delay: Option<String>,
    #[serde(default)]
    pub(crate) force: bool,
}

fn none() -> Value {
    Value::Object(serde_json::Map::new())
}

/// The job's id that a text stands for: a UUID itself, any other the id of that name.
pub(crate) fn id(text: &str) -> JobId {
    JobId::from_str(text).unwrap_or_else(|_| JobId::named(text))
}

impl Order {
    /// Submits it, or finds the job that has its id or key.
    pub(crate) async fn submit(self, cx: &Cx) -> Result<JobId> {
        let mut order = cx.homing().submit_named(&self.kind, &self.arguments);
        if let Some(text) = &self.id {
            order = order.id(id(text));
        }
        if let Some(title) = self.title {
            order = order.title(title);
        }
        if let Some(key) = self.key {
            order = order.key(key);
        }
        if let Some(queue) = self.queue {
            order = order.queue(queue);
        }
        if let Some(priority) = self.priority {
            order = order.priority(priority);
        }
        if !self.tags.is_empty() {
            order = order.tags(self.tags);
        }
        if let Some(delay) = &self.delay {
            let delay = parse_duration(delay)
                .map_err(|hint| Refusal::usage(format!("`delay` is `{delay}`")).hint(hint))?;
            order = order.delay(delay);
        }
        if self.force {
            order = order.force();
        }
        let id = order.await?.id();
        cx.audit("submit", id, &self.kind);
        Ok(id)
    }
}
