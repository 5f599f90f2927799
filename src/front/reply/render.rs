//! Turns an outcome into the reply that is sent.

use bytes::Bytes;
use http::header::{ACCEPT_ENCODING, ALLOW, CONNECTION, RETRY_AFTER, WWW_AUTHENTICATE};
use http::response::Parts;
use http::{HeaderMap, HeaderValue, StatusCode};

use super::content::Content;
use super::problem;
use super::{About, REQUEST_ID, Reply, Written};
use crate::front::http1::Upgrade;
use crate::header;
use crate::policy::Limited;
use crate::refusal::{Connection, Refusal};

const PROBLEM: HeaderValue = HeaderValue::from_static("application/problem+json");
/// A test compares it with [`Coding::ALL`](crate::coding::Coding::ALL).
const ACCEPTED_CODINGS: HeaderValue = HeaderValue::from_static("gzip, zstd, deflate, lz4, snappy");
const TEXT: HeaderValue = HeaderValue::from_static("text/plain; charset=utf-8");
/// The type that EAS sends if a processor names none.
const DEFAULT_TYPE: HeaderValue = HeaderValue::from_static("text/html; charset=utf-8");

pub(in crate::front) fn answer(
    status: StatusCode,
    content_type: Option<HeaderValue>,
    headers: HeaderMap,
    content: Content,
    about: About,
) -> Box<Reply> {
    let written = Written { content_type: content_type.unwrap_or(DEFAULT_TYPE), is_foreign: true };
    Box::new(Reply { status, reason: None, headers, written: Some(written), about, content, upgrade: None })
}

/// Makes the reply to a preflight request, which has no body.
pub(in crate::front) fn preflight(mut headers: HeaderMap, about: About, can_go_on: bool) -> Box<Reply> {
    if !can_go_on {
        headers.insert(CONNECTION, HeaderValue::from_static("close"));
    }
    let content = Content::Whole(Bytes::new());
    Box::new(Reply {
        status: StatusCode::NO_CONTENT,
        reason: None,
        headers,
        written: None,
        about,
        content,
        upgrade: None,
    })
}

/// Makes the reply that begins a conversation in another protocol.
pub(in crate::front) fn conversation(headers: HeaderMap, upgrade: Upgrade, about: About) -> Box<Reply> {
    let (status, content) = (StatusCode::SWITCHING_PROTOCOLS, Content::Whole(Bytes::new()));
    Box::new(Reply { status, reason: None, headers, written: None, about, content, upgrade: Some(upgrade) })
}

/// Makes the reply from an upstream's answer, unchanged.
pub(in crate::front) fn forwarded(mut parts: Parts, content: Content, about: About) -> Box<Reply> {
    let reason = parts.extensions.remove();
    header::remove(&mut parts.headers, |name| *name == REQUEST_ID);
    Box::new(Reply {
        status: parts.status,
        reason,
        headers: parts.headers,
        written: None,
        about,
        content,
        upgrade: None,
    })
}

pub(in crate::front) fn refusal(refusal: &Refusal, detail: &str, about: About, can_go_on: bool) -> Box<Reply> {
    let row = refusal.row();
    let status = StatusCode::from_u16(row.status).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
    let (content_type, body, is_foreign) = match refusal {
        // A processor's own message is sent unchanged.
        Refusal::ProcessorStatus { message, .. } => (TEXT, Bytes::from(message.clone()), true),
        _ => (PROBLEM, problem::body(refusal, detail, &about), false),
    };
    let mut headers = HeaderMap::new();
    match refusal {
        Refusal::Unauthorized(_) => {
            headers.insert(WWW_AUTHENTICATE, HeaderValue::from_static("Bearer"));
        }
        Refusal::MethodNotAllowed { allow } => {
            if let Ok(allow) = HeaderValue::from_str(allow) {
                headers.insert(ALLOW, allow);
            }
        }
        // The codings that are accepted (RFC 9110 §15.5.16).
        Refusal::CodingUnknown { .. } | Refusal::TooManyCodings { .. } => {
            headers.insert(ACCEPT_ENCODING, ACCEPTED_CODINGS);
        }
        Refusal::RateLimited(Limited { retry_after, .. }) | Refusal::TooManyFailures { retry_after, .. } => {
            headers.insert(RETRY_AFTER, HeaderValue::from(retry_after.as_millis().div_ceil(1000).max(1) as u64));
        }
        Refusal::NotReady => {
            headers.insert(RETRY_AFTER, HeaderValue::from_static("1"));
        }
        _ => {}
    }
    if row.connection == Connection::Close || !can_go_on {
        headers.insert(CONNECTION, HeaderValue::from_static("close"));
    }
    let written = Some(Written { content_type, is_foreign });
    Box::new(Reply { status, reason: None, headers, written, about, content: Content::Whole(body), upgrade: None })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::coding::Coding;

    #[test]
    fn what_is_accepted_is_what_can_be_decoded() {
        assert_eq!(ACCEPTED_CODINGS, Coding::ALL.map(Coding::name).join(", "));
    }
}
