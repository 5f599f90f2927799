//! A server on a real socket that performs a list of actions, one request after the other.

use std::io;
use std::net::SocketAddr;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use bulkhead_client::{Client, ClientBuilder, RetryPolicy};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

/// The action of a server after it has read a request.
#[derive(Clone, Copy)]
pub(crate) enum Deed {
    /// Answers, and reads the next request.
    Say(&'static str),
    /// Sends these bytes and closes the connection.
    End(&'static str),
    Reset,
    Nothing,
    /// Answers before it has read the body, and resets the connection when this much of the body has arrived.
    Refuse(&'static str, usize),
    /// Answers before it has read the body, and reads no further.
    Ignore(&'static str),
}
use Deed::{End, Ignore, Nothing, Refuse, Reset, Say};

pub(crate) const OK: Deed = Say("HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nok");
pub(crate) const QUICK: Duration = Duration::from_millis(200);

/// A server that performs one action after the other, and repeats the last.
pub(crate) struct Server {
    pub(crate) address: SocketAddr,
    /// The heads of the requests that it has read.
    pub(crate) requests: Arc<Mutex<Vec<String>>>,
    pub(crate) connections: Arc<AtomicUsize>,
}

impl Server {
    pub(crate) async fn start(deeds: &'static [Deed]) -> Self {
        let socket = tokio::net::TcpSocket::new_v4().unwrap();
        // A small buffer, so that a client with a large body must wait until the server reads.
        socket.set_recv_buffer_size(64 << 10).unwrap();
        socket.bind("127.0.0.1:0".parse().unwrap()).unwrap();
        let listener = socket.listen(1024).unwrap();
        let server =
            Self { address: listener.local_addr().unwrap(), requests: Arc::default(), connections: Arc::default() };
        let (requests, connections) = (Arc::clone(&server.requests), Arc::clone(&server.connections));
        tokio::spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                connections.fetch_add(1, Ordering::SeqCst);
                tokio::spawn(serve(stream, deeds, Arc::clone(&requests)));
            }
        });
        server
    }

    pub(crate) fn builder(&self) -> ClientBuilder {
        builder(self.address)
    }

    pub(crate) fn asked(&self) -> usize {
        self.requests.lock().unwrap().len()
    }

    pub(crate) fn connections(&self) -> usize {
        self.connections.load(Ordering::SeqCst)
    }
}

pub(crate) fn builder(address: SocketAddr) -> ClientBuilder {
    Client::builder(&format!("http://{address}"), "s").timeout(QUICK).retry(pauseless(2))
}

pub(crate) fn pauseless(retries: u32) -> RetryPolicy {
    RetryPolicy::new(retries).pauses(Duration::ZERO, Duration::ZERO)
}

async fn serve(mut stream: TcpStream, deeds: &[Deed], requests: Arc<Mutex<Vec<String>>>) -> io::Result<()> {
    loop {
        let turn = requests.lock().unwrap().len();
        let deed = deeds[turn.min(deeds.len() - 1)];
        if let Refuse(answer, _) | Ignore(answer) = deed {
            let head = read_head(&mut stream).await?;
            requests.lock().unwrap().push(head);
            // Bytes that are not sent yet would be lost with the reset.
            stream.set_nodelay(true)?;
            stream.write_all(answer.as_bytes()).await?;
            match deed {
                Refuse(_, more) => {
                    stream.read_exact(&mut vec![0; more]).await?;
                    return stream.set_zero_linger();
                }
                _ => std::future::pending::<()>().await,
            }
        }
        let Some(head) = read_request(&mut stream).await? else { return Ok(()) };
        requests.lock().unwrap().push(head);
        match deed {
            Say(answer) => stream.write_all(answer.as_bytes()).await?,
            End(answer) => return stream.write_all(answer.as_bytes()).await,
            Reset => return stream.set_zero_linger(),
            Nothing => drop(stream.read(&mut [0]).await?),
            Refuse(..) | Ignore(_) => {}
        }
    }
}

/// Reads the head byte by byte, so that no more than the head is taken.
async fn read_head(stream: &mut TcpStream) -> io::Result<String> {
    let mut head = Vec::new();
    while !head.ends_with(b"\r\n\r\n") {
        head.push(stream.read_u8().await?);
    }
    Ok(String::from_utf8(head).unwrap())
}

/// Reads the head and the body that it announces; returns the head.
pub(crate) async fn read_request(stream: &mut TcpStream) -> io::Result<Option<String>> {
    let mut read = Vec::new();
    loop {
        if stream.read_buf(&mut read).await? == 0 {
            return Ok(None);
        }
        let Some(end) = read.windows(4).position(|four| four == b"\r\n\r\n") else { continue };
        let head = String::from_utf8(read[..end].to_vec()).unwrap();
        let length =
            head.lines().find_map(|line| line.strip_prefix("content-length: ")).map_or(0, |n| n.parse().unwrap());
        while read.len() < end + 4 + length {
            if stream.read_buf(&mut read).await? == 0 {
                return Ok(None);
            }
        }
        return Ok(Some(head));
    }
}
