//! The kinds of refusal of the control API: the one table of their statuses and codes.

/// A kind of refusal: its status, its name for programs, and its meaning.
#[derive(Debug, PartialEq, Eq)]
pub(in crate::admin) struct Kind {
    pub(in crate::admin) status: u16,
    pub(in crate::admin) code: &'static str,
    pub(in crate::admin) means: &'static str,
}

const fn kind(status: u16, code: &'static str, means: &'static str) -> Kind {
    Kind { status, code, means }
}

pub(in crate::admin) static BAD_REQUEST: Kind =
    kind(400, "bad_request", "The query, a header or the body is not as expected.");
pub(in crate::admin) static INVALID_SERVICE_FILE: Kind =
    kind(400, "invalid_service_file", "The service file has mistakes; `errors` names all of them.");
pub(in crate::admin) static PROCESSOR_REFUSED: Kind =
    kind(400, "processor_refused", "The processor cannot be compiled, or its `initialize` failed.");
pub(in crate::admin) static ARTIFACT_MISMATCH: Kind =
    kind(400, "artifact_mismatch", "The SHA-256 of the upload is not the one in its path.");
pub(in crate::admin) static UNAUTHORIZED: Kind = kind(401, "unauthorized", "The admin token is missing or wrong.");
pub(in crate::admin) static NOT_FOUND: Kind = kind(404, "not_found", "There is no such path or file.");
pub(in crate::admin) static SERVICE_NOT_FOUND: Kind =
    kind(404, "service_not_found", "There is no service of that name.");
pub(in crate::admin) static METHOD_NOT_ALLOWED: Kind =
    kind(405, "method_not_allowed", "The path does not accept this method; `Allow` lists those that it does.");
pub(in crate::admin) static SERVICE_EXISTS: Kind = kind(409, "service_exists", "A service of that name exists.");
pub(in crate::admin) static ARTIFACT_MISSING: Kind =
    kind(409, "artifact_missing", "A file that the service needs has not been uploaded.");
pub(in crate::admin) static ARTIFACT_DAMAGED: Kind = kind(
    409,
    "artifact_damaged",
    "A file that the service needs has changed on the host's disk since it was uploaded; upload it again.",
);
pub(in crate::admin) static SERVICE_IS_PUBLIC: Kind =
    kind(409, "service_is_public", "The service has no token, and needs none.");
pub(in crate::admin) static TWO_TOKENS: Kind =
    kind(409, "two_tokens", "The previous token is still accepted; retire it before the next rotation.");
pub(in crate::admin) static NOT_RUNNING: Kind = kind(409, "not_running", "Only a running service can do this.");
pub(in crate::admin) static INSTANCE_NOT_FOUND: Kind =
    kind(404, "instance_not_found", "The service has no such instance.");
pub(in crate::admin) static VERSION_NOT_FOUND: Kind =
    kind(404, "version_not_found", "There is no such version, or it is not kept any more.");
pub(in crate::admin) static VERSION_INCOMPLETE: Kind =
    kind(409, "version_incomplete", "A file of that version is gone or damaged.");
pub(in crate::admin) static CANARY_UNDER_WAY: Kind =
    kind(409, "canary_under_way", "The service has a canary; make it current or drop it first.");
pub(in crate::admin) static NO_ROOM: Kind =
    kind(409, "no_room", "The host has fewer free places for workers than the service needs.");
pub(in crate::admin) static HOST_UNFIT: Kind = kind(
    503,
    "host_unfit",
    "The machine or its settings keep the host from running processors; `detail` has the reason.",
);
pub(in crate::admin) static NO_CANARY: Kind = kind(409, "no_canary", "The service has no canary.");
pub(in crate::admin) static NO_SHARE: Kind =
    kind(409, "no_share", "The service has no canary and is in no group: there is no share to set.");
pub(in crate::admin) static NAME_TAKEN: Kind =
    kind(409, "name_taken", "A service and a group would have the same name, and so the same URL.");
pub(in crate::admin) static MIRROR_REFUSED: Kind = kind(
    409,
    "mirror_refused",
    "There is no other service of that name to copy requests to, or one of the two is asynchronous.",
);
pub(in crate::admin) static QUEUE_NOT_EMPTY: Kind =
    kind(409, "queue_not_empty", "The queues of the service still have items.");
pub(in crate::admin) static NO_PROCESSOR: Kind =
    kind(409, "no_processor", "The service is a queue without a processor, and the change needs one.");
pub(in crate::admin) static OTHER_TYPE: Kind =
    kind(409, "other_type", "An asynchronous service and one that is called cannot become each other.");
pub(in crate::admin) static NOT_ASYNCHRONOUS: Kind =
    kind(409, "not_asynchronous", "The service has no queues; only one with `metadata.type` `Async` has.");
pub(in crate::admin) static ITEM_NOT_FOUND: Kind =
    kind(404, "item_not_found", "The queue has no such item, or not in the state that the operation is for.");
pub(in crate::admin) static CANARY_TOKEN: Kind =
    kind(409, "canary_token", "The canary would have another token than the current version.");
pub(in crate::admin) static CHANGE_CONFLICT: Kind =
    kind(409, "change_conflict", "Another host changed the service at the same moment; nothing was changed.");
pub(in crate::admin) static LENGTH_REQUIRED: Kind =
    kind(411, "length_required", "The upload has neither a `Content-Length` nor a `Transfer-Encoding`.");
pub(in crate::admin) static PRECONDITION_FAILED: Kind = kind(
    412,
    "precondition_failed",
    "The service is not at a revision that `If-Match` names, or is at one that `If-None-Match` names; `etag` is its present \
     tag, `last_change` its latest change.",
);
pub(in crate::admin) static BODY_TOO_LARGE: Kind = kind(413, "body_too_large", "The body is larger than the limit.");
pub(in crate::admin) static UNSUPPORTED_MEDIA_TYPE: Kind = kind(
    415,
    "unsupported_media_type",
    "The body's `Content-Type` is not `application/json`, or it has a `Content-Encoding`.",
);
pub(in crate::admin) static RATE_LIMITED: Kind = kind(
    429,
    "rate_limited",
    "Too many wrong tokens came from this address; `Retry-After` says when it may try again.",
);
pub(in crate::admin) static INTERNAL: Kind = kind(500, "internal", "A fault of the host; its log has the details.");
pub(in crate::admin) static OUTCOME_UNKNOWN: Kind = kind(
    500,
    "outcome_unknown",
    "The disk failed at the end of a change; it is not known whether the change was made.",
);
pub(in crate::admin) static DEADLINE_EXCEEDED: Kind =
    kind(408, "deadline_exceeded", "The head or the body did not arrive in time.");
pub(in crate::admin) static TARGET_TOO_LONG: Kind = kind(414, "target_too_long", "The request target is too long.");
pub(in crate::admin) static EXPECTATION_FAILED: Kind =
    kind(417, "expectation_failed", "`Expect` has an unknown value.");
pub(in crate::admin) static HEADERS_TOO_LARGE: Kind =
    kind(431, "headers_too_large", "The headers are too many or too large.");
pub(in crate::admin) static NOT_IMPLEMENTED: Kind =
    kind(501, "not_implemented", "The method or the transfer coding is unknown.");
pub(in crate::admin) static VERSION_NOT_SUPPORTED: Kind =
    kind(505, "http_version_not_supported", "The HTTP version of the request is not supported.");
pub(in crate::admin) static QUEUE_UNAVAILABLE: Kind =
    kind(503, "queue_unavailable", "The storage of the queues has failed and is opened again.");
pub(in crate::admin) static STORAGE_FULL: Kind = kind(507, "storage_full", "The disk of the data directory is full.");

/// Refusals that every operation with a token can answer.
pub(in crate::admin) static OF_EVERY_OPERATION: &[&Kind] =
    &[&BAD_REQUEST, &UNAUTHORIZED, &METHOD_NOT_ALLOWED, &RATE_LIMITED, &INTERNAL];
/// The kinds of refusal for a faulty head, which precede routing.
pub(super) static OF_A_HEAD: &[&Kind] = &[
    &BAD_REQUEST,
    &DEADLINE_EXCEEDED,
    &TARGET_TOO_LONG,
    &EXPECTATION_FAILED,
    &HEADERS_TOO_LARGE,
    &NOT_IMPLEMENTED,
    &VERSION_NOT_SUPPORTED,
];
/// The refusals of operations with a JSON body.
pub(in crate::admin) static OF_A_BODY: &[&Kind] = &[&DEADLINE_EXCEEDED, &BODY_TOO_LARGE, &UNSUPPORTED_MEDIA_TYPE];
/// The refusals of operations that change a service.
pub(in crate::admin) static OF_A_CHANGE: &[&Kind] =
    &[&PRECONDITION_FAILED, &CHANGE_CONFLICT, &OUTCOME_UNKNOWN, &QUEUE_UNAVAILABLE, &STORAGE_FULL];
