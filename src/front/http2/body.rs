//! The body of a request as it comes in over a stream.

use std::pin::Pin;
use std::task::{Context, Poll, ready};

use bytes::{Bytes, BytesMut};
use h2::RecvStream;
use hyper::body::{Body, Frame, SizeHint};
use tokio::sync::oneshot;

use crate::incoming::{Arriving, Broken, Incoming};

/// Receives one message when the body is first read: send `100 Continue` now.
pub(super) type Leave = oneshot::Receiver<()>;

/// The body; and, if its client waits for `100 Continue`, the receiver that says when to send it.
pub(super) fn incoming(stream: RecvStream, length: Option<u64>, expects_leave: bool) -> (Incoming, Option<Leave>) {
    if stream.is_end_stream() {
        return (Incoming::empty(), None);
    }
    let (ask, leave) = if expects_leave { Some(oneshot::channel()).unzip() } else { (None, None) };
    (Incoming::Arriving(Box::pin(Streamed { stream, left: length, ask })), leave)
}

struct Streamed {
    stream: RecvStream,
    /// Bytes that are still to come, if the client declared a length. h2 enforces it.
    left: Option<u64>,
    ask: Option<oneshot::Sender<()>>,
}

impl Streamed {
    fn poll_piece(&mut self, cx: &mut Context<'_>) -> Poll<Option<Result<Bytes, Broken>>> {
        if let Some(ask) = self.ask.take() {
            let _ = ask.send(());
        }
        // Trailers are passed over.
        let piece = match ready!(self.stream.poll_data(cx)) {
            None => return Poll::Ready(None),
            // Reset by the client, or by h2 because its length is not the declared one.
            Some(Err(_)) => return Poll::Ready(Some(Err(Broken::CutOff))),
            Some(Ok(piece)) => piece,
        };
        // Opens the window again: the client may send as much as was just read.
        let _ = self.stream.flow_control().release_capacity(piece.len());
        self.left = self.left.map(|left| left.saturating_sub(piece.len() as u64));
        Poll::Ready(Some(Ok(piece)))
    }
}

impl Body for Streamed {
    type Data = Bytes;
    type Error = Broken;

    fn poll_frame(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, Broken>>> {
        self.poll_piece(cx).map_ok(Frame::data)
    }

    fn is_end_stream(&self) -> bool {
        self.stream.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.left.map_or_else(SizeHint::default, SizeHint::with_exact)
    }
}

impl Arriving for Streamed {
    fn poll_append(mut self: Pin<&mut Self>, cx: &mut Context<'_>, whole: &mut BytesMut) -> Poll<Result<bool, Broken>> {
        match ready!(self.poll_piece(cx)).transpose()? {
            Some(piece) => {
                whole.extend_from_slice(&piece);
                Poll::Ready(Ok(!self.is_end_stream()))
            }
            None => Poll::Ready(Ok(false)),
        }
    }
}
