//! Writes replies to an HTTP/1 connection: RFC 9112 §4 and §6.

use std::future::poll_fn;
use std::io::{self, IoSlice};
use std::num::NonZeroU64;
use std::pin::Pin;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use bytes::{Buf, Bytes};
use http::header::{CONNECTION, CONTENT_LENGTH, DATE};
use http::{HeaderMap, HeaderName, StatusCode};
use hyper::body::Body;
use tokio::io::AsyncWrite;
use tokio::net::TcpStream;
use tokio::net::tcp::{OwnedReadHalf, OwnedWriteHalf};

use super::intake::Shared;
use super::sender::Sender;
use super::service::Outgoing;
use crate::front::listen::stall::{Stall, keep_little_unsent};
use crate::front::reply::content::Content;
use crate::front::reply::date;
use crate::outcome;

/// Bodies up to this size are copied behind their head and sent in one piece. The copy costs less than a vectored
/// write.
const SMALL_BODY: usize = 4 << 10;
/// The size above which the kernel may not take a body whole, so that the progress of a slow client must show.
const LARGE_BODY: usize = 1 << 20;
/// Capacity for heads that is kept from reply to reply.
const KEPT_ROOM: usize = 16 << 10;
const CLOSE: &[u8] = b"close";

pub(super) struct Outlet {
    stream: Sender,
    stall: Stall,
    /// The idle time that answers promise in `Keep-Alive`, in seconds.
    promised: Option<NonZeroU64>,
    /// Bytes written here and not yet sent.
    unsent: Vec<u8>,
}

/// Facts about a request that its reply depends on.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Terms {
    /// The request is HEAD: the reply has no body, whatever its head says.
    pub(super) is_head: bool,
    /// The client speaks HTTP/1.0.
    pub(super) is_old: bool,
    /// Another request may follow on the connection.
    pub(super) keep_alive: bool,
    /// The client waits for `100 Continue`, of which a part may have been sent.
    pub(super) expects_leave: bool,
    /// The client accepts trailers.
    pub(super) takes_trailers: bool,
}

/// The reason why a reply was not sent completely.
#[derive(Debug)]
pub(super) enum Unsent {
    /// The client has disconnected, or accepts no data.
    Gone,
    /// The body is truncated.
    Cut,
}

/// The way in which the end of a body is marked.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Delimited {
    /// There is no body.
    Nothing,
    Length(u64),
    Chunks,
    /// The end of the connection marks it.
    Closing,
}

impl Outlet {
    /// Creates an outlet. A client that accepts no data for `patience` is disconnected. `promised` is the idle time
    /// that answers promise, in seconds.
    pub(super) fn new(stream: OwnedWriteHalf, patience: Duration, promised: Option<NonZeroU64>) -> Self {
        Self { stream: Sender::new(stream), stall: Stall::new(patience), promised, unsent: Vec::new() }
    }

    /// Sends a reply; true if another request can follow. A streamed body is sent as it arrives, and `intake` notices a
    /// disconnect meanwhile.
    pub(super) async fn send(
        &mut self,
        reply: impl Outgoing,
        mut terms: Terms,
        intake: &Shared,
    ) -> Result<bool, Unsent> {
        let delimited = delimited(&reply, terms);
        terms.keep_alive &= delimited != Delimited::Closing && !closes(reply.headers());
        if let Content::Stream(_) = reply.content() {
            // If the answer comes before the end of its request, the rest of the request is not read.
            terms.keep_alive &= intake.lock().is_between_requests();
        }
        self.unsent.clear();
        self.unsent.shrink_to(KEPT_ROOM);
        // The final answer replaces `100 Continue`, even if an upstream answers without having asked for the body. The
        // rest of a partly sent `100 Continue` goes first.
        if terms.expects_leave {
            self.unsent.extend_from_slice(intake.lock().withdraw_leave());
        }
        write_head(&mut self.unsent, &reply, terms, self.promised, delimited);
        match reply.into_content() {
            _ if delimited == Delimited::Nothing => self.flush(Bytes::new()).await?,
            Content::Whole(body) if body.len() <= SMALL_BODY => {
                self.unsent.extend_from_slice(&body);
                self.flush(Bytes::new()).await?;
            }
            Content::Whole(body) => {
                if body.len() > LARGE_BODY {
                    keep_little_unsent(self.stream.as_ref());
                }
                self.flush(body).await?;
            }
            Content::Unknown => self.flush(Bytes::new()).await?,
            Content::Stream(body) => {
                keep_little_unsent(self.stream.as_ref());
                Box::pin(self.pass_on(*body, delimited, terms.takes_trailers, intake)).await?;
            }
        }
        Ok(terms.keep_alive)
    }

    /// Sends a streamed body as it arrives.
    async fn pass_on<S>(
        &mut self,
        mut body: S,
        delimited: Delimited,
        takes_trailers: bool,
        intake: &Shared,
    ) -> Result<(), Unsent>
    where
        S: Body<Data = Bytes> + Unpin,
    {
        let mut trailers = HeaderMap::new();
        self.stream.reset_on_drop(delimited == Delimited::Closing);
        loop {
            let piece = poll_fn(|cx| self.poll_next(&mut body, intake, cx)).await;
            match piece {
                // An empty chunk would end the body (RFC 9112 §7.1).
                Next::Piece(piece) if piece.is_empty() => {}
                Next::Piece(piece) if delimited == Delimited::Chunks => {
                    self.unsent.extend_from_slice(format!("{:x}\r\n", piece.len()).as_bytes());
                    self.flush(piece).await?;
                    self.unsent.extend_from_slice(b"\r\n");
                }
                Next::Piece(piece) => self.flush(piece).await?,
                Next::Trailers(sent) => trailers = sent,
                Next::End => break,
                Next::Broken => {
                    self.flush(Bytes::new()).await?;
                    return Err(Unsent::Cut);
                }
                Next::Left => {
                    outcome::left(&mut body).await;
                    return Err(Unsent::Gone);
                }
                Next::Gone => return Err(Unsent::Gone),
            }
        }
        if delimited == Delimited::Chunks {
            self.unsent.extend_from_slice(b"0\r\n");
            // Only the chunked coding has a place for them (RFC 9112 §7.1.2).
            if takes_trailers {
                trailers.iter().for_each(|(name, value)| header(&mut self.unsent, name, value.as_bytes()));
            }
            self.unsent.extend_from_slice(b"\r\n");
        }
        self.flush(Bytes::new()).await?;
        self.stream.reset_on_drop(false);
        Ok(())
    }

    /// Returns the next piece of a body. While there is none, sends the unsent bytes.
    fn poll_next<S>(&mut self, body: &mut S, intake: &Shared, cx: &mut Context<'_>) -> Poll<Next>
    where
        S: Body<Data = Bytes> + Unpin,
    {
        match Pin::new(body).poll_frame(cx) {
            Poll::Ready(Some(Ok(frame))) => {
                return Poll::Ready(match frame.into_data() {
                    Ok(piece) => Next::Piece(piece),
                    Err(frame) => Next::Trailers(frame.into_trailers().unwrap_or_default()),
                });
            }
            Poll::Ready(Some(Err(_))) => return Poll::Ready(Next::Broken),
            Poll::Ready(None) => return Poll::Ready(Next::End),
            Poll::Pending => {}
        }
        if !self.unsent.is_empty()
            && let Poll::Ready(Err(_)) = self.poll_flush(&mut Bytes::new(), cx)
        {
            return Poll::Ready(Next::Gone);
        }
        let has_all = self.unsent.is_empty();
        intake.poll_hang_up(cx).map(|()| if has_all { Next::Left } else { Next::Gone })
    }

    /// Sends the unsent bytes, and `body` behind them.
    async fn flush(&mut self, mut body: Bytes) -> Result<(), Unsent> {
        poll_fn(|cx| self.poll_flush(&mut body, cx)).await.map_err(|_| Unsent::Gone)
    }

    fn poll_flush(&mut self, body: &mut Bytes, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let stream = &mut *self.stream;
        while !self.unsent.is_empty() || !body.is_empty() {
            let written = if body.is_empty() {
                Pin::new(&mut *stream).poll_write(cx, &self.unsent)
            } else {
                Pin::new(&mut *stream).poll_write_vectored(cx, &[IoSlice::new(&self.unsent), IoSlice::new(body)])
            };
            let written = ready!(self.stall.watch(cx, written))?;
            if written == 0 {
                return Poll::Ready(Err(io::ErrorKind::WriteZero.into()));
            }
            let of_unsent = written.min(self.unsent.len());
            self.unsent.drain(..of_unsent);
            body.advance(written - of_unsent);
        }
        Poll::Ready(Ok(()))
    }

    pub(super) fn stream(&self) -> &TcpStream {
        self.stream.as_ref()
    }

    /// Returns the whole socket.
    pub(super) fn into_stream(self, reading: OwnedReadHalf) -> io::Result<TcpStream> {
        self.stream.reunite(reading)
    }

    /// Closes the sending side, which tells the client that nothing more comes.
    pub(super) async fn close(&mut self) -> io::Result<()> {
        self.unsent = Vec::new();
        poll_fn(|cx| Pin::new(&mut *self.stream).poll_shutdown(cx)).await
    }
}

enum Next {
    Piece(Bytes),
    Trailers(HeaderMap),
    End,
    Broken,
    /// The client has got everything so far, and has disconnected.
    Left,
    Gone,
}

fn closes(headers: &HeaderMap) -> bool {
    headers.get(CONNECTION).is_some_and(|value| value.as_bytes().eq_ignore_ascii_case(CLOSE))
}

/// True for a status whose answer has no body and no length (RFC 9110 §8.6).
fn is_bodiless(status: StatusCode) -> bool {
    matches!(status, StatusCode::SWITCHING_PROTOCOLS | StatusCode::NO_CONTENT | StatusCode::NOT_MODIFIED)
}

fn delimited(reply: &impl Outgoing, terms: Terms) -> Delimited {
    if terms.is_head || is_bodiless(reply.status()) {
        return Delimited::Nothing;
    }
    match (reply.content().length(), terms.is_old) {
        (Some(length), _) => Delimited::Length(length),
        (None, false) => Delimited::Chunks,
        (None, true) => Delimited::Closing,
    }
}

fn write_head(
    out: &mut Vec<u8>,
    reply: &impl Outgoing,
    terms: Terms,
    promised: Option<NonZeroU64>,
    delimited: Delimited,
) {
    out.extend_from_slice(if terms.is_old { b"HTTP/1.0 " } else { b"HTTP/1.1 " });
    out.extend_from_slice(reply.status().as_str().as_bytes());
    out.push(b' ');
    out.extend_from_slice(reply.reason());
    out.extend_from_slice(b"\r\n");
    let mut has_date = false;
    reply.each_header(|name, value| {
        has_date |= *name == DATE;
        // `Connection` is written below, because it depends on `terms`.
        if *name != CONNECTION {
            header(out, name, value);
        }
    });
    match delimited {
        Delimited::Length(length) => length_header(out, length),
        Delimited::Chunks => out.extend_from_slice(b"transfer-encoding: chunked\r\n"),
        // The length of an upstream's body is among the headers.
        Delimited::Nothing if terms.is_head => match reply.content() {
            Content::Whole(body) if !is_bodiless(reply.status()) => length_header(out, body.len() as u64),
            _ => {}
        },
        Delimited::Nothing | Delimited::Closing => {}
    }
    match promised {
        _ if reply.status() == StatusCode::SWITCHING_PROTOCOLS => header(out, &CONNECTION, b"upgrade"),
        _ if !terms.keep_alive => header(out, &CONNECTION, CLOSE),
        Some(seconds) => {
            // `Keep-Alive` is a hop-by-hop header and must be announced in `Connection` (RFC 9110 §7.6.1). Java's
            // HttpURLConnection reads it only then.
            out.extend_from_slice(b"connection: keep-alive\r\nkeep-alive: timeout=");
            out.extend_from_slice(itoa::Buffer::new().format(seconds.get()).as_bytes());
            out.extend_from_slice(b"\r\n");
        }
        None if terms.is_old => header(out, &CONNECTION, b"keep-alive"),
        None => {}
    }
    if !has_date {
        out.extend_from_slice(b"date: ");
        date::with(|now| out.extend_from_slice(now.as_bytes()));
        out.extend_from_slice(b"\r\n");
    }
    out.extend_from_slice(b"\r\n");
}

fn header(out: &mut Vec<u8>, name: &HeaderName, value: &[u8]) {
    out.extend_from_slice(name.as_str().as_bytes());
    out.extend_from_slice(b": ");
    out.extend_from_slice(value);
    out.extend_from_slice(b"\r\n");
}

fn length_header(out: &mut Vec<u8>, length: u64) {
    header(out, &CONTENT_LENGTH, itoa::Buffer::new().format(length).as_bytes());
}

#[cfg(test)]
mod tests {
    use std::time::Instant;

    use http::HeaderValue;
    use http::header::CONTENT_TYPE;

    use super::*;
    use crate::call::RequestId;
    use crate::front::reply::{About, Reply, Written};
    use crate::outcome::Times;

    const PLAIN: Terms =
        Terms { is_head: false, is_old: false, keep_alive: true, expects_leave: false, takes_trailers: false };

    fn reply(status: u16, body: &'static str) -> Reply {
        let none = Duration::ZERO;
        Reply {
            status: StatusCode::from_u16(status).unwrap(),
            reason: None,
            headers: HeaderMap::new(),
            written: Some(Written { content_type: HeaderValue::from_static("text/plain"), is_foreign: false }),
            about: About {
                request_id: RequestId::from_caller(b"r").unwrap(),
                times: Times { end: Instant::now(), receive: none, queue: none, run: none },
                fuel: None,
                expose: None,
                cors: None,
            },
            content: Content::Whole(Bytes::from_static(body.as_bytes())),
            upgrade: None,
        }
    }

    /// Returns the lines of a head, without the date and the headers that all replies here have.
    fn head(reply: Reply, terms: Terms) -> Vec<String> {
        let (mut out, reply) = (Vec::new(), Box::new(reply));
        write_head(&mut out, &reply, terms, None, delimited(&reply, terms));
        let text = String::from_utf8(out).unwrap();
        let lines = text.strip_suffix("\r\n\r\n").expect("an empty line at its end").split("\r\n");
        let (dates, lines): (Vec<_>, Vec<_>) = lines.map(str::to_owned).partition(|line| line.starts_with("date: "));
        assert_eq!(dates.len(), 1, "{text}");
        assert!(httpdate::parse_http_date(&dates[0][6..]).is_ok(), "{text}");
        let common = ["content-type: text/plain", "x-request-id: r"];
        lines.into_iter().filter(|line| !common.contains(&line.as_str())).collect()
    }

    #[test]
    fn a_head_says_where_its_body_ends_and_what_becomes_of_the_connection() {
        let table: [(Reply, Terms, &[&str]); 11] = [
            (reply(200, "hello"), PLAIN, &["HTTP/1.1 200 OK", "content-length: 5"]),
            (reply(200, ""), PLAIN, &["HTTP/1.1 200 OK", "content-length: 0"]),
            (reply(450, "full"), PLAIN, &["HTTP/1.1 450 Queue Full", "content-length: 4"]),
            (reply(204, ""), PLAIN, &["HTTP/1.1 204 No Content"]),
            (reply(304, ""), PLAIN, &["HTTP/1.1 304 Not Modified"]),
            (
                reply(200, "hello"),
                Terms { keep_alive: false, ..PLAIN },
                &["HTTP/1.1 200 OK", "content-length: 5", "connection: close"],
            ),
            (
                reply(200, "hello"),
                Terms { is_old: true, ..PLAIN },
                &["HTTP/1.0 200 OK", "content-length: 5", "connection: keep-alive"],
            ),
            (reply(200, "hello"), Terms { is_head: true, ..PLAIN }, &["HTTP/1.1 200 OK", "content-length: 5"]),
            (reply(200, ""), Terms { is_head: true, ..PLAIN }, &["HTTP/1.1 200 OK", "content-length: 0"]),
            (reply(204, ""), Terms { is_head: true, ..PLAIN }, &["HTTP/1.1 204 No Content"]),
            (
                Reply { content: Content::Unknown, ..reply(200, "") },
                Terms { is_head: true, ..PLAIN },
                &["HTTP/1.1 200 OK"],
            ),
        ];
        for (reply, terms, expected) in table {
            assert_eq!(head(reply, terms), expected, "{terms:?}");
        }
    }

    #[test]
    fn a_kept_connection_says_how_long_it_may_rest() {
        let lines = |terms: Terms| {
            let (mut out, reply) = (Vec::new(), Box::new(reply(200, "hello")));
            write_head(&mut out, &reply, terms, NonZeroU64::new(74), delimited(&reply, terms));
            let text = String::from_utf8(out).unwrap();
            text.lines().filter(|line| line.contains("alive") || line.contains("close")).collect::<Vec<_>>().join(", ")
        };
        for is_old in [false, true] {
            let kept = lines(Terms { is_old, ..PLAIN });
            assert_eq!(kept, "connection: keep-alive, keep-alive: timeout=74");
            let closed = lines(Terms { is_old, keep_alive: false, ..PLAIN });
            assert_eq!(closed, "connection: close");
        }
    }

    #[test]
    fn what_an_upstream_says_of_the_date_stays_and_of_the_connection_does_not() {
        let headers = [
            (DATE, HeaderValue::from_static("Sun, 06 Nov 1994 08:49:37 GMT")),
            (CONNECTION, HeaderValue::from_static("upgrade")),
            (CONTENT_TYPE, HeaderValue::from_static("text/csv")),
        ];
        let upstreams = Reply { headers: headers.into_iter().collect(), written: None, ..reply(200, "a") };
        assert!(!closes(&upstreams.headers));
        assert_eq!(head(upstreams, PLAIN), ["HTTP/1.1 200 OK", "content-type: text/csv", "content-length: 1"]);
        assert!(closes(&HeaderMap::from_iter([(CONNECTION, HeaderValue::from_static("Close"))])));
    }
}
