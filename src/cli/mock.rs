//! A server for tests: it gives the answers that a test sets, and records the requests.

use std::io::{BufRead, BufReader, Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::sync::{Arc, Mutex};
use std::thread;
use std::time::Duration;

use serde_json::Value;
use socket2::SockRef;
use tokio::net::TcpSocket;

/// An address that refuses connections while the socket is kept.
pub(super) fn nobody() -> (TcpSocket, SocketAddr) {
    let socket = TcpSocket::new_v4().unwrap();
    socket.bind(([127, 0, 0, 1], 0).into()).unwrap();
    let address = socket.local_addr().unwrap();
    (socket, address)
}

#[derive(Clone, Debug, Default)]
pub(super) struct Seen {
    pub(super) method: String,
    pub(super) path: String,
    headers: Vec<(String, String)>,
    /// `None` while the client waits for `100 Continue`.
    pub(super) body: Option<Vec<u8>>,
}

impl Seen {
    pub(super) fn header(&self, name: &str) -> Option<&str> {
        self.headers.iter().find(|(known, _)| known.eq_ignore_ascii_case(name)).map(|(_, value)| value.as_str())
    }

    pub(super) fn json(&self) -> Value {
        serde_json::from_slice(self.body.as_deref().unwrap_or_default()).unwrap()
    }

    /// Method and path, such as `PUT /api/v1/...`.
    pub(super) fn line(&self) -> String {
        format!("{} {}", self.method, self.path)
    }
}

#[derive(Clone, Debug)]
pub(super) struct Reply {
    status: u16,
    content_type: &'static str,
    tag: Option<&'static str>,
    body: Vec<u8>,
}

impl Reply {
    pub(super) fn new(status: u16, content_type: &'static str, body: impl Into<Vec<u8>>) -> Self {
        Self { status, content_type, tag: None, body: body.into() }
    }

    pub(super) fn with_tag(self, tag: &'static str) -> Self {
        Self { tag: Some(tag), ..self }
    }

    pub(super) fn status(status: u16) -> Self {
        Self::new(status, "text/plain", "")
    }

    pub(super) fn json(status: u16, body: &Value) -> Self {
        Self::new(status, "application/json", body.to_string())
    }

    pub(super) fn problem(status: u16, body: &Value) -> Self {
        Self::new(status, "application/problem+json", body.to_string())
    }

    pub(super) fn events(lines: &[Value]) -> Self {
        let text: String = lines.iter().map(|line| format!("{line}\n")).collect();
        Self::new(200, "application/x-ndjson", text)
    }
}

pub(super) struct Mock {
    pub(super) url: String,
    seen: Arc<Mutex<Vec<Seen>>>,
}

impl Mock {
    pub(super) fn start(answer: impl Fn(&Seen) -> Reply + Send + Sync + 'static) -> Self {
        Self::refusing_early(|_| None, answer)
    }

    /// A mock that may answer after a given number of bytes of a request's body; it then resets the connection.
    pub(super) fn refusing_early(
        early: impl Fn(&Seen) -> Option<(usize, Reply)> + Send + Sync + 'static,
        answer: impl Fn(&Seen) -> Reply + Send + Sync + 'static,
    ) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        // A small buffer, so that a client with a large body must wait until it is read.
        SockRef::from(&listener).set_recv_buffer_size(64 << 10).unwrap();
        let url = format!("http://{}", listener.local_addr().unwrap());
        let seen = Arc::new(Mutex::new(Vec::new()));
        let (early, answer) = (Arc::new(early), Arc::new(answer));
        let log = Arc::clone(&seen);
        // Both kinds of thread live as long as the test's process; a test has few of them.
        thread::spawn(move || {
            for connection in listener.incoming().flatten() {
                let (early, answer, log) = (Arc::clone(&early), Arc::clone(&answer), Arc::clone(&log));
                thread::spawn(move || serve(&connection, &*early, &*answer, &log));
            }
        });
        Self { url, seen }
    }

    pub(super) fn seen(&self) -> Vec<Seen> {
        self.seen.lock().unwrap().clone()
    }

    pub(super) fn lines(&self) -> Vec<String> {
        self.seen().iter().map(Seen::line).collect()
    }
}

fn serve(
    connection: &TcpStream,
    early: &dyn Fn(&Seen) -> Option<(usize, Reply)>,
    answer: &dyn Fn(&Seen) -> Reply,
    log: &Mutex<Vec<Seen>>,
) -> Option<()> {
    let mut reader = BufReader::new(connection);
    loop {
        let mut request = read_head(&mut reader)?;
        let length = request.header("content-length").map_or(0, |length| length.parse().unwrap());
        assert!(request.header("transfer-encoding").is_none(), "the client says how long its bodies are");
        if let Some((read, reply)) = early(&request) {
            if request.header("expect").is_some() {
                (&*connection).write_all(b"HTTP/1.1 100 Continue\r\n\r\n").ok()?;
            }
            reader.read_exact(&mut vec![0; read]).ok()?;
            log.lock().unwrap().push(request.clone());
            // Bytes that are still buffered would be lost with the reset.
            connection.set_nodelay(true).ok()?;
            write(connection, &request, &reply)?;
            return SockRef::from(connection).set_linger(Some(Duration::ZERO)).ok();
        }
        if request.header("expect").is_some() {
            let reply = answer(&request);
            if reply.status >= 400 {
                log.lock().unwrap().push(request.clone());
                return write(connection, &request, &reply);
            }
            (&*connection).write_all(b"HTTP/1.1 100 Continue\r\n\r\n").ok()?;
        }
        let mut body = vec![0; length];
        reader.read_exact(&mut body).ok()?;
        request.body = Some(body);
        log.lock().unwrap().push(request.clone());
        write(connection, &request, &answer(&request))?;
    }
}

fn read_head(reader: &mut impl BufRead) -> Option<Seen> {
    let mut request = Seen::default();
    let mut line = String::new();
    reader.read_line(&mut line).ok().filter(|count| *count > 0)?;
    let mut words = line.split_whitespace();
    request.method = words.next()?.to_owned();
    request.path = words.next()?.to_owned();
    loop {
        line.clear();
        reader.read_line(&mut line).ok()?;
        let Some((name, value)) = line.trim_end().split_once(':') else { return Some(request) };
        request.headers.push((name.to_owned(), value.trim().to_owned()));
    }
}

fn write(mut connection: &TcpStream, request: &Seen, reply: &Reply) -> Option<()> {
    let Reply { status, content_type, tag, body, .. } = reply;
    let tag = tag.map(|tag| format!("etag: {tag}\r\n")).unwrap_or_default();
    let length = body.len();
    let head = format!("HTTP/1.1 {status} X\r\ncontent-type: {content_type}\r\n{tag}content-length: {length}\r\n\r\n");
    connection.write_all(head.as_bytes()).ok()?;
    if request.method != "HEAD" {
        connection.write_all(body).ok()?;
    }
    Some(())
}
