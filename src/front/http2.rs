//! HTTP/2, where the operator has switched it on, for connections that begin with its preface (RFC 9113 §3.4).
//!
//! Each stream is a request like any other and takes the same line. h2 speaks the protocol and itself bounds streams,
//! header lists, continuation frames and bursts of resets; what it would answer without end is counted in [`frames`].
//! [`head`] judges requests by the rules of HTTP/1, [`stream`] answers them.
//!
//! hyper's server, which is made of h2 too, would not do: it cannot send an interim response (`100 Continue`), takes a body
//! that its client has reset for a complete one, and does not show that a single stream has stalled.

mod body;
mod frames;
mod head;
mod socket;
mod stream;
mod streams;

use std::future::poll_fn;
use std::io;
use std::pin::pin;
use std::sync::Arc;
use std::task::Poll;
use std::time::Duration;

use bytes::Bytes;
use h2::server::{Builder, SendResponse};
use h2::{Ping, PingPong, Reason, RecvStream};
use http::Request;
use tokio::io::AsyncReadExt;
use tokio::net::TcpStream;

use self::head::Reader;
use self::socket::Socket;
use self::streams::Streams;
use super::arrival::Ends;
use super::connection::Listening;
use super::drain::Drain;
use super::http1::Patience;
use super::unread::has_unread;

/// Requests at once on one connection; a browser or a proxy uses a hundred.
const MAX_STREAMS: u32 = 100;
/// Beyond this h2 answers a header list by itself, with 431 and no body. Ours is [`MOST_BYTES`](super::head::MOST_BYTES); there
/// is room above it, so that whoever is somewhat over it is told so.
const MAX_HEADER_LIST: u32 = 128 << 10;
/// Bytes that a client may send ahead, of one request and of all together.
const STREAM_WINDOW: u32 = 64 << 10;
const CONNECTION_WINDOW: u32 = 1 << 20;
/// Bytes of an answer that wait to be written.
const MAX_UNSENT: usize = 64 << 10;
const MAX_LOCAL_RESETS: usize = 128;
/// A client that answers no ping for so long is gone.
const PING_EVERY: Duration = Duration::from_secs(20);
const PING_PATIENCE: Duration = Duration::from_secs(10);

const PREFACE: &[u8] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";

/// Every switch of the protocol that differs from h2's own.
fn builder() -> Builder {
    let mut builder = Builder::new();
    builder
        .max_concurrent_streams(MAX_STREAMS)
        .max_header_list_size(MAX_HEADER_LIST)
        .initial_window_size(STREAM_WINDOW)
        .initial_connection_window_size(CONNECTION_WINDOW)
        .max_send_buffer_size(MAX_UNSENT)
        .max_local_error_reset_streams(Some(MAX_LOCAL_RESETS));
    builder
}

/// The beginning of a connection, and the protocol that it speaks.
pub(super) struct Opening {
    pub(super) is_http2: bool,
    /// Bytes that had to be read to know.
    pub(super) read: Vec<u8>,
    /// The client stopped in the middle of the preface, and its time for a head is over.
    pub(super) is_late: bool,
}

/// Reads no further than the first byte that differs from the preface. A client that sends no byte at all within
/// `patience.silent` gets no answer. One that stops in the middle for `patience.head`, or is there when the host begins to
/// `drain`, is left to HTTP/1, which has an answer for both.
///
/// # Errors
/// The client has sent nothing, or the socket fails.
pub(super) async fn open(
    stream: &mut TcpStream,
    patience: Patience,
    drain: impl Future<Output = ()>,
) -> io::Result<Opening> {
    let mut read = Vec::with_capacity(PREFACE.len());
    let mut drain = pin!(drain);
    let silent = patience.silent.min(patience.idle);
    let begun = within(silent, drain.as_mut(), read_preface(stream, &mut read, 1)).await?;
    match begun {
        Wait::Done => {}
        // The runtime has not told of it yet. HTTP/1 reads it.
        _ if has_unread(stream) => return Ok(Opening { is_http2: false, read, is_late: false }),
        Wait::Drained | Wait::TooLong => return Err(io::ErrorKind::TimedOut.into()),
    }
    let rest = within(patience.head, drain, read_preface(stream, &mut read, PREFACE.len())).await?;
    Ok(Opening { is_http2: read == PREFACE, read, is_late: rest == Wait::TooLong })
}

/// Reads until `length` bytes are here, or one that is not of the preface, or the end.
async fn read_preface(stream: &mut TcpStream, read: &mut Vec<u8>, length: usize) -> io::Result<()> {
    while read.len() < length && PREFACE.starts_with(read) {
        let room = (PREFACE.len() - read.len()) as u64;
        if (&mut *stream).take(room).read_buf(read).await? == 0 {
            break;
        }
    }
    Ok(())
}

/// Result of a wait that has a limit.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Wait {
    Done,
    Drained,
    TooLong,
}

async fn within(
    limit: Duration,
    drain: impl Future<Output = ()>,
    work: impl Future<Output = io::Result<()>>,
) -> io::Result<Wait> {
    tokio::select! {
        biased;
        done = work => done.map(|()| Wait::Done),
        () = drain => Ok(Wait::Drained),
        () = tokio::time::sleep(limit) => Ok(Wait::TooLong),
    }
}

/// An event of a connection.
#[expect(clippy::large_enum_variant, reason = "most are requests, and each is taken apart at once")]
enum News {
    Request(Request<RecvStream>, SendResponse<Bytes>),
    /// No further request should come.
    Last,
    /// The client answers no ping.
    Dead,
    Ended,
}

/// Serves a connection to its end. `early` are bytes that were read from the socket before.
pub(super) async fn serve(listening: &Arc<Listening>, stream: TcpStream, early: Vec<u8>, ends: Ends, drain: Drain) {
    let patience = listening.limits.patience;
    let io = Socket::new(stream, early, patience.write);
    let mut connection = match builder().handshake::<_, Bytes>(io).await {
        Ok(connection) => connection,
        Err(error) => return tracing::debug!(%error, "connection ended"),
    };
    let streams = Streams::new(listening.limits);
    let mut reader = Reader::new(ends);
    let mut unanswered = pin!(unanswered_ping(connection.ping_pong()));
    let mut last = pin!(async {
        tokio::select! {
            () = drain.begun() => {}
            () = streams.over() => {}
        }
    });
    let (mut is_last, mut is_dead) = (false, false);
    loop {
        let news = poll_fn(|cx| {
            match connection.poll_accept(cx) {
                Poll::Ready(Some(Ok((request, respond)))) => return Poll::Ready(News::Request(request, respond)),
                Poll::Ready(Some(Err(error))) => {
                    tracing::debug!(%error, "connection ended");
                    return Poll::Ready(News::Ended);
                }
                Poll::Ready(None) => return Poll::Ready(News::Ended),
                Poll::Pending => {}
            }
            if !is_last && last.as_mut().poll(cx).is_ready() {
                return Poll::Ready(News::Last);
            }
            if !is_dead && unanswered.as_mut().poll(cx).is_ready() {
                return Poll::Ready(News::Dead);
            }
            Poll::Pending
        });
        match news.await {
            News::Request(request, respond) => {
                let open = streams.begin();
                let request = reader.read(request);
                let (listening, drain) = (Arc::clone(listening), drain.clone());
                tokio::spawn(async move {
                    let _open = open;
                    stream::answer(&listening, request, respond, &drain).await;
                });
            }
            News::Last => {
                is_last = true;
                connection.graceful_shutdown();
            }
            News::Dead => {
                is_dead = true;
                connection.abrupt_shutdown(Reason::NO_ERROR);
            }
            News::Ended => return,
        }
    }
}

/// Asks now and then whether the client is there; ends when it does not answer.
async fn unanswered_ping(ping_pong: Option<PingPong>) {
    let Some(mut ping_pong) = ping_pong else { return std::future::pending().await };
    loop {
        tokio::time::sleep(PING_EVERY).await;
        let answered = tokio::time::timeout(PING_PATIENCE, ping_pong.ping(Ping::opaque())).await;
        if !matches!(answered, Ok(Ok(_))) {
            return;
        }
    }
}
