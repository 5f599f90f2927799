//! A connection of the load generator. It sends bytes and reads an answer with as little work as possible, because the
//! generator may share the machine with the server that it measures.

use std::fmt::{self, Display, Formatter};
use std::io;
use std::net::SocketAddr;
use std::str;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

const MAX_HEAD: usize = 64 << 10;
const MAX_HEADERS: usize = 100;
/// Most bytes of a refusal's body that are kept, to find the server's code in it.
const EXCERPT: usize = 4 << 10;
/// Most bytes of a success's body that [`Connection::fetch`] keeps: a list of results, with their tags.
const MOST_FETCHED: usize = 128 << 20;

/// A complete answer.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Answer {
    pub(super) status: u16,
    /// The beginning of a refusal's body; of a success's body only if it was fetched.
    pub(super) excerpt: Vec<u8>,
}

/// The reason why no complete answer came.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Fault {
    /// No connection could be made.
    Connect,
    Timeout,
    /// The connection was closed or reset before an answer.
    Closed,
    /// The answer is truncated.
    Cut,
    /// The answer is not HTTP.
    Senseless,
}

impl Display for Fault {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Connect => "no connection",
            Self::Timeout => "time-out",
            Self::Closed => "closed before an answer",
            Self::Cut => "answer broke off",
            Self::Senseless => "no HTTP",
        })
    }
}

pub(super) struct Connection {
    stream: TcpStream,
    /// Bytes read and not yet used.
    read: Vec<u8>,
    /// True if the server accepts another request.
    goes_on: bool,
}

impl Connection {
    pub(super) async fn open(address: SocketAddr) -> Result<Self, Fault> {
        let stream = TcpStream::connect(address).await.map_err(|_| Fault::Connect)?;
        stream.set_nodelay(true).map_err(|_| Fault::Connect)?;
        Ok(Self { stream, read: Vec::with_capacity(16 << 10), goes_on: true })
    }

    /// True if another request can be sent. The server may have closed an idle connection.
    pub(super) fn is_open(&self) -> bool {
        let at_rest = self.stream.try_read(&mut [0]);
        self.goes_on && at_rest.is_err_and(|error| error.kind() == io::ErrorKind::WouldBlock)
    }

    /// Sends a request and reads its answer to the end. After a fault the connection must not be used again.
    pub(super) async fn exchange(&mut self, request: &[u8], is_head: bool) -> Result<Answer, Fault> {
        self.answer(request, is_head, 0).await
    }

    /// As [`exchange`](Self::exchange), and keeps the body of a success.
    pub(super) async fn fetch(&mut self, request: &[u8]) -> Result<Answer, Fault> {
        self.answer(request, false, MOST_FETCHED).await
    }

    /// `room` is the number of bytes of a success's body that are kept.
    async fn answer(&mut self, request: &[u8], is_head: bool, room: usize) -> Result<Answer, Fault> {
        // A server may answer and close before the body is sent, so the answer is read even after a failed write.
        let sent = self.stream.write_all(request).await;
        self.read.clear();
        loop {
            let (head, length) = self.head(sent.is_err()).await?;
            self.read.drain(..length);
            if head.status >= 200 {
                self.goes_on = head.goes_on && sent.is_ok();
                let excerpt = self.body(&head, is_head, room).await?;
                return Ok(Answer { status: head.status, excerpt });
            }
        }
    }

    /// Reads the next head; returns it with its length. `was_cut` is true if the request could not be sent completely.
    async fn head(&mut self, was_cut: bool) -> Result<(Head, usize), Fault> {
        loop {
            if !self.read.is_empty()
                && let Some(found) = Head::parse(&self.read)?
            {
                return Ok(found);
            }
            if self.read.len() > MAX_HEAD {
                return Err(Fault::Senseless);
            }
            match self.stream.read_buf(&mut self.read).await {
                Ok(0) | Err(_) if self.read.is_empty() || was_cut => return Err(Fault::Closed),
                Ok(0) | Err(_) => return Err(Fault::Cut),
                Ok(_) => {}
            }
        }
    }

    async fn body(&mut self, head: &Head, is_head: bool, room: usize) -> Result<Vec<u8>, Fault> {
        let most = if (200..300).contains(&head.status) { room } else { EXCERPT };
        let mut excerpt = Excerpt { bytes: Vec::new(), most };
        match head.body {
            _ if is_head || matches!(head.status, 204 | 304) => {}
            Body::Length(length) => self.take(length, &mut excerpt).await?,
            Body::Chunks => loop {
                let line = self.line().await?;
                let size = line.split(|byte| *byte == b';').next().unwrap_or_default().trim_ascii();
                let size = str::from_utf8(size).ok().and_then(|size| usize::from_str_radix(size, 16).ok());
                match size.ok_or(Fault::Senseless)? {
                    0 => break while !self.line().await?.is_empty() {},
                    size => {
                        self.take(size, &mut excerpt).await?;
                        self.line().await?;
                    }
                }
            },
            Body::UntilClosed => {
                self.goes_on = false;
                loop {
                    excerpt.add(&self.read);
                    self.read.clear();
                    if self.stream.read_buf(&mut self.read).await.map_err(|_| Fault::Cut)? == 0 {
                        break;
                    }
                }
            }
        }
        Ok(excerpt.bytes)
    }

    /// Reads `length` bytes of a body. Only the bytes of one read are in memory at a time.
    async fn take(&mut self, mut length: usize, excerpt: &mut Excerpt) -> Result<(), Fault> {
        loop {
            let here = length.min(self.read.len());
            excerpt.add(&self.read[..here]);
            self.read.drain(..here);
            length -= here;
            if length == 0 {
                return Ok(());
            }
            self.fill().await?;
        }
    }

    /// Reads the next line, without its line end.
    async fn line(&mut self) -> Result<Vec<u8>, Fault> {
        loop {
            if let Some(end) = memchr::memchr(b'\n', &self.read) {
                let line = self.read.drain(..=end).collect::<Vec<u8>>();
                return Ok(line.trim_ascii().to_vec());
            }
            if self.read.len() > MAX_HEAD {
                return Err(Fault::Senseless);
            }
            self.fill().await?;
        }
    }

    async fn fill(&mut self) -> Result<(), Fault> {
        match self.stream.read_buf(&mut self.read).await {
            Ok(0) | Err(_) => Err(Fault::Cut),
            Ok(_) => Ok(()),
        }
    }
}

struct Excerpt {
    bytes: Vec<u8>,
    most: usize,
}

impl Excerpt {
    fn add(&mut self, bytes: &[u8]) {
        let room = self.most - self.bytes.len();
        self.bytes.extend_from_slice(&bytes[..room.min(bytes.len())]);
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Body {
    Length(usize),
    Chunks,
    UntilClosed,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Head {
    status: u16,
    goes_on: bool,
    body: Body,
}

impl Head {
    /// Parses the head at the start of `bytes`; returns it with its length, or `None` if it is not complete yet.
    fn parse(bytes: &[u8]) -> Result<Option<(Self, usize)>, Fault> {
        let mut headers = [httparse::EMPTY_HEADER; MAX_HEADERS];
        let mut response = httparse::Response::new(&mut headers);
        let length = match response.parse(bytes).map_err(|_| Fault::Senseless)? {
            httparse::Status::Complete(length) => length,
            httparse::Status::Partial => return Ok(None),
        };
        let status = response.code.ok_or(Fault::Senseless)?;
        let mut head = Self { status, goes_on: response.version == Some(1), body: Body::UntilClosed };
        for header in &*response.headers {
            let is = |name: &str| header.name.eq_ignore_ascii_case(name);
            let value = header.value.trim_ascii();
            if is("content-length") && head.body != Body::Chunks {
                let length = str::from_utf8(value).ok().and_then(|length| length.parse().ok());
                head.body = Body::Length(length.ok_or(Fault::Senseless)?);
            } else if is("transfer-encoding") && value.to_ascii_lowercase().ends_with(b"chunked") {
                head.body = Body::Chunks;
            } else if is("connection") && value.eq_ignore_ascii_case(b"close") {
                head.goes_on = false;
            }
        }
        Ok(Some((head, length)))
    }
}

#[cfg(test)]
mod tests {
    use tokio::net::TcpListener;

    use super::*;

    /// The result of an exchange with a server that sends `says` and then closes the connection or keeps it open; and
    /// true if the connection can be used again.
    async fn exchange(says: &'static [&'static str], closes: bool, is_head: bool) -> (Result<Answer, Fault>, bool) {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let mut connection = Connection::open(listener.local_addr().unwrap()).await.unwrap();
        let (mut server, _) = listener.accept().await.unwrap();
        let server = tokio::spawn(async move {
            let mut request = [0; 16];
            server.read_exact(&mut request).await.unwrap();
            for part in says {
                server.write_all(part.as_bytes()).await.unwrap();
                server.flush().await.unwrap();
                tokio::task::yield_now().await;
            }
            (!closes).then_some(server)
        });
        let answer = connection.exchange(b"GET / HTTP/1.1\r\n", is_head).await;
        let server = server.await.unwrap();
        let open = connection.is_open();
        drop(server);
        (answer, open)
    }

    fn answer(status: u16, excerpt: &str) -> Result<Answer, Fault> {
        Ok(Answer { status, excerpt: excerpt.as_bytes().to_vec() })
    }

    #[tokio::test]
    async fn answers_end_where_they_say() {
        for says in [
            &["HTTP/1.1 450 X\r\ncontent-length: 5\r\n\r\nhello"][..],
            &["HTTP/1.1 4", "50 X\r\nContent-Length: 5\r", "\n\r\nhel", "lo"],
            &["HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 450 X\r\ncontent-length: 5\r\n\r\nhello"],
            &[
                "HTTP/1.1 450 X\r\ntransfer-encoding: chunked\r\n\r\n3;x=y\r\nhel\r\n",
                "2\r\nl",
                "o\r\n0\r\nt: v\r\n\r\n",
            ],
        ] {
            assert_eq!(exchange(says, false, false).await, (answer(450, "hello"), true), "{says:?}");
        }
        let no_body = &["HTTP/1.1 200 OK\r\ncontent-length: 5\r\n\r\n"];
        assert_eq!(exchange(no_body, false, true).await, (answer(200, ""), true));
        assert_eq!(exchange(&["HTTP/1.1 204 X\r\n\r\n"], false, false).await, (answer(204, ""), true));
    }

    #[tokio::test]
    async fn a_connection_that_ends_is_not_used_again() {
        for (says, closes) in [
            (&["HTTP/1.1 500 X\r\nconnection: close\r\ncontent-length: 2\r\n\r\nno"][..], false),
            (&["HTTP/1.1 500 X\r\n\r\nn", "o"], true),
            (&["HTTP/1.0 500 X\r\ncontent-length: 2\r\n\r\nno"], false),
        ] {
            assert_eq!(exchange(says, closes, false).await, (answer(500, "no"), false), "{says:?}");
        }
    }

    /// The server answers and resets the connection while the request is still being written.
    #[tokio::test]
    async fn an_answer_counts_for_more_than_a_write_that_failed() {
        let request = vec![b'x'; 8 << 20];
        for read in [1, 100_000] {
            let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
            socket2::SockRef::from(&listener).set_recv_buffer_size(64 << 10).unwrap();
            let mut connection = Connection::open(listener.local_addr().unwrap()).await.unwrap();
            let server = async {
                let (mut server, _) = listener.accept().await.unwrap();
                server.read_exact(&mut vec![0; read]).await.unwrap();
                server.write_all(b"HTTP/1.1 413 X\r\ncontent-length: 3\r\n\r\nfar").await.unwrap();
                server.set_zero_linger().unwrap();
            };
            let (exchanged, ()) = tokio::join!(connection.exchange(&request, false), server);
            assert_eq!((exchanged, connection.is_open()), (answer(413, "far"), false));
        }
    }

    #[tokio::test]
    async fn faults_are_told_apart() {
        for (says, fault) in [
            (&[][..], Fault::Closed),
            (&["HTTP/1.1 200 OK\r\ncont"], Fault::Cut),
            (&["HTTP/1.1 200 OK\r\ncontent-length: 5\r\n\r\nhel"], Fault::Cut),
            (&["HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n5\r\nhel"], Fault::Cut),
            (&["SSH-2.0-x\r\n"], Fault::Senseless),
            (&["HTTP/1.1 200 OK\r\ncontent-length: many\r\n\r\n"], Fault::Senseless),
        ] {
            assert_eq!(exchange(says, true, false).await.0, Err(fault), "{says:?}");
        }
        let gone = TcpListener::bind("127.0.0.1:0").await.unwrap().local_addr().unwrap();
        assert_eq!(Connection::open(gone).await.err(), Some(Fault::Connect));
    }
}
