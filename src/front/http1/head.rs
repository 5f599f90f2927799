//! Reads a request's head, or says what is wrong with it.
//!
//! What two readers could understand in two ways is refused: unknown versions and methods, missing or double `Host`,
//! `Transfer-Encoding` beside `Content-Length`, bare line feeds. Every verdict is given on complete lines and, being a
//! value, is answered and counted like any other refusal. Source: RFC 9112 §2–§6, RFC 9110 §7.2.

use std::mem::MaybeUninit;

use bytes::Bytes;
use http::header::HOST;
use http::{HeaderMap, HeaderName, HeaderValue, Method, Uri};
use httparse::Header;

use super::request_line;
use crate::front::authority::{self, Named};
use crate::front::body::content_length;
use crate::front::head::{
    Expectation, HeadFault, MOST_BYTES, MOST_HEADERS, NO_HOST, NO_METHOD, TWO_HOSTS, TWO_LENGTHS, is_token,
    judge_expectation, judge_size,
};
use crate::front::target::{MAX_TARGET, Target};

/// The longest method token and version around the target.
const REQUEST_LINE_SLACK: usize = 64;

/// How the body is delimited.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum BodyLength {
    None,
    Exactly(u64),
    Chunked,
}

/// What a head says.
#[derive(Debug)]
pub(super) struct Head {
    pub(super) method: Method,
    pub(super) uri: Uri,
    pub(super) headers: HeaderMap,
    pub(super) body: BodyLength,
    /// It is HTTP/1.0.
    pub(super) is_old: bool,
    /// The client would send another request on its connection.
    pub(super) keep_alive: bool,
    /// The client waits for leave to send the body.
    pub(super) expects_leave: bool,
}

#[derive(Debug, PartialEq, Eq)]
pub(super) enum Scan {
    Partial,
    /// It is here, in so many bytes with its empty line.
    Complete(usize),
    Refused(HeadFault),
}

/// Finds the end of a head as its bytes come in, and refuses what need not be waited for. Bytes once looked at are not
/// looked at again until the head is complete.
#[derive(Debug, Default)]
pub(super) struct Scanner {
    /// Where the current line begins.
    line: usize,
    /// The request line is complete: empty lines before it are skipped (RFC 9112 §2.2).
    has_begun: bool,
}

impl Scanner {
    /// `bytes` begins where the head begins and grows from call to call.
    pub(super) fn scan(&mut self, bytes: &[u8]) -> Scan {
        match self.advance(bytes) {
            Ok(None) => Scan::Partial,
            Ok(Some(len)) => Scan::Complete(len),
            Err(fault) => Scan::Refused(fault),
        }
    }

    fn advance(&mut self, bytes: &[u8]) -> Result<Option<usize>, HeadFault> {
        while let Some(at) = memchr::memchr(b'\n', &bytes[self.line..]) {
            let line = &bytes[self.line..self.line + at];
            self.line += at + 1;
            let Some(line) = line.strip_suffix(b"\r") else {
                return Err(HeadFault::Malformed("a line of the head ends without a carriage return"));
            };
            match (self.has_begun, line.is_empty()) {
                (false, true) | (true, false) => {}
                (false, false) => {
                    self.has_begun = true;
                    request_line::judge(line)?;
                }
                (true, true) if self.line > MOST_BYTES => return Err(HeadFault::HeadTooLarge),
                (true, true) => return Ok(Some(self.line)),
            }
        }
        self.check_unfinished(bytes)?;
        Ok(None)
    }

    /// Refuses what can only get worse.
    fn check_unfinished(&self, bytes: &[u8]) -> Result<(), HeadFault> {
        if !self.has_begun {
            if let [0x16, 0x03, ..] = bytes {
                return Err(HeadFault::Malformed("this port speaks plain HTTP, and this is a TLS handshake"));
            }
            if bytes.len() - self.line > MAX_TARGET + REQUEST_LINE_SLACK {
                return Err(HeadFault::TargetTooLong);
            }
        }
        if bytes.len() > MOST_BYTES {
            return Err(HeadFault::HeadTooLarge);
        }
        Ok(())
    }
}

impl Head {
    /// Reads a complete head; the values of its headers are parts of `head`.
    pub(super) fn read(head: &Bytes) -> Result<Self, HeadFault> {
        // Left unfilled: to clear all of them would cost as much as to parse an ordinary head.
        let mut slots = [const { MaybeUninit::uninit() }; MOST_HEADERS];
        let mut request = httparse::Request::new(&mut []);
        match request.parse_with_uninit_headers(head, &mut slots) {
            Ok(httparse::Status::Complete(len)) if len == head.len() => {}
            Ok(_) => return Err(HeadFault::Malformed("the head ends before its end")),
            Err(httparse::Error::Token) => return Err(NO_URI),
            Err(httparse::Error::TooManyHeaders) => return Err(HeadFault::HeadTooLarge),
            Err(_) => return Err(HeadFault::Malformed("a header line is not `name: value`")),
        }
        let (method, target) = (request.method.unwrap_or_default(), request.path.unwrap_or_default());
        let is_old = request.version == Some(0);
        let mut headers = HeaderMap::with_capacity(request.headers.len());
        let mut seen = Seen { keep_alive: !is_old, ..Seen::default() };
        for header in request.headers.iter() {
            seen.note(header, is_old)?;
            headers.append(name(header)?, value(head, header)?);
        }
        seen.check_host(is_old)?;
        judge_size(head.len(), headers.len(), seen.via)?;
        Ok(Self {
            method: Method::from_bytes(method.as_bytes()).map_err(|_| NO_METHOD)?,
            uri: uri(head, method, target, &mut headers)?,
            headers,
            body: seen.body_length(is_old)?,
            is_old,
            keep_alive: seen.keep_alive,
            expects_leave: seen.expects_leave,
        })
    }
}

const NO_URI: HeadFault = HeadFault::Malformed("the request target is not a URI");

/// Path and query of the target. The authority of an absolute-form target replaces `Host` (RFC 9112 §3.2.2).
fn uri(head: &Bytes, method: &str, target: &str, headers: &mut HeaderMap) -> Result<Uri, HeadFault> {
    let Target::Absolute { authority, path } = Target::of(method.as_bytes(), target.as_bytes())? else {
        return Uri::from_maybe_shared(head.slice_ref(target.as_bytes())).map_err(|_| NO_URI);
    };
    let host = HeaderValue::from_maybe_shared(head.slice_ref(&target.as_bytes()[authority..path]));
    headers.insert(HOST, host.map_err(|_| NO_URI)?);
    match &target.as_bytes()[path..] {
        [] => Ok(Uri::from_static("/")),
        // An empty path is the same as a slash; normalised here, so that nothing after this needs to know (RFC 9110
        // §4.2.3).
        query @ [b'?', ..] => Uri::from_maybe_shared(Bytes::from([b"/", query].concat())).map_err(|_| NO_URI),
        path => Uri::from_maybe_shared(head.slice_ref(path)).map_err(|_| NO_URI),
    }
}

fn name(header: &Header<'_>) -> Result<HeaderName, HeadFault> {
    HeaderName::from_bytes(header.name.as_bytes()).map_err(|_| HeadFault::Malformed("a header's name is not a token"))
}

fn value(head: &Bytes, header: &Header<'_>) -> Result<HeaderValue, HeadFault> {
    HeaderValue::from_maybe_shared(head.slice_ref(header.value))
        .map_err(|_| HeadFault::Malformed("a header's value has a control character"))
}

/// The headers that decide where a request ends and whom it is for.
#[derive(Default)]
struct Seen<'a> {
    host: Option<&'a [u8]>,
    length: Option<u64>,
    chunked: bool,
    keep_alive: bool,
    expects_leave: bool,
    /// The request has `Via`: it came through a gateway.
    via: bool,
}

impl<'a> Seen<'a> {
    fn note(&mut self, header: &Header<'a>, old: bool) -> Result<(), HeadFault> {
        let (name, value) = (header.name, header.value);
        // The length tells most headers apart before a letter is compared.
        match name.len() {
            3 if name.eq_ignore_ascii_case("via") => {
                self.via = true;
                Ok(())
            }
            4 if name.eq_ignore_ascii_case("host") => self.note_host(value),
            // HTTP/1.0 has no expectations: there the header says nothing.
            6 if name.eq_ignore_ascii_case("expect") && !old => {
                self.expects_leave |= judge_expectation(value)? == Expectation::Continue;
                Ok(())
            }
            10 if name.eq_ignore_ascii_case("connection") => {
                self.note_connection(value, old);
                Ok(())
            }
            14 if name.eq_ignore_ascii_case("content-length") => self.note_length(value),
            17 if name.eq_ignore_ascii_case("transfer-encoding") => self.note_coding(value),
            _ => Ok(()),
        }
    }

    fn note_host(&mut self, value: &'a [u8]) -> Result<(), HeadFault> {
        match self.host.replace(value) {
            None => Ok(()),
            Some(_) => Err(TWO_HOSTS),
        }
    }

    fn note_length(&mut self, value: &[u8]) -> Result<(), HeadFault> {
        let length = content_length(value).ok_or(HeadFault::Malformed("Content-Length is not a number"))?;
        match self.length.replace(length) {
            None => Ok(()),
            Some(_) => Err(TWO_LENGTHS),
        }
    }

    fn note_coding(&mut self, value: &[u8]) -> Result<(), HeadFault> {
        if std::mem::replace(&mut self.chunked, true) {
            return Err(HeadFault::Malformed("there are two Transfer-Encoding headers"));
        }
        transfer_encoding(value)
    }

    /// RFC 9112 §9.3.
    fn note_connection(&mut self, value: &[u8], old: bool) {
        let lists = |word: &[u8]| value.split(|b| *b == b',').any(|item| item.trim_ascii().eq_ignore_ascii_case(word));
        if lists(b"close") {
            self.keep_alive = false;
        } else if old && lists(b"keep-alive") {
            self.keep_alive = true;
        }
    }

    fn check_host(&self, old: bool) -> Result<(), HeadFault> {
        match self.host {
            Some(host) => authority::judge(host, Named::Host),
            None if old => Ok(()),
            None => Err(NO_HOST),
        }
    }

    fn body_length(&self, old: bool) -> Result<BodyLength, HeadFault> {
        match (self.chunked, self.length) {
            (true, Some(_)) => Err(HeadFault::Malformed("there are both Transfer-Encoding and Content-Length")),
            (true, None) if old => Err(HeadFault::Malformed("HTTP/1.0 has no Transfer-Encoding")),
            (true, None) => Ok(BodyLength::Chunked),
            (false, Some(0) | None) => Ok(BodyLength::None),
            (false, Some(length)) => Ok(BodyLength::Exactly(length)),
        }
    }
}

/// Only `chunked` is spoken. Another coding before it is one we do not know; any other ending is no request at all.
fn transfer_encoding(value: &[u8]) -> Result<(), HeadFault> {
    if value.eq_ignore_ascii_case(b"chunked") {
        return Ok(());
    }
    let codings: Vec<&[u8]> = value.split(|b| *b == b',').map(<[u8]>::trim_ascii).collect();
    let is_chunked = |coding: &&[u8]| coding.eq_ignore_ascii_case(b"chunked");
    let all_are_tokens = codings.iter().all(|c| !c.is_empty() && c.iter().all(|b| is_token(*b)));
    match codings.as_slice() {
        [before @ .., last] if all_are_tokens && is_chunked(last) && !before.iter().any(is_chunked) => {
            Err(HeadFault::NotImplemented("of transfer codings only chunked is known"))
        }
        _ => Err(HeadFault::Malformed("Transfer-Encoding does not end in one chunked")),
    }
}

#[cfg(test)]
mod tests {
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
        assert_eq!(
            (head.method, head.uri.to_string(), head.body),
            (Method::POST, "/a?b".into(), BodyLength::Exactly(3))
        );
        assert_eq!(head.headers["content-length"], "3");
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
        // The limit is the service's; a number may have any number of digits.
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
        for bad in
            ["x\r\n", " x: y\r\n", "x : y\r\n", ": y\r\n", "x: a\r\n b\r\n", "x: a\rb\r\n", "x: \0\r\n", "é: x\r\n"]
        {
            assert!(is_malformed(&body(bad)), "{bad:?}");
        }
        assert_eq!(body("Expect: 100-Continue\r\n"), Ok(BodyLength::None));
        assert_eq!(body("Expect: 200-ok\r\n"), Err(HeadFault::ExpectationUnknown));
    }

    /// Otherwise a request of the largest size would be refused behind a gateway, which adds lines of its own.
    #[test]
    fn what_a_gateway_has_passed_on_may_be_larger_by_what_gateways_add() {
        let lines = |count: usize, via: &str| body(&format!("{}{via}", "x: y\r\n".repeat(count)));
        let via = "Via: 1.1 bulkhead-00000000\r\n";
        assert_eq!(lines(MAX_HEADERS - 1, ""), Ok(BodyLength::None));
        assert_eq!(lines(MAX_HEADERS, ""), Err(HeadFault::HeadTooLarge));
        assert_eq!(lines(MOST_HEADERS - 2, via), Ok(BodyLength::None));
        assert_eq!(lines(MOST_HEADERS - 1, via), Err(HeadFault::HeadTooLarge));
        let of_bytes = |bytes: usize, via: &str| {
            let before = format!("GET / HTTP/1.1\r\nHost: a\r\n{via}x: ");
            let value = "a".repeat(bytes - before.len() - "\r\n\r\n".len());
            read(&format!("{before}{value}\r\n\r\n")).map(|head| head.body)
        };
        assert_eq!(of_bytes(MAX_HEAD, ""), Ok(BodyLength::None));
        assert_eq!(of_bytes(MAX_HEAD + 1, ""), Err(HeadFault::HeadTooLarge));
        assert_eq!(of_bytes(MOST_BYTES, via), Ok(BodyLength::None));
        assert_eq!(of_bytes(MOST_BYTES + 1, via), Err(HeadFault::HeadTooLarge));
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
}
