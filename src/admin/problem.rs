//! Errors of the control API: `application/problem+json`, RFC 9457, with a stable `code`.

use std::time::Duration;

use bytes::Bytes;
use http::header::{ALLOW, CONTENT_TYPE, RETRY_AFTER, WWW_AUTHENTICATE};
use http::{HeaderValue, Response, StatusCode};
use http_body_util::{Either, Full};
use serde_json::{Map, Value};

use super::Reply;
use crate::auth::TooManyFailures;
use crate::config::Mistakes;
use crate::registry::ChangeError;
use crate::storage::StorageError;

/// What an operator is told when something cannot be done.
#[derive(Debug)]
pub(super) struct Problem {
    status: StatusCode,
    code: &'static str,
    detail: String,
    hint: Option<String>,
    errors: Option<Box<Value>>,
    allow: Option<&'static str>,
    retry_after: Option<Duration>,
}

impl Problem {
    fn new(status: StatusCode, code: &'static str, detail: impl Into<String>) -> Self {
        Self { status, code, detail: detail.into(), hint: None, errors: None, allow: None, retry_after: None }
    }

    fn with_hint(mut self, hint: impl Into<String>) -> Self {
        self.hint = Some(hint.into());
        self
    }

    pub(super) fn bad_request(detail: impl Into<String>) -> Self {
        Self::new(StatusCode::BAD_REQUEST, "bad_request", detail)
    }

    pub(super) fn unauthorized() -> Self {
        Self::new(StatusCode::UNAUTHORIZED, "unauthorized", "the admin token is missing or wrong")
            .with_hint("send `Authorization: Bearer <token>`; the token is in admin.token in the data directory")
    }

    pub(super) fn not_found(path: &str) -> Self {
        Self::new(StatusCode::NOT_FOUND, "not_found", format!("there is nothing at {path}"))
    }

    pub(super) fn artifact_not_found() -> Self {
        Self::new(StatusCode::NOT_FOUND, "not_found", "there is no such artifact")
    }

    pub(super) fn method_not_allowed(allow: &'static str) -> Self {
        let mut problem =
            Self::new(StatusCode::METHOD_NOT_ALLOWED, "method_not_allowed", format!("this path answers {allow}"));
        problem.allow = Some(allow);
        problem
    }

    pub(super) fn length_required() -> Self {
        Self::new(StatusCode::LENGTH_REQUIRED, "length_required", "an upload has a body, and says how long it is")
    }

    pub(super) fn body_too_large(limit: usize) -> Self {
        Self::new(StatusCode::PAYLOAD_TOO_LARGE, "body_too_large", format!("the body is larger than {limit} bytes"))
    }

    fn invalid(mistakes: &Mistakes) -> Self {
        let count = mistakes.len();
        let detail = format!("the service file has {count} {}", if count == 1 { "mistake" } else { "mistakes" });
        let mut problem = Self::new(StatusCode::BAD_REQUEST, "invalid_service_file", detail);
        problem.errors = serde_json::to_value(mistakes).ok().map(Box::new);
        problem
    }

    /// A fault of the host's own: the log has the details.
    pub(super) fn internal(cause: &dyn std::fmt::Display) -> Self {
        tracing::error!(%cause, "an admin request failed");
        Self::new(StatusCode::INTERNAL_SERVER_ERROR, "internal", "the host failed; its log knows why")
    }

    pub(super) fn body(&self) -> Value {
        let mut body = Map::new();
        body.insert("type".into(), "about:blank".into());
        body.insert("title".into(), self.status.canonical_reason().unwrap_or("Unknown").into());
        body.insert("status".into(), self.status.as_u16().into());
        body.insert("detail".into(), self.detail.as_str().into());
        body.insert("code".into(), self.code.into());
        if let Some(hint) = &self.hint {
            body.insert("hint".into(), hint.as_str().into());
        }
        if let Some(errors) = &self.errors {
            body.insert("errors".into(), Value::clone(errors));
        }
        Value::Object(body)
    }

    pub(super) fn reply(&self) -> Reply {
        let mut reply = Response::new(Either::Left(Full::new(Bytes::from(self.body().to_string()))));
        *reply.status_mut() = self.status;
        let headers = reply.headers_mut();
        headers.insert(CONTENT_TYPE, HeaderValue::from_static("application/problem+json"));
        if self.status == StatusCode::UNAUTHORIZED {
            headers.insert(WWW_AUTHENTICATE, HeaderValue::from_static("Bearer"));
        }
        if let Some(time) = self.retry_after {
            headers.insert(RETRY_AFTER, HeaderValue::from(time.as_millis().div_ceil(1000).max(1) as u64));
        }
        if let Some(allow) = self.allow {
            headers.insert(ALLOW, HeaderValue::from_static(allow));
        }
        reply
    }
}

impl From<TooManyFailures> for Problem {
    fn from(failures: TooManyFailures) -> Self {
        let detail = "too many wrong admin tokens came from this address";
        let mut problem = Self::new(StatusCode::TOO_MANY_REQUESTS, "rate_limited", detail);
        problem.retry_after = Some(failures.retry_after);
        problem
    }
}

impl From<ChangeError> for Problem {
    fn from(error: ChangeError) -> Self {
        match error {
            ChangeError::Exists => Self::new(StatusCode::CONFLICT, "service_exists", error.reason())
                .with_hint("change it with `bulkhead modify`, or delete it first"),
            ChangeError::NotFound => Self::new(StatusCode::NOT_FOUND, "service_not_found", error.reason()),
            ChangeError::Invalid(mistakes) => Self::invalid(&mistakes),
            ChangeError::Public => Self::new(StatusCode::CONFLICT, "service_is_public", error.reason())
                .with_hint("`bulkhead modify NAME -D token=…` gives it one"),
            ChangeError::TwoTokens => Self::new(StatusCode::CONFLICT, "two_tokens", error.reason())
                .with_hint("move its callers over, then retire it: `bulkhead token NAME --retire`"),
            ChangeError::Refused { reason, stack } => {
                let problem = Self::new(StatusCode::BAD_REQUEST, "processor_refused", reason);
                if stack.is_empty() { problem } else { problem.with_hint(format!("it failed in:\n{stack}")) }
            }
            ChangeError::Storage(error) => error.into(),
            ChangeError::Internal(cause) => Self::internal(&cause),
        }
    }
}

impl From<StorageError> for Problem {
    fn from(error: StorageError) -> Self {
        let told = error.to_string();
        if error.is_full() {
            return Self::new(
                StatusCode::INSUFFICIENT_STORAGE,
                "storage_full",
                "the disk of the data directory is full",
            )
            .with_hint("free some space and try again; what is deployed goes on serving");
        }
        match error {
            StorageError::Missing { sha256 } => Self::new(StatusCode::CONFLICT, "artifact_missing", told)
                .with_hint(format!("PUT /api/v1/artifacts/{sha256}")),
            StorageError::WrongDigest { .. } => Self::new(StatusCode::BAD_REQUEST, "artifact_mismatch", told),
            StorageError::TooLarge { .. } => Self::new(StatusCode::PAYLOAD_TOO_LARGE, "body_too_large", told),
            StorageError::Io { source, .. } => Self::internal(&format!("{told}: {source}")),
            StorageError::Unknown { ref source, .. } => {
                tracing::error!(error = source.with_source(), "{told}");
                Self::new(StatusCode::INTERNAL_SERVER_ERROR, "outcome_unknown", told).with_hint(
                    "what was deployed before goes on serving until then; make the change again once the disk is well",
                )
            }
            StorageError::Database(source) => Self::internal(&format!("{told}: {source}")),
            StorageError::Record { source, .. } => Self::internal(&format!("{told}: {source}")),
        }
    }
}
