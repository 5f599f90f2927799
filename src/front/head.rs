//! The rules for the head of a request that hold in HTTP/1 and HTTP/2 alike, and the faults that break them.
//!
//! `http1` and `http2` parse heads in their own ways and call the same checks here, so the same request gets the same
//! answer over both. Sources: RFC 9110 §7.2, §9.1, §10.1.1; RFC 9112 §3; RFC 9113 §8.3.1.

use std::time::Duration;

use http::header::{EXPECT, TE, VIA};
use http::{HeaderMap, Method};

use super::authority::BadAuthority;
use super::target::BadByte;
use crate::refusal::Refusal;

/// Most bytes of a head that a client may send.
pub(super) const MAX_HEAD: usize = 32 << 10;
/// Most header lines that a client may send, `Host` included.
pub(super) const MAX_HEADERS: usize = 100;
/// Room for the headers that a gateway adds: `Via`, `X-Forwarded-For`, `X-Request-Id`, and `Host` and the framing where
/// the client sent none. The limit grows by this much for each gateway in `Via`, so that a host accepts every head that
/// its gateway accepted. The growth is bounded, because a client can write `Via` itself.
const GATEWAYS_BYTES: usize = 1 << 10;
const GATEWAYS_HEADERS: usize = 8;
const MOST_GATEWAYS: usize = 4;
/// Upper bounds for every head, with or without `Via`.
pub(super) const MOST_BYTES: usize = MAX_HEAD + MOST_GATEWAYS * GATEWAYS_BYTES;
pub(super) const MOST_HEADERS: usize = MAX_HEADERS + MOST_GATEWAYS * GATEWAYS_HEADERS;
/// Bytes that HTTP/1 writes around a header's name and value, and around method and target.
const HEADER_LINE: usize = ": \r\n".len();
const REQUEST_LINE: usize = "  HTTP/1.1\r\n\r\n".len();

/// A fault in the head of a request. It closes the connection, because the start of the next request is not known.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum HeadFault {
    Malformed(&'static str),
    /// The target has a byte that must be percent-encoded.
    TargetByte(BadByte),
    /// The authority of the request is invalid.
    Authority(BadAuthority),
    VersionNotSupported,
    NotImplemented(&'static str),
    TargetTooLong,
    HeadTooLarge,
    ExpectationUnknown,
    /// The head was not complete in time.
    Slow {
        limit: Duration,
    },
}

impl From<HeadFault> for Refusal {
    fn from(fault: HeadFault) -> Self {
        match fault {
            HeadFault::Malformed(why) => Self::BadRequest(why.into()),
            HeadFault::TargetByte(bad) => Self::BadRequest(bad.to_string().into()),
            HeadFault::Authority(bad) => Self::BadRequest(bad.to_string().into()),
            HeadFault::VersionNotSupported => Self::VersionNotSupported,
            HeadFault::NotImplemented(what) => Self::NotImplemented(what),
            HeadFault::TargetTooLong => Self::TargetTooLong,
            HeadFault::HeadTooLarge => Self::HeadersTooLarge,
            HeadFault::ExpectationUnknown => Self::ExpectationUnknown,
            HeadFault::Slow { limit } => Self::SlowHead { limit },
        }
    }
}

/// Returns the answer to a faulty head, for any listener: status, code and sentence.
pub(crate) fn of_a_head(fault: HeadFault) -> (u16, &'static str, String) {
    let refusal = Refusal::from(fault);
    let row = refusal.row();
    (row.status, row.code, refusal.detail().into_owned())
}

/// The content of a valid `Expect` header.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Expectation {
    None,
    Continue,
}

pub(super) const NO_METHOD: HeadFault = HeadFault::Malformed("the method is not a token");
pub(super) const NO_HOST: HeadFault = HeadFault::Malformed("there is no Host header");
pub(super) const TWO_HOSTS: HeadFault = HeadFault::Malformed("there are two Host headers");
pub(super) const TWO_LENGTHS: HeadFault = HeadFault::Malformed("there are two Content-Length headers");

pub(super) fn judge_method(method: &[u8]) -> Result<(), HeadFault> {
    match method {
        b"GET" | b"HEAD" | b"POST" | b"PUT" | b"DELETE" | b"PATCH" | b"OPTIONS" | b"TRACE" => Ok(()),
        b"CONNECT" => Err(HeadFault::NotImplemented("CONNECT is not offered")),
        method if !method.is_empty() && method.iter().all(|b| is_token(*b)) => {
            Err(HeadFault::NotImplemented("the method is not known"))
        }
        _ => Err(NO_METHOD),
    }
}

/// Checks the size of a head that came through `gateways` gateways. The size counts in the form of HTTP/1.
pub(super) fn judge_size(bytes: usize, headers: usize, gateways: usize) -> Result<(), HeadFault> {
    let gateways = gateways.min(MOST_GATEWAYS);
    let (most_bytes, most_headers) = (MAX_HEAD + gateways * GATEWAYS_BYTES, MAX_HEADERS + gateways * GATEWAYS_HEADERS);
    if bytes > most_bytes || headers > most_headers { Err(HeadFault::HeadTooLarge) } else { Ok(()) }
}

/// Checks the size of a head that is to be forwarded: it must leave room for the headers that this gateway adds.
pub(super) fn judge_forwarded(method: &Method, target: &str, headers: &HeaderMap) -> Result<(), HeadFault> {
    match gateways(headers) {
        // The head met the bound for its gateways on arrival. The next host allows for one gateway more.
        ..MOST_GATEWAYS => Ok(()),
        _ => judge_size(size(method.as_str(), target, headers), headers.len(), MOST_GATEWAYS - 1),
    }
}

/// Returns the number of gateways that `Via` names.
pub(super) fn gateways(headers: &HeaderMap) -> usize {
    headers.get_all(VIA).iter().map(|value| gateways_in(value.as_bytes())).sum()
}

pub(super) fn gateways_in(via: &[u8]) -> usize {
    via.split(|byte| *byte == b',').filter(|item| !item.trim_ascii().is_empty()).count()
}

/// Returns the size of a head as HTTP/1 would write it.
pub(super) fn size(method: &str, target: &str, headers: &HeaderMap) -> usize {
    let lines = headers.iter().map(|(name, value)| name.as_str().len() + value.len() + HEADER_LINE);
    method.len() + target.len() + REQUEST_LINE + lines.sum::<usize>()
}

/// Checks the value of an `Expect` header, a list of expectations. Empty elements are ignored (RFC 9110 §5.6.1).
pub(super) fn judge_expectation(value: &[u8]) -> Result<Expectation, HeadFault> {
    let names = value.split(|byte| *byte == b',').map(<[u8]>::trim_ascii).filter(|name| !name.is_empty());
    let mut expectation = Expectation::None;
    for name in names {
        if !name.eq_ignore_ascii_case(b"100-continue") {
            return Err(HeadFault::ExpectationUnknown);
        }
        expectation = Expectation::Continue;
    }
    Ok(expectation)
}

/// True if the client accepts trailers (RFC 9110 §10.1.4).
pub(super) fn takes_trailers(headers: &HeaderMap) -> bool {
    let mut words = headers.get_all(TE).iter().flat_map(|value| value.as_bytes().split(|byte| *byte == b','));
    words.any(|word| word.trim_ascii().eq_ignore_ascii_case(b"trailers"))
}

/// True if the client waits for `100 Continue` before it sends its body.
pub(super) fn expects_continue(headers: &HeaderMap) -> bool {
    headers.get_all(EXPECT).iter().any(|value| judge_expectation(value.as_bytes()) == Ok(Expectation::Continue))
}

pub(super) fn is_token(b: u8) -> bool {
    b.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~".contains(&b)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn methods_are_known_or_not_offered_or_no_tokens() {
        for known in ["GET", "HEAD", "POST", "PUT", "DELETE", "PATCH", "OPTIONS", "TRACE"] {
            assert_eq!(judge_method(known.as_bytes()), Ok(()));
        }
        for unknown in ["CONNECT", "FROB", "get", "PRI"] {
            assert!(matches!(judge_method(unknown.as_bytes()), Err(HeadFault::NotImplemented(_))), "{unknown}");
        }
        for bad in ["", "G=\":<>(e)", "G\t", "é"] {
            assert_eq!(judge_method(bad.as_bytes()), Err(NO_METHOD), "{bad}");
        }
    }

    #[test]
    fn one_expectation_is_known() {
        for known in [&b"100-Continue"[..], b" 100-continue ,", b",100-continue,100-continue"] {
            assert_eq!(judge_expectation(known), Ok(Expectation::Continue));
        }
        for empty in [&b""[..], b" ", b",", b" , ,"] {
            assert_eq!(judge_expectation(empty), Ok(Expectation::None));
        }
        for bad in [&b"200-ok"[..], b"100-continue, x", b"100 -continue", b"100-continue;q=1"] {
            assert_eq!(judge_expectation(bad), Err(HeadFault::ExpectationUnknown));
        }
    }
}
