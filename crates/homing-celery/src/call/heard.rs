//! What is heard of a task that Celery runs: a result as far as a parent needs it.

use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::wire::{Meta, Raised, Status};

/// The signal that brings it.
pub(crate) const HEARD: &str = "celery";
/// What a signal and a step may carry, the words around it left out.
const LIMIT: usize = homing::limits::PAYLOAD - 1024;

/// What is told of a task's end, and under which id it was sent.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub(crate) struct Word {
    pub(crate) id: String,
    pub(crate) heard: Heard,
}

/// What a result says.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum Heard {
    /// Nothing yet for good: the state.
    Under(String),
    /// A value.
    Value(Value),
    /// An exception, and its traceback.
    Raised(Raised, Option<String>),
    /// It cannot be read, and why.
    Unreadable(String),
}

impl Heard {
    /// Nobody has said anything.
    pub(crate) fn nothing() -> Self {
        Self::Under(Status::Pending.name().to_owned())
    }

    /// What a result backend holds.
    pub(crate) fn read(text: &[u8]) -> Self {
        if text.len() > LIMIT {
            return Self::Unreadable(format!(
                "it is too large, {} bytes of at most {LIMIT}: return the key or the path of what is large",
                text.len()
            ));
        }
        let meta = match Meta::read(text) {
            Ok(meta) => meta,
            Err(why) => return Self::Unreadable(why),
        };
        match meta.status {
            Status::Success => Self::Value(meta.result),
            Status::Failure | Status::Revoked => {
                Self::Raised(Raised::of(&meta.result), meta.traceback)
            }
            Status::Pending | Status::Started | Status::Retry | Status::Custom(_) => {
                Self::Under(meta.status.name().to_owned())
            }
        }
    }

    pub(crate) fn is_final(&self) -> bool {
        match self {
            Self::Under(_) => false,
            Self::Value(_) | Self::Raised(..) | Self::Unreadable(_) => true,
        }
    }
}
