//! A client of raw frames that may break the protocol: RFC 9113 §4, §6.

use std::io::{Read, Write};
use std::net::TcpStream;
use std::time::Duration;

use crate::host::{Deployed, SOON, TestHost};

pub(super) const PREFACE: &[u8] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";
pub(super) const DATA: u8 = 0;
pub(super) const HEADERS: u8 = 1;
pub(super) const RST_STREAM: u8 = 3;
pub(super) const SETTINGS: u8 = 4;
pub(super) const PING: u8 = 6;
pub(super) const GOAWAY: u8 = 7;
pub(super) const WINDOW_UPDATE: u8 = 8;
pub(super) const CONTINUATION: u8 = 9;
pub(super) const ACK: u8 = 1;
pub(super) const END_STREAM: u8 = 1;
pub(super) const END_HEADERS: u8 = 4;
pub(super) const PROTOCOL_ERROR: u32 = 1;
pub(super) const REFUSED_STREAM: u32 = 7;
pub(super) const CANCEL: u32 = 8;

pub(super) fn frame(kind: u8, flags: u8, stream: u32, payload: &[u8]) -> Vec<u8> {
    let [_, a, b, c] = u32::try_from(payload.len()).unwrap().to_be_bytes();
    [&[a, b, c, kind, flags][..], &stream.to_be_bytes(), payload].concat()
}

/// Makes a header block without compression: RFC 7541 §6.2.2, with literal names and values.
pub(super) fn block(headers: &[(&str, &str)]) -> Vec<u8> {
    let mut bytes = Vec::new();
    for (name, value) in headers {
        bytes.push(0);
        for text in [name, value] {
            bytes.push(u8::try_from(text.len()).unwrap());
            bytes.extend_from_slice(text.as_bytes());
        }
    }
    bytes
}

pub(super) fn request_headers(service: &Deployed) -> Vec<u8> {
    request_headers_with(service, &[])
}

pub(super) fn request_headers_with(service: &Deployed, more: &[(&str, &str)]) -> Vec<u8> {
    let usual = [
        (":method", "POST"),
        (":scheme", "http"),
        (":authority", "test"),
        (":path", &*service.path),
        ("authorization", &*service.token),
    ];
    block(&[&usual[..], more].concat())
}

/// A frame that the host sent.
#[derive(Debug)]
pub(super) struct Frame {
    pub(super) kind: u8,
    pub(super) flags: u8,
    pub(super) stream: u32,
    pub(super) payload: Vec<u8>,
}

impl Frame {
    /// Returns the error code of a stream reset or a GOAWAY.
    pub(super) fn error(&self) -> u32 {
        let at = if self.kind == GOAWAY { 4 } else { 0 };
        u32::from_be_bytes(self.payload[at..at + 4].try_into().unwrap())
    }

    pub(super) fn ends_stream(&self) -> bool {
        matches!(self.kind, DATA | HEADERS) && self.flags & END_STREAM != 0
    }
}

pub(super) struct Raw(TcpStream);

impl Raw {
    pub(super) fn connect(host: &TestHost) -> Self {
        Self::connect_with(host, &[])
    }

    /// Connects with these settings.
    pub(super) fn connect_with(host: &TestHost, settings: &[u8]) -> Self {
        let stream = TcpStream::connect(host.data).unwrap();
        stream.set_read_timeout(Some(SOON)).unwrap();
        let mut raw = Self(stream);
        raw.send(&[PREFACE, &frame(SETTINGS, 0, 0, settings)].concat());
        raw
    }

    pub(super) fn send(&mut self, bytes: &[u8]) {
        self.0.write_all(bytes).unwrap();
    }

    /// Reads the next frame; `None` at the end of the connection.
    pub(super) fn next(&mut self) -> Option<Frame> {
        let mut header = [0; 9];
        self.0.read_exact(&mut header).ok()?;
        let [a, b, c, kind, flags, stream @ ..] = header;
        let mut payload = vec![0; u32::from_be_bytes([0, a, b, c]) as usize];
        self.0.read_exact(&mut payload).ok()?;
        Some(Frame { kind, flags, stream: u32::from_be_bytes(stream), payload })
    }

    /// Reads until a wanted frame; others are skipped.
    pub(super) fn next_that(&mut self, wanted: impl Fn(&Frame) -> bool) -> Option<Frame> {
        loop {
            let frame = self.next()?;
            if wanted(&frame) {
                return Some(frame);
            }
        }
    }

    /// Waits until the host has read all earlier bytes; false if the connection has ended.
    pub(super) fn settle(&mut self) -> bool {
        let sent = self.0.write_all(&frame(PING, 0, 0, &[7; 8]));
        sent.is_ok() && self.next_that(|frame| (frame.kind, frame.flags) == (PING, ACK)).is_some()
    }

    /// Writes frames `times` times, or until a write fails. Returns true if the host has closed the connection.
    pub(super) fn flood(&mut self, times: u32, frames: impl Fn(u32) -> Vec<u8>) -> bool {
        let mut reader = self.0.try_clone().unwrap();
        // The answers are read and discarded, so that they never block the host.
        let answers = std::thread::spawn(move || {
            let mut piece = [0; 16 << 10];
            while reader.read(&mut piece).is_ok_and(|count| count > 0) {}
        });
        let refused = (0..times).any(|number| self.0.write_all(&frames(number)).is_err());
        let closed = refused || answers_end(answers);
        let _ = self.0.shutdown(std::net::Shutdown::Both);
        closed
    }
}

/// True if the reading thread ended within two seconds.
fn answers_end(answers: std::thread::JoinHandle<()>) -> bool {
    let end = std::time::Instant::now() + Duration::from_secs(2);
    while std::time::Instant::now() < end {
        if answers.is_finished() {
            return true;
        }
        std::thread::yield_now();
    }
    false
}
