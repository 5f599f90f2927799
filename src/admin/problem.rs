//! Errors of the control API: `application/problem+json`, RFC 9457, with a stable `code`.

mod causes;
pub(super) mod kinds;
#[cfg(test)]
mod reference;

use std::time::Duration;

use http::header::{ALLOW, CONTENT_TYPE, ETAG, RETRY_AFTER, WWW_AUTHENTICATE};
use http::{HeaderValue, Response, StatusCode};

use self::kinds::{
    BAD_REQUEST, BODY_TOO_LARGE, DEADLINE_EXCEEDED, INTERNAL, INVALID_SERVICE_FILE, ITEM_NOT_FOUND, Kind,
    LENGTH_REQUIRED, METHOD_NOT_ALLOWED, NOT_FOUND, SERVICE_NOT_FOUND, UNAUTHORIZED, UNSUPPORTED_MEDIA_TYPE,
};
use super::{Reply, conditions, view};
use crate::api;
use crate::config::{Mistake, Mistakes};
use crate::front::Content;
use crate::queue::QueueName;
use crate::quoted::Quoted;
use crate::storage::Entry;

/// The error that an operator gets.
#[derive(Debug)]
pub(super) struct Problem {
    kind: &'static Kind,
    detail: String,
    /// Boxed, so that a `Result` with a problem is small.
    more: Box<More>,
}

/// The members that few problems have.
#[derive(Debug, Default)]
struct More {
    hint: Option<String>,
    mistakes: Option<Mistakes>,
    /// The frames in which a guest failed, one a line, innermost first.
    stack: String,
    allow: Option<HeaderValue>,
    /// The present revision of a service whose precondition failed, and its latest change.
    overtaken: Option<(u64, Option<Entry>)>,
    /// The service of the problem, if the path does not name it.
    service: Option<String>,
    retry_after: Option<Duration>,
}

impl Problem {
    fn new(kind: &'static Kind, detail: impl Into<String>) -> Self {
        Self { kind, detail: detail.into(), more: Box::default() }
    }

    pub(super) fn with_hint(mut self, hint: impl Into<String>) -> Self {
        self.more.hint = Some(hint.into());
        self
    }

    pub(super) fn about(mut self, service: &str) -> Self {
        self.more.service = Some(service.to_owned());
        self
    }

    pub(super) fn is_about_a_missing_service(&self) -> bool {
        *self.kind == SERVICE_NOT_FOUND
    }

    /// Names the missing service in the detail.
    pub(super) fn naming(self, service: &str) -> Self {
        Self { detail: format!("there is no service {service:?}"), ..self }
    }

    /// Suggests a service that may have been meant.
    pub(super) fn or_meant(self, nearest: &str) -> Self {
        self.with_hint(format!("did you mean {nearest:?}?"))
    }

    pub(super) fn service(&self) -> Option<&str> {
        self.more.service.as_deref()
    }

    pub(super) fn kind(&self) -> &'static Kind {
        self.kind
    }

    #[cfg(test)]
    pub(super) fn detail(&self) -> &str {
        &self.detail
    }

    /// The reason in one sentence, for the log and the audit log. It names wrong keys of a service file, never their
    /// values.
    pub(super) fn reason(&self) -> String {
        let mistakes = self.more.mistakes.iter().flat_map(Mistakes::iter);
        let places: Vec<&str> = mistakes.map(Mistake::path).filter(|path| !path.is_empty()).collect();
        if places.is_empty() { self.detail.clone() } else { format!("{}: {}", self.detail, places.join(", ")) }
    }

    pub(super) fn bad_request(detail: impl Into<String>) -> Self {
        Self::new(&BAD_REQUEST, detail)
    }

    pub(super) fn unauthorized() -> Self {
        Self::new(&UNAUTHORIZED, "the admin token is missing or wrong")
            .with_hint("send `Authorization: Bearer <token>`; the token is in admin.token in the data directory")
    }

    pub(super) fn not_found(path: &str) -> Self {
        let problem = Self::new(&NOT_FOUND, format!("there is nothing at {}", Quoted(path)));
        if path.starts_with("/api/predict/") {
            return problem
                .with_hint("this is the admin listener; services are called at the data listener (--listen)");
        }
        problem.with_hint("/openapi.json lists all paths")
    }

    /// The refusal of an unknown path at a gateway, which has few paths and no document that lists them.
    pub(super) fn not_found_at_a_gateway(path: &str) -> Self {
        Self::new(&NOT_FOUND, format!("there is nothing at {}", Quoted(path))).with_hint(
            "this is the admin listener of a gateway: it has /healthz, /readyz, /metrics and /api/v1/upstreams; services \
             are deployed at a host",
        )
    }

    pub(super) fn artifact_not_found() -> Self {
        Self::new(&NOT_FOUND, "there is no such artifact")
    }

    pub(super) fn no_dead_letter(queue: &QueueName, index: u64) -> Self {
        Self::new(&ITEM_NOT_FOUND, format!("the queue {:?} has no dead letter with index {index}", queue.as_str()))
            .with_hint("`bulkhead queue dead NAME` lists the dead letters")
    }

    /// The refusal of a method. `allow` lists the methods that the path answers.
    pub(super) fn method_not_allowed(allow: &str) -> Self {
        let mut problem = Self::new(&METHOD_NOT_ALLOWED, format!("this path answers {allow}"));
        problem.more.allow = HeaderValue::from_str(allow).ok();
        problem
    }

    pub(super) fn length_required() -> Self {
        Self::new(&LENGTH_REQUIRED, "the upload has no body: it has neither Content-Length nor Transfer-Encoding")
    }

    pub(super) fn body_too_large(limit: usize) -> Self {
        Self::new(&BODY_TOO_LARGE, format!("the body is larger than {limit} bytes"))
    }

    pub(super) fn body_too_slow(limit: Duration) -> Self {
        Self::new(&DEADLINE_EXCEEDED, format!("no more of the body arrived for {} s", limit.as_secs()))
    }

    pub(super) fn unsupported_coding(coding: &str) -> Self {
        let detail =
            format!("the `Content-Encoding` of the body is {}; a JSON body must not be encoded", Quoted(coding));
        Self::new(&UNSUPPORTED_MEDIA_TYPE, detail).with_hint("send it without `Content-Encoding`")
    }

    pub(super) fn unsupported_media_type() -> Self {
        Self::new(&UNSUPPORTED_MEDIA_TYPE, "the `Content-Type` of the body is not JSON")
            .with_hint("send `Content-Type: application/json`")
    }

    fn invalid(mistakes: Mistakes) -> Self {
        let count = mistakes.len();
        let detail = format!("the service file has {count} {}", if count == 1 { "mistake" } else { "mistakes" });
        let mut problem = Self::new(&INVALID_SERVICE_FILE, detail);
        problem.more.mistakes = Some(mistakes);
        problem
    }

    /// A fault of the host. The details are in the log.
    pub(super) fn internal(cause: &dyn std::fmt::Display) -> Self {
        tracing::error!(%cause, "an admin request failed");
        Self::new(&INTERNAL, "the host failed; its log has the reason")
    }

    fn status(&self) -> StatusCode {
        StatusCode::from_u16(self.kind.status).expect("kinds have valid statuses")
    }

    /// The document that is sent (RFC 9457).
    pub(super) fn document(&self) -> api::Problem<'_> {
        let Kind { status, code, .. } = self.kind;
        let title = self.status().canonical_reason().unwrap_or("Unknown");
        let More { hint, mistakes, stack, overtaken, .. } = &*self.more;
        let mistake =
            |mistake: &Mistake| api::Mistake { path: mistake.path().into(), message: mistake.message().into() };
        api::Problem {
            hint: hint.as_deref().map(Into::into),
            errors: mistakes.as_ref().map(|mistakes| mistakes.iter().map(mistake).collect()),
            stack: (!stack.is_empty()).then(|| stack.lines().map(Into::into).collect()),
            etag: overtaken.as_ref().map(|(revision, _)| conditions::tag(*revision)),
            last_change: overtaken.as_ref().map(|(_, last)| last.clone().map(view::audit_entry)),
            ..api::Problem::new(*status, title, code, &self.detail)
        }
    }

    pub(super) fn reply(&self) -> Reply {
        let document = serde_json::to_string(&self.document()).expect("text and numbers are JSON");
        let mut reply = Response::new(Content::Whole(document.into()));
        *reply.status_mut() = self.status();
        let headers = reply.headers_mut();
        headers.insert(CONTENT_TYPE, HeaderValue::from_static("application/problem+json"));
        if self.status() == StatusCode::UNAUTHORIZED {
            headers.insert(WWW_AUTHENTICATE, HeaderValue::from_static("Bearer"));
        }
        if let Some(time) = self.more.retry_after {
            headers.insert(RETRY_AFTER, HeaderValue::from(time.as_millis().div_ceil(1000).max(1) as u64));
        }
        if let Some(overtaken) = &self.more.overtaken {
            headers.insert(ETAG, conditions::tag_header(overtaken.0));
        }
        if let Some(allow) = &self.more.allow {
            headers.insert(ALLOW, allow.clone());
        }
        reply
    }
}
