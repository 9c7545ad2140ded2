//! Input that is refused at the door.

/// Input refused at the door: names the field, changes nothing.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum Invalid {
    /// Something is too long.
    #[error("{field} has {length} bytes, at most {limit} are allowed{hint}")]
    TooLong {
        /// The field.
        field: String,
        /// Its length.
        length: usize,
        /// The limit.
        limit: usize,
        /// What to do.
        hint: &'static str,
    },
    /// A value is nested too deeply: it could be written, but not read again.
    #[error(
        "{field} is nested {} levels deep, at most {limit} are allowed: keep it flatter, or pass a part of it as text",
        depth.map_or_else(|| format!("more than {}", crate::limits::DEPTH_MEASURED), |depth| depth.to_string())
    )]
    TooDeep {
        /// The field.
        field: String,
        /// Its depth; `None` if nobody could measure it without using up the stack.
        depth: Option<usize>,
        /// The limit.
        limit: usize,
    },
    /// Something is empty.
    #[error("{field} is empty")]
    Empty {
        /// The field.
        field: &'static str,
    },
    /// Too many of something.
    #[error("{count} {field} were given, at most {limit} are allowed")]
    TooMany {
        /// The field.
        field: &'static str,
        /// How many.
        count: usize,
        /// The limit.
        limit: usize,
    },
    /// An argument the kind does not have.
    #[error("there is no argument `{name}`: {reason}")]
    Argument {
        /// The argument.
        name: String,
        /// What there is.
        reason: String,
    },
    /// A value that the body does not take, as far as is known of its type.
    #[error("{field} is refused: {reason}")]
    Mismatch {
        /// What it is.
        field: String,
        /// What the body takes.
        reason: String,
    },
    /// A value that JSON cannot hold.
    #[error("{field} cannot be written as JSON: {reason}")]
    NotJson {
        /// The field.
        field: String,
        /// What the encoder said.
        reason: String,
    },
    /// A character or number that is not allowed.
    #[error("{field} is `{value}`: {reason}")]
    Value {
        /// The field.
        field: &'static str,
        /// The value.
        value: String,
        /// What is allowed.
        reason: &'static str,
    },
}
