//! Heads that are understood, and heads that are refused.

use super::*;
use crate::front::head::{MAX_HEAD, MAX_HEADERS};

fn scan(text: &str) -> Scan {
    Scanner::default().scan(text.as_bytes())
}

fn read(text: &str) -> Result<Head, HeadFault> {
    match scan(text) {
        Scan::Complete(len) => Head::read(&Bytes::copy_from_slice(&text.as_bytes()[..len])),
        Scan::Refused(fault) => Err(fault),
        Scan::Partial => panic!("partial: {text:?}"),
    }
}

fn body(rest: &str) -> Result<BodyLength, HeadFault> {
    read(&format!("POST / HTTP/1.1\r\nHost: a\r\n{rest}\r\n")).map(|head| head.body)
}

fn is_malformed<T>(result: &Result<T, HeadFault>) -> bool {
    matches!(result, Err(HeadFault::Malformed(_)))
}

#[test]
fn a_head_is_complete_at_its_empty_line_however_it_is_cut() {
    let text = "\r\nPOST /a?b HTTP/1.1\r\nHost: x\r\nContent-Length: 3\r\n\r\nabc";
    let len = text.len() - 3;
    assert_eq!(scan(text), Scan::Complete(len));
    let mut scanner = Scanner::default();
    for cut in 1..len {
        assert_eq!(scanner.scan(&text.as_bytes()[..cut]), Scan::Partial, "cut at {cut}");
    }
    assert_eq!(scanner.scan(&text.as_bytes()[..len]), Scan::Complete(len));
    let head = read(text).unwrap();
    assert_eq!((head.method, head.uri.to_string(), head.body), (Method::POST, "/a?b".into(), BodyLength::Exactly(3)));
    assert_eq!(head.headers["content-length"], "3");
}

/// A handshake has line feeds among its bytes: 0x000a is the number of an extension that all clients send.
#[test]
fn a_tls_handshake_is_named_wherever_its_line_feeds_are() {
    let begin = b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03";
    for rest in [&b""[..], b"\x00\x0a\x00\x16\x00\x14", b"\x0d\x0a\x0d\x0a", &[b'a'; 500]] {
        let Scan::Refused(fault) = Scanner::default().scan(&[begin, rest].concat()) else { panic!("{rest:?}") };
        assert!(matches!(fault, HeadFault::Malformed(text) if text.contains("TLS handshake")), "{fault:?}");
    }
}

#[test]
fn headers_are_kept_as_they_came_and_in_their_order() {
    let head = read("GET / HTTP/1.1\r\nHost: a\r\nX-A:  1 2\t\r\nX-a: \u{e9}\r\nAccept:\r\n\r\n").unwrap();
    let values: Vec<&[u8]> = head.headers.get_all("x-a").iter().map(HeaderValue::as_bytes).collect();
    assert_eq!(values, [&b"1 2"[..], "\u{e9}".as_bytes()]);
    assert_eq!((head.headers.len(), head.headers["accept"].len()), (4, 0));
}

#[test]
fn a_connection_is_kept_as_its_version_and_its_client_say() {
    let kept = |version: &str, headers: &str| {
        read(&format!("GET / HTTP/{version}\r\nHost: a\r\n{headers}\r\n")).unwrap().keep_alive
    };
    assert!(kept("1.1", "") && kept("1.1", "Connection: keep-alive\r\n") && kept("1.1", "Connection: closed\r\n"));
    assert!(!kept("1.1", "Connection: x, Close\r\n") && !kept("1.1", "Connection: close\r\nConnection: x\r\n"));
    assert!(kept("1.0", "Connection: Keep-Alive\r\n") && kept("1.0", "connection: x , keep-alive\r\n"));
    assert!(!kept("1.0", "") && !kept("1.0", "Connection: keep-alive, close\r\n"));
}

#[test]
fn lines_must_end_in_crlf() {
    for bad in ["GET / HTTP/1.1\nHost: a\n\n", "GET / HTTP/1.1\r\nHost: a\nx: y\r\n\r\n"] {
        assert!(matches!(scan(bad), Scan::Refused(HeadFault::Malformed(_))));
    }
}

#[test]
fn the_body_is_delimited_in_exactly_one_way() {
    assert_eq!(body(""), Ok(BodyLength::None));
    assert_eq!(body("Content-Length: 0\r\n"), Ok(BodyLength::None));
    assert_eq!(body("content-length: 7\r\n"), Ok(BodyLength::Exactly(7)));
    assert_eq!(body("Transfer-Encoding: Chunked\r\n"), Ok(BodyLength::Chunked));
    for bad in [
        "Content-Length: 1\r\nTransfer-Encoding: chunked\r\n",
        "Transfer-Encoding: chunked\r\nContent-Length: 1\r\n",
        "Content-Length: 1\r\nContent-Length: 1\r\n",
        "Content-Length: 1, 1\r\n",
        "Content-Length: -1\r\n",
        "Content-Length: +1\r\n",
        "Content-Length: 0x1\r\n",
        "Content-Length:\r\n",
        "Transfer-Encoding: chunked\r\nTransfer-Encoding: chunked\r\n",
        "Transfer-Encoding: chunked, chunked\r\n",
        "Transfer-Encoding: ,chunked\r\n",
        "Transfer-Encoding: gzip\r\n",
        "Transfer-Encoding: identity\r\n",
        "Transfer-Encoding: chunked, identity\r\n",
        "Transfer-Encoding: \x0bchunked\r\n",
    ] {
        assert!(is_malformed(&body(bad)), "{bad:?}: {:?}", body(bad));
    }
    // A length may have any number of digits. Whether the body is too large is decided later, by the limit of its
    // service.
    for (long, length) in [
        ("18446744073709551612", u64::MAX - 3),
        ("18446744073709551613", u64::MAX - 2),
        ("18446744073709551615", u64::MAX),
        ("18446744073709551616", u64::MAX),
        ("99999999999999999999", u64::MAX),
        (&"9".repeat(5000), u64::MAX),
        (&("0".repeat(5000) + "7"), 7),
    ] {
        assert_eq!(body(&format!("Content-Length: {long}\r\n")), Ok(BodyLength::Exactly(length)), "{long}");
    }
    assert!(matches!(body("Transfer-Encoding: gzip, chunked\r\n"), Err(HeadFault::NotImplemented(_))));
    assert!(is_malformed(&read("POST / HTTP/1.0\r\nTransfer-Encoding: chunked\r\n\r\n")));
}

#[test]
fn there_is_one_host() {
    for bad in ["", "Host: a\r\nHost: a\r\n"] {
        assert!(is_malformed(&read(&format!("GET / HTTP/1.1\r\n{bad}\r\n"))), "{bad:?}");
    }
    for bad in ["", "a/b@c", "a b", "u@a", "a:b"] {
        let refused = read(&format!("GET http://a/ HTTP/1.1\r\nHost: {bad}\r\n\r\n"));
        assert!(matches!(refused, Err(HeadFault::Authority(_))), "{bad:?}: also beside an absolute target");
    }
    assert!(is_malformed(&read("GET http://a/ HTTP/1.1\r\n\r\n")));
    assert!(read("GET / HTTP/1.0\r\n\r\n").is_ok());
    assert!(read("GET / HTTP/1.1\r\nHost: [::1]:80\r\n\r\n").is_ok());
}

#[test]
fn an_absolute_target_is_its_path_and_its_authority_is_the_host() {
    for (target, path) in [
        ("http://b:80/x?y", "/x?y"),
        ("HTTP://b:80/x?y", "/x?y"),
        ("https://b:80/", "/"),
        ("http://b:80", "/"),
        ("http://b:80?y=/", "/?y=/"),
    ] {
        for lines in ["HTTP/1.1\r\nHost: a\r\nx: y\r\n", "HTTP/1.1\r\nx: y\r\nhost: b\r\n", "HTTP/1.0\r\n"] {
            let head = read(&format!("GET {target} {lines}\r\n")).unwrap();
            assert_eq!((head.uri.to_string().as_str(), head.uri.authority()), (path, None), "{target} {lines:?}");
            let hosts: Vec<_> = head.headers.get_all(HOST).iter().collect();
            assert_eq!(hosts, ["b:80"], "{target} {lines:?}");
        }
    }
}

#[test]
fn a_target_is_kept_as_it_was_sent() {
    for fine in ["/", "/a/%zz?b=-._~!$'()*;:@&=+,c", "/é?日本", "/{\"a\"}|[1]\\^", "/?`", "*"] {
        let head = read(&format!("OPTIONS {fine} HTTP/1.1\r\nHost: a\r\n\r\n")).unwrap();
        assert_eq!(head.uri.path_and_query().unwrap().as_str(), fine);
    }
    let refused = read("GET /<x> HTTP/1.1\r\nHost: a\r\n\r\n");
    assert!(matches!(refused, Err(HeadFault::TargetByte(_))));
}

#[test]
fn header_lines_are_names_and_values() {
    for bad in ["x\r\n", " x: y\r\n", "x : y\r\n", ": y\r\n", "x: a\r\n b\r\n", "x: a\rb\r\n", "x: \0\r\n", "é: x\r\n"]
    {
        assert!(is_malformed(&body(bad)), "{bad:?}");
    }
    assert_eq!(body("Expect: 100-Continue\r\n"), Ok(BodyLength::None));
    assert_eq!(body("Expect: 200-ok\r\n"), Err(HeadFault::ExpectationUnknown));
}

/// A gateway would forward the `Expect` to an upstream, which speaks HTTP/1.1 and would obey it.
#[test]
fn an_expectation_of_http_1_0_is_none() {
    for value in ["100-continue", "200-ok"] {
        let lines = format!("Expect: {value}\r\nx: y\r\nexpect: {value}\r\nContent-Length: 3\r\n\r\n");
        let head = read(&format!("POST / HTTP/1.0\r\n{lines}")).unwrap();
        assert_eq!((head.expects_leave, head.headers.contains_key(EXPECT)), (false, false), "{value}");
        assert_eq!(head.headers.len(), 2);
    }
    let head = read("POST / HTTP/1.1\r\nHost: a\r\nExpect: 100-continue\r\nContent-Length: 3\r\n\r\n").unwrap();
    assert!(head.expects_leave && head.headers.contains_key(EXPECT));
}

/// A gateway adds headers of its own. With one limit for both, a request of the largest size would be refused behind a
/// gateway.
#[test]
fn what_a_gateway_has_passed_on_may_be_larger_by_what_gateways_add() {
    let lines = |count: usize, via: &str| body(&format!("{}{via}", "x: y\r\n".repeat(count)));
    let via = "Via: 1.1 bulkhead-00000000\r\n";
    assert_eq!(lines(MAX_HEADERS - 1, ""), Ok(BodyLength::None));
    assert_eq!(lines(MAX_HEADERS, ""), Err(HeadFault::HeadTooLarge));
    for gateways in 1..6 {
        let via = format!("Via: {}\r\n", "1.1 bulkhead-00000000, ,".repeat(gateways));
        let most = MAX_HEADERS + 8 * gateways.min(4);
        assert_eq!(lines(most - 2, &via), Ok(BodyLength::None), "{gateways}");
        assert_eq!(lines(most - 1, &via), Err(HeadFault::HeadTooLarge), "{gateways}");
    }
    let of_bytes = |bytes: usize, via: &str| {
        let before = format!("GET / HTTP/1.1\r\nHost: a\r\n{via}x: ");
        let value = "a".repeat(bytes - before.len() - "\r\n\r\n".len());
        read(&format!("{before}{value}\r\n\r\n")).map(|head| head.body)
    };
    assert_eq!(of_bytes(MAX_HEAD, ""), Ok(BodyLength::None));
    assert_eq!(of_bytes(MAX_HEAD + 1, ""), Err(HeadFault::HeadTooLarge));
    assert_eq!(of_bytes(MAX_HEAD + 1024, via), Ok(BodyLength::None));
    assert_eq!(of_bytes(MAX_HEAD + 1025, via), Err(HeadFault::HeadTooLarge));
}

#[test]
fn sizes_are_bounded_before_the_head_is_complete() {
    let long = "a".repeat(MAX_TARGET + REQUEST_LINE_SLACK + 1);
    assert_eq!(scan(&format!("GET /{long}")), Scan::Refused(HeadFault::TargetTooLong));
    let exact = "a".repeat(MAX_TARGET);
    assert_eq!(scan(&format!("GET /{exact} HTTP/1.1\r\n")), Scan::Refused(HeadFault::TargetTooLong));
    assert_eq!(scan(&format!("GET /{} HTTP/1.1\r\n", &exact[1..])), Scan::Partial);
    let large = "a".repeat(MOST_BYTES);
    assert_eq!(scan(&format!("GET / HTTP/1.1\r\nx: {large}")), Scan::Refused(HeadFault::HeadTooLarge));
    assert_eq!(body(&"x: y\r\n".repeat(100)), Err(HeadFault::HeadTooLarge));
    assert_eq!(body(&"x: y\r\n".repeat(99)), Ok(BodyLength::None));
    assert_eq!(body(&format!("x: {}\r\n", "a".repeat(MAX_HEAD))), Err(HeadFault::HeadTooLarge));
    assert!(matches!(scan("\x16\x03\x01"), Scan::Refused(HeadFault::Malformed(_))));
}
