//! An upstream whose behaviour each test defines, and which records the requests.

use std::io::{Read, Write};
use std::net::{Shutdown, SocketAddr, TcpListener, TcpStream};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use socket2::SockRef;
use tokio::net::TcpSocket;

use crate::host::SOON;

/// An upstream that serves each connection in its own thread.
pub(crate) struct Fake {
    pub(crate) address: SocketAddr,
    asked: Arc<Mutex<Vec<Asked>>>,
    connections: Arc<Mutex<usize>>,
}

/// One request as received.
#[derive(Clone, Debug)]
pub(crate) struct Asked {
    pub(crate) head: String,
    pub(crate) body: Vec<u8>,
}

impl Asked {
    pub(crate) fn request_line(&self) -> &str {
        self.head.lines().next().unwrap_or_default()
    }

    /// Returns all values of a header.
    pub(crate) fn all(&self, name: &str) -> Vec<&str> {
        let of = |line: &'_ str| line.split_once(": ").is_some_and(|(n, _)| n.eq_ignore_ascii_case(name));
        self.head.lines().filter(|line| of(line)).filter_map(|line| Some(line.split_once(": ")?.1)).collect()
    }
}

/// One connection from the gateway.
pub(crate) struct Peer {
    stream: TcpStream,
    unread: Vec<u8>,
    asked: Arc<Mutex<Vec<Asked>>>,
}

impl Fake {
    pub(crate) fn start(serve: impl Fn(Peer) + Send + Sync + 'static) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
        // The small receive buffer makes large senders wait until the test reads.
        SockRef::from(&listener).set_recv_buffer_size(64 << 10).expect("an option of the socket");
        let address = listener.local_addr().expect("an address");
        let (asked, connections) = (Arc::<Mutex<Vec<Asked>>>::default(), Arc::<Mutex<usize>>::default());
        let (serve, theirs, counted) = (Arc::new(serve), Arc::clone(&asked), Arc::clone(&connections));
        // The thread ends with the test process; an idle fake costs nothing.
        std::thread::spawn(move || {
            for stream in listener.incoming().map_while(Result::ok) {
                stream.set_read_timeout(Some(SOON)).expect("a time-out");
                let peer = Peer { stream, unread: Vec::new(), asked: Arc::clone(&theirs) };
                *counted.lock().unwrap() += 1;
                let serve = Arc::clone(&serve);
                std::thread::spawn(move || serve(peer));
            }
        });
        Self { address, asked, connections }
    }

    /// Answers every request with these bytes, on any number of connections.
    pub(crate) fn answering(bytes: impl Into<Vec<u8>>) -> Self {
        let bytes = bytes.into();
        Self::start(move |mut peer| {
            while peer.request().is_some() {
                peer.say(&bytes);
            }
        })
    }

    /// Answers every request with its own body.
    pub(crate) fn echo() -> Self {
        Self::start(|mut peer| {
            while let Some(asked) = peer.request() {
                peer.say(format!("HTTP/1.1 200 OK\r\ncontent-length: {}\r\n\r\n", asked.body.len()));
                peer.say(&asked.body);
            }
        })
    }

    /// Returns an address without a listener, reserved so that no other test's server uses it.
    pub(crate) fn nobody() -> SocketAddr {
        let socket = TcpSocket::new_v4().expect("a socket");
        socket.bind(([127, 0, 0, 1], 0).into()).expect("a port");
        let address = socket.local_addr().expect("an address");
        std::mem::forget(socket);
        address
    }

    pub(crate) fn asked(&self) -> Vec<Asked> {
        self.asked.lock().unwrap().clone()
    }

    pub(crate) fn connections(&self) -> usize {
        *self.connections.lock().unwrap()
    }
}

impl Peer {
    /// Reads the next complete request; `None` at the end of the connection.
    pub(crate) fn request(&mut self) -> Option<Asked> {
        let head = self.head()?;
        let body = self.body(&head);
        let asked = Asked { head, body };
        self.asked.lock().unwrap().push(asked.clone());
        Some(asked)
    }

    /// Reads only the head of the next request, and does not record it.
    pub(crate) fn head(&mut self) -> Option<String> {
        let end = loop {
            if let Some(at) = self.unread.windows(4).position(|w| w == b"\r\n\r\n") {
                break at + 4;
            }
            if !self.fill() {
                assert!(self.unread.is_empty(), "half a head: {:?}", String::from_utf8_lossy(&self.unread));
                return None;
            }
        };
        Some(String::from_utf8(self.unread.drain(..end).collect()).expect("a head is ASCII"))
    }

    fn body(&mut self, head: &str) -> Vec<u8> {
        let head = head.to_ascii_lowercase();
        let value = |name: &str| head.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(": "));
        let (length, coding) = (value("content-length"), value("transfer-encoding"));
        assert!(length.is_none() || coding.is_none(), "both framings: {head}");
        if coding.is_some() {
            let mut whole = Vec::new();
            while let Some(piece) = self.chunk() {
                whole.extend(piece);
            }
            return whole;
        }
        let length = length.map_or(0, |length| length.parse().expect("a length"));
        self.take(length)
    }

    /// Reads the next chunk of a request; `None` for the last.
    pub(crate) fn chunk(&mut self) -> Option<Vec<u8>> {
        let at = loop {
            if let Some(at) = self.unread.windows(2).position(|w| w == b"\r\n") {
                break at;
            }
            assert!(self.fill(), "the connection ended in a chunk");
        };
        let line: Vec<u8> = self.unread.drain(..at + 2).collect();
        let size = usize::from_str_radix(str::from_utf8(&line[..at]).expect("ASCII"), 16).expect("a size");
        let piece = self.take(size);
        assert_eq!(self.take(2), b"\r\n");
        (size > 0).then_some(piece)
    }

    pub(crate) fn take(&mut self, count: usize) -> Vec<u8> {
        while self.unread.len() < count {
            assert!(self.fill(), "the connection ended in a body");
        }
        self.unread.drain(..count).collect()
    }

    /// Reads one byte, and leaves the rest in the socket.
    pub(crate) fn read_byte(&mut self) {
        self.stream.read_exact(&mut [0]).expect("the gateway says something");
    }

    /// Sends bytes; the gateway need not read them.
    pub(crate) fn say(&mut self, bytes: impl AsRef<[u8]>) {
        let _ = self.stream.write_all(bytes.as_ref());
    }

    /// True if the bytes could be sent. Used where the gateway must not accept all of them.
    pub(crate) fn try_say(&mut self, bytes: &[u8], patience: Duration) -> bool {
        self.stream.set_write_timeout(Some(patience)).expect("a time-out");
        self.stream.write_all(bytes).is_ok()
    }

    /// Closes the sending side, and continues to read.
    pub(crate) fn finish(&mut self) {
        self.stream.shutdown(Shutdown::Write).expect("it was open");
    }

    /// Resets the connection, which discards bytes that are still being sent.
    pub(crate) fn reset(self) {
        SockRef::from(&self.stream).set_linger(Some(Duration::ZERO)).expect("an option of the socket");
    }

    /// Waits until the gateway closes the connection.
    pub(crate) fn wait_until_gone(&mut self) {
        while self.fill() {}
    }

    fn fill(&mut self) -> bool {
        let mut piece = [0; 16 << 10];
        match self.stream.read(&mut piece) {
            Ok(count) => {
                self.unread.extend_from_slice(&piece[..count]);
                count > 0
            }
            Err(error) if error.kind() == std::io::ErrorKind::ConnectionReset => false,
            Err(error) => panic!("the gateway neither speaks nor closes: {error}"),
        }
    }
}
