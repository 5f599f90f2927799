//! Judges a request's head before hyper sees it.
//!
//! hyper lets through what must be refused here, or refuses it without a body: unknown versions and methods, missing or
//! double `Host`, `Transfer-Encoding` beside `Content-Length`, bare line feeds. Every verdict is given on complete
//! lines and, being a value, is answered and counted like any other refusal. Source: RFC 9112 §2–§6, RFC 9110 §7.2.

use std::mem::MaybeUninit;

use httparse::Header;

use super::request_line::{self, MAX_TARGET, is_token};

/// Bytes of the whole head.
pub(super) const MAX_HEAD: usize = 32 << 10;
pub(super) const MAX_HEADERS: usize = 100;
/// The longest method token and version around the target.
const REQUEST_LINE_SLACK: usize = 64;

/// How the body is delimited.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum BodyLength {
    None,
    Exactly(u64),
    Chunked,
}

/// A head that may be handed on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Head {
    /// Its bytes, with the empty line.
    pub(super) len: usize,
    pub(super) body: BodyLength,
}

/// What is wrong with a head. The connection is closed after each: where the next request begins is in doubt.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum HeadFault {
    Malformed(&'static str),
    VersionNotSupported,
    NotImplemented(&'static str),
    TargetTooLong,
    HeadTooLarge,
    BodyTooLarge,
    ExpectationUnknown,
    /// The head was not complete in time.
    Slow,
}

#[derive(Debug, PartialEq, Eq)]
pub(super) enum Scan {
    Partial,
    Complete(Head),
    Refused(HeadFault),
}

/// Scans one head as its bytes come in. Bytes once judged are not looked at again until the head is complete.
#[derive(Debug, Default)]
pub(super) struct Scanner {
    /// Where the current line begins.
    line: usize,
    /// Where the request line begins: empty lines before it are skipped (RFC 9112 §2.2).
    start: Option<usize>,
}

impl Scanner {
    /// `bytes` begins where the head begins and grows from call to call.
    pub(super) fn scan(&mut self, bytes: &[u8]) -> Scan {
        match self.advance(bytes) {
            Ok(None) => Scan::Partial,
            Ok(Some(head)) => Scan::Complete(head),
            Err(fault) => Scan::Refused(fault),
        }
    }

    fn advance(&mut self, bytes: &[u8]) -> Result<Option<Head>, HeadFault> {
        while let Some(at) = memchr::memchr(b'\n', &bytes[self.line..]) {
            let line = &bytes[self.line..self.line + at];
            self.line += at + 1;
            let Some(line) = line.strip_suffix(b"\r") else {
                return Err(HeadFault::Malformed("a line of the head ends without a carriage return"));
            };
            match (self.start, line.is_empty()) {
                (None, true) => {}
                (None, false) => {
                    self.start = Some(self.line - line.len() - 2);
                    request_line::judge(line)?;
                }
                (Some(_), false) => {}
                (Some(start), true) => {
                    if self.line > MAX_HEAD {
                        return Err(HeadFault::HeadTooLarge);
                    }
                    let body = headers(&bytes[start..self.line])?;
                    return Ok(Some(Head { len: self.line, body }));
                }
            }
        }
        self.check_unfinished(bytes)?;
        Ok(None)
    }

    /// Refuses what can only get worse.
    fn check_unfinished(&self, bytes: &[u8]) -> Result<(), HeadFault> {
        if self.start.is_none() {
            if let [0x16, 0x03, ..] = bytes {
                return Err(HeadFault::Malformed("this port speaks plain HTTP, and this is a TLS handshake"));
            }
            if bytes.len() - self.line > MAX_TARGET + REQUEST_LINE_SLACK {
                return Err(HeadFault::TargetTooLong);
            }
        }
        if bytes.len() > MAX_HEAD {
            return Err(HeadFault::HeadTooLarge);
        }
        Ok(())
    }
}

/// Judges the header lines and finds out how the body is delimited.
fn headers(head: &[u8]) -> Result<BodyLength, HeadFault> {
    // Left unfilled: to clear all of them would cost as much as to parse an ordinary head.
    let mut slots = [const { MaybeUninit::uninit() }; MAX_HEADERS];
    let mut request = httparse::Request::new(&mut []);
    match request.parse_with_uninit_headers(head, &mut slots) {
        Ok(httparse::Status::Complete(len)) if len == head.len() => {}
        Ok(_) => return Err(HeadFault::Malformed("the head ends before its end")),
        Err(httparse::Error::TooManyHeaders) => return Err(HeadFault::HeadTooLarge),
        Err(_) => return Err(HeadFault::Malformed("a header line is not `name: value`")),
    }
    let old = request.version == Some(0);
    let mut seen = Seen::default();
    for header in request.headers.iter() {
        seen.note(header, old)?;
    }
    seen.check_host(request.path.unwrap_or_default(), old)?;
    seen.body_length(old)
}

/// The headers that decide where a request ends and whom it is for.
#[derive(Default)]
struct Seen<'a> {
    host: Option<&'a [u8]>,
    length: Option<u64>,
    chunked: bool,
}

impl<'a> Seen<'a> {
    fn note(&mut self, header: &Header<'a>, old: bool) -> Result<(), HeadFault> {
        let (name, value) = (header.name, header.value);
        // The length tells most headers apart before a letter is compared.
        match name.len() {
            4 if name.eq_ignore_ascii_case("host") => self.note_host(value),
            // HTTP/1.0 has no expectations: there the header says nothing.
            6 if name.eq_ignore_ascii_case("expect") && !old => expectation(value),
            14 if name.eq_ignore_ascii_case("content-length") => self.note_length(value),
            17 if name.eq_ignore_ascii_case("transfer-encoding") => self.note_coding(value),
            _ => Ok(()),
        }
    }

    fn note_host(&mut self, value: &'a [u8]) -> Result<(), HeadFault> {
        match self.host.replace(value) {
            None => Ok(()),
            Some(_) => Err(HeadFault::Malformed("there are two Host headers")),
        }
    }

    fn note_length(&mut self, value: &[u8]) -> Result<(), HeadFault> {
        match self.length.replace(content_length(value)?) {
            None => Ok(()),
            Some(_) => Err(HeadFault::Malformed("there are two Content-Length headers")),
        }
    }

    fn note_coding(&mut self, value: &[u8]) -> Result<(), HeadFault> {
        if std::mem::replace(&mut self.chunked, true) {
            return Err(HeadFault::Malformed("there are two Transfer-Encoding headers"));
        }
        transfer_encoding(value)
    }

    fn check_host(&self, target: &str, old: bool) -> Result<(), HeadFault> {
        let Some(host) = self.host else {
            return if old { Ok(()) } else { Err(HeadFault::Malformed("there is no Host header")) };
        };
        let well_formed = |b: &u8| b.is_ascii_alphanumeric() || b"-._~:[]%!$&'()*+,;=".contains(b);
        if host.is_empty() || !host.iter().all(well_formed) {
            return Err(HeadFault::Malformed("the Host header is not a host"));
        }
        let Some(rest) = target.strip_prefix("http://") else { return Ok(()) };
        let authority = rest.split(['/', '?']).next().unwrap_or_default();
        if authority.as_bytes().eq_ignore_ascii_case(host) {
            Ok(())
        } else {
            Err(HeadFault::Malformed("the request target and the Host header name different hosts"))
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

pub(super) fn expectation(value: &[u8]) -> Result<(), HeadFault> {
    if value.eq_ignore_ascii_case(b"100-continue") { Ok(()) } else { Err(HeadFault::ExpectationUnknown) }
}

fn content_length(value: &[u8]) -> Result<u64, HeadFault> {
    if value.is_empty() || !value.iter().all(u8::is_ascii_digit) {
        return Err(HeadFault::Malformed("Content-Length is not a number"));
    }
    let text = str::from_utf8(value).unwrap_or_default();
    // Only digits are left, so what does not parse is too large. The top values are hyper's own marks.
    text.parse().ok().filter(|length| *length < u64::MAX - 2).ok_or(HeadFault::BodyTooLarge)
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

    fn scan(text: &str) -> Scan {
        Scanner::default().scan(text.as_bytes())
    }

    fn body(rest: &str) -> Result<BodyLength, HeadFault> {
        match scan(&format!("POST / HTTP/1.1\r\nHost: a\r\n{rest}\r\n")) {
            Scan::Complete(head) => Ok(head.body),
            Scan::Refused(fault) => Err(fault),
            Scan::Partial => panic!("partial: {rest:?}"),
        }
    }

    fn is_malformed<T>(result: &Result<T, HeadFault>) -> bool {
        matches!(result, Err(HeadFault::Malformed(_)))
    }

    #[test]
    fn a_head_is_complete_at_its_empty_line_however_it_is_cut() {
        let text = "\r\nPOST /a?b HTTP/1.1\r\nHost: x\r\nContent-Length: 3\r\n\r\nabc";
        let head = Head { len: text.len() - 3, body: BodyLength::Exactly(3) };
        assert_eq!(scan(text), Scan::Complete(head));
        let mut scanner = Scanner::default();
        for cut in 1..head.len {
            assert_eq!(scanner.scan(&text.as_bytes()[..cut]), Scan::Partial, "cut at {cut}");
        }
        assert_eq!(scanner.scan(&text.as_bytes()[..head.len]), Scan::Complete(head));
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
        assert_eq!(body("Content-Length: 18446744073709551615\r\n"), Err(HeadFault::BodyTooLarge));
        assert_eq!(body("Content-Length: 99999999999999999999\r\n"), Err(HeadFault::BodyTooLarge));
        assert!(matches!(body("Transfer-Encoding: gzip, chunked\r\n"), Err(HeadFault::NotImplemented(_))));
        assert!(is_malformed(&match scan("POST / HTTP/1.0\r\nTransfer-Encoding: chunked\r\n\r\n") {
            Scan::Refused(fault) => Err(fault),
            other => Ok(other),
        }));
    }

    #[test]
    fn there_is_one_host() {
        for bad in ["", "Host: a\r\nHost: a\r\n", "Host:\r\n", "Host: a/b@c\r\n", "Host: a b\r\n"] {
            let text = format!("GET / HTTP/1.1\r\n{bad}\r\n");
            assert!(matches!(scan(&text), Scan::Refused(HeadFault::Malformed(_))), "{bad:?}");
        }
        let elsewhere = "GET http://evil/x HTTP/1.1\r\nHost: a\r\n\r\n";
        assert!(matches!(scan(elsewhere), Scan::Refused(HeadFault::Malformed(_))));
        assert!(matches!(scan("GET / HTTP/1.0\r\n\r\n"), Scan::Complete(_)));
        assert!(matches!(scan("GET / HTTP/1.1\r\nHost: [::1]:80\r\n\r\n"), Scan::Complete(_)));
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

    #[test]
    fn sizes_are_bounded_before_the_head_is_complete() {
        let long = "a".repeat(MAX_TARGET + REQUEST_LINE_SLACK + 1);
        assert_eq!(scan(&format!("GET /{long}")), Scan::Refused(HeadFault::TargetTooLong));
        let exact = "a".repeat(MAX_TARGET);
        assert_eq!(scan(&format!("GET /{exact} HTTP/1.1\r\n")), Scan::Refused(HeadFault::TargetTooLong));
        assert_eq!(scan(&format!("GET /{} HTTP/1.1\r\n", &exact[1..])), Scan::Partial);
        let large = "a".repeat(MAX_HEAD);
        assert_eq!(scan(&format!("GET / HTTP/1.1\r\nx: {large}")), Scan::Refused(HeadFault::HeadTooLarge));
        assert_eq!(body(&"x: y\r\n".repeat(100)), Err(HeadFault::HeadTooLarge));
        assert_eq!(body(&"x: y\r\n".repeat(99)), Ok(BodyLength::None));
        assert!(matches!(scan("\x16\x03\x01"), Scan::Refused(HeadFault::Malformed(_))));
    }
}
