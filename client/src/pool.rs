//! The connection pool: makes connections, keeps idle ones for later requests, and limits their number.

use std::collections::VecDeque;
use std::io;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use bytes::Bytes;
use http::Request;
use http_body_util::Full;
use hyper::body::Incoming;
use hyper::client::conn::http1;
use hyper::client::conn::http1::SendRequest;
use hyper_util::rt::TokioIo;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::TcpStream;
use tokio::sync::{Semaphore, SemaphorePermit};
use tokio::task::AbortHandle;
use tokio::time::{Instant, timeout, timeout_at};

use crate::address::Address;
use crate::answer_first::{AnswerFirst, Writes};
use crate::error::{Error, Fault};

/// Longest idle time. It is shorter than the idle timeouts of servers and proxies: a request sent on a connection that
/// is just being closed is lost, and may or may not have been processed.
const REST: Duration = Duration::from_secs(15);

/// Longest time until a connection is ready for another request after its answer has been read. Nearly all are ready at
/// once. If the server answered without reading the whole request, its connection may never be ready, and is closed.
const READY: Duration = Duration::from_millis(250);

pub(crate) struct Pool {
    connect_timeout: Duration,
    connections: usize,
    /// Permits for busy connections. Each busy connection holds one.
    permits: Semaphore,
    /// Idle connections, in the order in which they became idle.
    resting: Mutex<VecDeque<Resting>>,
    #[cfg(feature = "tls")]
    tls: crate::tls::Connector,
}

struct Resting {
    address: Address,
    connection: Connection,
    since: Instant,
}

/// A connection that carries one request at a time. Dropping it closes it at once, which tells the server that the
/// answer is no longer wanted.
pub(crate) struct Connection {
    sender: SendRequest<Full<Bytes>>,
    writes: Writes,
    driver: AbortHandle,
}

impl Drop for Connection {
    fn drop(&mut self) {
        self.driver.abort();
    }
}

/// A connection in use. It is given back when it can be used again.
pub(crate) struct Lent<'a> {
    pool: &'a Pool,
    address: Address,
    connection: Connection,
    /// True if another request was sent on the connection before.
    pub(crate) is_used: bool,
    _permit: SemaphorePermit<'a>,
}

/// A request that got no answer.
pub(crate) enum Lost {
    /// No byte of it was written. The request is returned.
    Unsent(Box<Request<Full<Bytes>>>, hyper::Error),
    Sent(hyper::Error),
}

impl Pool {
    pub(crate) fn new(connections: usize, connect_timeout: Duration) -> Self {
        Self {
            connect_timeout,
            connections,
            permits: Semaphore::new(connections.min(Semaphore::MAX_PERMITS)),
            resting: Mutex::default(),
            #[cfg(feature = "tls")]
            tls: crate::tls::Connector::default(),
        }
    }

    /// Makes secure connections with `tls`.
    #[cfg(feature = "tls")]
    pub(crate) fn with_tls(self, tls: crate::tls::Connector) -> Self {
        Self { tls, ..self }
    }

    /// Returns a connection to `address`: an idle one if there is one, otherwise a new one.
    pub(crate) async fn lend(&self, address: &Address, deadline: Instant) -> Result<Lent<'_>, Error> {
        let failed = |fault, cause: &dyn std::fmt::Display| Error::transport(fault, &address.name(), cause);
        let permit = match timeout_at(deadline, self.permits.acquire()).await {
            Ok(Ok(permit)) => permit,
            Ok(Err(closed)) => return Err(failed(Fault::ConnectionFailed, &closed)),
            Err(_) => {
                let cause = format!("all {} connections are in use", self.connections);
                return Err(failed(Fault::ConnectionTimeout, &cause));
            }
        };
        let lent =
            |connection, is_used| Lent { pool: self, address: address.clone(), connection, is_used, _permit: permit };
        if let Some(connection) = self.take(address) {
            return Ok(lent(connection, true));
        }
        self.make_room();
        Ok(lent(self.dedicate(address, deadline).await?, false))
    }

    /// Makes a connection that does not belong to the pool.
    pub(crate) async fn dedicate(&self, address: &Address, deadline: Instant) -> Result<Connection, Error> {
        let failed = |fault, cause: &dyn std::fmt::Display| Error::transport(fault, &address.name(), cause);
        let by = deadline.min(Instant::now() + self.connect_timeout);
        match timeout_at(by, self.connect(address)).await {
            Ok(Ok(connection)) => Ok(connection),
            Ok(Err(error)) if error.kind() == io::ErrorKind::TimedOut => Err(failed(Fault::ConnectionTimeout, &error)),
            Ok(Err(error)) => Err(failed(Fault::ConnectionFailed, &error)),
            Err(elapsed) => Err(failed(Fault::ConnectionTimeout, &elapsed)),
        }
    }

    async fn connect(&self, address: &Address) -> io::Result<Connection> {
        let stream = TcpStream::connect((address.host.as_str(), address.port)).await?;
        stream.set_nodelay(true)?;
        #[cfg(feature = "tls")]
        if address.secure {
            return Connection::over(self.tls.connect(&address.host, stream).await?).await;
        }
        Connection::over(stream).await
    }

    /// Takes the connection to `address` that has been idle for the shortest time. The others can then reach their idle
    /// limit.
    fn take(&self, address: &Address) -> Option<Connection> {
        let mut resting = self.resting();
        let tired = Instant::now().checked_sub(REST);
        while resting.front().is_some_and(|first| tired.is_some_and(|tired| first.since < tired)) {
            resting.pop_front();
        }
        loop {
            let index = resting.iter().rposition(|resting| resting.address == *address)?;
            let found = resting.remove(index)?.connection;
            if found.is_ready() {
                return Some(found);
            }
        }
    }

    /// Closes idle connections until busy and idle ones together are within the limit.
    fn make_room(&self) {
        let at_work = self.connections.saturating_sub(self.permits.available_permits());
        let mut resting = self.resting();
        while at_work + resting.len() > self.connections && resting.pop_front().is_some() {}
    }

    fn resting(&self) -> MutexGuard<'_, VecDeque<Resting>> {
        // Nothing panics while the lock is held, and a list of connections cannot be half changed.
        self.resting.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Connection {
    async fn over<S: AsyncRead + AsyncWrite + Unpin + Send + 'static>(stream: S) -> io::Result<Self> {
        let stream = AnswerFirst::new(stream);
        let writes = stream.writes();
        let (sender, connection) = http1::handshake(TokioIo::new(stream)).await.map_err(io::Error::other)?;
        // A request that is under way gets the error of its connection.
        let driver = tokio::spawn(async move { drop(connection.await) }).abort_handle();
        Ok(Self { sender, writes, driver })
    }

    /// Sends a request and returns the head of the answer.
    pub(crate) async fn send(&mut self, request: Request<Full<Bytes>>) -> Result<http::Response<Incoming>, Lost> {
        self.sender.try_send_request(request).await.map_err(|mut error| match error.take_message() {
            Some(request) => Lost::Unsent(Box::new(request), error.into_error()),
            None => Lost::Sent(error.into_error()),
        })
    }

    /// True if another request can be sent. A connection whose writes have failed is not usable.
    fn is_ready(&self) -> bool {
        self.sender.is_ready() && !self.writes.have_failed()
    }
}

impl Lent<'_> {
    /// Sends a request and returns the head of the answer.
    pub(crate) async fn send(&mut self, request: Request<Full<Bytes>>) -> Result<http::Response<Incoming>, Lost> {
        self.connection.send(request).await
    }

    /// Gives the connection back to the pool, after an answer that was read to its end.
    pub(crate) async fn give_back(mut self) {
        let ready = timeout(READY, self.connection.sender.ready()).await;
        if matches!(ready, Ok(Ok(()))) && self.connection.is_ready() {
            let resting = Resting { address: self.address, connection: self.connection, since: Instant::now() };
            self.pool.resting().push_back(resting);
        }
    }
}

#[cfg(test)]
mod tests {
    use std::pin::Pin;
    use std::task::{Context, Poll};

    use http_body_util::BodyExt;
    use tokio::io::{AsyncReadExt, AsyncWriteExt, DuplexStream, ReadBuf};

    use super::*;

    /// A stream that takes `left` bytes. Later writes fail, and reads still work.
    struct Failing {
        stream: DuplexStream,
        left: usize,
    }

    impl AsyncRead for Failing {
        fn poll_read(mut self: Pin<&mut Self>, cx: &mut Context<'_>, into: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
            Pin::new(&mut self.stream).poll_read(cx, into)
        }
    }

    impl AsyncWrite for Failing {
        fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
            if self.left == 0 {
                return Poll::Ready(Err(io::ErrorKind::BrokenPipe.into()));
            }
            let most = bytes.len().min(self.left);
            let written = Pin::new(&mut self.stream).poll_write(cx, &bytes[..most]);
            if let Poll::Ready(Ok(count)) = written {
                self.left -= count;
            }
            written
        }

        fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
            Pin::new(&mut self.stream).poll_flush(cx)
        }

        fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
            Pin::new(&mut self.stream).poll_shutdown(cx)
        }
    }

    /// Returns the number of idle connections after an answer that came when `left` bytes of the request had been
    /// taken.
    async fn resting_after(left: usize) -> usize {
        let pool = Pool::new(1, Duration::from_secs(1));
        let (ours, mut theirs) = tokio::io::duplex(1 << 10);
        let mut lent = Lent {
            pool: &pool,
            address: Address::plain("a", 80).unwrap(),
            connection: Connection::over(Failing { stream: ours, left }).await.unwrap(),
            is_used: false,
            _permit: pool.permits.acquire().await.unwrap(),
        };
        let mut request = Request::new(Full::new(Bytes::from_static(&[b'x'; 100])));
        *request.method_mut() = http::Method::POST;
        let server = tokio::spawn(async move {
            theirs.read_exact(&mut [0; 10]).await.unwrap();
            theirs.write_all(b"HTTP/1.1 413 Payload Too Large\r\ncontent-length: 2\r\n\r\nno").await.unwrap();
            tokio::io::copy(&mut theirs, &mut tokio::io::sink()).await.unwrap();
        });
        let answer = lent.send(request).await.ok().expect("an answer");
        assert_eq!(answer.status(), 413);
        assert_eq!(answer.into_body().collect().await.unwrap().to_bytes(), "no");
        lent.give_back().await;
        let resting = pool.resting().len();
        drop(pool);
        server.await.unwrap();
        resting
    }

    /// Another request on a connection whose writes have failed would not be written, and would wait for an answer
    /// until its deadline.
    #[tokio::test]
    async fn a_connection_whose_writes_have_failed_does_not_rest() {
        assert_eq!(resting_after(1 << 10).await, 1);
        assert_eq!(resting_after(20).await, 0);
    }
}
