//! What a call of a Celery task says, as homing stores it.

use std::time::{Duration, SystemTime};

use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

use crate::wire::{Embed, Headers, Message, iso};

/// A call of a Celery task at rest.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub(crate) struct Order {
    pub(crate) task: String,
    pub(crate) args: Vec<Value>,
    pub(crate) kwargs: Map<String, Value>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) queue: Option<String>,
    pub(crate) priority: u8,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) expires: Option<Duration>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) time_limit: Option<Duration>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) lost_after: Option<Duration>,
    pub(crate) terminate: bool,
    pub(crate) resend_lost: u32,
}

impl Order {
    /// The order in the arguments of a task.
    pub(crate) fn of(arguments: &str) -> Option<Self> {
        #[derive(Deserialize)]
        struct Arguments {
            order: Order,
        }
        serde_json::from_str::<Arguments>(arguments).ok().map(|arguments| arguments.order)
    }

    /// The message to Celery, under an id, sent at a time.
    pub(crate) fn message(&self, id: &str, (origin, now): (&str, SystemTime)) -> Message {
        let repr = |value: &Value| crate::wire::repr(value).chars().take(1024).collect::<String>();
        let headers = Headers {
            lang: "py".to_owned(),
            task: self.task.clone(),
            id: id.to_owned(),
            root_id: Some(id.to_owned()),
            expires: self.expires.and_then(|after| Some(iso(now.checked_add(after)?))),
            timelimit: (self.time_limit.map(|limit| limit.as_secs_f64()), None),
            argsrepr: Some(repr(&Value::from(self.args.clone()))),
            kwargsrepr: Some(repr(&Value::from(self.kwargs.clone()))),
            origin: Some(origin.to_owned()),
            // A word of the sender's goes before the task's own `ignore_result=True`.
            ignore_result: Some(false),
            ..Headers::default()
        };
        let (args, kwargs) = (self.args.clone(), self.kwargs.clone());
        Message {
            headers,
            args,
            kwargs,
            embed: Embed::default(),
            priority: self.priority,
            reply_to: None,
        }
    }
}
