//! Parses a request's head, or names its fault.
//!
//! A head that two parsers could understand in two ways is refused: unknown versions and methods, missing or double
//! `Host`, `Transfer-Encoding` beside `Content-Length`, bare line feeds. Apart from sizes and a TLS handshake, only
//! complete lines are judged. A fault is a value, and is answered and counted like any other refusal. Source: RFC 9112
//! §2–§6, RFC 9110 §7.2.

use std::mem::MaybeUninit;

use bytes::Bytes;
use http::header::{EXPECT, HOST};
use http::{HeaderMap, HeaderName, HeaderValue, Method, Uri};
use httparse::Header;

use super::request_line;
use crate::front::authority::{self, AuthorityField};
use crate::front::body::receive::content_length;
use crate::front::head::{
    Expectation, HeadFault, MOST_BYTES, MOST_HEADERS, NO_HOST, NO_METHOD, TWO_HOSTS, TWO_LENGTHS, gateways_in,
    is_token, judge_expectation, judge_size,
};
use crate::front::target::{MAX_TARGET, Target};
use crate::header;

/// Room in the request line for the longest method and the version.
const REQUEST_LINE_SLACK: usize = 64;

/// The length of a body, as its head states it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum BodyLength {
    None,
    Exactly(u64),
    Chunked,
}

/// The contents of a head.
#[derive(Debug)]
pub(super) struct Head {
    pub(super) method: Method,
    pub(super) uri: Uri,
    pub(super) headers: HeaderMap,
    pub(super) body: BodyLength,
    /// True for HTTP/1.0.
    pub(super) is_old: bool,
    /// True if the client allows another request on its connection.
    pub(super) keep_alive: bool,
    /// True if the client waits for `100 Continue` before it sends the body.
    pub(super) expects_leave: bool,
}

#[derive(Debug, PartialEq, Eq)]
pub(super) enum Scan {
    Partial,
    /// The head is complete. Its length includes the empty line.
    Complete(usize),
    Refused(HeadFault),
}

/// Finds the end of a head while its bytes arrive, and refuses a head as early as possible. Complete lines are not
/// scanned again.
#[derive(Debug, Default)]
pub(super) struct Scanner {
    /// The offset at which the current line begins.
    line: usize,
    /// True once the request line is complete. Empty lines before it are skipped (RFC 9112 §2.2).
    has_begun: bool,
}

impl Scanner {
    /// Scans `bytes`, which begins where the head begins and grows from call to call.
    pub(super) fn scan(&mut self, bytes: &[u8]) -> Scan {
        match self.advance(bytes) {
            Ok(None) => Scan::Partial,
            Ok(Some(len)) => Scan::Complete(len),
            Err(fault) => Scan::Refused(fault),
        }
    }

    fn advance(&mut self, bytes: &[u8]) -> Result<Option<usize>, HeadFault> {
        // Looked at before the lines: a TLS handshake has line feeds among its bytes.
        if !self.has_begun && matches!(bytes, [0x16, 0x03, ..]) {
            return Err(HeadFault::Malformed("this port speaks plain HTTP, and this is a TLS handshake"));
        }
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

    /// Refuses an unfinished head that cannot become valid any more.
    fn check_unfinished(&self, bytes: &[u8]) -> Result<(), HeadFault> {
        if !self.has_begun && bytes.len() - self.line > MAX_TARGET + REQUEST_LINE_SLACK {
            return Err(HeadFault::TargetTooLong);
        }
        if bytes.len() > MOST_BYTES {
            return Err(HeadFault::HeadTooLarge);
        }
        Ok(())
    }
}

impl Head {
    /// Parses a complete head. The values of its headers are parts of `head`.
    pub(super) fn read(head: &Bytes) -> Result<Self, HeadFault> {
        // Left uninitialised: clearing all of them would cost as much as parsing an ordinary head.
        let mut slots = [const { MaybeUninit::uninit() }; MOST_HEADERS];
        let mut request = httparse::Request::new(&mut []);
        match request.parse_with_uninit_headers(head, &mut slots) {
            Ok(httparse::Status::Complete(len)) if len == head.len() => {}
            Ok(_) => return Err(HeadFault::Malformed("the head does not end at its first empty line")),
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
        if is_old {
            // `Expect` has no meaning in HTTP/1.0 (RFC 9110 §10.1.1). It is removed so that no later step obeys it.
            header::remove(&mut headers, |name| *name == EXPECT);
        }
        seen.check_host(is_old)?;
        judge_size(head.len(), headers.len(), seen.gateways)?;
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

/// Returns path and query of the target. The authority of an absolute-form target replaces `Host` (RFC 9112 §3.2.2).
fn uri(head: &Bytes, method: &str, target: &str, headers: &mut HeaderMap) -> Result<Uri, HeadFault> {
    let Target::Absolute { authority, path } = Target::of(method.as_bytes(), target.as_bytes())? else {
        return Uri::from_maybe_shared(head.slice_ref(target.as_bytes())).map_err(|_| NO_URI);
    };
    let host = HeaderValue::from_maybe_shared(head.slice_ref(&target.as_bytes()[authority..path]));
    headers.insert(HOST, host.map_err(|_| NO_URI)?);
    match &target.as_bytes()[path..] {
        [] => Ok(Uri::from_static("/")),
        // An empty path is the same as a slash (RFC 9110 §4.2.3). It is normalised here, so that no later step needs to
        // know.
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

/// The headers that decide about the framing, the host and the reuse of the connection.
#[derive(Default)]
struct Seen<'a> {
    host: Option<&'a [u8]>,
    length: Option<u64>,
    chunked: bool,
    keep_alive: bool,
    expects_leave: bool,
    /// The number of gateways that the request came through, as `Via` names them.
    gateways: usize,
}

impl<'a> Seen<'a> {
    fn note(&mut self, header: &Header<'a>, old: bool) -> Result<(), HeadFault> {
        let (name, value) = (header.name, header.value);
        // Comparing the length first excludes most headers without comparing letters.
        match name.len() {
            3 if name.eq_ignore_ascii_case("via") => {
                self.gateways += gateways_in(value);
                Ok(())
            }
            4 if name.eq_ignore_ascii_case("host") => self.note_host(value),
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

    /// Applies `Connection` (RFC 9112 §9.3).
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
            Some(host) => authority::judge(host, AuthorityField::Host),
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

/// Accepts `chunked` alone. Another coding before it is not implemented; a value that does not end in `chunked` is
/// malformed.
fn transfer_encoding(value: &[u8]) -> Result<(), HeadFault> {
    if value.eq_ignore_ascii_case(b"chunked") {
        return Ok(());
    }
    let codings: Vec<&[u8]> = value.split(|b| *b == b',').map(<[u8]>::trim_ascii).collect();
    let is_chunked = |coding: &&[u8]| coding.eq_ignore_ascii_case(b"chunked");
    let all_are_tokens = codings.iter().all(|c| !c.is_empty() && c.iter().all(|b| is_token(*b)));
    match codings.as_slice() {
        [before @ .., last] if all_are_tokens && is_chunked(last) && !before.iter().any(is_chunked) => {
            Err(HeadFault::NotImplemented("chunked is the only known transfer coding"))
        }
        _ => Err(HeadFault::Malformed("Transfer-Encoding does not end in a single chunked")),
    }
}

#[cfg(test)]
mod tests;
