//! Checks the head of a stream's request by the rules of HTTP/1, and converts it to the form that it has in HTTP/1.
//!
//! h2 has parsed the head before, and has refused bytes that no field may have. In a target, h2 drops `#` and
//! everything after it.

use std::time::Instant;

use h2::RecvStream;
use http::header::{CONTENT_LENGTH, COOKIE, EXPECT, HOST};
use http::request::Parts;
use http::uri::{Authority, PathAndQuery};
use http::{HeaderMap, HeaderValue, Method, Request, Uri};

use super::body::{self, Coming};
use crate::front::arrival::{Arrival, Ends};
use crate::front::authority::{self, AuthorityField};
use crate::front::head::{
    HeadFault, NO_HOST, TWO_HOSTS, TWO_LENGTHS, expects_continue, gateways, judge_expectation, judge_method,
    judge_size, size,
};
use crate::front::target::{MAX_TARGET, Target};

/// Reads the requests of one connection.
pub(super) struct Reader {
    ends: Ends,
    /// The host of the previous request, kept because most connections use one host.
    host: HeaderValue,
}

/// The request of a stream.
pub(super) struct Received {
    pub(super) arrival: Arrival,
    pub(super) is_head: bool,
    /// The rest of its stream, if the body has not ended.
    pub(super) coming: Option<Coming>,
}

impl Reader {
    pub(super) fn new(ends: Ends) -> Self {
        Self { ends, host: HeaderValue::from_static("") }
    }

    /// Reads the request of a stream. Its time of arrival is now.
    pub(super) fn read(&mut self, request: Request<RecvStream>) -> Received {
        let (mut parts, stream) = request.into_parts();
        let fault = self.judge(&mut parts).err();
        let Parts { method, uri, headers, .. } = parts;
        let (body, coming) = body::incoming(stream, length(&headers), expects_continue(&headers));
        let uri = Uri::from(uri.into_parts().path_and_query.unwrap_or_else(|| PathAndQuery::from_static("/")));
        let is_head = method == Method::HEAD;
        let arrival = Arrival { method, uri, headers, body, fault, at: Instant::now(), ends: self.ends };
        Received { arrival, is_head, coming }
    }

    fn judge(&mut self, parts: &mut Parts) -> Result<(), HeadFault> {
        let (method, target) = (parts.method.as_str(), crate::front::route::target(&parts.uri));
        judge_method(method.as_bytes())?;
        if target.len() > MAX_TARGET {
            return Err(HeadFault::TargetTooLong);
        }
        // h2 checked the bytes of the target when it parsed the URI.
        Target::of(method.as_bytes(), target.as_bytes())?;
        join_cookies(&mut parts.headers);
        self.judge_host(&parts.uri, &mut parts.headers)?;
        let headers = &parts.headers;
        judge_size(size(method, target, headers), headers.len(), gateways(headers))?;
        if parts.headers.get_all(CONTENT_LENGTH).iter().nth(1).is_some() {
            return Err(TWO_LENGTHS);
        }
        parts.headers.get_all(EXPECT).iter().try_for_each(|value| judge_expectation(value.as_bytes()).map(|_| ()))
    }

    /// Turns `:authority` into `Host`. If both were sent, they must be the same (RFC 9113 §8.3.1).
    fn judge_host(&mut self, uri: &Uri, headers: &mut HeaderMap) -> Result<(), HeadFault> {
        let default_port: &[u8] = match uri.scheme_str() {
            None | Some("http") => b"80",
            Some("https") => b"443",
            Some(_) => {
                return Err(HeadFault::Malformed("the scheme of the request (:scheme) is neither http nor https"));
            }
        };
        let mut hosts = headers.get_all(HOST).iter();
        let host = hosts.next();
        if hosts.next().is_some() {
            return Err(TWO_HOSTS);
        }
        if let Some(host) = host {
            authority::judge(host.as_bytes(), AuthorityField::Host)?;
        }
        let Some(named) = uri.authority() else { return if host.is_some() { Ok(()) } else { Err(NO_HOST) } };
        authority::judge(named.as_str().as_bytes(), AuthorityField::PseudoHeader)?;
        if host.is_some_and(|host| !authority::is_same(host.as_bytes(), named.as_str().as_bytes(), default_port)) {
            return Err(HeadFault::Malformed(
                "the authority of the request (:authority) and the Host header name different hosts",
            ));
        }
        headers.insert(HOST, self.host(named));
        Ok(())
    }

    fn host(&mut self, authority: &Authority) -> HeaderValue {
        if self.host != authority.as_str()
            && let Ok(host) = HeaderValue::from_str(authority.as_str())
        {
            self.host = host;
        }
        self.host.clone()
    }
}

/// Joins cookies. HTTP/2 clients may send each in a field of its own, but processors and upstreams expect one header
/// (RFC 9113 §8.2.3).
fn join_cookies(headers: &mut HeaderMap) {
    let mut cookies = headers.get_all(COOKIE).iter();
    let (Some(first), Some(second)) = (cookies.next(), cookies.next()) else { return };
    let mut joined = first.as_bytes().to_vec();
    for cookie in std::iter::once(second).chain(cookies) {
        joined.extend_from_slice(b"; ");
        joined.extend_from_slice(cookie.as_bytes());
    }
    if let Ok(mut joined) = HeaderValue::from_maybe_shared(bytes::Bytes::from(joined)) {
        joined.set_sensitive(first.is_sensitive());
        headers.insert(COOKIE, joined);
    }
}

/// Returns the declared length of the body.
fn length(headers: &HeaderMap) -> Option<u64> {
    headers.get(CONTENT_LENGTH)?.to_str().ok()?.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::front::head::{MAX_HEAD, MAX_HEADERS};

    fn judged(uri: &str, headers: &[(&'static str, &str)]) -> Result<HeaderMap, HeadFault> {
        judged_as(Method::GET, uri, headers)
    }

    fn judged_as(method: Method, uri: &str, headers: &[(&'static str, &str)]) -> Result<HeaderMap, HeadFault> {
        let mut request = Request::builder().method(method).uri(uri);
        for (name, value) in headers {
            request = request.header(*name, *value);
        }
        let mut parts = request.body(()).unwrap().into_parts().0;
        let mut reader = Reader::new(Ends { peer: [127, 0, 0, 1].into(), local: ([127, 0, 0, 1], 80).into() });
        reader.judge(&mut parts).map(|()| parts.headers)
    }

    #[test]
    fn the_authority_is_the_host_and_a_host_beside_it_says_the_same() {
        for (uri, hosts, host) in [
            ("http://a:80/x", &[][..], "a:80"),
            ("http://a/x", &[("host", "a")], "a"),
            ("http://a/x", &[("host", "A:80")], "a"),
            ("https://a/x", &[("host", "a:443")], "a"),
            ("/x", &[("host", "a")], "a"),
        ] {
            let headers = judged(uri, hosts).unwrap();
            assert_eq!(headers.get_all(HOST).iter().collect::<Vec<_>>(), [host], "{uri} {hosts:?}");
        }
        for (uri, hosts) in [
            ("/x", &[][..]),
            ("http://a/x", &[("host", "b")]),
            ("http://a/x", &[("host", "a:443")]),
            ("http://a/x", &[("host", "a"), ("host", "a")]),
            ("/x", &[("host", "a"), ("host", "a")]),
            ("ftp://a/x", &[]),
        ] {
            assert!(matches!(judged(uri, hosts), Err(HeadFault::Malformed(_))), "{uri} {hosts:?}");
        }
        for (uri, hosts) in [
            ("http://u@a/x", &[][..]),
            ("http://a/x", &[("host", "u@a")]),
            ("/x", &[("host", "")]),
            ("/x", &[("host", "a b")]),
        ] {
            assert!(matches!(judged(uri, hosts), Err(HeadFault::Authority(_))), "{uri} {hosts:?}");
        }
    }

    #[test]
    fn cookies_are_one_header_in_the_place_of_the_first() {
        let headers =
            judged("http://a/", &[("cookie", "a=1"), ("x", "y"), ("cookie", "b=2"), ("cookie", "c=3")]).unwrap();
        let lines: Vec<_> = headers.iter().map(|(name, value)| (name.as_str(), value.to_str().unwrap())).collect();
        assert_eq!(lines, [("cookie", "a=1; b=2; c=3"), ("x", "y"), ("host", "a")]);
        assert_eq!(judged("http://a/", &[("cookie", "a=1")]).unwrap()["cookie"], "a=1");
    }

    #[test]
    fn a_head_may_be_as_large_as_in_http1() {
        let line = |size: usize| "GET / HTTP/1.1\r\n\r\n".len() + "host: a\r\n".len() + "x: \r\n".len() + size;
        let most = "y".repeat(MAX_HEAD - line(0));
        assert!(judged("http://a/", &[("x", &most)]).is_ok());
        assert_eq!(judged("http://a/", &[("x", &format!("{most}y"))]), Err(HeadFault::HeadTooLarge));
        assert!(judged("http://a/", &[("x", "y"); MAX_HEADERS - 1]).is_ok());
        assert_eq!(judged("http://a/", &[("x", "y"); MAX_HEADERS]), Err(HeadFault::HeadTooLarge));
        let long = format!("http://a/{}", "x".repeat(MAX_TARGET));
        assert_eq!(judged(&long, &[]), Err(HeadFault::TargetTooLong));
    }

    #[test]
    fn forms_lengths_and_expectations_are_judged_as_in_http1() {
        let lengths = [("content-length", "1"), ("content-length", "1")];
        assert_eq!(judged("http://a/", &lengths), Err(TWO_LENGTHS));
        assert_eq!(
            judged("http://a/", &[("expect", "100-continue"), ("expect", "x")]),
            Err(HeadFault::ExpectationUnknown)
        );
        assert!(judged_as(Method::OPTIONS, "*", &[("host", "a")]).is_ok());
        assert!(matches!(judged("*", &[("host", "a")]), Err(HeadFault::Malformed(_))));
        assert!(matches!(judged_as(Method::CONNECT, "a:1", &[]), Err(HeadFault::NotImplemented(_))));
    }
}
