//! What goes to an exchange rather than to a queue of tasks: events, commands and their answers.

use serde_json::Value;

use super::Envelope;

/// JSON for whoever listens at an exchange, whatever the broker.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Letter {
    pub(crate) exchange: String,
    pub(crate) routing_key: String,
    pub(crate) headers: Value,
    pub(crate) body: Value,
    /// What kombu calls it on Redis.
    pub(crate) tag: String,
}

impl Letter {
    /// In the envelope that it has on Redis.
    pub(crate) fn envelope(&self) -> String {
        let to = (self.exchange.as_str(), self.routing_key.as_str());
        Envelope::around(&self.body, self.headers.clone(), to, &self.tag).text()
    }
}
