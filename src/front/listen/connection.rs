//! Accepts connections, up to a limit, and serves each in a task of its own.

use std::future::poll_fn;
use std::io;
use std::net::SocketAddr;
use std::num::NonZeroU32;
use std::pin::{Pin, pin};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::task::Poll;
use std::time::Duration;

use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio::time::{Instant, timeout_at};

use super::accept::not_accepted;
use super::addresses::Addresses;
use super::descriptors::{Descriptors, Each};
use super::drain::Drain;
use super::io_threads::IoThreads;
use super::linger::Lingering;
use super::rejected::{self, Why};
use crate::front::arrival::Ends;
use crate::front::handle::Handler;
use crate::front::http1::{Connection, Patience};
use crate::front::http2;

/// The time for which a drain waits for free places for connections in the backlog. Idle connections end within that
/// time and free their places.
const BACKLOG_PATIENCE: Duration = Duration::from_millis(500);

/// Most requests on one connection. Clients that never close would otherwise stay with the host they found first, even
/// if hosts are added.
const MAX_REQUESTS: u64 = 10_000;

/// Limits of a listener.
#[derive(Clone, Copy, Debug)]
pub struct ConnectionLimits {
    /// Connections open at once. Further ones wait in the kernel's backlog.
    pub total: usize,
    /// Connections open at once from one address.
    pub per_address: Option<usize>,
    /// Wrong tokens per second from one address.
    pub failed_logins: Option<NonZeroU32>,
    /// Requests on one connection; the answer to the last closes it.
    pub requests: u64,
    pub patience: Patience,
    /// True if connections may use HTTP/2.
    pub http2: bool,
}

impl Default for ConnectionLimits {
    fn default() -> Self {
        Self {
            total: Descriptors::of_this_process().for_callers(Each::Own),
            per_address: None,
            failed_logins: None,
            requests: MAX_REQUESTS,
            patience: Patience::default(),
            http2: false,
        }
    }
}

/// The state of the data listener.
pub(in crate::front) struct Listening {
    pub(in crate::front) handler: Handler,
    pub(in crate::front) limits: ConnectionLimits,
    pub(in crate::front) open: AtomicUsize,
    pub(in crate::front) addresses: Addresses,
    /// Connections refused because their address had reached its limit.
    pub(in crate::front) turned_away: AtomicU64,
    pub(in crate::front) lingering: Lingering,
}

/// The parts of the host that every new connection needs.
struct Host {
    bound: Option<SocketAddr>,
    threads: Arc<IoThreads>,
    drain: Drain,
}

impl Listening {
    /// Serves until the drain begins, then serves the connections in the backlog. Returns when every connection has
    /// ended.
    pub(in crate::front) async fn serve(self: Arc<Self>, listener: TcpListener, threads: Arc<IoThreads>, drain: Drain) {
        let mut begun = pin!(drain.begun());
        let places = Arc::new(Semaphore::new(self.limits.total));
        let host = Host { bound: listener.local_addr().ok(), threads, drain: drain.clone() };
        loop {
            let place = tokio::select! {
                biased;
                () = &mut begun => break,
                place = Arc::clone(&places).acquire_owned() => place,
            };
            let Ok(place) = place else { break };
            let accepted = tokio::select! {
                biased;
                () = &mut begun => break,
                accepted = listener.accept() => accepted,
            };
            match accepted {
                Ok(accepted) => self.begin(accepted, place, &host),
                Err(error) => not_accepted("data", &error).await,
            }
        }
        self.empty_backlog(listener, &places, &host).await;
        // Every connection holds a place. When all places are free, no connection is left.
        let _ = places.acquire_many(u32::try_from(self.limits.total).unwrap_or(u32::MAX)).await;
        self.lingering.over().await;
    }

    /// Serves an accepted connection, unless its address has reached its limit.
    fn begin(self: &Arc<Self>, (stream, peer): (TcpStream, SocketAddr), place: OwnedSemaphorePermit, host: &Host) {
        let Some(from) = self.addresses.enter(peer.ip(), self.limits.per_address) else {
            self.turned_away.fetch_add(1, Ordering::Relaxed);
            return turn_away(stream, Why::TooMany, &self.lingering, host);
        };
        let Some(local) = reached(host.bound, &stream) else { return };
        let ends = Ends { peer: peer.ip(), local };
        let (listening, drain) = (Arc::clone(self), host.drain.clone());
        host.threads.serve(stream, async move |stream| {
            let _held = (place, from);
            listening.connection(stream, ends, drain).await;
        });
    }

    /// Accepts the connections in the backlog before the listener closes. Otherwise the kernel would reset them, and
    /// their requests would be lost. Waits for free places for [`BACKLOG_PATIENCE`]. A connection that gets none is
    /// answered with 503.
    async fn empty_backlog(self: &Arc<Self>, listener: TcpListener, places: &Arc<Semaphore>, host: &Host) {
        let wait_until = Instant::now() + BACKLOG_PATIENCE;
        // The runtime may not have seen the last connections yet; the kernel has.
        let Ok(listener) = listener.into_std() else { return };
        loop {
            let (stream, peer) = match listener.accept().and_then(|(stream, peer)| Ok((nonblocking(stream)?, peer))) {
                Ok(accepted) => accepted,
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => return,
                Err(error) => {
                    not_accepted("data", &error).await;
                    continue;
                }
            };
            match timeout_at(wait_until, Arc::clone(places).acquire_owned()).await {
                Ok(Ok(place)) => self.begin((stream, peer), place, host),
                Ok(Err(_)) | Err(_) => turn_away(stream, Why::Draining, &self.lingering, host),
            }
        }
    }

    async fn connection(self: Arc<Self>, mut stream: TcpStream, ends: Ends, drain: Drain) {
        let _open = Open::count(&self.open);
        // Answers are written whole. Waiting for more data would only delay them.
        let _ = stream.set_nodelay(true);
        let (mut early, mut patience) = (Vec::new(), self.limits.patience);
        if self.limits.http2 {
            let last = drain.first_request_is_overdue();
            let opening = http2::open(&mut stream, patience, last).await;
            let Ok(opening) = opening else { return };
            if opening.is_http2 {
                return http2::serve(&self, stream, opening.read, ends, drain).await;
            }
            early = opening.read;
            if opening.is_late {
                patience.head = Duration::ZERO;
            }
        }
        let parts = (stream, early.as_slice());
        let connection =
            Connection::new(&self.handler, &self.lingering, parts, ends, patience, self.limits.requests, drain.clone());
        // A busy connection sees by itself that the drain has begun. An idle one must be woken for that.
        until(drain.begun(), || drain.has_begun(), pin!(connection.serve())).await;
    }
}

/// Serves a connection to its end. It is woken when `last` is ready, so that it ends if it is idle.
///
/// The first poll of `last` registers the wake-up. `last` is polled again only if `may_have_come` is true: each poll
/// registers anew, which costs more than this check on every wake-up of the connection.
async fn until<C: Future>(
    last: impl Future<Output = ()>,
    may_have_come: impl Fn() -> bool,
    mut connection: Pin<&mut C>,
) -> C::Output {
    let mut last = pin!(last);
    let mut is_waiting = false;
    let ended = poll_fn(|cx| {
        if let Poll::Ready(ended) = connection.as_mut().poll(cx) {
            return Poll::Ready(Some(ended));
        }
        if is_waiting && !may_have_come() {
            return Poll::Pending;
        }
        is_waiting = true;
        last.as_mut().poll(cx).map(|()| None)
    });
    match ended.await {
        Some(ended) => ended,
        None => connection.await,
    }
}

/// Counts an open connection for as long as it lives.
struct Open<'a>(&'a AtomicUsize);

impl<'a> Open<'a> {
    fn count(counter: &'a AtomicUsize) -> Self {
        counter.fetch_add(1, Ordering::Relaxed);
        Self(counter)
    }
}

impl Drop for Open<'_> {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::Relaxed);
    }
}

/// Returns the address at which the client reached the host. The kernel is asked only if the listener is bound to all
/// addresses. `None` if the connection is over already.
fn reached(bound: Option<SocketAddr>, stream: &TcpStream) -> Option<SocketAddr> {
    bound.filter(|bound| !bound.ip().is_unspecified()).or_else(|| stream.local_addr().ok())
}

fn turn_away(stream: TcpStream, why: Why, lingering: &Lingering, host: &Host) {
    rejected::reject(stream, why, lingering, &host.threads, &host.drain);
}

/// Turns a socket of the standard library into one of the runtime.
fn nonblocking(stream: std::net::TcpStream) -> io::Result<TcpStream> {
    stream.set_nonblocking(true)?;
    TcpStream::from_std(stream)
}

#[cfg(test)]
mod tests {
    use std::future::Future;
    use std::io::{Read, Write};

    use tokio::sync::watch;

    use super::*;
    use crate::admission::Executor;
    use crate::front::{Front, Services};
    use crate::telemetry::LogWriter;

    const REQUEST: &[u8] = b"GET /nobody HTTP/1.1\r\nhost: test\r\n\r\n";

    /// Makes a client, and the task of its connection to a host without services.
    fn connect(http2: bool, drain: watch::Receiver<bool>) -> (std::net::TcpStream, impl Future<Output = ()>) {
        let limits = ConnectionLimits { http2, ..ConnectionLimits::default() };
        let executor = Arc::new(Executor::new(1).unwrap());
        let Front(listening) = Front::new(Services::default(), executor, LogWriter::unread(), limits, None);
        let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        let client = std::net::TcpStream::connect(listener.local_addr().unwrap()).unwrap();
        let (accepted, peer) = listener.accept().unwrap();
        accepted.set_nonblocking(true).unwrap();
        let ends = Ends { peer: peer.ip(), local: accepted.local_addr().unwrap() };
        (client, listening.connection(TcpStream::from_std(accepted).unwrap(), ends, Drain::new(drain)))
    }

    /// Returns all that was sent until the connection was closed.
    fn said(mut client: std::net::TcpStream) -> String {
        let mut said = String::new();
        client.read_to_string(&mut said).unwrap();
        said
    }

    fn is_last_answer(said: &str) -> bool {
        said.starts_with("HTTP/1.1 404 ") && said.contains("\r\nconnection: close\r\n")
    }

    #[tokio::test]
    async fn what_the_runtime_has_not_told_of_yet_is_answered_in_the_drain() {
        for http2 in [false, true] {
            let (mut client, connection) = connect(http2, watch::channel(true).1);
            client.write_all(REQUEST).unwrap();
            connection.await;
            let said = said(client);
            assert!(is_last_answer(&said), "{said}");
        }
    }

    /// Polls a connection until it waits.
    async fn begin(connection: Pin<&mut impl Future<Output = ()>>) {
        let mut connection = connection;
        assert!(!poll_fn(|cx| Poll::Ready(connection.as_mut().poll(cx).is_ready())).await, "it is over");
    }

    /// A client that has just connected would take a close without an answer for a fault.
    #[tokio::test]
    async fn the_first_request_of_a_connection_may_still_come_in_the_drain() {
        for http2 in [false, true] {
            let (mut client, connection) = connect(http2, watch::channel(true).1);
            let mut connection = pin!(connection);
            begin(connection.as_mut()).await;
            client.write_all(REQUEST).unwrap();
            connection.await;
            let said = said(client);
            assert!(is_last_answer(&said), "{said}");
        }
    }

    #[tokio::test]
    async fn an_answer_that_is_made_once_the_drain_has_begun_says_that_it_is_the_last() {
        let (tell, told) = watch::channel(false);
        let (mut client, connection) = connect(false, told);
        let mut connection = pin!(connection);
        begin(connection.as_mut()).await;
        client.write_all(REQUEST).unwrap();
        // The runtime sees the request before the connection sees the drain.
        tokio::task::yield_now().await;
        tell.send(true).unwrap();
        connection.await;
        let said = said(client);
        assert!(is_last_answer(&said), "{said}");
    }

    #[tokio::test]
    async fn one_that_rests_is_closed_by_the_drain() {
        for http2 in [false, true] {
            let (client, connection) = connect(http2, watch::channel(true).1);
            connection.await;
            assert_eq!(said(client), "");
        }
    }

    /// An empty line before a request is skipped, however it arrives, and must not hide that the request is HEAD: an
    /// answer with a body would be taken for the next answer.
    #[tokio::test]
    async fn head_behind_an_empty_line_in_two_packets_gets_no_body() {
        let (_tell, told) = watch::channel(false);
        let (mut client, connection) = connect(false, told);
        let mut connection = pin!(connection);
        client.write_all(b"\r").unwrap();
        for _ in 0..10 {
            let is_over = poll_fn(|cx| Poll::Ready(connection.as_mut().poll(cx).is_ready())).await;
            assert!(!is_over);
            tokio::task::yield_now().await;
        }
        client.write_all(b"\nHEAD /nobody HTTP/1.1\r\nhost: a\r\nconnection: close\r\n\r\n").unwrap();
        connection.await;
        let said = said(client);
        assert!(is_last_answer(&said) && said.ends_with("\r\n\r\n"), "{said}");
    }

    /// The clock is paused, and moves only for timeouts.
    #[tokio::test(start_paused = true)]
    async fn a_connection_that_says_nothing_has_ten_seconds_whichever_protocols_are_spoken() {
        for http2 in [false, true] {
            let (_tell, told) = watch::channel(false);
            let (client, connection) = connect(http2, told);
            let since = Instant::now();
            connection.await;
            assert_eq!(since.elapsed().as_secs(), 10, "{http2}");
            assert_eq!(said(client), "");
        }
    }

    #[tokio::test]
    async fn a_client_of_a_listener_on_all_addresses_found_us_at_one_of_them() {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let here = listener.local_addr().unwrap();
        let (stream, accepted) = tokio::join!(TcpStream::connect(here), listener.accept());
        let (_client, accepted) = (stream.unwrap(), accepted.unwrap().0);
        let elsewhere = |text: &str| Some(text.parse().unwrap());
        for bound in [elsewhere("0.0.0.0:80"), elsewhere("[::]:80"), None] {
            assert_eq!(reached(bound, &accepted), Some(here));
        }
        let one = elsewhere("192.0.2.7:80");
        assert_eq!(reached(one, &accepted), one, "it was known before");
    }
}
