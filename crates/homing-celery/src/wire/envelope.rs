//! The envelope in which kombu puts a message on Redis: one JSON object, the body in base64.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value, json};

use super::{Message, Refused};

/// A message in its envelope.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub struct Envelope {
    /// The body, in the encoding that the properties name.
    pub body: String,
    /// The body's encoding.
    #[serde(default)]
    pub content_encoding: Option<String>,
    /// The body's type.
    #[serde(default)]
    pub content_type: Option<String>,
    /// The headers.
    #[serde(default)]
    pub headers: Value,
    /// What the broker needs to know.
    pub properties: Properties,
}

/// What the broker needs to know of a message.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct Properties {
    /// How the body was made text.
    #[serde(default)]
    pub body_encoding: Option<String>,
    /// Where it was sent.
    #[serde(default)]
    pub delivery_info: Delivery,
    /// What kombu calls it while it is not acknowledged.
    #[serde(default)]
    pub delivery_tag: Value,
    /// 0 to 9. On Redis 0 goes first.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub priority: Option<i64>,
    /// All else: `correlation_id`, `reply_to`, `delivery_mode`, `expiration`.
    #[serde(flatten)]
    pub others: Map<String, Value>,
}

/// Where a message was sent.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct Delivery {
    /// The exchange; empty for a queue by its name.
    #[serde(default)]
    pub exchange: String,
    /// The queue.
    #[serde(default)]
    pub routing_key: String,
    /// All else: `redelivered`.
    #[serde(flatten)]
    pub others: Map<String, Value>,
}

impl Envelope {
    /// An envelope as it lies in a list.
    ///
    /// # Errors
    /// It is none.
    pub fn read(text: &[u8]) -> Result<Self, Refused> {
        serde_json::from_slice(text)
            .map_err(|error| Refused::NoEnvelope { reason: error.to_string() })
    }

    /// An envelope around JSON, for a queue or, with an exchange, for a channel.
    pub(crate) fn around(
        body: &Value,
        headers: Value,
        (exchange, routing_key): (&str, &str),
        tag: &str,
    ) -> Self {
        let delivery_info = Delivery {
            exchange: exchange.to_owned(),
            routing_key: routing_key.to_owned(),
            others: Map::new(),
        };
        let others = json!({"delivery_mode": 2});
        let properties = Properties {
            body_encoding: Some("base64".to_owned()),
            delivery_info,
            delivery_tag: Value::from(tag),
            priority: Some(0),
            others: others.as_object().cloned().unwrap_or_default(),
        };
        Self {
            body: STANDARD.encode(body.to_string()),
            content_encoding: Some("utf-8".to_owned()),
            content_type: Some("application/json".to_owned()),
            headers,
            properties,
        }
    }

    /// A task's message in an envelope for a queue.
    pub fn of(message: &Message, queue: &str) -> Self {
        let id = &message.headers.id;
        let (body, headers) = (message.body(), message.header_values());
        let mut envelope = Self::around(&body, headers, ("", queue), id);
        envelope.properties.priority = Some(message.priority.into());
        envelope.properties.others.insert("correlation_id".to_owned(), Value::from(id.as_str()));
        envelope
    }

    /// As it is put into a list.
    pub fn text(&self) -> String {
        // Of texts, numbers and maps with text keys: there is nothing that could fail.
        serde_json::to_string(self).unwrap_or_default()
    }

    /// The body's bytes.
    ///
    /// # Errors
    /// Another type than JSON, another encoding, a compressed body, text that is not in base64.
    pub fn bytes(&self) -> Result<Vec<u8>, Refused> {
        take(self.content_type.as_deref(), self.content_encoding.as_deref(), &self.headers)?;
        match self.properties.body_encoding.as_deref() {
            None => Ok(self.body.clone().into_bytes()),
            Some("base64") => STANDARD
                .decode(&self.body)
                .map_err(|error| Refused::field("the body", format!("it is no base64 ({error})"))),
            Some(other) => {
                let reason = format!("homing knows base64, not `{}`", shown(other));
                Err(Refused::field("the property `body_encoding`", reason))
            }
        }
    }

    /// The task's message in it.
    ///
    /// # Errors
    /// As [`bytes`](Self::bytes) and [`Message::read`].
    pub fn message(&self) -> Result<Message, Refused> {
        let (bytes, limit) = (self.body.len(), homing::limits::PAYLOAD);
        if bytes / 4 * 3 > limit {
            return Err(Refused::TooLarge { bytes: bytes / 4 * 3, limit });
        }
        let priority = self.properties.priority.unwrap_or(0).clamp(0, 9);
        Message::read(self.headers.clone(), &self.bytes()?, priority as u8)
    }
}

/// Whether a body of this type, in this encoding and with these headers is one that is read.
pub(crate) fn take(
    content_type: Option<&str>,
    encoding: Option<&str>,
    headers: &Value,
) -> Result<(), Refused> {
    let content_type = content_type.unwrap_or("application/json");
    if content_type != "application/json" {
        return Err(Refused::ContentType { content_type: shown(content_type) });
    }
    if let Some(encoding) = encoding
        && !["utf-8", "us-ascii"].contains(&encoding.to_ascii_lowercase().as_str())
    {
        return Err(Refused::Encoding { encoding: shown(encoding) });
    }
    if let Some(method) = headers.get("compression").filter(|method| !method.is_null()) {
        let method = shown(method.as_str().unwrap_or("?"));
        return Err(Refused::Compressed { method });
    }
    Ok(())
}

/// A foreign word as it may stand in a sentence.
pub(super) fn shown(text: &str) -> String {
    text.chars().filter(|c| !c.is_control()).take(80).collect()
}
