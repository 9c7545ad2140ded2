//! Messages that are not taken, and what their senders are told.

/// Why a message is not taken. Its text names what to change in Celery.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum Refused {
    /// What lies in the queue is no message of kombu's.
    #[error("this is no message of kombu's: {reason}")]
    NoEnvelope {
        /// What is wrong with it.
        reason: String,
    },
    /// Another serializer than JSON.
    #[error(
        "homing takes JSON only, and this message is `{content_type}`: set `task_serializer = \"json\"` in the Celery application that sends it{}",
        why(content_type)
    )]
    ContentType {
        /// What it is.
        content_type: String,
    },
    /// Another encoding than UTF-8.
    #[error(
        "homing takes JSON in UTF-8 only, and this message is in `{encoding}`: set `task_serializer = \"json\"` in the Celery application that sends it"
    )]
    Encoding {
        /// What it is.
        encoding: String,
    },
    /// A compressed body.
    #[error(
        "homing takes no compressed messages, and this one is compressed with `{method}`: remove `task_compression` from the Celery application that sends it, or `compression=` from the call"
    )]
    Compressed {
        /// The method.
        method: String,
    },
    /// Celery's first protocol.
    #[error(
        "homing takes Celery's protocol 2 only, and this message is of protocol 1: set `task_protocol = 2` in the Celery application that sends it"
    )]
    Protocol1,
    /// A field of the wrong type.
    #[error("{field} of this message is refused: {reason}")]
    Field {
        /// The field.
        field: &'static str,
        /// What is wrong with it.
        reason: String,
    },
    /// More than homing stores of a task.
    #[error(
        "this message has {bytes} bytes, and homing takes at most {limit}: put the data into a file or a table, and send its name or key"
    )]
    TooLarge {
        /// Its length.
        bytes: usize,
        /// The limit.
        limit: usize,
    },
}

fn why(content_type: &str) -> &'static str {
    match content_type {
        "application/x-python-serialize" => ", since reading a pickle runs code",
        "application/data" => {
            " and remove its `security_*` settings, since homing reads no signed messages"
        }
        _ => "",
    }
}

impl Refused {
    pub(crate) fn field(field: &'static str, reason: impl Into<String>) -> Self {
        Self::Field { field, reason: reason.into() }
    }

    /// The exception that Celery's client is to raise: its type and module.
    pub fn exception(&self) -> (&'static str, &'static str) {
        match self {
            Self::ContentType { .. } | Self::Encoding { .. } | Self::Compressed { .. } => {
                ("ContentDisallowed", "kombu.exceptions")
            }
            Self::NoEnvelope { .. }
            | Self::Protocol1
            | Self::Field { .. }
            | Self::TooLarge { .. } => ("InvalidTaskError", "celery.exceptions"),
        }
    }
}
