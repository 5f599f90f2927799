//! Discards what a client still sends after its last answer.
//!
//! Closing a socket with unread input resets the connection, and the reset can destroy the answer before the client has
//! read it. So the host closes its sending side first, and then reads until the client has closed its own (RFC 9112
//! §9.6). Most client libraries read an answer only after they have sent their whole body, so a short read is not
//! enough. The kernel discards the bytes without copying them, and nothing is kept.

use std::future::poll_fn;
use std::io;
use std::mem::MaybeUninit;
use std::net::Shutdown;
use std::sync::{Arc, Mutex, PoisonError, Weak};
use std::task::{Context, Poll, ready};
use std::time::Duration;

use socket2::SockRef;
use tokio::io::Interest;
use tokio::net::TcpStream;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio::time::{sleep, timeout};

use super::drain::Drain;

/// The share of a listener's connections whose input may be discarded with full bounds at the same time: one in
/// `SHARE`.
const SHARE: usize = 4;
/// Most bytes that one system call discards.
const PIECE: usize = 128 << 10;
/// Bytes after which this task yields to other connections of its thread.
const TURN: usize = 1 << 20;

/// Bounds for discarding the input of one connection. The first one reached ends it.
#[derive(Clone, Copy, Debug)]
struct Bounds {
    bytes: u64,
    time: Duration,
    /// The client must send at least `pace` bytes in each window; otherwise reading ends with that window.
    window: Duration,
    pace: u64,
}

/// Bounds of a connection that has a place. Time and window are nginx's (`lingering_time`, `lingering_timeout`). The
/// bytes are four times the largest body that a service accepts by default; the pace is about that of a modem.
const FULL: Bounds =
    Bounds { bytes: 64 << 20, time: Duration::from_secs(30), window: Duration::from_secs(5), pace: 32 << 10 };

/// Bounds of a connection without a place: enough for input that is in the socket's buffer or about to arrive.
const SHORT: Bounds =
    Bounds { bytes: 256 << 10, time: Duration::from_secs(1), window: Duration::from_secs(1), pace: 1 };

/// The window during a drain: a slow client must not delay the shutdown.
const DRAIN_WINDOW: Duration = Duration::from_secs(1);

/// The places for connections whose input is discarded with full bounds. Such a connection still counts as open.
pub(crate) struct Lingering {
    places: Arc<Semaphore>,
    count: u32,
}

/// The place of a connection whose input is discarded. Dropping it gives the place back.
pub(in crate::front) struct LingerSlot(
    #[expect(dead_code, reason = "it is held, and given back by drop")] OwnedSemaphorePermit,
);

/// The place of a connection with many streams. Its streams share it, because otherwise a few connections could take
/// all places.
#[derive(Default)]
pub(in crate::front) struct SharedSlot(Mutex<Weak<LingerSlot>>);

impl Lingering {
    /// Creates the places for a listener with at most `connections` connections.
    pub(crate) fn new(connections: usize) -> Self {
        let count = (connections / SHARE).clamp(1, Semaphore::MAX_PERMITS);
        let count = u32::try_from(count).unwrap_or(u32::MAX);
        Self { places: Arc::new(Semaphore::new(count as usize)), count }
    }

    /// Takes a place; `None` while all places are taken.
    pub(in crate::front) fn place(&self) -> Option<LingerSlot> {
        Arc::clone(&self.places).try_acquire_owned().ok().map(LingerSlot)
    }

    /// Returns the place of a stream's connection: the one that it has, or a new one. `None` while all places are
    /// taken.
    fn place_of(&self, connection: &SharedSlot) -> Option<Arc<LingerSlot>> {
        let mut held = connection.0.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(place) = held.upgrade() {
            return Some(place);
        }
        let place = Arc::new(self.place()?);
        *held = Arc::downgrade(&place);
        Some(place)
    }

    /// Discards the input of a connection whose sending side is closed. `accepted` is the largest body that the service
    /// of the last request takes: a client that sends twice as much still sees the answer.
    pub(in crate::front) async fn read_away(&self, stream: &TcpStream, accepted: usize, drain: &Drain) {
        let place = self.place();
        Bounds::with(place.as_ref(), accepted).read_away(stream, drain).await;
    }

    /// Discards the input of one stream of a connection with `poll`, which subtracts the bytes that have arrived from
    /// those that are left. It is ready at the end of the input, or when none are left.
    pub(in crate::front) async fn discard(
        &self,
        connection: &SharedSlot,
        accepted: usize,
        drain: &Drain,
        poll: impl FnMut(&mut u64, &mut Context<'_>) -> Poll<()>,
    ) {
        let place = self.place_of(connection);
        Bounds::with(place.as_deref(), accepted).discard(drain, poll).await;
    }

    /// Waits until every place has been given back.
    pub(in crate::front) async fn over(&self) {
        let _ = self.places.acquire_many(self.count).await;
    }
}

impl Bounds {
    fn with(place: Option<&LingerSlot>, accepted: usize) -> Self {
        match place {
            Some(_) => Self { bytes: FULL.bytes.max(2 * accepted as u64), ..FULL },
            None => SHORT,
        }
    }

    async fn read_away(self, stream: &TcpStream, drain: &Drain) {
        self.discard(drain, |left, cx| poll_discard(stream, left, cx)).await;
    }

    async fn discard(self, drain: &Drain, poll: impl FnMut(&mut u64, &mut Context<'_>) -> Poll<()>) {
        let _ = timeout(self.time, self.keep_reading(drain, poll)).await;
    }

    async fn keep_reading(self, drain: &Drain, mut poll: impl FnMut(&mut u64, &mut Context<'_>) -> Poll<()>) {
        let mut left = self.bytes;
        loop {
            let (before, is_draining) = (left, drain.has_begun());
            let window = if is_draining { self.window.min(DRAIN_WINDOW) } else { self.window };
            let is_over = tokio::select! {
                biased;
                () = poll_fn(|cx| poll(&mut left, cx)) => return,
                () = sleep(window) => true,
                () = drain.begun(), if !is_draining => false,
            };
            if is_over && before - left < self.pace {
                return;
            }
        }
    }
}

/// Discards input; ready at the end of the stream, or after `left` bytes.
fn poll_discard(stream: &TcpStream, left: &mut u64, cx: &mut Context<'_>) -> Poll<()> {
    let mut turn = TURN;
    loop {
        if ready!(stream.poll_read_ready(cx)).is_err() {
            return Poll::Ready(());
        }
        match stream.try_io(Interest::READABLE, || discard(stream)) {
            Ok(0) => return Poll::Ready(()),
            Ok(count) => {
                *left = left.saturating_sub(count as u64);
                if *left == 0 {
                    return Poll::Ready(());
                }
                turn = turn.saturating_sub(count);
                if turn == 0 {
                    cx.waker().wake_by_ref();
                    return Poll::Pending;
                }
            }
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
            Err(_) => return Poll::Ready(()),
        }
    }
}

/// Discards bytes of the socket. With `MSG_TRUNC`, Linux does not copy them (`man 7 tcp`); other systems copy them into
/// `room`.
fn discard(stream: &TcpStream) -> io::Result<usize> {
    let mut room = [MaybeUninit::uninit(); PIECE];
    SockRef::from(stream).recv_with_flags(&mut room, libc::MSG_TRUNC)
}

/// Discards, with the short bounds, the input of a connection that was refused before its first request. Such a
/// connection does not count as open.
pub(in crate::front) async fn read_away_shortly(_place: LingerSlot, stream: &TcpStream, drain: &Drain) {
    SHORT.read_away(stream, drain).await;
}

/// Closes the sending side of a connection, and discards what has arrived so far. Does not wait.
pub(in crate::front) fn finish(stream: &TcpStream) {
    let _ = SockRef::from(stream).shutdown(Shutdown::Write);
    let mut left = SHORT.bytes;
    while let Ok(count) = discard(stream)
        && count > 0
        && left > 0
    {
        left = left.saturating_sub(count as u64);
    }
}

#[cfg(test)]
mod tests {
    use std::io::Write;
    use std::time::Instant;

    use tokio::net::TcpListener;
    use tokio::sync::watch;

    use super::*;

    const NEVER: Duration = Duration::from_secs(600);

    /// Bounds that nothing here reaches.
    const WIDE: Bounds = Bounds { bytes: u64::MAX, time: NEVER, window: NEVER, pace: 1 };

    async fn pair() -> (std::net::TcpStream, TcpStream) {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let client = std::net::TcpStream::connect(listener.local_addr().unwrap()).unwrap();
        (client, listener.accept().await.unwrap().0)
    }

    /// Makes a drain that has not begun, and its sender.
    fn drain() -> (watch::Sender<bool>, Drain) {
        let (tell, told) = watch::channel(false);
        (tell, Drain::new(told))
    }

    /// Sends without end; returns the number of bytes that were taken.
    fn send_on(mut client: std::net::TcpStream) -> std::thread::JoinHandle<u64> {
        std::thread::spawn(move || {
            let (piece, mut sent) = (vec![b'x'; 256 << 10], 0);
            while let Ok(count) = client.write(&piece) {
                sent += count as u64;
            }
            sent
        })
    }

    #[tokio::test]
    async fn a_client_that_closes_has_sent_everything() {
        let ((mut client, stream), (_tell, drain)) = (pair().await, drain());
        let sending = std::thread::spawn(move || client.write_all(&vec![b'x'; 20 << 20]));
        WIDE.read_away(&stream, &drain).await;
        sending.join().unwrap().expect("every byte is taken");
    }

    #[tokio::test]
    async fn bytes_are_bounded() {
        let ((client, stream), (_tell, drain)) = (pair().await, drain());
        let sending = send_on(client);
        Bounds { bytes: 1 << 20, ..WIDE }.read_away(&stream, &drain).await;
        drop(stream);
        assert!(sending.join().unwrap() >= 1 << 20);
    }

    #[tokio::test]
    async fn time_is_bounded_for_a_client_that_keeps_sending() {
        let ((client, stream), (_tell, drain)) = (pair().await, drain());
        let (sending, began) = (send_on(client), Instant::now());
        Bounds { time: Duration::from_millis(100), ..WIDE }.read_away(&stream, &drain).await;
        assert!(began.elapsed() >= Duration::from_millis(100));
        drop(stream);
        sending.join().unwrap();
    }

    /// A client that sends a byte now and then is not uploading a body.
    #[tokio::test]
    async fn one_that_rests_or_drips_is_let_go_after_a_window() {
        for drips in [false, true] {
            let ((mut client, stream), (_tell, drain)) = (pair().await, drain());
            let dripping = std::thread::spawn(move || {
                while drips && client.write_all(b"x").is_ok() {
                    std::thread::sleep(Duration::from_millis(5));
                }
                client
            });
            let began = Instant::now();
            Bounds { window: Duration::from_millis(50), pace: 1 << 20, ..WIDE }.read_away(&stream, &drain).await;
            assert!(began.elapsed() >= Duration::from_millis(50));
            drop(stream);
            drop(dripping.join().unwrap());
        }
    }

    #[tokio::test]
    async fn a_drain_lets_go_of_one_that_rests() {
        let ((_client, stream), (tell, drain)) = (pair().await, drain());
        let (told, reading) = (async { tell.send(true).unwrap() }, WIDE.read_away(&stream, &drain));
        tokio::join!(reading, told);
    }

    #[tokio::test]
    async fn places_are_a_share_and_come_back() {
        for (connections, places) in [(1, 1), (7, 1), (8, 2), (10_000, 2500)] {
            let lingering = Lingering::new(connections);
            let held: Vec<LingerSlot> = std::iter::from_fn(|| lingering.place()).collect();
            assert_eq!(held.len(), places, "of {connections}");
            drop(held);
            lingering.over().await;
            assert!(lingering.place().is_some());
        }
    }

    #[tokio::test]
    async fn the_streams_of_a_connection_share_its_place_until_the_last_is_done() {
        let lingering = Lingering::new(8);
        let (busy, other, third) = (SharedSlot::default(), SharedSlot::default(), SharedSlot::default());
        let mut streams: Vec<_> =
            (0..100).map(|_| lingering.place_of(&busy).expect("the connection has one")).collect();
        let others = lingering.place_of(&other).expect("the second of two");
        assert!(lingering.place_of(&third).is_none());
        streams.truncate(1);
        assert!(lingering.place_of(&third).is_none(), "one stream is still read away");
        drop(streams);
        assert!(lingering.place_of(&third).is_some());
        drop(others);
        lingering.over().await;
    }

    /// Without a place little is discarded, so that clients cannot hold more connections this way than there are
    /// places.
    #[tokio::test]
    async fn without_a_place_the_bounds_are_short() {
        let ((client, stream), (_tell, drain)) = (pair().await, drain());
        let lingering = Lingering::new(1);
        let _place = lingering.place();
        let sending = send_on(client);
        lingering.read_away(&stream, 0, &drain).await;
        drop(stream);
        let sent = sending.join().unwrap();
        assert!(sent < FULL.bytes, "{sent} bytes");
    }
}
