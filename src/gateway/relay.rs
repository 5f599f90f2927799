//! The body of an upstream's answer, passed on as it arrives.
//!
//! Polling it drives the connection to the upstream, so the upstream is read only as fast as the client takes the
//! answer. Dropping it before its end closes that connection.

use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::{Duration, Instant};

use bytes::Bytes;
use hyper::body::{Body, Frame, Incoming, SizeHint};

use super::outgoing::Upload;
use super::upstream::Lease;
use crate::incoming::Broken;

pub struct Relay {
    incoming: Incoming,
    /// The rest of the request, if the answer came before its end.
    upload: Option<Arc<Upload>>,
    /// The connection, while more is to come over it.
    lease: Option<Lease>,
    idle: Duration,
    /// The time at which the upstream has been silent for too long.
    limit: Instant,
    state: State,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum State {
    Coming,
    /// The rest of the body will not come.
    Broken,
    Whole,
}

/// The reason why an answer is truncated.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum CutOff {
    /// The upstream's connection broke, or its data is not a body.
    #[error("the upstream's answer broke off")]
    Broken,
    /// The upstream sent nothing for too long.
    #[error("the upstream stopped sending in the middle of its answer")]
    Silent,
    /// The client left in the middle of its request.
    #[error("the client left in the middle of its request")]
    ClientGone,
}

impl Relay {
    pub(super) fn new(
        incoming: Incoming,
        lease: Lease,
        upload: Option<Arc<Upload>>,
        idle: Duration,
        now: Instant,
        cx: &mut Context<'_>,
    ) -> Self {
        let (limit, state) = (now + idle, State::Coming);
        let mut relay = Self { incoming, upload, lease: Some(lease), idle, limit, state };
        if relay.incoming.is_end_stream() {
            relay.finish(cx);
        }
        relay
    }

    fn finish(&mut self, cx: &mut Context<'_>) {
        self.state = State::Whole;
        if let Some(lease) = self.lease.take() {
            lease.give_back(cx);
        }
    }

    fn break_off(&mut self, why: CutOff) -> Poll<Option<Result<Frame<Bytes>, CutOff>>> {
        self.lease = None;
        self.state = State::Broken;
        Poll::Ready(Some(Err(why)))
    }

    /// True if the client left before its request was complete. The part of the answer that has arrived is still sent:
    /// a client that has seen the head of a refusal may have stopped sending on purpose (RFC 9112 §9.3).
    fn has_client_left(&self) -> bool {
        self.upload.as_ref().is_some_and(|upload| upload.broken() == Some(Broken::CutOff))
    }

    /// Returns the next piece, if it has arrived; `Ok(None)` at the end.
    fn poll_piece(&mut self, cx: &mut Context<'_>) -> Poll<Result<Option<Bytes>, ()>> {
        loop {
            return match Pin::new(&mut self.incoming).poll_frame(cx) {
                Poll::Pending => Poll::Pending,
                Poll::Ready(None) => Poll::Ready(Ok(None)),
                Poll::Ready(Some(Err(_))) => Poll::Ready(Err(())),
                Poll::Ready(Some(Ok(frame))) => match frame.into_data() {
                    Ok(piece) => Poll::Ready(Ok(Some(piece))),
                    // Trailers are not forwarded (RFC 9110 §6.5.1).
                    Err(_) => continue,
                },
            };
        }
    }
}

impl Body for Relay {
    type Data = Bytes;
    type Error = CutOff;

    fn poll_frame(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, CutOff>>> {
        let relay = &mut *self;
        match relay.state {
            State::Coming => {}
            State::Broken | State::Whole => return Poll::Ready(None),
        }
        let mut piece = relay.poll_piece(cx);
        if piece.is_pending() {
            let Some(lease) = &mut relay.lease else { return relay.break_off(CutOff::Broken) };
            let ended = lease.link().poll_drive(cx);
            piece = relay.poll_piece(cx);
            if piece.is_pending() && ended.is_ready() {
                return relay.break_off(CutOff::Broken);
            }
        }
        match piece {
            Poll::Ready(Ok(Some(piece))) => {
                if relay.incoming.is_end_stream() {
                    relay.finish(cx);
                } else {
                    relay.limit = Instant::now() + relay.idle;
                }
                Poll::Ready(Some(Ok(Frame::data(piece))))
            }
            Poll::Ready(Ok(None)) => {
                relay.finish(cx);
                Poll::Ready(None)
            }
            Poll::Ready(Err(())) => relay.break_off(CutOff::Broken),
            Poll::Pending if relay.has_client_left() => relay.break_off(CutOff::ClientGone),
            Poll::Pending => {
                let limit = relay.limit;
                let silent = relay.lease.as_mut().map(|lease| lease.link().poll_limit(cx, limit));
                if silent.is_some_and(|silent| silent.is_ready()) {
                    return relay.break_off(CutOff::Silent);
                }
                Poll::Pending
            }
        }
    }

    fn is_end_stream(&self) -> bool {
        self.state == State::Whole
    }

    fn size_hint(&self) -> SizeHint {
        self.incoming.size_hint()
    }
}
