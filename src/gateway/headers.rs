//! Selects the headers of requests and answers that are passed on: all except those for one connection alone, and
//! except the framing, which is made anew (RFC 9110 §7.6.1, RFC 9112 §6).

use std::net::IpAddr;

use http::header::{CONNECTION, CONTENT_LENGTH, EXPECT, HOST, TE, TRAILER, TRANSFER_ENCODING, UPGRADE, VIA};
use http::response::Parts;
use http::{HeaderMap, HeaderName, HeaderValue, Method, StatusCode, Version};
use hyper::ext::ReasonPhrase;

use super::failure::{Failure, Reset};
use crate::call::RequestId;
use crate::header;

const FORWARDED_FOR: HeaderName = HeaderName::from_static("x-forwarded-for");
const REQUEST_ID: HeaderName = HeaderName::from_static("x-request-id");
/// Headers for one connection alone, whether `Connection` names them or not. `Upgrade` is one of them, so no connection
/// can change its protocol through this gateway.
const HOP_BY_HOP: [HeaderName; 8] = [
    CONNECTION,
    TE,
    TRAILER,
    TRANSFER_ENCODING,
    UPGRADE,
    HeaderName::from_static("keep-alive"),
    HeaderName::from_static("proxy-connection"),
    HeaderName::from_static("http2-settings"),
];

/// The client, the request's id, and this gateway.
pub(super) struct Origin<'a> {
    pub(super) peer: IpAddr,
    pub(super) request_id: RequestId,
    /// The name of this gateway in `Via`.
    pub(super) via: &'a str,
}

/// Turns the headers of a request into those for the upstream. The length is set where the request is sent.
pub(super) fn outbound(headers: &mut HeaderMap, origin: &Origin<'_>) -> Result<(), Failure> {
    strip(headers, false);
    let has_been_here = |via: &HeaderValue| {
        let via = via.as_bytes();
        via.windows(origin.via.len()).any(|part| part == origin.via.as_bytes())
    };
    if headers.get_all(VIA).iter().any(has_been_here) {
        return Err(Failure::Circle);
    }
    append(headers, VIA, &format!("1.1 {}", origin.via));
    append(headers, FORWARDED_FOR, &origin.peer.to_canonical().to_string());
    if let Ok(id) = HeaderValue::from_str(origin.request_id.as_str()) {
        headers.insert(REQUEST_ID, id);
    }
    Ok(())
}

/// Appends an item to a list header. Several lines of it become one, in their order (RFC 9110 §5.3), because many
/// programs read only the first line.
fn append(headers: &mut HeaderMap, name: HeaderName, item: &str) {
    let mut line = Vec::new();
    for value in headers.get_all(&name).iter().filter(|value| !value.is_empty()) {
        line.extend_from_slice(value.as_bytes());
        line.extend_from_slice(b", ");
    }
    let line = if line.is_empty() {
        HeaderValue::from_str(item)
    } else {
        line.extend_from_slice(item.as_bytes());
        HeaderValue::from_bytes(&line)
    };
    if let Ok(line) = line {
        headers.insert(name, line);
    }
}

/// Returns the items of a list header.
fn list(value: &HeaderValue) -> impl Iterator<Item = &[u8]> {
    value.as_bytes().split(|b| *b == b',').map(<[u8]>::trim_ascii)
}

/// Adds a `Host` if the client sent none (HTTP/1.0).
pub(super) fn ensure_host(headers: &mut HeaderMap, host: &str) {
    if !headers.contains_key(HOST)
        && let Ok(host) = HeaderValue::from_str(host)
    {
        headers.insert(HOST, host);
    }
}

/// True if the client waits for `100 Continue` before it sends its body. An `Expect` without a value asks for nothing:
/// it is removed, so that no upstream is asked to answer it.
pub(super) fn expects_leave(headers: &mut HeaderMap) -> bool {
    let names_one = |value: &HeaderValue| value.as_bytes().iter().any(|byte| !matches!(byte, b',' | b' ' | b'\t'));
    if headers.get_all(EXPECT).iter().any(names_one) {
        return true;
    }
    header::remove(headers, |name| *name == EXPECT);
    false
}

/// True if the upstream closes the connection after this answer (RFC 9112 §9.3).
pub(super) fn closes(parts: &Parts) -> bool {
    let lists = |word: &[u8]| {
        let mut items = parts.headers.get_all(CONNECTION).iter().flat_map(list);
        items.any(|item| item.eq_ignore_ascii_case(word))
    };
    lists(b"close") || (parts.version == Version::HTTP_10 && !lists(b"keep-alive"))
}

/// Turns the head of an answer into that for the client. Fails if the head is invalid: an unclear length is not
/// guessed.
pub(super) fn inbound(parts: &mut Parts, method: &Method) -> Result<(), Failure> {
    let headers = &mut parts.headers;
    // 101 was not asked for, other statuses below 200 are not final, and those from 600 on are invalid (RFC 9110 §15).
    let is_final = (200..600).contains(&parts.status.as_u16());
    let chunked = headers.get_all(TRANSFER_ENCODING);
    let is_chunked = chunked.iter().next().is_some();
    let is_chunked_well = parts.version == Version::HTTP_11
        && chunked.iter().all(|value| value.as_bytes().eq_ignore_ascii_case(b"chunked"))
        && chunked.iter().count() == 1;
    let mut lengths = headers.get_all(CONTENT_LENGTH).iter();
    let length = lengths.next();
    let is_length = |value: &HeaderValue| {
        // A number that does not fit into `u64` is no possible length. In the answer to HEAD, no body would reveal
        // that.
        let fits = value.to_str().is_ok_and(|value| value.parse::<u64>().is_ok());
        fits && value.as_bytes().iter().all(u8::is_ascii_digit)
    };
    let has_clear_length =
        lengths.next().is_none() && length.is_none_or(is_length) && !(is_chunked && length.is_some());
    if !is_final || !has_clear_length || (is_chunked && !is_chunked_well) {
        return Err(Failure::reset(Reset::ProtocolError));
    }
    // For HEAD, `Content-Length` is the length of the answer to GET.
    let has_length =
        *method == Method::HEAD && !matches!(parts.status, StatusCode::NO_CONTENT | StatusCode::NOT_MODIFIED);
    strip(headers, has_length);
    let reason = parts.extensions.remove::<ReasonPhrase>();
    parts.extensions.clear();
    parts.extensions.extend(
        reason
            .map(|reason| {
                let mut extensions = http::Extensions::new();
                extensions.insert(reason);
                extensions
            })
            .unwrap_or_default(),
    );
    parts.version = Version::HTTP_11;
    Ok(())
}

/// Removes the headers for one connection alone, and the length unless `keeps_length`.
fn strip(headers: &mut HeaderMap, keeps_length: bool) {
    let named: Vec<HeaderName> = headers
        .get_all(CONNECTION)
        .iter()
        .flat_map(list)
        .filter_map(|name| HeaderName::from_bytes(name).ok())
        // `Host` names the receiver of the request, so `Connection` must not remove it.
        .filter(|name| *name != HOST)
        .collect();
    header::remove(headers, |name| match *name {
        CONTENT_LENGTH if !keeps_length => true,
        _ => HOP_BY_HOP.contains(name) || named.contains(name),
    });
}

#[cfg(test)]
mod tests {
    use http::Response;

    use super::*;

    fn map(pairs: &[(&'static str, &'static str)]) -> HeaderMap {
        let mut headers = HeaderMap::new();
        for (name, value) in pairs {
            headers.append(*name, HeaderValue::from_static(value));
        }
        headers
    }

    #[test]
    fn an_expectation_without_a_value_is_none_and_goes_no_further() {
        for (value, expects) in [("100-continue", true), (",100-continue", true), ("", false), (" , ", false)] {
            let mut headers = map(&[("expect", value)]);
            assert_eq!((expects_leave(&mut headers), headers.contains_key(EXPECT)), (expects, expects), "{value:?}");
        }
        assert!(!expects_leave(&mut map(&[])));
    }

    fn sent(pairs: &[(&'static str, &'static str)]) -> Result<Vec<String>, Failure> {
        let mut headers = map(pairs);
        let request_id = RequestId::from_caller(b"id-1").unwrap();
        outbound(&mut headers, &Origin { peer: "::ffff:10.0.0.9".parse().unwrap(), request_id, via: "bulkhead-7" })?;
        let mut lines: Vec<String> =
            headers.iter().map(|(name, value)| format!("{name}: {}", value.to_str().unwrap())).collect();
        lines.sort();
        Ok(lines)
    }

    #[test]
    fn what_is_for_the_connection_stays_and_all_else_goes_on() {
        let lines = sent(&[
            ("host", "a"),
            ("authorization", "Bearer t"),
            ("connection", "close, X-Mine"),
            ("connection", "keep-alive, host"),
            ("x-mine", "secret"),
            ("keep-alive", "timeout=5"),
            ("te", "trailers"),
            ("trailer", "x"),
            ("upgrade", "websocket"),
            ("transfer-encoding", "chunked"),
            ("content-length", "5"),
            ("proxy-connection", "x"),
            ("x-forwarded-for", "1.2.3.4"),
            ("x-request-id", "forged id"),
            ("x-bulkhead-x", "kept"),
        ]);
        assert_eq!(
            lines.unwrap(),
            [
                "authorization: Bearer t",
                "host: a",
                "via: 1.1 bulkhead-7",
                "x-bulkhead-x: kept",
                "x-forwarded-for: 1.2.3.4, 10.0.0.9",
                "x-request-id: id-1"
            ]
        );
    }

    #[test]
    fn what_goes_on_keeps_its_order() {
        let mut headers =
            map(&[("content-length", "1"), ("x-a", "1"), ("te", "x"), ("host", "a"), ("x-b", "2"), ("x-c", "3")]);
        assert!(!expects_leave(&mut headers));
        strip(&mut headers, false);
        let names: Vec<_> = headers.keys().map(HeaderName::as_str).collect();
        assert_eq!(names, ["x-a", "host", "x-b", "x-c"]);
    }

    /// Many programs read only the first line of such a header, and a client could write that line.
    #[test]
    fn a_list_is_one_line_whose_last_item_is_the_gateways_own() {
        let lines = sent(&[
            ("x-forwarded-for", "1.2.3.4, 5.6.7.8"),
            ("via", "1.0 first"),
            ("x-forwarded-for", ""),
            ("x-forwarded-for", "unknown"),
            ("via", "2 second, 1.1 third"),
        ]);
        assert_eq!(
            lines.unwrap(),
            [
                "via: 1.0 first, 2 second, 1.1 third, 1.1 bulkhead-7",
                "x-forwarded-for: 1.2.3.4, 5.6.7.8, unknown, 10.0.0.9",
                "x-request-id: id-1"
            ]
        );
        assert_eq!(sent(&[]).unwrap(), ["via: 1.1 bulkhead-7", "x-forwarded-for: 10.0.0.9", "x-request-id: id-1"]);
    }

    #[test]
    fn a_request_that_has_been_here_goes_no_further() {
        assert_eq!(sent(&[("via", "1.1 other, 1.1 bulkhead-7, 1.1 third")]), Err(Failure::Circle));
        assert!(sent(&[("via", "1.1 bulkhead-6")]).is_ok());
    }

    fn received(
        status: u16,
        version: Version,
        pairs: &[(&'static str, &'static str)],
        method: &Method,
    ) -> Option<Parts> {
        let mut parts = Response::builder().status(status).version(version).body(()).unwrap().into_parts().0;
        parts.headers = map(pairs);
        inbound(&mut parts, method).ok().map(|()| parts)
    }

    #[test]
    fn an_answer_is_a_connections_last_if_it_says_so_or_is_of_the_old_kind() {
        let closes = |version: Version, connection: &'static str| {
            let mut parts = Response::builder().version(version).body(()).unwrap().into_parts().0;
            parts.headers = map(&[("connection", connection)]);
            closes(&parts)
        };
        assert!(closes(Version::HTTP_11, "x, Close") && closes(Version::HTTP_10, "x"));
        assert!(!closes(Version::HTTP_11, "closed") && !closes(Version::HTTP_10, "Keep-Alive"));
    }

    #[test]
    fn an_answer_whose_length_is_not_clear_is_none() {
        let get = |pairs: &[_]| received(200, Version::HTTP_11, pairs, &Method::GET);
        for bad in [
            &[("content-length", "5"), ("transfer-encoding", "chunked")][..],
            &[("content-length", "5"), ("content-length", "5")],
            &[("content-length", "5, 5")],
            &[("content-length", "+5")],
            &[("transfer-encoding", "gzip, chunked")],
            &[("transfer-encoding", "chunked"), ("transfer-encoding", "chunked")],
            &[("transfer-encoding", "gzip")],
        ] {
            assert!(get(bad).is_none(), "{bad:?}");
        }
        assert!(received(200, Version::HTTP_10, &[("transfer-encoding", "chunked")], &Method::GET).is_none());
        for status in [101, 600, 999] {
            assert!(received(status, Version::HTTP_11, &[], &Method::GET).is_none(), "{status}");
        }
        assert!(received(599, Version::HTTP_11, &[], &Method::GET).is_some());
        let good = get(&[("transfer-encoding", "Chunked"), ("x", "y"), ("connection", "x-gone"), ("x-gone", "1")]);
        assert_eq!(good.unwrap().headers, map(&[("x", "y")]));
        assert_eq!(get(&[("content-length", "5")]).unwrap().headers.len(), 0);
    }

    #[test]
    fn the_length_of_what_get_would_get_stays_for_head() {
        let length = &[("content-length", "5")];
        assert_eq!(received(200, Version::HTTP_11, length, &Method::HEAD).unwrap().headers, map(length));
        assert!(received(304, Version::HTTP_11, length, &Method::HEAD).unwrap().headers.is_empty());
        for impossible in ["18446744073709551616", "99999999999999999999999", "-1", ""] {
            let length = [("content-length", impossible)];
            assert!(received(200, Version::HTTP_11, &length, &Method::HEAD).is_none(), "{impossible:?}");
        }
    }
}
