//! The rows of the table of refusals, for the reference page of the front, with a sentence about each.

use std::time::Duration;

use bulkhead_pages::generated::{code, table};
use bulkhead_pages::source;

use super::{Connection, Looked, Reached, Refusal, Row};
use crate::auth::Unauthorized;
use crate::policy::{Limit, Limited};

/// The table as Markdown, by status.
pub(crate) fn rows() -> String {
    let refusals = examples();
    let named: Vec<String> = refusals.iter().map(source::variant).collect();
    let known = source::variants(include_str!("../refusal.rs"), "pub(crate) enum Refusal {");
    source::assert_complete(&named, &known, "src/refusal/reference.rs");
    let mut rows: Vec<(Row, String, &str)> =
        refusals.iter().map(|refusal| (refusal.row(), status(refusal), when(refusal))).collect();
    rows.sort_by_key(|(row, ..)| (row.status, row.code));
    let cells = rows
        .into_iter()
        .map(|(row, status, when)| [status, code(row.code), connection(row.connection).to_owned(), when.to_owned()]);
    table(["status", "code", "connection", "when"], cells)
}

pub(crate) fn connection(connection: Connection) -> &'static str {
    match connection {
        Connection::Keep => "stays open",
        Connection::Close => "is closed",
    }
}

/// The status, with the key or the author who chooses it.
fn status(refusal: &Refusal) -> String {
    match refusal {
        Refusal::ProcessorException { status, .. } => format!("`sandbox.trap_status`, {status} by default"),
        Refusal::FuelExhausted { status, .. } => format!("`sandbox.fuel_status`, {status} by default"),
        Refusal::ProcessorStatus { .. } => "the processor's own".to_owned(),
        other => other.row().status.to_string(),
    }
}

fn when(refusal: &Refusal) -> &'static str {
    match refusal {
        Refusal::BadRequest(_) => {
            "The request is not valid HTTP: its head, its target or a chunk of its body is malformed."
        }
        Refusal::BadBody(_) => {
            "The body is not what `Content-MD5`, `Content-Encoding` or `metadata.rpc.decompressor` says, or `Content-MD5` is \
             malformed."
        }
        Refusal::ProcessorException { .. } => {
            "The processor failed: a panic, a trap, no stack or memory left, an error without a status, or an answer that \
             cannot be sent."
        }
        Refusal::FuelExhausted { .. } => "The request used up `sandbox.fuel`.",
        Refusal::ProcessorStatus { .. } => {
            "The processor returned an error with a status. The body is its message and no problem document; the code is in \
             log and metrics only."
        }
        Refusal::Unauthorized(_) => "There is no token, the token is wrong, or the signature does not match.",
        Refusal::ServiceNotFound { .. } => "No service or group has this name; at a gateway, no route.",
        Refusal::NotFound => "Nothing is at this path. Services are at `/api/predict/{name}`.",
        Refusal::MethodNotAllowed { .. } => {
            "The service does not answer this method (`sandbox.methods`). `Allow` lists the methods."
        }
        Refusal::DeadlineExceeded { .. } => {
            "Receiving, waiting and running together took longer than `metadata.rpc.keepalive`."
        }
        Refusal::SlowHead { .. } => "The head of the request took longer than `--head-timeout`.",
        Refusal::Stalled { .. } => "At a gateway: the client sent nothing of its request for `idle_timeout_ms`.",
        Refusal::BodyTooLarge { .. } => "The body is larger than `sandbox.max_request_bytes`.",
        Refusal::DecodedTooLarge { .. } => "The body is larger than `sandbox.max_request_bytes` after decompression.",
        Refusal::CodingUnknown { .. } => {
            "`Content-Encoding` names an unknown coding. `Accept-Encoding` lists the known ones."
        }
        Refusal::TooManyCodings { .. } => "`Content-Encoding` names too many codings.",
        Refusal::HeadersTooLarge => "The headers are too many or too large.",
        Refusal::TargetTooLong => "The request target is too long.",
        Refusal::ExpectationUnknown => "`Expect` is not `100-continue`.",
        Refusal::RateLimited(_) => {
            "A rate or a number of requests under way is at its limit: of the service, of one of its instances, or of a \
             gateway's route. `Retry-After` is set."
        }
        Refusal::TooManyFailures { .. } => {
            "Too many wrong tokens came from this address (`--max-failed-logins-per-address`). `Retry-After` is set."
        }
        Refusal::QueueFull { .. } => "All workers are busy, and the queue has `metadata.rpc.max_queue_size` requests.",
        Refusal::QueueLengthReached { .. } => {
            "A put into a queue that has `queue.length` items, dead letters included."
        }
        Refusal::PayloadTooLarge { .. } => "An item of a queue is larger than `queue.max_payload_bytes`.",
        Refusal::ItemNotFound { .. } => "The item is not in the queue: it was finished or removed, or never put.",
        Refusal::LeaseLost { .. } => "The consumer does not hold the item that it finishes, or not any more.",
        Refusal::KeyReused { .. } => "The idempotency key of a put was used for another request.",
        Refusal::QueueEnded => "A put into a queue that was ended.",
        Refusal::StorageFull => "The disk has no room for more items. What is in the queues can still be taken out.",
        Refusal::QueueUnavailable { .. } => {
            "The storage of the queues failed. It is not known whether the change was made; a put with the same \
             idempotency key is safe."
        }
        Refusal::ClientClosed => "The client left before its answer. The code is in log and metrics only.",
        Refusal::Internal { .. } => "The host failed. Its log has the cause under the id of the request.",
        Refusal::NotImplemented(_) => "The method or the transfer coding is unknown, or the method is `CONNECT`.",
        Refusal::BadGateway { .. } => {
            "At a gateway: the answer of the upstream is not valid or breaks off, or the routes form a circle."
        }
        Refusal::NoHealthyUpstream { .. } => {
            "The service is stopped, could not be started, or has no guest left; no member of the group runs; at a gateway, no \
             upstream can be used."
        }
        Refusal::UpstreamFailed { .. } => {
            "At a gateway: there is no connection to the upstream, it ended before the answer, or too many requests wait for \
             one."
        }
        Refusal::GatewayTimeout { .. } => "At a gateway: the upstream did not answer within `request_timeout_ms`.",
        Refusal::NotReady => "The host has just started and has not started this service yet. `Retry-After` is set.",
        Refusal::Draining => {
            "The host ended before the request did. The connection is cut without an answer; the code is in log and metrics \
             only."
        }
        Refusal::Retired => {
            "The version that was answering was replaced or stopped, and `metadata.eas.termination_grace_period` is over."
        }
        Refusal::VersionNotSupported => "The HTTP version is not supported. HTTP/2 needs `--http2`.",
    }
}

/// One refusal of each variant, with the default statuses.
fn examples() -> Vec<Refusal> {
    let (limit, detail) = (Duration::from_secs(1), String::new);
    vec![
        Refusal::BadRequest("".into()),
        Refusal::BadBody("".into()),
        Refusal::ProcessorException { status: 400, detail: detail(), stack: detail() },
        Refusal::FuelExhausted { status: 400, detail: detail() },
        Refusal::ProcessorStatus { status: 400, message: detail() },
        Refusal::Unauthorized(Unauthorized::Missing),
        Refusal::ServiceNotFound { name: detail(), looked: Looked::Services },
        Refusal::NotFound,
        Refusal::MethodNotAllowed { allow: detail() },
        Refusal::DeadlineExceeded { limit, reached: Reached::Run },
        Refusal::SlowHead { limit },
        Refusal::Stalled { detail: detail() },
        Refusal::BodyTooLarge { limit: 1 },
        Refusal::DecodedTooLarge { limit: 1 },
        Refusal::CodingUnknown { given: detail() },
        Refusal::TooManyCodings { most: 1 },
        Refusal::HeadersTooLarge,
        Refusal::TargetTooLong,
        Refusal::ExpectationUnknown,
        Refusal::RateLimited(Limited { limit: Limit::Instances, most: 1, retry_after: limit }),
        Refusal::TooManyFailures { most: 1, retry_after: limit },
        Refusal::QueueFull { max_queue: 1 },
        Refusal::QueueLengthReached { length: 1 },
        Refusal::PayloadTooLarge { limit: 1 },
        Refusal::ItemNotFound { index: Some(1) },
        Refusal::LeaseLost { index: 1 },
        Refusal::KeyReused { index: 1 },
        Refusal::QueueEnded,
        Refusal::StorageFull,
        Refusal::QueueUnavailable { cause: detail() },
        Refusal::ClientClosed,
        Refusal::Internal { cause: detail() },
        Refusal::NotImplemented(""),
        Refusal::BadGateway { detail: detail() },
        Refusal::NoHealthyUpstream { detail: detail() },
        Refusal::UpstreamFailed { detail: detail() },
        Refusal::GatewayTimeout { detail: detail() },
        Refusal::NotReady,
        Refusal::Draining,
        Refusal::Retired,
        Refusal::VersionNotSupported,
    ]
}
