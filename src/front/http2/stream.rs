//! One stream: handles its request and sends its answer.
//!
//! The socket does not show that one stream has stalled: a client that opens no window for it may still read frames of
//! other streams. So h2 gets only as much data as the windows allow, and a stream whose window stays closed for too
//! long is dropped. That resets this stream alone (RFC 9113 §5.4.2).

use std::future::poll_fn;
use std::pin::{Pin, pin};
use std::task::{Context, Poll, ready};
use std::time::Duration;

use bytes::Bytes;
use h2::server::SendResponse;
use h2::{Reason, SendStream};
use http::header::{CONNECTION, CONTENT_LENGTH, DATE};
use http::{HeaderMap, HeaderValue, Response, StatusCode};
use hyper::body::Body;
use tokio::task::yield_now;
use tokio::time::timeout;

use super::body::{Coming, Leave};
use super::head::Received;
use crate::front::head::takes_trailers;
use crate::front::listen::connection::Listening;
use crate::front::listen::drain::Drain;
use crate::front::listen::linger::SharedSlot;
use crate::front::reply::Reply;
use crate::front::reply::content::Content;
use crate::front::reply::date;
use crate::front::rules::Rules;
use crate::outcome::{self, Streamed};

/// Answers a request, and discards what its client still sends after a refusal. Gives up if the client stops accepting
/// the answer.
pub(super) async fn answer(
    listening: &Listening,
    request: Received,
    mut respond: SendResponse<Bytes>,
    place: &SharedSlot,
    drain: &Drain,
) {
    let Received { arrival, is_head, coming } = request;
    let (input, leave) = coming.map(|Coming { input, leave }| (input, leave)).unzip();
    let mut leave: Option<Leave> = leave.flatten();
    // Only `accepted_bytes` is used: a stream marks the end of its request itself.
    let rules = Rules::default();
    let takes_trailers = takes_trailers(&arrival.headers);
    let reply = {
        let mut handling = pin!(listening.handler.handle(arrival, &rules));
        poll_fn(|cx| {
            if let Poll::Ready(reply) = handling.as_mut().poll(cx) {
                return Poll::Ready(reply.ok());
            }
            if is_asked_for(&mut leave, cx) {
                let _ = respond.send_informational(interim(StatusCode::CONTINUE));
            }
            // The client has reset the stream, or the connection is gone.
            respond.poll_reset(cx).map(|_| None)
        })
        .await
    };
    let Some(reply) = reply else { return };
    let is_sent = send(*reply, is_head, takes_trailers, &mut respond, listening.limits.patience.write).await;
    if let Some(input) = &input {
        input.give_up();
    }
    if !is_sent {
        // Dropping the stream resets it. There is no answer that the reset could destroy.
        return;
    }
    if let Some(input) = input.filter(|input| !input.has_ended()) {
        let reading =
            listening.lingering.discard(place, rules.accepted_bytes(), drain, |left, cx| input.poll_discard(left, cx));
        // Boxed, so that a stream which ends in another way reserves no memory for this reading.
        Box::pin(reading).await;
    }
}

/// Sends an answer; false if it was not sent completely.
async fn send(
    reply: Reply,
    is_head: bool,
    takes_trailers: bool,
    respond: &mut SendResponse<Bytes>,
    patience: Duration,
) -> bool {
    let (head, content) = response(reply, is_head);
    let is_empty = match &content {
        Content::Whole(bytes) => bytes.is_empty(),
        Content::Stream(stream) => stream.is_end_stream(),
        Content::Unknown => true,
    };
    let Ok(stream) = respond.send_response(head, is_empty) else { return false };
    if is_empty {
        return true;
    }
    let mut outlet = Outlet { stream, patience, takes_trailers };
    match content {
        Content::Whole(bytes) => outlet.send(bytes, true).await,
        Content::Stream(stream) => outlet.pass_on(*stream).await,
        Content::Unknown => true,
    }
}

/// True when the body is read for the first time, and only once.
fn is_asked_for(leave: &mut Option<Leave>, cx: &mut Context<'_>) -> bool {
    let Some(asked) = leave else { return false };
    let Poll::Ready(asked) = Pin::new(asked).poll(cx) else { return false };
    *leave = None;
    asked.is_ok()
}

fn interim(status: StatusCode) -> Response<()> {
    let mut response = Response::new(());
    *response.status_mut() = status;
    response
}

/// Returns the head and the body of a reply. A reply to HEAD has no body, whatever its `Content-Length`.
fn response(reply: Reply, is_head: bool) -> (Response<()>, Content) {
    let mut headers = HeaderMap::with_capacity(reply.headers.len() + 8);
    reply.each_header(|name, value| {
        // HTTP/2 has frames in place of `Connection` (RFC 9113 §8.2.2).
        if *name != CONNECTION
            && let Ok(value) = HeaderValue::from_bytes(value)
        {
            headers.append(name, value);
        }
    });
    let length = reply.content.length().filter(|length| *length > 0);
    // For HEAD, the length of an upstream's body is among the headers.
    if let (Some(length), false) = (length, headers.contains_key(CONTENT_LENGTH)) {
        headers.insert(CONTENT_LENGTH, length.into());
    }
    if !headers.contains_key(DATE) {
        headers.insert(DATE, date::now());
    }
    let mut response = Response::new(());
    *response.status_mut() = reply.status;
    *response.headers_mut() = headers;
    (response, if is_head { Content::Whole(Bytes::new()) } else { reply.content })
}

/// The body of an answer that is being sent.
struct Outlet {
    stream: SendStream<Bytes>,
    patience: Duration,
    takes_trailers: bool,
}

impl Outlet {
    /// Sends `bytes` as the windows allow; false if the client does not accept them in time.
    async fn send(&mut self, mut bytes: Bytes, is_last: bool) -> bool {
        while !bytes.is_empty() {
            self.stream.reserve_capacity(bytes.len());
            let Ok(Some(room)) = timeout(self.patience, poll_fn(|cx| self.poll_room(cx))).await else { return false };
            let piece = bytes.split_to(room.min(bytes.len()));
            if self.stream.send_data(piece, is_last && bytes.is_empty()).is_err() {
                return false;
            }
        }
        true
    }

    /// Returns the number of bytes that the windows allow, at least one; `None` once the stream has ended.
    fn poll_room(&mut self, cx: &mut Context<'_>) -> Poll<Option<usize>> {
        loop {
            match self.stream.capacity() {
                0 => {}
                room => return Poll::Ready(Some(room)),
            }
            match ready!(self.stream.poll_capacity(cx)) {
                Some(Ok(_)) => {}
                Some(Err(_)) | None => return Poll::Ready(None),
            }
        }
    }

    /// Sends a streamed answer as it arrives; false if it was not sent completely. The wait for its next piece does not
    /// count as a stall of the client.
    async fn pass_on(&mut self, mut stream: Streamed) -> bool {
        let mut trailers = None;
        loop {
            let next = poll_fn(|cx| match Pin::new(&mut stream).poll_frame(cx) {
                Poll::Ready(next) => Poll::Ready(Some(next)),
                Poll::Pending => self.stream.poll_reset(cx).map(|_| None),
            });
            match next.await {
                Some(Some(Ok(frame))) => {
                    let piece = match frame.into_data() {
                        Ok(piece) => piece,
                        Err(frame) => {
                            trailers = frame.into_trailers().ok().filter(|_| self.takes_trailers);
                            continue;
                        }
                    };
                    let is_last = stream.is_end_stream() && !piece.is_empty();
                    if !self.send(piece, is_last).await {
                        return false;
                    }
                    if is_last {
                        return true;
                    }
                }
                Some(Some(Err(_))) => {
                    // A reset discards what the connection has not written yet, so the connection gets a turn to write
                    // first.
                    yield_now().await;
                    self.stream.send_reset(Reason::INTERNAL_ERROR);
                    return false;
                }
                Some(None) => {
                    return match trailers {
                        Some(trailers) => self.stream.send_trailers(trailers).is_ok(),
                        None => self.stream.send_data(Bytes::new(), true).is_ok(),
                    };
                }
                None => {
                    outcome::left(&mut stream).await;
                    return false;
                }
            }
        }
    }
}
