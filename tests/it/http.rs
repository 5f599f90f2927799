//! A strict client on a plain socket: it sees every byte, and fails on anything that could confuse a real client.

use std::io::{Read, Write};
use std::net::{Shutdown, SocketAddr, TcpStream};
use std::time::Duration;

use serde_json::Value;
use socket2::SockRef;

use crate::host::SOON;

pub(crate) struct Client {
    stream: TcpStream,
    unread: Vec<u8>,
}

#[derive(Debug)]
pub(crate) struct Response {
    pub(crate) status: u16,
    pub(crate) reason: String,
    headers: Vec<(String, String)>,
    pub(crate) body: Vec<u8>,
}

impl Client {
    pub(crate) fn connect(address: SocketAddr) -> Self {
        let stream = TcpStream::connect(address).expect("the host listens");
        stream.set_read_timeout(Some(SOON)).expect("a time-out");
        stream.set_nodelay(true).expect("no delay");
        Self { stream, unread: Vec::new() }
    }

    /// Sets the time limit for answers.
    pub(crate) fn hurry(&mut self, patience: Duration) {
        self.stream.set_read_timeout(Some(patience)).expect("a time-out");
    }

    /// Sends a well-formed request and reads its response.
    pub(crate) fn send(&mut self, method: &str, path: &str, headers: &[(&str, &str)], body: &[u8]) -> Response {
        self.write(&request(method, path, headers, body));
        self.read(method)
    }

    /// POSTs to a service with its token.
    pub(crate) fn post(&mut self, service: &crate::host::Deployed, body: &[u8]) -> Response {
        self.send("POST", &service.path, &[("authorization", &service.token)], body)
    }

    pub(crate) fn write(&mut self, bytes: &[u8]) {
        self.stream.write_all(bytes).expect("the host takes it");
    }

    /// Writes bytes that the host may not accept completely.
    pub(crate) fn try_write(&mut self, bytes: &[u8]) {
        let _ = self.stream.write_all(bytes);
    }

    /// Closes the sending side, like a client that has sent everything or disconnects.
    pub(crate) fn finish(&mut self) {
        self.stream.shutdown(Shutdown::Write).expect("it was open");
    }

    /// Returns a second handle to the same connection, to write and read at the same time.
    pub(crate) fn another(&self) -> Self {
        Self { stream: self.stream.try_clone().expect("another descriptor"), unread: Vec::new() }
    }

    /// Resets the connection: bytes still being sent in either direction are discarded.
    pub(crate) fn reset(self) {
        SockRef::from(&self.stream).set_linger(Some(Duration::ZERO)).expect("an option of the socket");
    }

    /// Reads the head of a response.
    pub(crate) fn read_head(&mut self) -> Response {
        let head_end = loop {
            if let Some(at) = self.unread.windows(4).position(|w| w == b"\r\n\r\n") {
                break at + 4;
            }
            assert!(self.fill(), "the connection ended in a head: {:?}", String::from_utf8_lossy(&self.unread));
        };
        let head: Vec<u8> = self.unread.drain(..head_end).collect();
        let head = String::from_utf8(head).expect("a head is ASCII");
        let mut lines = head.trim_end().split("\r\n");
        let mut status_line = lines.next().expect("a status line").splitn(3, ' ');
        // HTTP/1.0 requests get HTTP/1.0 answers.
        assert!(matches!(status_line.next(), Some("HTTP/1.1" | "HTTP/1.0")), "{head}");
        let status = status_line.next().expect("a status").parse().expect("a number");
        let reason = status_line.next().unwrap_or_default().to_owned();
        let headers: Vec<(String, String)> = lines
            .map(|line| {
                let (name, value) = line.split_once(": ").unwrap_or_else(|| panic!("no header: {line:?}"));
                (name.to_ascii_lowercase(), value.to_owned())
            })
            .collect();
        Response { status, reason, headers, body: Vec::new() }
    }

    /// Reads one response to a request with `method`.
    pub(crate) fn read(&mut self, method: &str) -> Response {
        let mut response = self.read_head();
        let status = response.status;
        assert!(response.header("transfer-encoding") != Some("gzip"));
        let has_body = method != "HEAD" && !matches!(status, 100 | 101 | 204 | 304);
        if has_body && response.header("transfer-encoding") == Some("chunked") {
            response.body = self.chunks();
        } else if has_body {
            let length: usize = response.header("content-length").expect("a length").parse().expect("a number");
            while self.unread.len() < length {
                assert!(self.fill(), "the connection ended in a body");
            }
            response.body = self.unread.drain(..length).collect();
        }
        response
    }

    /// Reads a response if one begins within `time`.
    pub(crate) fn read_within(&mut self, time: Duration) -> Option<Response> {
        self.hurry(time);
        let waiting = self.stream.peek(&mut [0]);
        self.hurry(SOON);
        waiting.is_ok().then(|| self.read("POST"))
    }

    /// Reads this many bytes; `None` if the connection ends before.
    pub(crate) fn read_bytes(&mut self, count: usize) -> Option<Vec<u8>> {
        while self.unread.len() < count {
            if !self.fill() {
                return None;
            }
        }
        Some(self.unread.drain(..count).collect())
    }

    /// Reads until the connection ends. Returns the bytes, and true if the host has reset it.
    pub(crate) fn read_until_close(&mut self) -> (Vec<u8>, bool) {
        let mut bytes = std::mem::take(&mut self.unread);
        match self.stream.read_to_end(&mut bytes) {
            Ok(_) => (bytes, false),
            Err(error) if error.kind() == std::io::ErrorKind::ConnectionReset => (bytes, true),
            Err(error) => panic!("no end in time: {error}"),
        }
    }

    /// Waits until bytes have arrived, without reading them.
    pub(crate) fn wait_for_bytes(&mut self) {
        assert!(self.stream.peek(&mut [0]).expect("an answer in time") > 0);
    }

    /// Reads an interim response, which has only a head.
    pub(crate) fn read_interim(&mut self) -> String {
        while !self.unread.ends_with(b"\r\n\r\n") {
            assert!(self.fill(), "the connection ended in a head");
        }
        String::from_utf8(std::mem::take(&mut self.unread)).expect("a head is ASCII")
    }

    /// Reads the last response; `None` if the connection ends without one.
    pub(crate) fn read_to_end(&mut self) -> Option<Response> {
        let begins = !self.unread.is_empty() || self.fill();
        let response = begins.then(|| self.read("POST"));
        assert!(self.is_closed(), "more than one response");
        response
    }

    fn chunks(&mut self) -> Vec<u8> {
        let mut whole = Vec::new();
        loop {
            let chunk = self.next_chunk().expect("the connection ended in a body");
            if chunk.is_empty() {
                return whole;
            }
            whole.extend(chunk);
        }
    }

    /// Reads the next chunk of a body; the last one is empty. `None` if the connection ends before it.
    pub(crate) fn next_chunk(&mut self) -> Option<Vec<u8>> {
        let at = loop {
            if let Some(at) = self.unread.windows(2).position(|w| w == b"\r\n") {
                break at;
            }
            if !self.fill() {
                return None;
            }
        };
        let line: Vec<u8> = self.unread.drain(..at + 2).collect();
        let size = usize::from_str_radix(str::from_utf8(&line[..at]).expect("ASCII"), 16).expect("a size");
        let mut chunk = self.read_bytes(size + 2)?;
        assert_eq!(chunk.split_off(size), b"\r\n");
        Some(chunk)
    }

    /// True if the host has closed the connection without sending more.
    pub(crate) fn is_closed(&mut self) -> bool {
        self.unread.is_empty() && !self.fill()
    }

    /// Reads more; false at the end.
    fn fill(&mut self) -> bool {
        let mut piece = [0; 16 << 10];
        match self.stream.read(&mut piece) {
            Ok(0) => false,
            Ok(count) => {
                self.unread.extend_from_slice(&piece[..count]);
                true
            }
            Err(error) if error.kind() == std::io::ErrorKind::ConnectionReset => false,
            Err(error) => panic!("no answer in time: {error}"),
        }
    }
}

pub(crate) fn request(method: &str, path: &str, headers: &[(&str, &str)], body: &[u8]) -> Vec<u8> {
    let mut bytes = format!("{method} {path} HTTP/1.1\r\nhost: test\r\n").into_bytes();
    for (name, value) in headers {
        bytes.extend_from_slice(format!("{name}: {value}\r\n").as_bytes());
    }
    if !body.is_empty() || matches!(method, "POST" | "PUT") {
        bytes.extend_from_slice(format!("content-length: {}\r\n", body.len()).as_bytes());
    }
    bytes.extend_from_slice(b"\r\n");
    bytes.extend_from_slice(body);
    bytes
}

impl Response {
    pub(crate) fn header(&self, name: &str) -> Option<&str> {
        let mut values = self.headers.iter().filter(|(n, _)| n == name).map(|(_, value)| value.as_str());
        let value = values.next();
        assert!(values.next().is_none() || name == "set-cookie", "{name} is sent twice");
        value
    }

    /// Returns all values of a header that may be repeated.
    pub(crate) fn all(&self, name: &str) -> Vec<&str> {
        self.headers.iter().filter(|(n, _)| n == name).map(|(_, value)| value.as_str()).collect()
    }

    /// Returns the names of the headers, with repetitions.
    pub(crate) fn names(&self) -> impl Iterator<Item = &str> {
        self.headers.iter().map(|(name, _)| name.as_str())
    }

    pub(crate) fn text(&self) -> String {
        String::from_utf8_lossy(&self.body).into_owned()
    }

    pub(crate) fn json(&self) -> Value {
        serde_json::from_slice(&self.body).unwrap_or_else(|_| panic!("not JSON: {}", self.text()))
    }

    /// Checks a refusal completely: status, code, body, headers and connection.
    pub(crate) fn assert_problem(&self, status: u16, code: &str) -> Value {
        let text = self.text();
        assert_eq!(self.status, status, "{text}");
        assert_eq!(self.header("content-type"), Some("application/problem+json"), "{text}");
        let problem = self.json();
        assert_eq!(problem["status"], status, "{text}");
        assert_eq!(problem["code"], code, "{text}");
        assert_eq!(problem["title"], self.reason, "{text}");
        assert_eq!(problem["request_id"].as_str(), self.header("x-request-id"), "{text}");
        assert!(problem["detail"].as_str().is_some_and(|detail| !detail.is_empty()), "{text}");
        // Clients of OpenAI's API show only this part.
        let error = &problem["error"];
        assert_eq!((&error["message"], &error["code"]), (&problem["detail"], &problem["code"]), "{text}");
        assert!(error["type"].as_str().is_some_and(|kind| kind.ends_with("_error")), "{text}");
        problem
    }

    pub(crate) fn closes(&self) -> bool {
        self.header("connection") == Some("close")
    }
}
