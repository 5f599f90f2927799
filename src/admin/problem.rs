//! Errors of the control API: `application/problem+json`, RFC 9457, with a stable `code`.

use std::time::Duration;

use http::header::{ALLOW, CONTENT_TYPE, ETAG, RETRY_AFTER, WWW_AUTHENTICATE};
use http::{HeaderValue, Response, StatusCode};
use serde_json::{Map, Value};

use super::operations::MAX_ARTIFACT;
use super::{Reply, conditions};
use crate::auth::Denied;
use crate::config::Mistakes;
use crate::front::{Content, HeadFault, of_a_head};
use crate::incoming::Broken;
use crate::problem::ErrorMember;
use crate::quoted::Quoted;
use crate::registry::ChangeError;
use crate::storage::{Entry, StorageError};

/// A kind of refusal: its status, its name for programs, and what it means.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Kind {
    pub(super) status: u16,
    pub(super) code: &'static str,
    pub(super) means: &'static str,
}

const fn kind(status: u16, code: &'static str, means: &'static str) -> Kind {
    Kind { status, code, means }
}

pub(super) static BAD_REQUEST: Kind = kind(400, "bad_request", "The query, a header or the body is not as expected.");
pub(super) static INVALID_SERVICE_FILE: Kind =
    kind(400, "invalid_service_file", "The service file has mistakes; `errors` names all of them.");
pub(super) static PROCESSOR_REFUSED: Kind =
    kind(400, "processor_refused", "The processor cannot be compiled, or its `initialize` failed.");
pub(super) static ARTIFACT_MISMATCH: Kind =
    kind(400, "artifact_mismatch", "The upload does not hash to the name it was given.");
pub(super) static UNAUTHORIZED: Kind = kind(401, "unauthorized", "The admin token is missing or wrong.");
pub(super) static NOT_FOUND: Kind = kind(404, "not_found", "There is no such thing.");
pub(super) static SERVICE_NOT_FOUND: Kind = kind(404, "service_not_found", "There is no service of that name.");
pub(super) static METHOD_NOT_ALLOWED: Kind =
    kind(405, "method_not_allowed", "The path does not answer this method; `Allow` names those it does.");
pub(super) static SERVICE_EXISTS: Kind = kind(409, "service_exists", "A service of that name exists.");
pub(super) static ARTIFACT_MISSING: Kind =
    kind(409, "artifact_missing", "A file that the service needs has not been uploaded.");
pub(super) static ARTIFACT_DAMAGED: Kind = kind(
    409,
    "artifact_damaged",
    "A file that the service needs has changed on the host's disk since it was uploaded; upload it again.",
);
pub(super) static SERVICE_IS_PUBLIC: Kind =
    kind(409, "service_is_public", "Anybody may call the service: it has no token.");
pub(super) static TWO_TOKENS: Kind =
    kind(409, "two_tokens", "The token before is still accepted; a rotation would leave a third one behind.");
pub(super) static NOT_RUNNING: Kind = kind(409, "not_running", "The service would have to be running for this.");
pub(super) static INSTANCE_NOT_FOUND: Kind = kind(404, "instance_not_found", "The service has no such instance.");
pub(super) static VERSION_NOT_FOUND: Kind =
    kind(404, "version_not_found", "There is no such version, or it is not kept any more.");
pub(super) static VERSION_INCOMPLETE: Kind =
    kind(409, "version_incomplete", "A file of that version is gone or damaged.");
pub(super) static CANARY_UNDER_WAY: Kind =
    kind(409, "canary_under_way", "A version is being tried on a share of the requests; end that first.");
pub(super) static NO_ROOM: Kind = kind(409, "no_room", "The host has no room for as many guests as the service needs.");
pub(super) static NO_CANARY: Kind = kind(409, "no_canary", "No version is being tried on a share of the requests.");
pub(super) static NO_SHARE: Kind =
    kind(409, "no_share", "The service has no canary and is in no group: there is no share to set.");
pub(super) static NAME_TAKEN: Kind =
    kind(409, "name_taken", "A service and a group would have the same name, and so the same URL.");
pub(super) static MIRROR_REFUSED: Kind =
    kind(409, "mirror_refused", "There is no other service of that name to copy requests to.");
pub(super) static CANARY_TOKEN: Kind =
    kind(409, "canary_token", "The new version would have another token than the one that it is tried beside.");
pub(super) static CHANGE_CONFLICT: Kind = kind(
    409,
    "change_conflict",
    "Somebody else changed the service at the same moment, such as another host; nothing was changed.",
);
pub(super) static LENGTH_REQUIRED: Kind = kind(411, "length_required", "The upload has no body.");
pub(super) static PRECONDITION_FAILED: Kind = kind(
    412,
    "precondition_failed",
    "The service is not at a revision that `If-Match` names, or is at one that `If-None-Match` names; `etag` is its present \
     tag, `last_change` who changed it.",
);
pub(super) static BODY_TOO_LARGE: Kind = kind(413, "body_too_large", "The body is larger than it may be.");
pub(super) static UNSUPPORTED_MEDIA_TYPE: Kind = kind(
    415,
    "unsupported_media_type",
    "The body's `Content-Type` is not `application/json`, or it has a `Content-Encoding`.",
);
pub(super) static RATE_LIMITED: Kind = kind(
    429,
    "rate_limited",
    "Too many wrong tokens came from this address; `Retry-After` says when it may try again.",
);
pub(super) static INTERNAL: Kind = kind(500, "internal", "A fault of the host's own; its log knows more.");
pub(super) static OUTCOME_UNKNOWN: Kind =
    kind(500, "outcome_unknown", "The disk failed at the end of a change, and whether it was made is not known.");
pub(super) static DEADLINE_EXCEEDED: Kind =
    kind(408, "deadline_exceeded", "The head or the body did not arrive in time.");
pub(super) static TARGET_TOO_LONG: Kind = kind(414, "target_too_long", "The request target is too long.");
pub(super) static EXPECTATION_FAILED: Kind = kind(417, "expectation_failed", "`Expect` asks for something unknown.");
pub(super) static HEADERS_TOO_LARGE: Kind = kind(431, "headers_too_large", "The headers are too many or too large.");
pub(super) static NOT_IMPLEMENTED: Kind = kind(501, "not_implemented", "The method or the transfer coding is unknown.");
pub(super) static VERSION_NOT_SUPPORTED: Kind =
    kind(505, "http_version_not_supported", "The request is in a version of HTTP that is not spoken here.");
pub(super) static STORAGE_FULL: Kind = kind(507, "storage_full", "The disk of the data directory is full.");

/// What whoever needs the token can always be told.
pub(super) static OF_EVERY_OPERATION: &[&Kind] =
    &[&BAD_REQUEST, &UNAUTHORIZED, &METHOD_NOT_ALLOWED, &RATE_LIMITED, &INTERNAL];
/// The kinds of refusal for a faulty head, which precede routing.
static OF_A_HEAD: &[&Kind] = &[
    &BAD_REQUEST,
    &DEADLINE_EXCEEDED,
    &TARGET_TOO_LONG,
    &EXPECTATION_FAILED,
    &HEADERS_TOO_LARGE,
    &NOT_IMPLEMENTED,
    &VERSION_NOT_SUPPORTED,
];
/// What a JSON body can be refused for.
pub(super) static OF_A_BODY: &[&Kind] = &[&DEADLINE_EXCEEDED, &BODY_TOO_LARGE, &UNSUPPORTED_MEDIA_TYPE];
/// What can keep a change from being kept.
pub(super) static OF_A_CHANGE: &[&Kind] = &[&PRECONDITION_FAILED, &CHANGE_CONFLICT, &OUTCOME_UNKNOWN, &STORAGE_FULL];

/// What an operator is told when something cannot be done.
#[derive(Debug)]
pub(super) struct Problem {
    kind: &'static Kind,
    detail: String,
    /// Apart, so that a result is small where it is none of these.
    more: Box<More>,
}

/// What few problems have.
#[derive(Debug, Default)]
struct More {
    hint: Option<String>,
    errors: Option<Value>,
    allow: Option<HeaderValue>,
    /// The present revision of a service that is not as its operator saw it, and its latest change.
    overtaken: Option<(u64, Option<Entry>)>,
    /// The service that it is about, where that is not said by the path.
    service: Option<String>,
    retry_after: Option<Duration>,
}

impl Problem {
    fn new(kind: &'static Kind, detail: impl Into<String>) -> Self {
        Self { kind, detail: detail.into(), more: Box::default() }
    }

    fn with_hint(mut self, hint: impl Into<String>) -> Self {
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
        let errors = self.more.errors.as_ref().and_then(Value::as_array);
        let places: Vec<&str> = errors
            .into_iter()
            .flatten()
            .filter_map(|error| error["path"].as_str())
            .filter(|path| !path.is_empty())
            .collect();
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

    /// A gateway has few paths, and no document that lists them.
    pub(super) fn not_found_at_a_gateway(path: &str) -> Self {
        Self::new(&NOT_FOUND, format!("there is nothing at {}", Quoted(path))).with_hint(
            "this is the admin listener of a gateway: it has /healthz, /readyz, /metrics and /api/v1/upstreams; services \
             are deployed at a host",
        )
    }

    pub(super) fn artifact_not_found() -> Self {
        Self::new(&NOT_FOUND, "there is no such artifact")
    }

    /// `allow` lists the methods that the path answers.
    pub(super) fn method_not_allowed(allow: &str) -> Self {
        let mut problem = Self::new(&METHOD_NOT_ALLOWED, format!("this path answers {allow}"));
        problem.more.allow = HeaderValue::from_str(allow).ok();
        problem
    }

    pub(super) fn length_required() -> Self {
        Self::new(&LENGTH_REQUIRED, "an upload has a body, and says how long it is")
    }

    pub(super) fn body_too_large(limit: usize) -> Self {
        Self::new(&BODY_TOO_LARGE, format!("the body is larger than {limit} bytes"))
    }

    pub(super) fn body_too_slow(limit: Duration) -> Self {
        Self::new(&DEADLINE_EXCEEDED, format!("nothing more of the body came for {} s", limit.as_secs()))
    }

    pub(super) fn unsupported_coding(coding: &str) -> Self {
        let detail = format!("the body is said to be in the coding {}; a JSON body here is plain", Quoted(coding));
        Self::new(&UNSUPPORTED_MEDIA_TYPE, detail).with_hint("send it without `Content-Encoding`")
    }

    pub(super) fn unsupported_media_type() -> Self {
        Self::new(&UNSUPPORTED_MEDIA_TYPE, "the body is said to be something other than JSON")
            .with_hint("send `Content-Type: application/json`")
    }

    fn invalid(mistakes: &Mistakes) -> Self {
        let count = mistakes.len();
        let detail = format!("the service file has {count} {}", if count == 1 { "mistake" } else { "mistakes" });
        let mut problem = Self::new(&INVALID_SERVICE_FILE, detail);
        problem.more.errors = serde_json::to_value(mistakes).ok();
        problem
    }

    /// A fault of the host's own: the log has the details.
    pub(super) fn internal(cause: &dyn std::fmt::Display) -> Self {
        tracing::error!(%cause, "an admin request failed");
        Self::new(&INTERNAL, "the host failed; its log knows why")
    }

    fn status(&self) -> StatusCode {
        StatusCode::from_u16(self.kind.status).expect("kinds have valid statuses")
    }

    pub(super) fn body(&self) -> Value {
        let status = self.status();
        let mut body = Map::new();
        body.insert("type".into(), "about:blank".into());
        body.insert("title".into(), status.canonical_reason().unwrap_or("Unknown").into());
        body.insert("status".into(), status.as_u16().into());
        body.insert("detail".into(), self.detail.as_str().into());
        body.insert("code".into(), self.kind.code.into());
        if let Some(hint) = &self.more.hint {
            body.insert("hint".into(), hint.as_str().into());
        }
        if let Some(errors) = &self.more.errors {
            body.insert("errors".into(), Value::clone(errors));
        }
        if let Some(overtaken) = &self.more.overtaken {
            body.insert("etag".into(), conditions::tag(overtaken.0).into());
            body.insert("last_change".into(), serde_json::to_value(&overtaken.1).unwrap_or_default());
        }
        let error = ErrorMember::new(self.kind.status, self.kind.code, &self.detail);
        body.insert("error".into(), serde_json::to_value(error).unwrap_or_default());
        Value::Object(body)
    }

    pub(super) fn reply(&self) -> Reply {
        let mut reply = Response::new(Content::Whole(self.body().to_string().into()));
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

impl From<Denied> for Problem {
    fn from(denied: Denied) -> Self {
        let failures = match denied {
            Denied::Unauthorized(_) => return Self::unauthorized(),
            Denied::TooManyFailures(failures) => failures,
        };
        let mut problem = Self::new(&RATE_LIMITED, "too many wrong admin tokens came from this address");
        problem.more.retry_after = Some(failures.retry_after);
        problem
    }
}

impl From<HeadFault> for Problem {
    fn from(fault: HeadFault) -> Self {
        let (status, code, detail) = of_a_head(fault);
        if code == BODY_TOO_LARGE.code {
            // The front's sentence speaks of a service's limit, so it is replaced.
            return Self::body_too_large(usize::try_from(MAX_ARTIFACT).unwrap_or(usize::MAX));
        }
        let is_it = |kind: &&&Kind| (kind.status, kind.code) == (status, code);
        Self::new(OF_A_HEAD.iter().find(is_it).copied().unwrap_or(&BAD_REQUEST), detail)
    }
}

impl From<Broken> for Problem {
    fn from(broken: Broken) -> Self {
        Self::bad_request(broken.to_string())
    }
}

impl From<ChangeError> for Problem {
    fn from(error: ChangeError) -> Self {
        match error {
            ChangeError::Overtaken { revision, last } => {
                let reason = ChangeError::Overtaken { revision, last: last.clone() }.reason();
                let mut problem = Self::new(&PRECONDITION_FAILED, reason)
                    .with_hint("look at the service as it is now, and decide anew");
                problem.more.overtaken = Some((revision, last.map(|entry| *entry)));
                problem
            }
            ChangeError::Excluded { revision, ref last } => {
                let mut problem = Self::new(&PRECONDITION_FAILED, error.reason());
                problem.more.overtaken = Some((revision, last.as_deref().cloned()));
                problem
            }
            ChangeError::Exists { .. } => Self::new(&SERVICE_EXISTS, error.reason())
                .with_hint("change it with `bulkhead modify`, or delete it first"),
            ChangeError::NotFound => {
                Self::new(&SERVICE_NOT_FOUND, error.reason()).with_hint("`bulkhead list` shows the services there are")
            }
            ChangeError::Invalid(mistakes) => Self::invalid(&mistakes),
            ChangeError::Public => Self::new(&SERVICE_IS_PUBLIC, error.reason())
                .with_hint("`bulkhead modify NAME -D token=…` gives it one"),
            ChangeError::TwoTokens => Self::new(&TWO_TOKENS, error.reason())
                .with_hint("move its callers over, then retire it: `bulkhead token NAME --retire`"),
            ChangeError::NotRunning(_) => {
                Self::new(&NOT_RUNNING, error.reason()).with_hint("bring it up with `bulkhead start`")
            }
            ChangeError::NoInstance { .. } => Self::new(&INSTANCE_NOT_FOUND, error.reason()),
            ChangeError::NoSuchVersion { .. } => Self::new(&VERSION_NOT_FOUND, error.reason())
                .with_hint("`bulkhead version NAME` lists the versions that are kept"),
            ChangeError::VersionIncomplete { .. } => Self::new(&VERSION_INCOMPLETE, error.reason())
                .with_hint("deploy it anew with `bulkhead modify`, which uploads its files"),
            ChangeError::CanaryUnderWay(_) => Self::new(&CANARY_UNDER_WAY, error.reason())
                .with_hint("end it first: `bulkhead release NAME --weight 100` makes it current, `--abort` drops it"),
            ChangeError::NoCanary => {
                Self::new(&NO_CANARY, error.reason()).with_hint("`bulkhead modify NAME … --canary WEIGHT` deploys one")
            }
            ChangeError::NoShare => Self::new(&NO_SHARE, error.reason())
                .with_hint("`bulkhead modify NAME … --canary WEIGHT` deploys a canary; `metadata.group` names a group"),
            ChangeError::GroupOfThatName { .. } | ChangeError::GroupNamedLikeService { .. } => {
                Self::new(&NAME_TAKEN, error.reason()).with_hint("give one of the two another name")
            }
            ChangeError::MirrorsItself | ChangeError::NoMirrorTarget { .. } => {
                Self::new(&MIRROR_REFUSED, error.reason()).with_hint("`bulkhead list` shows the services there are")
            }
            ChangeError::CanaryToken => {
                Self::new(&CANARY_TOKEN, error.reason()).with_hint("change the token without --canary, before or after")
            }
            ChangeError::BadWeight { .. } => Self::new(&BAD_REQUEST, error.reason()),
            ChangeError::Refused { reason, stack } => {
                let problem = Self::new(&PROCESSOR_REFUSED, reason);
                if stack.is_empty() { problem } else { problem.with_hint(format!("it failed in:\n{stack}")) }
            }
            ChangeError::NoRoom(reason) => Self::new(&NO_ROOM, reason).with_hint(
                "lower metadata.instance or metadata.rpc.worker_threads, or stop another service".to_owned(),
            ),
            ChangeError::Storage(error) => error.into(),
            ChangeError::Internal(cause) => Self::internal(&cause),
        }
    }
}

impl From<StorageError> for Problem {
    fn from(error: StorageError) -> Self {
        let told = error.to_string();
        if error.is_over_file_limit() {
            return Self::new(&STORAGE_FULL, "a file would be larger than the host may make one")
                .with_hint("the host was started with that limit: `ulimit -f`, or LimitFSIZE= of a systemd unit");
        }
        if error.is_full() {
            return Self::new(&STORAGE_FULL, "the disk of the data directory is full")
                .with_hint("free some space and try again; what is deployed goes on serving");
        }
        match error {
            StorageError::Missing { sha256 } => {
                Self::new(&ARTIFACT_MISSING, told).with_hint(format!("PUT /api/v1/artifacts/{sha256}"))
            }
            StorageError::Damaged { sha256, .. } => Self::new(&ARTIFACT_DAMAGED, told).with_hint(format!(
                "`bulkhead modify NAME -s FILE` sends it anew, and so does PUT /api/v1/artifacts/{sha256}"
            )),
            StorageError::BadModel { .. } => Self::new(&BAD_REQUEST, told),
            StorageError::WrongDigest { .. } => Self::new(&ARTIFACT_MISMATCH, told),
            StorageError::TooLarge { .. } => Self::new(&BODY_TOO_LARGE, told),
            StorageError::Conflict { .. } => Self::new(&CHANGE_CONFLICT, told)
                .with_hint("look at the service as it is now, and make the change again"),
            StorageError::Io { source, .. } => Self::internal(&format!("{told}: {source}")),
            StorageError::Unknown { ref source, .. } => {
                tracing::error!(error = source.with_source(), "{told}");
                Self::new(&OUTCOME_UNKNOWN, told).with_hint(
                    "what was deployed before goes on serving until then; make the change again once the disk is well",
                )
            }
            StorageError::Database(source) => Self::internal(&format!("{told}: {source}")),
            StorageError::DatabaseDamaged { .. }
            | StorageError::DatabaseLost { .. }
            | StorageError::DatabaseChanged { .. }
            | StorageError::DatabaseThere { .. }
            | StorageError::BadRange { .. } => Self::internal(&told),
            StorageError::Record { source, .. } => Self::internal(&format!("{told}: {source}")),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_faulty_head_is_told_what_a_caller_of_the_data_listener_is_told() {
        for (fault, status) in [
            (HeadFault::Malformed("there are two Host headers"), 400),
            (HeadFault::Slow, 408),
            (HeadFault::TargetTooLong, 414),
            (HeadFault::ExpectationUnknown, 417),
            (HeadFault::HeadTooLarge, 431),
            (HeadFault::NotImplemented("x"), 501),
            (HeadFault::VersionNotSupported, 505),
        ] {
            let problem = Problem::from(fault);
            let (known, code, detail) = of_a_head(fault);
            assert_eq!((problem.kind.status, problem.kind.code, problem.detail), (known, code, detail), "{fault:?}");
            assert_eq!(known, status, "{fault:?}");
        }
    }
}
