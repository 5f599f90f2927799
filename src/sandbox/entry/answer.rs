//! Checks of a guest's response before it may be sent.
//!
//! A guest must not end or lengthen its own message: framing and hop-by-hop headers belong to the connection, so they
//! are dropped. Headers by which the host speaks for itself are dropped too. A response that cannot be sent is the
//! guest's fault. Sources: RFC 9110 §7.6.1 (hop-by-hop), RFC 9112 §6 (framing).

use bytes::Bytes;
use http::{HeaderMap, HeaderName, HeaderValue, StatusCode, header};

use super::super::bindings::bulkhead::processor::types::{Failure, Response};
use super::super::fault::Fault;
use crate::call::{Answer, Body};
use crate::header::remove;

/// Most headers that a guest may set, and most bytes of all of them.
const MAX_HEADERS: usize = 64;
const MAX_HEADER_BYTES: usize = 16 << 10;

pub(in crate::sandbox) fn check(response: Response, max_body: usize) -> Result<Answer, Fault> {
    let Response { status, content_type, headers, body } = response;
    if body.len() > max_body {
        let size = body.len();
        return Err(bad(format!("its body has {size} bytes, accepted are {max_body} (sandbox.max_response_bytes)")));
    }
    let mut answer = head(status, content_type, headers)?;
    answer.body = Body::Whole(body.into());
    Ok(answer)
}

/// Checks the head of an answer. The body is empty.
pub(in crate::sandbox) fn head(
    status: u16,
    content_type: Option<String>,
    given: Vec<(String, String)>,
) -> Result<Answer, Fault> {
    let bytes = given.iter().map(|(name, value)| name.len() + value.len()).sum();
    check_size(given.len(), bytes)?;
    let content_type = content_type.map(|value| header_value("content-type", value)).transpose()?;
    let mut headers = HeaderMap::with_capacity(given.len());
    for (name, value) in given {
        let Ok(parsed) = HeaderName::from_bytes(name.as_bytes()) else {
            return Err(bad(format!("{name:?} is not a header name")));
        };
        let value = header_value(&name, value)?;
        headers.append(parsed, value);
    }
    let mut answer = filtered(status, headers)?;
    answer.content_type = content_type.or(answer.content_type);
    Ok(answer)
}

/// As [`head`], for headers whose names and values are valid.
pub(super) fn head_of(status: StatusCode, headers: HeaderMap) -> Result<Answer, Fault> {
    check_size(headers.len(), headers.iter().map(|(name, value)| name.as_str().len() + value.len()).sum())?;
    filtered(status.as_u16(), headers)
}

/// Removes what must not be a trailer (RFC 9110 §6.5.1): framing, the headers of the host, descriptions of the content,
/// and what directs the client before it reads the content. Trailers that are too large are dropped, because the answer
/// has been sent by then.
pub(super) fn trailers_of(mut trailers: HeaderMap) -> HeaderMap {
    let bytes = trailers.iter().map(|(name, value)| name.as_str().len() + value.len()).sum();
    if check_size(trailers.len(), bytes).is_err() {
        return HeaderMap::new();
    }
    remove(&mut trailers, |name| {
        is_the_hosts(name) || DIRECTIONS.contains(name) || name.as_str().starts_with("content-")
    });
    trailers
}

/// Headers that a client must know before the content.
const DIRECTIONS: [HeaderName; 9] = [
    header::AGE,
    header::CACHE_CONTROL,
    header::EXPIRES,
    header::HOST,
    header::LOCATION,
    header::PRAGMA,
    header::RETRY_AFTER,
    header::VARY,
    header::WARNING,
];

fn check_size(count: usize, bytes: usize) -> Result<(), Fault> {
    if count > MAX_HEADERS {
        return Err(bad(format!("it has {count} headers, accepted are {MAX_HEADERS}")));
    }
    if bytes > MAX_HEADER_BYTES {
        return Err(bad(format!("its headers have {bytes} bytes, accepted are {MAX_HEADER_BYTES}")));
    }
    Ok(())
}

fn filtered(status: u16, mut headers: HeaderMap) -> Result<Answer, Fault> {
    let status = match status {
        0 => StatusCode::OK,
        status @ 200..=599 => StatusCode::from_u16(status).map_err(|_| bad("its status is impossible"))?,
        status => return Err(bad(format!("its status is {status}, accepted are 200 to 599"))),
    };
    let content_type = headers.get(header::CONTENT_TYPE).cloned();
    remove(&mut headers, is_the_hosts);
    Ok(Answer { status, content_type, headers, body: Body::Whole(Bytes::new()) })
}

/// Returns the fault of a processor that declined. It may choose only a status of 400 to 599 here.
pub(super) fn failure(failure: Failure) -> Fault {
    match failure.status {
        0 => Fault::Failure { status: None, message: failure.message },
        400..=599 => Fault::Failure { status: Some(failure.status), message: failure.message },
        status => bad(format!("it failed with status {status}, accepted are 400 to 599, and 0 for the service's own")),
    }
}

/// True if only the host may send this header.
fn is_the_hosts(name: &HeaderName) -> bool {
    const OURS: [HeaderName; 14] = [
        header::ALT_SVC,
        header::CONNECTION,
        header::CONTENT_LENGTH,
        header::DATE,
        header::PROXY_AUTHENTICATE,
        header::PROXY_AUTHORIZATION,
        header::SERVER,
        header::SET_COOKIE,
        header::TE,
        header::TRAILER,
        header::TRANSFER_ENCODING,
        header::UPGRADE,
        header::WWW_AUTHENTICATE,
        header::CONTENT_TYPE,
    ];
    const OURS_BY_NAME: [&str; 6] =
        ["keep-alive", "http2-settings", "proxy-connection", "x-request-id", "server-timing", "x-content-type-options"];
    OURS.contains(name) || OURS_BY_NAME.contains(&name.as_str()) || name.as_str().starts_with("x-bulkhead-")
}

fn header_value(name: &str, value: String) -> Result<HeaderValue, Fault> {
    HeaderValue::from_maybe_shared(Bytes::from(value))
        .map_err(|_| bad(format!("the value of its header {name:?} is not one line of text")))
}

fn bad(reason: impl Into<String>) -> Fault {
    Fault::BadAnswer { reason: reason.into() }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn response(status: u16, headers: &[(&str, &str)]) -> Response {
        Response {
            status,
            content_type: None,
            headers: headers.iter().map(|(n, v)| ((*n).to_owned(), (*v).to_owned())).collect(),
            body: b"body".to_vec(),
        }
    }

    fn reason(result: Result<Answer, Fault>) -> String {
        result.expect_err("refused").to_string()
    }

    #[test]
    fn zero_is_ok_and_200_to_599_pass() {
        for (given, sent) in [(0, 200), (200, 200), (422, 422), (450, 450), (599, 599)] {
            assert_eq!(check(response(given, &[]), 10).unwrap().status.as_u16(), sent);
        }
        for status in [1, 99, 100, 101, 103, 199, 600, 999, u16::MAX] {
            assert!(reason(check(response(status, &[]), 10)).contains("accepted are 200 to 599"), "{status}");
        }
    }

    #[test]
    fn headers_of_the_connection_and_of_the_host_are_dropped() {
        let given = [
            ("Content-Length", "5"),
            ("transfer-encoding", "chunked"),
            ("Connection", "close"),
            ("keep-alive", "timeout=1"),
            ("Upgrade", "websocket"),
            ("trailer", "x"),
            ("TE", "trailers"),
            ("Proxy-Connection", "close"),
            ("set-cookie", "a=b"),
            ("server", "x"),
            ("date", "x"),
            ("x-request-id", "forged"),
            ("X-Bulkhead-Fuel", "0"),
            ("Server-Timing", "x"),
            ("X-Mine", "kept"),
        ];
        let answer = check(response(200, &given), 10).unwrap();
        assert_eq!(answer.headers.len(), 1);
        assert_eq!(answer.headers["x-mine"], "kept");
    }

    #[test]
    fn a_header_that_could_split_the_answer_is_a_fault() {
        for (name, value) in
            [("x", "a\r\nb: c"), ("x", "a\nb"), ("x", "a\0"), ("a b", "v"), ("", "v"), ("a:", "v"), ("a\r\n", "v")]
        {
            assert!(
                matches!(check(response(200, &[(name, value)]), 10), Err(Fault::BadAnswer { .. })),
                "{name:?} {value:?}"
            );
        }
        let mut with_type = response(200, &[]);
        with_type.content_type = Some("text/plain\r\nx: y".into());
        assert!(check(with_type, 10).is_err());
    }

    #[test]
    fn counts_and_sizes_are_bounded() {
        assert!(reason(check(response(200, &[("a", "b"); MAX_HEADERS + 1]), 10)).contains("65 headers"));
        let long = "v".repeat(MAX_HEADER_BYTES);
        assert!(reason(check(response(200, &[("a", &long)]), 10)).contains("16385 bytes"));
        assert!(reason(check(response(200, &[]), 3)).contains("4 bytes, accepted are 3"));
    }

    #[test]
    fn trailers_say_nothing_about_the_message_itself() {
        let given = [
            ("x-checksum", "42"),
            ("content-length", "1"),
            ("content-type", "a/b"),
            ("connection", "close"),
            ("location", "/x"),
            ("cache-control", "no-store"),
        ];
        let map = |given: &[(&'static str, &'static str)]| {
            let entries =
                given.iter().map(|(name, value)| (HeaderName::from_static(name), HeaderValue::from_static(value)));
            entries.collect::<HeaderMap>()
        };
        assert_eq!(trailers_of(map(&given)), map(&given[..1]));
        let mut large = HeaderMap::new();
        large.insert("x-large", HeaderValue::from_str(&"v".repeat(MAX_HEADER_BYTES)).unwrap());
        assert!(trailers_of(large).is_empty());
    }

    #[test]
    fn content_type_may_come_as_a_header() {
        let answer = check(response(200, &[("Content-Type", "text/csv")]), 10).unwrap();
        assert_eq!(answer.content_type.unwrap(), "text/csv");
        assert!(answer.headers.is_empty());
    }

    #[test]
    fn a_failure_has_a_status_of_failure() {
        let of = |status| failure(Failure { status, message: "no".into() });
        assert!(matches!(of(0), Fault::Failure { status: None, .. }));
        assert!(matches!(of(422), Fault::Failure { status: Some(422), .. }));
        for status in [1, 200, 302, 600] {
            assert!(matches!(of(status), Fault::BadAnswer { .. }), "{status}");
        }
    }
}
