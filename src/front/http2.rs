//! HTTP/2, if the operator has enabled it, for connections that begin with its preface (RFC 9113 §3.4).
//!
//! Each stream is a request like any other and goes through the same handler. h2 speaks the protocol, and limits
//! streams, header lists, continuation frames and bursts of resets itself. Frames that it would answer without a limit
//! are counted in [`frames`]. [`head`] checks requests by the rules of HTTP/1, and [`stream`] answers them.
//!
//! hyper's server, which also uses h2, is not used, for three reasons: it cannot send an interim response (`100
//! Continue`), it takes a body that its client has reset for a complete one, and it does not show that a single stream
//! has stalled.

mod body;
mod frames;
mod head;
mod liveness;
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
use h2::{Reason, RecvStream};
use http::Request;
use tokio::io::AsyncReadExt;
use tokio::net::TcpStream;

use self::head::Reader;
use self::liveness::Writes;
use self::socket::Socket;
use self::streams::Streams;
use super::arrival::Ends;
use super::http1::Patience;
use super::listen::connection::Listening;
use super::listen::drain::Drain;
use super::listen::linger::SharedSlot;
use super::listen::unread::has_unread;

/// Most concurrent requests on one connection. Browsers and proxies use a hundred.
const MAX_STREAMS: u32 = 100;
/// Above this size h2 itself refuses a header list, with 431 and no body. The host's own limit is
/// [`MOST_BYTES`](super::head::MOST_BYTES). This one is larger, so that most header lists that are too large get the
/// host's answer with its sentence.
const MAX_HEADER_LIST: u32 = 128 << 10;
/// Most bytes that a client may send ahead, on one stream and on the whole connection.
const STREAM_WINDOW: u32 = 64 << 10;
const CONNECTION_WINDOW: u32 = 1 << 20;
/// Most bytes of an answer that wait to be written.
const MAX_UNSENT: usize = 64 << 10;
const MAX_LOCAL_RESETS: usize = 128;
/// Most requests that a client resets before they are accepted. [`frames`] counts all resets, and has the smaller
/// limit.
const MAX_PENDING_RESETS: usize = 128;

const PREFACE: &[u8] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";

/// Returns a builder with all settings that differ from h2's defaults.
fn builder() -> Builder {
    let mut builder = Builder::new();
    builder
        .max_concurrent_streams(MAX_STREAMS)
        .max_header_list_size(MAX_HEADER_LIST)
        .initial_window_size(STREAM_WINDOW)
        .initial_connection_window_size(CONNECTION_WINDOW)
        .max_send_buffer_size(MAX_UNSENT)
        .max_local_error_reset_streams(Some(MAX_LOCAL_RESETS))
        .max_pending_accept_reset_streams(MAX_PENDING_RESETS);
    builder
}

/// The start of a connection, and its protocol.
pub(super) struct Opening {
    pub(super) is_http2: bool,
    /// Bytes that were read to detect the protocol.
    pub(super) read: Vec<u8>,
    /// True if the client stopped in the middle of the preface until the head timeout.
    pub(super) is_late: bool,
}

/// Reads up to the first byte that differs from the preface. A client that sends no byte within `patience.silent` gets
/// no answer. A client that stops in the middle for `patience.head`, or until `drain` is ready, is handed to HTTP/1,
/// which has an answer for both cases.
///
/// # Errors
/// The client sends nothing, or the socket fails.
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
        // Input has arrived that the runtime has not reported yet. HTTP/1 reads it.
        _ if has_unread(stream) => return Ok(Opening { is_http2: false, read, is_late: false }),
        Wait::Drained | Wait::TooLong => return Err(io::ErrorKind::TimedOut.into()),
    }
    let rest = within(patience.head, drain, read_preface(stream, &mut read, PREFACE.len())).await?;
    Ok(Opening { is_http2: read == PREFACE, read, is_late: rest == Wait::TooLong })
}

/// Reads until there are `length` bytes, a byte that is not of the preface, or the end of the stream.
async fn read_preface(stream: &mut TcpStream, read: &mut Vec<u8>, length: usize) -> io::Result<()> {
    while read.len() < length && PREFACE.starts_with(read) {
        let room = (PREFACE.len() - read.len()) as u64;
        if (&mut *stream).take(room).read_buf(read).await? == 0 {
            break;
        }
    }
    Ok(())
}

/// The result of a wait with a limit.
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
    /// The connection should take no further request.
    Last,
    /// The client is gone without having closed the connection.
    Gone,
    Ended,
}

/// Serves a connection to its end. `early` are bytes that were read from the socket already.
pub(super) async fn serve(listening: &Arc<Listening>, stream: TcpStream, early: Vec<u8>, ends: Ends, drain: Drain) {
    let patience = listening.limits.patience;
    let writes = Writes::default();
    let io = Socket::new(stream, early, patience.write, writes.clone());
    let mut connection = match builder().handshake::<_, Bytes>(io).await {
        Ok(connection) => connection,
        Err(error) => return tracing::debug!(%error, "connection ended"),
    };
    let streams = Streams::new(listening.limits);
    let mut reader = Reader::new(ends);
    let place = Arc::new(SharedSlot::default());
    let mut gone = pin!(liveness::until_gone(connection.ping_pong(), writes));
    let mut last = pin!(async {
        tokio::select! {
            () = drain.begun() => {}
            () = streams.over() => {}
        }
    });
    let (mut is_last, mut is_gone) = (false, false);
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
            if !is_gone && gone.as_mut().poll(cx).is_ready() {
                return Poll::Ready(News::Gone);
            }
            Poll::Pending
        });
        match news.await {
            News::Request(request, respond) => {
                let open = streams.begin();
                let request = reader.read(request);
                let (listening, place, drain) = (Arc::clone(listening), Arc::clone(&place), drain.clone());
                tokio::spawn(async move {
                    let _open = open;
                    stream::answer(&listening, request, respond, &place, &drain).await;
                });
            }
            News::Last => {
                is_last = true;
                connection.graceful_shutdown();
            }
            News::Gone => {
                is_gone = true;
                connection.abrupt_shutdown(Reason::NO_ERROR);
            }
            News::Ended => return,
        }
    }
}
