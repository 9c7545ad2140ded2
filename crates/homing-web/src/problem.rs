//! What went wrong, once for people and once for programs: a page with a hint, or `application/problem+json`.

use axum::Json;
use axum::http::StatusCode;
use axum::response::{IntoResponse, Response};
use homing::{AmendError, FindError, InvalidId, RemoveError, RetryError, StoreError, SubmitError};
use serde_json::json;

/// What a handler returns.
pub(crate) type Result<T, E = Refusal> = std::result::Result<T, E>;

/// Why a request was not answered. Nothing was changed.
#[derive(Debug, Clone)]
pub(crate) struct Refusal {
    pub(crate) status: StatusCode,
    /// A stable word; where the command has an exit code for it, that of `docs/guides/operating.md`.
    pub(crate) word: &'static str,
    /// What happened.
    pub(crate) detail: String,
    /// What to do.
    pub(crate) hint: Option<String>,
}

impl Refusal {
    pub(crate) fn new(status: StatusCode, word: &'static str, detail: impl Into<String>) -> Self {
        Self { status, word, detail: detail.into(), hint: None }
    }

    pub(crate) fn hint(self, hint: impl Into<String>) -> Self {
        Self { hint: Some(hint.into()), ..self }
    }

    /// An input is wrong.
    pub(crate) fn usage(detail: impl Into<String>) -> Self {
        Self::new(StatusCode::BAD_REQUEST, "usage", detail)
    }

    /// There was nothing to do.
    pub(crate) fn conflict(detail: impl Into<String>) -> Self {
        Self::new(StatusCode::CONFLICT, "no", detail)
    }

    /// The request is not let through.
    pub(crate) fn forbidden(detail: impl Into<String>) -> Self {
        Self::new(StatusCode::FORBIDDEN, "forbidden", detail)
    }

    /// There is no such page.
    pub(crate) fn nowhere() -> Self {
        Self::new(StatusCode::NOT_FOUND, "unknown", "there is nothing at this address")
    }

    /// The problem document.
    pub(crate) fn document(&self) -> Response {
        let title = self.status.canonical_reason().unwrap_or("refused");
        let document = json!({
            "type": format!("urn:homing:{}", self.word),
            "title": title,
            "status": self.status.as_u16(),
            "detail": self.detail,
            "hint": self.hint,
        });
        let kind = [("content-type", "application/problem+json")];
        (self.status, kind, Json(document).into_response().into_body()).into_response()
    }
}

/// The guard makes a page or a document of it: it knows who asked, and how.
impl IntoResponse for Refusal {
    fn into_response(self) -> Response {
        let mut response = self.status.into_response();
        response.extensions_mut().insert(self);
        response
    }
}

impl From<StoreError> for Refusal {
    fn from(error: StoreError) -> Self {
        let unknown = matches!(error, StoreError::Unknown { .. });
        let text = error.to_string();
        if unknown {
            return Self::new(StatusCode::NOT_FOUND, "unknown", text)
                .hint("the list of jobs has those that the store knows");
        }
        if error.is_transient() {
            return Self::new(StatusCode::SERVICE_UNAVAILABLE, "store", text)
                .hint("it may pass by itself: ask again in a moment");
        }
        Self::new(StatusCode::INTERNAL_SERVER_ERROR, "store", text)
    }
}

impl From<FindError> for Refusal {
    fn from(error: FindError) -> Self {
        match error {
            FindError::Store(error) => error.into(),
            FindError::Ambiguous { .. } => {
                Self::usage(error.to_string()).hint("give more of its digits")
            }
            error => Self::new(StatusCode::NOT_FOUND, "unknown", error.to_string())
                .hint("the list of jobs has those that the store knows"),
        }
    }
}

impl From<InvalidId> for Refusal {
    fn from(error: InvalidId) -> Self {
        Self::usage(error.to_string())
    }
}

impl From<SubmitError> for Refusal {
    fn from(error: SubmitError) -> Self {
        match error {
            SubmitError::Store(error) => error.into(),
            SubmitError::Conflict { .. } => Self::conflict(error.to_string()),
            SubmitError::UnknownKind { .. } => Self::usage(error.to_string())
                .hint("start a worker that registers it, or say `force`"),
            error => Self::usage(error.to_string()),
        }
    }
}

impl From<RetryError> for Refusal {
    fn from(error: RetryError) -> Self {
        match error {
            RetryError::Store(error) => error.into(),
            error => Self::conflict(error.to_string()),
        }
    }
}

impl From<AmendError> for Refusal {
    fn from(error: AmendError) -> Self {
        match error {
            AmendError::Store(error) => error.into(),
            AmendError::Refused(error) => error.into(),
            error => Self::conflict(error.to_string()),
        }
    }
}

impl From<RemoveError> for Refusal {
    fn from(error: RemoveError) -> Self {
        match error {
            RemoveError::Store(error) => error.into(),
            error => Self::conflict(error.to_string()),
        }
    }
}
