//! Errors of calls.

use std::fmt::{self, Display, Formatter};
use std::time::Duration;

use bytes::Bytes;
use http::{HeaderMap, header};
use serde::Deserialize;

use crate::request::Response;

/// The reason why a call failed.
///
/// [`Error::code`] is the number that the official SDKs give: the server's status, or 510 to 513 if there is none.
#[derive(Debug)]
#[non_exhaustive]
pub enum Error {
    /// 510: direct mode knows no address of the service.
    Discovery(String),
    /// 511: the request cannot be made. An address, path, token or header is invalid, or the body cannot be compressed.
    /// Nothing was sent.
    Request(String),
    /// 512: no answer came.
    Transport(Transport),
    /// 513: an answer began, but it could not be read or decoded.
    Response(Unreadable),
    /// Any status but 200. Only 200 is success, as in the official SDKs.
    Refused(Box<Refused>),
}

/// A failure without an answer.
#[derive(Debug)]
pub struct Transport {
    /// The kind of the failure.
    pub fault: Fault,
    /// The server: host and port.
    pub address: String,
    pub(crate) cause: String,
}

/// The kind of a failure without an answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Fault {
    /// No connection could be made, or it was lost before the first byte of the request was written.
    ConnectionFailed,
    /// No connection was made in time. Nothing was sent.
    ConnectionTimeout,
    /// The request was sent, at least in part, and no answer came in time.
    ReadTimeout,
    /// The connection was closed or reset before an answer. The request had been sent, at least in part.
    BrokenOff,
    /// The server's response is not HTTP.
    Senseless,
}

/// An answer that could not be read.
#[derive(Debug)]
pub struct Unreadable {
    /// The status that the answer began with.
    pub status: u16,
    /// The reason why the answer could not be read.
    pub why: Unread,
}

/// The reason why an answer could not be read or decoded.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Unread {
    /// The connection ended before the body did.
    BrokenOff(String),
    /// The rest of the body did not come in time.
    Timeout,
    /// The body is larger than [`ClientBuilder::max_response_bytes`](crate::ClientBuilder::max_response_bytes).
    TooLarge {
        /// The largest allowed size in bytes.
        limit: usize,
    },
    /// The body should be text, and is not.
    NotText,
    /// The body should be a message of tensors, and is not.
    Malformed(String),
}

/// An answer with a status other than 200.
///
/// A Bulkhead writes `application/problem+json` (RFC 9457), and the fields come from that. If a processor chose the
/// status itself, or a gateway or another server answered, `body` may be anything.
#[derive(Clone, Debug)]
pub struct Refused {
    /// The status of the answer.
    pub status: u16,
    /// The server's stable code for the failure, such as `queue_full`. Empty if the body is not the server's own.
    pub code: String,
    /// One sentence for people. If the body is not the server's own, its beginning.
    pub detail: String,
    /// A possible remedy.
    pub hint: Option<String>,
    /// The id of the request in the server's log.
    pub request_id: Option<String>,
    /// The time that the server asks to wait.
    pub retry_after: Option<Duration>,
    /// The headers of the answer.
    pub headers: HeaderMap,
    /// The body of the answer, unchanged.
    pub body: Bytes,
}

/// The members that are read. There may be others.
#[derive(Default, Deserialize)]
#[serde(default)]
struct Problem {
    code: String,
    detail: String,
    hint: Option<String>,
    request_id: Option<String>,
}

/// Most characters that a message quotes from a body that is not the server's own.
const EXCERPT: usize = 300;

impl Error {
    /// Returns the number that the official SDKs give: the status of the answer, or 510 to 513 if there is none.
    pub fn code(&self) -> u16 {
        match self {
            Self::Discovery(_) => 510,
            Self::Request(_) => 511,
            Self::Transport(_) => 512,
            Self::Response(_) => 513,
            Self::Refused(refused) => refused.status,
        }
    }

    /// Returns the answer, if there was one.
    pub fn refused(&self) -> Option<&Refused> {
        match self {
            Self::Refused(refused) => Some(refused),
            _ => None,
        }
    }

    /// Returns the server's stable code for the failure, such as `queue_full`.
    pub fn server_code(&self) -> Option<&str> {
        self.refused().map(|refused| refused.code.as_str()).filter(|code| !code.is_empty())
    }

    /// Returns the id of the request in the server's log.
    pub fn request_id(&self) -> Option<&str> {
        self.refused()?.request_id.as_deref()
    }

    /// True for a timeout: one of this client's, or a 408 or a 504.
    pub fn is_timeout(&self) -> bool {
        match self {
            Self::Transport(transport) => matches!(transport.fault, Fault::ConnectionTimeout | Fault::ReadTimeout),
            Self::Response(unreadable) => unreadable.why == Unread::Timeout,
            Self::Refused(refused) => matches!(refused.status, 408 | 504),
            Self::Discovery(_) | Self::Request(_) => false,
        }
    }

    /// True if a processor may have worked on the request. If not, the request can be sent again without harm.
    pub fn may_have_been_processed(&self) -> bool {
        match self {
            Self::Discovery(_) | Self::Request(_) => false,
            Self::Transport(transport) => {
                !matches!(transport.fault, Fault::ConnectionFailed | Fault::ConnectionTimeout)
            }
            Self::Response(_) => true,
            Self::Refused(refused) => !refused.is_turned_away(),
        }
    }

    pub(crate) fn transport(fault: Fault, address: &str, cause: impl Display) -> Self {
        Self::Transport(Transport { fault, address: address.to_owned(), cause: cause.to_string() })
    }
}

impl Refused {
    pub(crate) fn from_response(response: Response) -> Self {
        let Response { status, headers, body } = response;
        let is_problem = headers.get(header::CONTENT_TYPE).is_some_and(|kind| {
            kind.to_str().is_ok_and(|kind| kind.split(';').next().unwrap_or("").trim() == "application/problem+json")
        });
        let problem = if is_problem { serde_json::from_slice(&body).unwrap_or_default() } else { Problem::default() };
        let Problem { code, detail, hint, request_id } = problem;
        let detail = if detail.is_empty() { excerpt(&body) } else { detail };
        let header = |name: &str| headers.get(name).and_then(|value| value.to_str().ok());
        let request_id = request_id.or_else(|| header("x-request-id").map(str::to_owned));
        let retry_after = header("retry-after").and_then(|value| value.trim().parse().ok()).map(Duration::from_secs);
        Self { status, code, detail, hint, request_id, retry_after, headers, body }
    }

    /// True if the request was refused before a processor saw it: by a full queue or a rate limit, because the service
    /// does not run, or for a mistake that is found without the processor; or if a queue did not do what was asked.
    ///
    /// A 450 or 429 without a `code` is taken to mean what it means in EAS. This is wrong for a processor that chooses
    /// one of these two for an answer of its own.
    pub fn is_turned_away(&self) -> bool {
        match self.code.as_str() {
            "queue_full"
            | "rate_limited"
            | "no_healthy_upstream"
            | "not_ready"
            | "too_many_connections"
            | "unauthorized"
            | "service_not_found"
            | "not_found"
            | "method_not_allowed"
            | "body_too_large"
            | "target_too_long"
            | "headers_too_large"
            | "expectation_failed"
            | "not_implemented"
            | "http_version_not_supported"
            | "item_not_found"
            | "lease_lost"
            | "key_reused"
            | "queue_ended"
            | "storage_full" => true,
            "" => match self.status {
                429 | 450 => true,
                // Envoy, and so the gateway of EAS, answers this if it has no upstream.
                503 => self.body.trim_ascii() == b"no healthy upstream",
                _ => false,
            },
            _ => false,
        }
    }
}

fn excerpt(body: &[u8]) -> String {
    let text = String::from_utf8_lossy(body.get(..EXCERPT * 4).unwrap_or(body));
    let text = text.trim();
    match text.char_indices().nth(EXCERPT) {
        Some((end, _)) => format!("{}…", &text[..end]),
        None => text.to_owned(),
    }
}

impl Display for Error {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        match self {
            Self::Discovery(why) => write!(f, "510: no address of the service is known: {why}"),
            Self::Request(why) => write!(f, "511: the request cannot be made: {why}"),
            Self::Transport(transport) => write!(f, "512: {transport}"),
            Self::Response(unreadable) => write!(f, "513: {unreadable}"),
            Self::Refused(refused) => refused.fmt(f),
        }
    }
}

impl Display for Transport {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        let what = match self.fault {
            Fault::ConnectionFailed => "no connection to",
            Fault::ConnectionTimeout => "no connection in time to",
            Fault::ReadTimeout => "no answer in time from",
            Fault::BrokenOff => "the connection was closed without an answer by",
            Fault::Senseless => "a response that is not HTTP came from",
        };
        write!(f, "{what} {}: {}", self.address, self.cause)
    }
}

impl Display for Unreadable {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        write!(f, "the answer with status {} ", self.status)?;
        match &self.why {
            Unread::BrokenOff(cause) => write!(f, "broke off: {cause}"),
            Unread::Timeout => f.write_str("did not end in time"),
            Unread::TooLarge { limit } => write!(f, "is larger than {limit} bytes"),
            Unread::NotText => f.write_str("is not text"),
            Unread::Malformed(why) => write!(f, "is not what was asked for: {why}"),
        }
    }
}

impl Display for Refused {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.status)?;
        if !self.code.is_empty() {
            write!(f, " {}", self.code)?;
        }
        if !self.detail.is_empty() {
            write!(f, ": {}", self.detail)?;
        }
        match &self.request_id {
            Some(id) => write!(f, " (request {id})"),
            None => Ok(()),
        }
    }
}

impl std::error::Error for Error {}

#[cfg(test)]
mod tests {
    use http::HeaderValue;

    use super::*;

    fn refused(status: u16, content_type: &'static str, body: &'static str) -> Refused {
        let mut headers = HeaderMap::new();
        headers.insert(header::CONTENT_TYPE, HeaderValue::from_static(content_type));
        headers.insert(header::RETRY_AFTER, HeaderValue::from_static("2"));
        headers.insert("x-request-id", HeaderValue::from_static("of-the-header"));
        Refused::from_response(Response { status, headers, body: Bytes::from_static(body.as_bytes()) })
    }

    #[test]
    fn a_problem_is_taken_apart() {
        let body = r#"{"type":"about:blank","title":"Queue Full","status":450,"detail":"all busy","code":"queue_full","request_id":"r-1","hint":"pause","spent_ms":{}}"#;
        let refused = refused(450, "application/problem+json; charset=utf-8", body);
        assert_eq!((refused.code.as_str(), refused.detail.as_str()), ("queue_full", "all busy"));
        assert_eq!((refused.request_id.as_deref(), refused.hint.as_deref()), (Some("r-1"), Some("pause")));
        assert_eq!(refused.retry_after, Some(Duration::from_secs(2)));
        assert_eq!(refused.body, body);
        let error = Error::Refused(Box::new(refused));
        assert_eq!((error.code(), error.server_code(), error.request_id()), (450, Some("queue_full"), Some("r-1")));
        assert_eq!(error.to_string(), "450 queue_full: all busy (request r-1)");
        assert!(!error.may_have_been_processed());
    }

    #[test]
    fn a_body_of_the_processors_own_is_quoted_and_not_believed() {
        let own = refused(503, "application/json", r#"{"code":"no_healthy_upstream"}"#);
        assert_eq!((own.code.as_str(), own.detail.as_str()), ("", r#"{"code":"no_healthy_upstream"}"#));
        assert_eq!(own.request_id.as_deref(), Some("of-the-header"));
        assert!(!own.is_turned_away());
        let broken = refused(400, "application/problem+json", "{\"code\":");
        assert_eq!((broken.code.as_str(), broken.detail.as_str()), ("", "{\"code\":"));
        let long: &'static str = "é".repeat(9000).leak();
        assert_eq!(refused(500, "text/plain", long).detail.chars().count(), EXCERPT + 1);
    }

    #[test]
    fn only_what_no_processor_saw_counts_as_turned_away() {
        let problem = |status, code: &str| {
            refused(status, "application/problem+json", format!("{{\"code\":\"{code}\"}}").leak()).is_turned_away()
        };
        for (status, code) in [(450, "queue_full"), (429, "rate_limited"), (503, "not_ready"), (401, "unauthorized")] {
            assert!(problem(status, code), "{code}");
        }
        for (status, code) in [
            (400, "processor_exception"),
            (408, "deadline_exceeded"),
            (500, "internal"),
            (503, "draining"),
            (504, "gateway_timeout"),
            (450, "processor_status"),
        ] {
            assert!(!problem(status, code), "{code}");
        }
        assert!(refused(450, "text/plain", "busy").is_turned_away());
        assert!(refused(503, "text/plain", "no healthy upstream\n").is_turned_away());
        assert!(
            !refused(503, "text/plain", "upstream connect error or disconnect/reset before headers").is_turned_away()
        );
    }

    #[test]
    fn faults_have_the_sdks_numbers() {
        let transport = |fault| Error::transport(fault, "h:1", "x");
        assert_eq!(transport(Fault::BrokenOff).code(), 512);
        assert!(transport(Fault::ReadTimeout).is_timeout() && transport(Fault::ReadTimeout).may_have_been_processed());
        assert!(!transport(Fault::ConnectionFailed).may_have_been_processed());
        let read = Error::Response(Unreadable { status: 200, why: Unread::TooLarge { limit: 5 } });
        assert_eq!(read.to_string(), "513: the answer with status 200 is larger than 5 bytes");
        assert_eq!(
            (read.code(), Error::Request(String::new()).code(), Error::Discovery(String::new()).code()),
            (513, 511, 510)
        );
    }
}
