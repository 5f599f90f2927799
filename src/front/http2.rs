//! HTTP/2, where the operator has switched it on, for connections that begin with its preface (RFC 9113 §3.4).
//!
//! Each stream is a request like any other and takes the same line. h2 itself bounds streams, header lists, continuation
//! frames and bursts of resets; what it would answer without end is counted in [`frames`].

mod frames;
mod socket;
mod streams;

use std::io;
use std::time::{Duration, Instant};

use http::Request;
use http::header::EXPECT;
use http::request::Parts;
use hyper::body::Incoming;
use hyper::server::conn::http2::Builder;
use hyper_util::rt::TokioTimer;
use tokio::io::AsyncReadExt;
use tokio::net::TcpStream;

pub(super) use self::socket::Socket;
pub(super) use self::streams::{Paced, Streams};
use super::arrival::{Arrival, Ends};
use super::http1::{HeadFault, MAX_HEADERS, MAX_TARGET, expectation, judge_method};
use super::route::target;
use super::unread::has_unread;

/// Requests at once on one connection; a browser or a proxy uses a hundred.
const MAX_STREAMS: u32 = 100;
const MAX_HEADER_LIST: u32 = 16 << 10;
/// What a client may send ahead, of one request and of all together.
const STREAM_WINDOW: u32 = 64 << 10;
const CONNECTION_WINDOW: u32 = 1 << 20;
/// Bytes of an answer that wait for a client that takes none.
const MAX_UNSENT: usize = 64 << 10;
/// A client that answers no ping for so long is gone.
const PING_EVERY: Duration = Duration::from_secs(20);
const PING_PATIENCE: Duration = Duration::from_secs(10);

/// Every switch of the protocol that differs from hyper's own.
pub(super) fn builder(streams: Streams) -> Builder<Streams> {
    let mut http = Builder::new(streams);
    http.timer(TokioTimer::new())
        .max_concurrent_streams(MAX_STREAMS)
        .max_header_list_size(MAX_HEADER_LIST)
        .initial_stream_window_size(STREAM_WINDOW)
        .initial_connection_window_size(CONNECTION_WINDOW)
        .max_send_buf_size(MAX_UNSENT)
        .max_local_error_reset_streams(128)
        .keep_alive_interval(PING_EVERY)
        .keep_alive_timeout(PING_PATIENCE);
    http
}

/// Which protocol a new connection speaks, and what had to be read of it to know.
pub(super) struct Opening {
    pub(super) is_http2: bool,
    pub(super) read: Vec<u8>,
}

/// Reads no further than the first byte that differs from the preface. Whoever stops in the middle of it for
/// `patience`, or is in the middle of it when the host begins to `drain`, is left to HTTP/1, which has an answer for
/// both. Whoever has sent nothing by then gets none.
pub(super) async fn open(
    stream: &mut TcpStream,
    patience: Duration,
    drain: impl Future<Output = ()>,
) -> io::Result<Opening> {
    let mut read = Vec::with_capacity(PREFACE.len());
    let whole = async {
        while read.len() < PREFACE.len() && PREFACE.starts_with(&read) {
            let room = (PREFACE.len() - read.len()) as u64;
            if (&mut *stream).take(room).read_buf(&mut read).await? == 0 {
                break;
            }
        }
        Ok::<_, io::Error>(())
    };
    let waited_enough = tokio::select! {
        biased;
        done = whole => {
            done?;
            false
        }
        () = drain => true,
        () = tokio::time::sleep(patience) => true,
    };
    if waited_enough && read.is_empty() && !has_unread(stream) {
        return Err(io::ErrorKind::TimedOut.into());
    }
    Ok(Opening { is_http2: read == PREFACE, read })
}

/// What HTTP/1 refuses in a head and h2 lets through: the same requests get the same answers.
pub(super) fn judge(request: &Request<Incoming>) -> Option<HeadFault> {
    let headers = request.headers();
    if let Err(fault) = judge_method(request.method().as_str().as_bytes()) {
        return Some(fault);
    }
    if target(request.uri()).len() > MAX_TARGET {
        return Some(HeadFault::TargetTooLong);
    }
    if headers.len() > MAX_HEADERS {
        return Some(HeadFault::HeadTooLarge);
    }
    headers.get_all(EXPECT).iter().find_map(|value| expectation(value.as_bytes()).err())
}

/// The request of a stream; it began now.
pub(super) fn arrival(request: Request<Incoming>, fault: Option<HeadFault>, ends: Ends) -> Arrival {
    let (Parts { method, uri, headers, .. }, body) = request.into_parts();
    let body = crate::incoming::Incoming::of_stream(body);
    Arrival { method, uri, headers, body, fault, at: Instant::now(), ends }
}

const PREFACE: &[u8] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";
