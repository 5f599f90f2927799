//! The one table from what can go wrong to what the caller is told: status, code, sentence, and whether the connection
//! goes on. Nothing else in the host chooses a failing status.

use std::borrow::Cow;
use std::time::Duration;

use http::StatusCode;

use crate::auth::{Denied, Unauthorized};
use crate::call::Cut;
use crate::config;
use crate::incoming::Broken;
use crate::policy::{Limit, Limited};
use crate::quoted::Quoted;
use crate::sandbox::{Failed, Fault};

/// Why a request gets no answer of a processor's own making.
#[derive(Debug)]
pub(crate) enum Refusal {
    BadRequest(Cow<'static, str>),
    /// The request is well-formed, and its body is not what the headers say of it.
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
    ServiceNotFound(String),
    NotFound,
    MethodNotAllowed {
        allow: String,
    },
    DeadlineExceeded {
        limit: Duration,
    },
    /// The head or the body came too slowly for anybody to know whose deadline it was.
    SlowHead,
    BodyTooLarge {
        limit: usize,
    },
    /// It was small enough as it came.
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
        retry_after: Duration,
    },
    QueueFull {
        max_queue: usize,
    },
    ClientClosed,
    Internal {
        cause: String,
    },
    NotImplemented(&'static str),
    /// An upstream's answer is none.
    BadGateway {
        detail: String,
    },
    NoHealthyUpstream {
        detail: String,
    },
    /// There is no connection to the upstream, or it ended before the answer began.
    UpstreamFailed {
        detail: String,
    },
    GatewayTimeout {
        detail: String,
    },
    NotReady,
    /// The host ended before the request did. Nobody is told: the connection is cut.
    Draining,
    /// The version that was answering has been replaced, and its grace is over.
    Retired,
    VersionNotSupported,
}

/// One row of the status contract.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Row {
    pub(crate) status: u16,
    /// Stable: in the body, the log and the metrics.
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
            Self::ServiceNotFound(_) => (404, "service_not_found", Keep),
            Self::NotFound => (404, "not_found", Keep),
            Self::MethodNotAllowed { .. } => (405, "method_not_allowed", Keep),
            Self::DeadlineExceeded { .. } | Self::SlowHead => (408, "deadline_exceeded", Close),
            Self::BodyTooLarge { .. } | Self::DecodedTooLarge { .. } => (413, "body_too_large", Close),
            Self::TargetTooLong => (414, "target_too_long", Close),
            Self::CodingUnknown { .. } | Self::TooManyCodings { .. } => (415, "unsupported_coding", Keep),
            Self::ExpectationUnknown => (417, "expectation_failed", Close),
            Self::RateLimited(_) | Self::TooManyFailures { .. } => (429, "rate_limited", Keep),
            Self::HeadersTooLarge => (431, "headers_too_large", Close),
            Self::QueueFull { .. } => (450, "queue_full", Keep),
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

    /// What the caller may know, in one sentence.
    pub(crate) fn detail(&self) -> Cow<'_, str> {
        match self {
            Self::BadRequest(detail) | Self::BadBody(detail) => detail.as_ref().into(),
            Self::ProcessorException { detail, .. } | Self::FuelExhausted { detail, .. } => detail.into(),
            Self::ProcessorStatus { message, .. } => message.into(),
            Self::Unauthorized(why) => why.to_string().into(),
            Self::ServiceNotFound(name) => format!("there is no service {}", Quoted(name)).into(),
            Self::NotFound => "there is nothing at this path; this is the data listener: services are at \
                               /api/predict/<service>, and the admin API is at the admin listener (--admin)"
                .into(),
            Self::MethodNotAllowed { allow } => format!("the methods here are {allow}").into(),
            Self::DeadlineExceeded { limit } => {
                format!("the request was not answered within {} ms (metadata.rpc.keepalive)", limit.as_millis()).into()
            }
            Self::SlowHead => "the request did not arrive in time".into(),
            Self::BodyTooLarge { limit } => {
                format!("the body is larger than {limit} bytes (sandbox.max_request_bytes)").into()
            }
            Self::DecodedTooLarge { limit } => {
                format!("the body is larger than {limit} bytes once it is decoded (sandbox.max_request_bytes)").into()
            }
            Self::CodingUnknown { given } => {
                format!("{given} in Content-Encoding is not known; Accept-Encoding lists what is").into()
            }
            Self::TooManyCodings { most } => format!("Content-Encoding names more than {most} codings").into(),
            Self::HeadersTooLarge => "the headers are more than 100 or larger than 32 KiB".into(),
            Self::TargetTooLong => "the request target is longer than 8 KiB".into(),
            Self::ExpectationUnknown => "of expectations only 100-continue is known".into(),
            Self::RateLimited(Limited { limit, .. }) => match limit {
                Limit::Instances => "the service takes no more requests per second (metadata.rpc.rate_limit)",
                Limit::Rate => "the service takes no more requests per second as a whole (gateway policy, rate_limit)",
                Limit::Concurrency => "as many requests are under way as may be (gateway policy, concurrency_limit)",
            }
            .into(),
            Self::TooManyFailures { .. } => {
                "too many wrong tokens came from this address (--max-failed-logins-per-address)".into()
            }
            Self::QueueFull { max_queue } => {
                format!("all workers are busy and {max_queue} requests are waiting (metadata.rpc.max_queue_size)")
                    .into()
            }
            Self::ClientClosed => "the client closed the connection".into(),
            Self::Internal { .. } => "the host failed; its log knows why under this request id".into(),
            Self::NotImplemented(what) => (*what).into(),
            Self::NoHealthyUpstream { detail }
            | Self::BadGateway { detail }
            | Self::UpstreamFailed { detail }
            | Self::GatewayTimeout { detail } => detail.into(),
            Self::NotReady => "the host has just started and is bringing this service up".into(),
            Self::Draining => "the host ended before the request did".into(),
            Self::Retired => {
                "the version that was answering has been replaced or stopped, and the time it had to finish in is over \
                 (metadata.eas.termination_grace_period)"
                    .into()
            }
            Self::VersionNotSupported => {
                "HTTP/1.1 and HTTP/1.0 are spoken here, and HTTP/2 if the host was started with --http2".into()
            }
        }
    }

    /// What would help, where that is known.
    pub(crate) fn hint(&self) -> Option<&'static str> {
        match self {
            Self::QueueFull { .. } => {
                Some("retry with a pause, or raise metadata.rpc.worker_threads or metadata.instance")
            }
            Self::DeadlineExceeded { .. } => {
                Some("the request's work is stopped; raise metadata.rpc.keepalive if it needs longer")
            }
            Self::FuelExhausted { .. } => Some("raise sandbox.fuel if the request needs more work"),
            _ => None,
        }
    }

    /// For the log alone.
    pub(crate) fn cause(&self) -> Cow<'_, str> {
        match self {
            Self::Internal { cause } => cause.into(),
            Self::ClientClosed => "".into(),
            other => other.detail(),
        }
    }

    /// The end of a stream that this refusal cuts.
    pub(crate) fn cut(&self) -> Cut {
        let Row { status, code, .. } = self.row();
        Cut { status, code, cause: self.cause().into_owned() }
    }

    pub(crate) fn method_not_allowed(accepted: config::Methods) -> Self {
        Self::MethodNotAllowed { allow: accepted.names().collect::<Vec<_>>().join(", ") }
    }

    /// How the processor's fault is told under the service's settings.
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

impl From<Broken> for Refusal {
    fn from(broken: Broken) -> Self {
        match broken {
            Broken::CutOff => Self::ClientClosed,
            Broken::Malformed(_) => Self::BadRequest(broken.to_string().into()),
        }
    }
}

impl From<Denied> for Refusal {
    fn from(denied: Denied) -> Self {
        match denied {
            Denied::Unauthorized(why) => Self::Unauthorized(why),
            Denied::TooManyFailures(failures) => Self::TooManyFailures { retry_after: failures.retry_after },
        }
    }
}

impl From<Limited> for Refusal {
    fn from(limited: Limited) -> Self {
        Self::RateLimited(limited)
    }
}

/// The reason phrase and the problem's title.
pub(crate) fn title(status: StatusCode) -> &'static str {
    match status.as_u16() {
        450 => "Queue Full",
        499 => "Client Closed Request",
        _ => status.canonical_reason().unwrap_or("Processor Status"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The contract, row by row, as callers rely on it.
    #[test]
    fn the_status_table() {
        use Connection::{Close, Keep};
        let second = Duration::from_secs(1);
        let exception = |status| Refusal::ProcessorException { status, detail: String::new(), stack: String::new() };
        let table: [(Refusal, u16, &str, Connection); 33] = [
            (Refusal::BadRequest("x".into()), 400, "bad_request", Close),
            (Refusal::BadBody("x".into()), 400, "bad_request", Keep),
            (exception(400), 400, "processor_exception", Keep),
            (exception(470), 470, "processor_exception", Keep),
            (Refusal::FuelExhausted { status: 400, detail: String::new() }, 400, "fuel_exhausted", Keep),
            (Refusal::ProcessorStatus { status: 422, message: String::new() }, 422, "processor_status", Keep),
            (Refusal::Unauthorized(Unauthorized::Missing), 401, "unauthorized", Keep),
            (Refusal::ServiceNotFound(String::new()), 404, "service_not_found", Keep),
            (Refusal::NotFound, 404, "not_found", Keep),
            (Refusal::MethodNotAllowed { allow: String::new() }, 405, "method_not_allowed", Keep),
            (Refusal::DeadlineExceeded { limit: second }, 408, "deadline_exceeded", Close),
            (Refusal::SlowHead, 408, "deadline_exceeded", Close),
            (Refusal::BodyTooLarge { limit: 1 }, 413, "body_too_large", Close),
            (Refusal::DecodedTooLarge { limit: 1 }, 413, "body_too_large", Close),
            (Refusal::CodingUnknown { given: String::new() }, 415, "unsupported_coding", Keep),
            (Refusal::TooManyCodings { most: 3 }, 415, "unsupported_coding", Keep),
            (Refusal::TargetTooLong, 414, "target_too_long", Close),
            (Refusal::ExpectationUnknown, 417, "expectation_failed", Close),
            (Refusal::RateLimited(Limited { limit: Limit::Rate, retry_after: second }), 429, "rate_limited", Keep),
            (Refusal::TooManyFailures { retry_after: second }, 429, "rate_limited", Keep),
            (Refusal::HeadersTooLarge, 431, "headers_too_large", Close),
            (Refusal::QueueFull { max_queue: 64 }, 450, "queue_full", Keep),
            (Refusal::ClientClosed, 499, "client_closed", Close),
            (Refusal::Internal { cause: String::new() }, 500, "internal", Keep),
            (Refusal::NotImplemented("x"), 501, "not_implemented", Close),
            (Refusal::NoHealthyUpstream { detail: String::new() }, 503, "no_healthy_upstream", Keep),
            (Refusal::BadGateway { detail: String::new() }, 502, "bad_gateway", Keep),
            (Refusal::UpstreamFailed { detail: String::new() }, 503, "upstream_failed", Keep),
            (Refusal::GatewayTimeout { detail: String::new() }, 504, "gateway_timeout", Keep),
            (Refusal::NotReady, 503, "not_ready", Keep),
            (Refusal::Draining, 503, "draining", Close),
            (Refusal::Retired, 503, "draining", Keep),
            (Refusal::VersionNotSupported, 505, "http_version_not_supported", Close),
        ];
        for (refusal, status, code, connection) in table {
            assert_eq!(refusal.row(), Row { status, code, connection }, "{refusal:?}");
        }
    }

    #[test]
    fn what_went_wrong_inside_is_for_the_log_alone() {
        let refusal = Refusal::Internal { cause: "secret detail".into() };
        assert!(!refusal.detail().contains("secret"));
        assert_eq!(refusal.cause(), "secret detail");
    }
}
