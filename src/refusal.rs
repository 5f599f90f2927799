//! The table of refusals: for each thing that can go wrong, the status, code and sentence for the caller, and the fate
//! of the connection. Nothing else in the host chooses a failing status.

#[cfg(test)]
pub(crate) mod reference;

use std::borrow::Cow;
use std::time::Duration;

use http::StatusCode;

use crate::auth::{Denied, TooManyFailures, Unauthorized};
use crate::call::{Cut, UploadFault};
use crate::config;
use crate::incoming::Broken;
use crate::policy::{Limit, LimitOf, Limited};
use crate::queue::QueueError;
use crate::quoted::Quoted;
use crate::sandbox::{Failed, Fault};

/// The reason why a request gets no answer from a processor.
#[derive(Debug)]
pub(crate) enum Refusal {
    BadRequest(Cow<'static, str>),
    /// The request is well-formed, but its body contradicts its headers.
    BadBody(Cow<'static, str>),
    /// The guest failed; the status is the service's `trap_status`.
    ProcessorException {
        status: u16,
        detail: String,
        stack: String,
    },
    /// The status is the service's `fuel_status`.
    FuelExhausted {
        status: u16,
        detail: String,
    },
    /// The processor declined with a status of its own.
    ProcessorStatus {
        status: u16,
        message: String,
    },
    Unauthorized(Unauthorized),
    ServiceNotFound {
        name: String,
        looked: Looked,
    },
    NotFound,
    MethodNotAllowed {
        allow: String,
    },
    DeadlineExceeded {
        limit: Duration,
        reached: Reached,
    },
    /// The head came too slowly. No service's deadline applies yet, because the service is unknown.
    SlowHead {
        limit: Duration,
    },
    /// The client has stopped sending a request that a gateway forwards.
    Stalled {
        detail: String,
    },
    BodyTooLarge {
        limit: usize,
    },
    /// Too large only after decompression.
    DecodedTooLarge {
        limit: usize,
    },
    /// `given` is already escaped: raw bytes of a header must not be shown.
    CodingUnknown {
        given: String,
    },
    TooManyCodings {
        most: usize,
    },
    HeadersTooLarge,
    TargetTooLong,
    ExpectationUnknown,
    RateLimited(Limited),
    /// Too many wrong tokens from this address.
    TooManyFailures {
        most: u32,
        retry_after: Duration,
    },
    QueueFull {
        max_queue: usize,
    },
    /// A durable queue has as many items as it may have.
    QueueLengthReached {
        length: u64,
    },
    PayloadTooLarge {
        limit: usize,
    },
    ItemNotFound {
        /// `None` if the item was sought by its tags.
        index: Option<u64>,
    },
    /// The consumer does not hold the item, or not any more.
    LeaseLost {
        index: u64,
    },
    /// An idempotency key came again with another request.
    KeyReused {
        index: u64,
    },
    QueueEnded,
    /// The disk of the queues has no room for more items.
    StorageFull,
    QueueUnavailable {
        cause: String,
    },
    ClientClosed,
    Internal {
        cause: String,
    },
    NotImplemented(&'static str),
    /// The upstream's response is invalid or incomplete, or the route is a loop.
    BadGateway {
        detail: String,
    },
    NoHealthyUpstream {
        detail: String,
    },
    /// The upstream cannot be connected to, or the connection ended before the response began.
    UpstreamFailed {
        detail: String,
    },
    GatewayTimeout {
        detail: String,
    },
    NotReady,
    /// The host ended before the request was finished. No response is sent: the connection is cut.
    Draining,
    /// The version that was answering has been replaced or stopped, and its grace period is over.
    Retired,
    VersionNotSupported,
}

/// The tables in which a name was looked up.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Looked {
    Services,
    Routes,
    ServicesAndRoutes,
}

/// The stage that a request had reached when its deadline passed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Reached {
    /// The body had not arrived, or was not decoded.
    Body,
    /// The request waited for a worker.
    Queue,
    Run,
    /// The next piece of a streamed answer did not come.
    Piece,
    /// A streamed answer did not end.
    Stream,
}

/// One row of the status contract.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Row {
    pub(crate) status: u16,
    /// Stable, because clients and tools use it: it stands in the body, the log and the metrics.
    pub(crate) code: &'static str,
    pub(crate) connection: Connection,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Connection {
    Keep,
    Close,
}

impl Refusal {
    pub(crate) fn row(&self) -> Row {
        use Connection::{Close, Keep};
        let (status, code, connection) = match self {
            Self::BadRequest(_) => (400, "bad_request", Close),
            Self::BadBody(_) => (400, "bad_request", Keep),
            Self::ProcessorException { status, .. } => (*status, "processor_exception", Keep),
            Self::FuelExhausted { status, .. } => (*status, "fuel_exhausted", Keep),
            Self::ProcessorStatus { status, .. } => (*status, "processor_status", Keep),
            Self::Unauthorized(_) => (401, "unauthorized", Keep),
            Self::ServiceNotFound { .. } => (404, "service_not_found", Keep),
            Self::NotFound => (404, "not_found", Keep),
            Self::MethodNotAllowed { .. } => (405, "method_not_allowed", Keep),
            Self::DeadlineExceeded { .. } | Self::SlowHead { .. } | Self::Stalled { .. } => {
                (408, "deadline_exceeded", Close)
            }
            Self::BodyTooLarge { .. } | Self::DecodedTooLarge { .. } => (413, "body_too_large", Close),
            Self::TargetTooLong => (414, "target_too_long", Close),
            Self::CodingUnknown { .. } | Self::TooManyCodings { .. } => (415, "unsupported_coding", Keep),
            Self::ExpectationUnknown => (417, "expectation_failed", Close),
            Self::RateLimited(_) | Self::TooManyFailures { .. } => (429, "rate_limited", Keep),
            Self::HeadersTooLarge => (431, "headers_too_large", Close),
            Self::QueueFull { .. } => (450, "queue_full", Keep),
            Self::QueueLengthReached { .. } => (450, "queue_full", Keep),
            Self::PayloadTooLarge { .. } => (413, "body_too_large", Close),
            Self::ItemNotFound { .. } => (404, "item_not_found", Keep),
            Self::LeaseLost { .. } => (409, "lease_lost", Keep),
            Self::KeyReused { .. } => (409, "key_reused", Keep),
            Self::QueueEnded => (409, "queue_ended", Keep),
            Self::StorageFull => (507, "storage_full", Keep),
            Self::QueueUnavailable { .. } => (503, "queue_unavailable", Keep),
            Self::ClientClosed => (499, "client_closed", Close),
            Self::Internal { .. } => (500, "internal", Keep),
            Self::NotImplemented(_) => (501, "not_implemented", Close),
            Self::BadGateway { .. } => (502, "bad_gateway", Keep),
            Self::UpstreamFailed { .. } => (503, "upstream_failed", Keep),
            Self::GatewayTimeout { .. } => (504, "gateway_timeout", Keep),
            Self::NoHealthyUpstream { .. } => (503, "no_healthy_upstream", Keep),
            Self::NotReady => (503, "not_ready", Keep),
            Self::Draining => (503, "draining", Close),
            Self::Retired => (503, "draining", Keep),
            Self::VersionNotSupported => (505, "http_version_not_supported", Close),
        };
        Row { status, code, connection }
    }

    /// Returns a sentence for the caller, without internals of the host.
    pub(crate) fn detail(&self) -> Cow<'_, str> {
        match self {
            Self::BadRequest(detail) | Self::BadBody(detail) => detail.as_ref().into(),
            Self::ProcessorException { detail, .. } | Self::FuelExhausted { detail, .. } => detail.into(),
            Self::ProcessorStatus { message, .. } => message.into(),
            Self::Unauthorized(why) => why.to_string().into(),
            Self::ServiceNotFound { name, looked } => match looked {
                Looked::Services => format!("there is no service {}", Quoted(name)),
                Looked::Routes => format!("there is no route for {} at this gateway", Quoted(name)),
                Looked::ServicesAndRoutes => {
                    format!("there is no service {} here, and no route for it at this gateway", Quoted(name))
                }
            }
            .into(),
            Self::NotFound => "there is nothing at this path; this is the data listener: services are at \
                               /api/predict/<service>, and the admin API is at the admin listener (--admin)"
                .into(),
            Self::MethodNotAllowed { allow } => format!("the allowed methods are {allow}").into(),
            Self::DeadlineExceeded { limit, reached } => {
                let (what, key) = match reached {
                    Reached::Body => ("the body of the request did not arrive", "metadata.rpc.keepalive"),
                    Reached::Queue | Reached::Run => ("the request was not answered", "metadata.rpc.keepalive"),
                    Reached::Piece => ("the next piece of the answer did not come", "sandbox.stream_idle_ms"),
                    Reached::Stream => ("the answer did not end", "sandbox.stream_total_ms"),
                };
                format!("{what} within {} ms ({key})", limit.as_millis()).into()
            }
            Self::SlowHead { limit } => {
                format!("the request's head did not arrive within {} ms (--head-timeout)", limit.as_millis()).into()
            }
            Self::BodyTooLarge { limit } => {
                format!("the body is larger than {limit} bytes (sandbox.max_request_bytes)").into()
            }
            Self::DecodedTooLarge { limit } => {
                format!("the body is larger than {limit} bytes once it is decoded (sandbox.max_request_bytes)").into()
            }
            Self::CodingUnknown { given } => {
                format!("{given} in Content-Encoding is not supported; Accept-Encoding lists what is").into()
            }
            Self::TooManyCodings { most } => format!("Content-Encoding names more than {most} codings").into(),
            Self::HeadersTooLarge => "the headers are more than 100 or larger than 32 KiB".into(),
            Self::TargetTooLong => "the request target is longer than 8 KiB".into(),
            Self::ExpectationUnknown => "the only supported expectation is 100-continue".into(),
            Self::RateLimited(Limited { limit, most, .. }) => match (limit, requests(*most)) {
                (Limit::Instances, most) => {
                    format!("the service takes at most {most} a second (metadata.rpc.rate_limit × metadata.instance)")
                }
                (Limit::Rate(LimitOf::Service), most) => {
                    format!("the service takes at most {most} a second (networking.gateway_policy.rate_limit.limit)")
                }
                (Limit::Rate(LimitOf::Route), most) => {
                    format!("the gateway's route takes at most {most} a second (rate_limit)")
                }
                (Limit::Concurrency(LimitOf::Service), most) => format!(
                    "the service works on at most {most} at once, waiting ones included \
                     (networking.gateway_policy.concurrency_limit.limit)"
                ),
                (Limit::Concurrency(LimitOf::Route), most) => {
                    format!("the gateway's route has at most {most} under way at once (concurrency_limit)")
                }
            }
            .into(),
            Self::TooManyFailures { most, .. } => format!(
                "wrong tokens came at more than {most} a second from this address (--max-failed-logins-per-address)"
            )
            .into(),
            Self::QueueFull { max_queue } => {
                let are = if *max_queue == 1 { "is" } else { "are" };
                let waiting = requests(*max_queue as u64);
                format!("all workers are busy and {waiting} {are} waiting (metadata.rpc.max_queue_size)").into()
            }
            Self::QueueLengthReached { length } => {
                format!("the queue has {length} items, dead letters included, which is its limit (queue.length)").into()
            }
            Self::PayloadTooLarge { limit } => {
                format!("the item is larger than {limit} bytes (queue.max_payload_bytes)").into()
            }
            Self::ItemNotFound { index } => {
                let item = index.map_or("an item with these tags".to_owned(), |index| format!("item {index}"));
                format!("{item} is not in the queue: it was never put, or it was finished or removed").into()
            }
            Self::LeaseLost { index } => format!(
                "item {index} is not held by this consumer: it was finished, removed, or delivered again to another one"
            )
            .into(),
            Self::KeyReused { index } => {
                format!("the idempotency key of this put was used for item {index}, with another request").into()
            }
            Self::QueueEnded => "the queue was ended and takes no more items".into(),
            Self::StorageFull => "the disk of the queues is full; nothing was put".into(),
            Self::QueueUnavailable { .. } => {
                "the storage of the queues has failed and is being opened again; it is not known whether the change was \
                 made"
                    .into()
            }
            Self::ClientClosed => "the client closed the connection".into(),
            Self::Internal { .. } => "the host failed; its log has the cause under this request id".into(),
            Self::NotImplemented(what) => (*what).into(),
            Self::Stalled { detail }
            | Self::NoHealthyUpstream { detail }
            | Self::BadGateway { detail }
            | Self::UpstreamFailed { detail }
            | Self::GatewayTimeout { detail } => detail.into(),
            Self::NotReady => "the host has just started, and this service is not running yet".into(),
            Self::Draining => "the host ended before the request was finished".into(),
            Self::Retired => {
                "the version that was answering has been replaced or stopped, and its grace period is over \
                 (metadata.eas.termination_grace_period)"
                    .into()
            }
            Self::VersionNotSupported => {
                "this host supports HTTP/1.1 and HTTP/1.0, and HTTP/2 if it was started with --http2".into()
            }
        }
    }

    /// Returns advice for the caller, if there is any.
    pub(crate) fn hint(&self) -> Option<&'static str> {
        match self {
            Self::QueueFull { .. } => {
                Some("retry with a pause, or raise metadata.rpc.worker_threads or metadata.instance")
            }
            Self::DeadlineExceeded { reached, .. } => Some(match reached {
                Reached::Body => "the processor was not called; raise metadata.rpc.keepalive if bodies take longer",
                Reached::Queue => {
                    "no worker was free and the processor was not called; raise metadata.rpc.worker_threads or \
                     metadata.instance"
                }
                Reached::Run => "the request's work is stopped; raise metadata.rpc.keepalive if it needs longer",
                Reached::Piece => "the answer is cut off; raise sandbox.stream_idle_ms if its pieces take longer",
                Reached::Stream => "the answer is cut off; raise sandbox.stream_total_ms if it takes longer",
            }),
            Self::FuelExhausted { .. } => Some("raise sandbox.fuel if the request needs more work"),
            Self::QueueLengthReached { .. } => {
                Some("put again later; `bulkhead queue stats` shows what is in the queue")
            }
            Self::QueueUnavailable { .. } => Some("put again with the same idempotency key"),
            _ => None,
        }
    }

    /// Returns the cause for the log, which the caller does not see. `detail` is [`Self::detail`].
    pub(crate) fn cause_or<'a>(&'a self, detail: &'a str) -> &'a str {
        match self {
            Self::Internal { cause } | Self::QueueUnavailable { cause } => cause,
            Self::ClientClosed => "",
            _ => detail,
        }
    }

    /// Returns the cause for the log. The caller does not see it.
    pub(crate) fn cause(&self) -> String {
        self.cause_or(&self.detail()).to_owned()
    }

    /// Returns the end of a stream that this refusal cuts.
    pub(crate) fn cut(&self) -> Cut {
        let Row { status, code, .. } = self.row();
        Cut { status, code, cause: self.cause() }
    }

    pub(crate) fn method_not_allowed(accepted: config::Methods) -> Self {
        Self::MethodNotAllowed { allow: accepted.names().collect::<Vec<_>>().join(", ") }
    }

    /// Maps a processor's fault to a refusal, by the service's settings.
    pub(crate) fn failed(failed: Failed, sandbox: &config::Sandbox) -> Self {
        let Failed { fault, stack } = failed;
        let exception = |detail| Self::ProcessorException { status: sandbox.trap_status, detail, stack };
        match fault {
            Fault::Failure { status: Some(status), message } => Self::ProcessorStatus { status, message },
            Fault::Failure { status: None, message } => exception(message),
            fuel @ Fault::FuelExhausted { .. } => {
                Self::FuelExhausted { status: sandbox.fuel_status, detail: fuel.to_string() }
            }
            Fault::Host { reason } => Self::Internal { cause: reason },
            fault @ (Fault::Panic { .. }
            | Fault::Trap { .. }
            | Fault::StackOverflow { .. }
            | Fault::OutOfMemory { .. }
            | Fault::BadAnswer { .. }) => exception(fault.to_string()),
        }
    }
}

impl From<QueueError> for Refusal {
    fn from(why: QueueError) -> Self {
        match why {
            QueueError::NoQueue(name) => Self::ServiceNotFound { name, looked: Looked::Services },
            QueueError::Full { length } => Self::QueueLengthReached { length },
            QueueError::TooLarge { limit } => Self::PayloadTooLarge { limit },
            QueueError::Ended => Self::QueueEnded,
            QueueError::LeaseLost { index } => Self::LeaseLost { index },
            QueueError::KeyReused { index } => Self::KeyReused { index },
            QueueError::StorageFull => Self::StorageFull,
            QueueError::Unavailable(cause) => Self::QueueUnavailable { cause },
            why @ QueueError::NotEmpty { .. } => Self::Internal { cause: why.to_string() },
        }
    }
}

impl From<Broken> for Refusal {
    fn from(broken: Broken) -> Self {
        match broken {
            Broken::CutOff => Self::ClientClosed,
            Broken::Malformed(_) => Self::BadRequest(broken.to_string().into()),
        }
    }
}

impl From<UploadFault> for Refusal {
    fn from(fault: UploadFault) -> Self {
        match fault {
            UploadFault::TooLarge { limit } => Self::BodyTooLarge { limit },
            UploadFault::Broken(broken) => broken.into(),
        }
    }
}

impl From<Denied> for Refusal {
    fn from(denied: Denied) -> Self {
        match denied {
            Denied::Unauthorized(why) => Self::Unauthorized(why),
            Denied::TooManyFailures(TooManyFailures { most, retry_after }) => {
                Self::TooManyFailures { most, retry_after }
            }
        }
    }
}

impl From<Limited> for Refusal {
    fn from(limited: Limited) -> Self {
        Self::RateLimited(limited)
    }
}

/// Returns the reason phrase, which is also the problem's title.
pub(crate) fn title(status: StatusCode) -> &'static str {
    match status.as_u16() {
        450 => "Queue Full",
        499 => "Client Closed Request",
        _ => status.canonical_reason().unwrap_or("Processor Status"),
    }
}

/// Returns a number of requests in words: "1 request", "2 requests".
fn requests(count: u64) -> String {
    let plural = if count == 1 { "" } else { "s" };
    format!("{count} request{plural}")
}

#[cfg(test)]
mod tests;
