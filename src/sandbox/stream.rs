//! The pieces of a streamed answer, on their way from a guest to the caller.
//!
//! The channel is bounded in pieces and in bytes. A guest that is faster than its caller waits.

use std::convert::Infallible;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};

use bytes::Bytes;
use hyper::body::{Body, Frame};
use tokio::sync::{OwnedSemaphorePermit, Semaphore, mpsc};

/// Most bytes that wait for the caller. A larger piece waits alone.
const MOST_BYTES: usize = 64 << 10;
/// Most pieces that wait for the caller.
const MOST_PIECES: usize = 64;

/// The guest's end.
pub(super) struct Sink {
    pieces: mpsc::Sender<Piece>,
    room: Arc<Semaphore>,
}

/// The caller's end. It ends when the guest's end is dropped.
pub(super) struct Pieces {
    pieces: mpsc::Receiver<Piece>,
    room: Arc<Semaphore>,
}

struct Piece {
    bytes: Bytes,
    /// The piece's part of [`MOST_BYTES`].
    _room: OwnedSemaphorePermit,
}

/// Nobody reads the pieces any more.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Abandoned;

pub(super) fn channel() -> (Sink, Pieces) {
    let (sender, receiver) = mpsc::channel(MOST_PIECES);
    let room = Arc::new(Semaphore::new(MOST_BYTES));
    (Sink { pieces: sender, room: Arc::clone(&room) }, Pieces { pieces: receiver, room })
}

impl Sink {
    /// Sends a piece once there is room for it. An empty piece is not sent.
    pub(super) async fn send(&self, bytes: Bytes) -> Result<(), Abandoned> {
        if bytes.is_empty() {
            return if self.pieces.is_closed() { Err(Abandoned) } else { Ok(()) };
        }
        let size = bytes.len().min(MOST_BYTES) as u32;
        let room = Arc::clone(&self.room).acquire_many_owned(size).await.map_err(|_| Abandoned)?;
        self.pieces.send(Piece { bytes, _room: room }).await.map_err(|_| Abandoned)
    }
}

impl Body for Pieces {
    type Data = Bytes;
    type Error = Infallible;

    fn poll_frame(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, Infallible>>> {
        self.pieces.poll_recv(cx).map(|piece| piece.map(|piece| Ok(Frame::data(piece.bytes))))
    }
}

impl Drop for Pieces {
    fn drop(&mut self) {
        self.room.close();
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use http_body_util::BodyExt;
    use tokio::time::timeout;

    use super::*;

    async fn next(pieces: &mut Pieces) -> Option<Bytes> {
        pieces.frame().await.map(|frame| match frame {
            Ok(frame) => frame.into_data().unwrap(),
            Err(never) => match never {},
        })
    }

    async fn waits(sending: impl Future) -> bool {
        timeout(Duration::from_secs(1), sending).await.is_err()
    }

    #[tokio::test(start_paused = true)]
    async fn pieces_come_as_they_were_sent_and_empty_ones_not_at_all() {
        let (sink, mut pieces) = channel();
        for piece in ["one", "", "two"] {
            sink.send(Bytes::from(piece)).await.unwrap();
        }
        drop(sink);
        assert_eq!(next(&mut pieces).await.unwrap(), "one");
        assert_eq!(next(&mut pieces).await.unwrap(), "two");
        assert_eq!(next(&mut pieces).await, None);
    }

    #[tokio::test(start_paused = true)]
    async fn a_guest_waits_for_its_caller() {
        let large = || Bytes::from(vec![1; MOST_BYTES + 1]);
        let small = || Bytes::from_static(b"s");
        for (first, count, second) in [(large(), 1, small()), (small(), MOST_PIECES, small()), (small(), 1, large())] {
            let (sink, mut pieces) = channel();
            for _ in 0..count {
                sink.send(first.clone()).await.unwrap();
            }
            assert!(waits(sink.send(second.clone())).await);
            next(&mut pieces).await.unwrap();
            sink.send(second).await.unwrap();
        }
    }

    #[tokio::test(start_paused = true)]
    async fn a_guest_that_waits_for_nobody_is_told() {
        let (sink, pieces) = channel();
        sink.send(Bytes::from(vec![1; MOST_BYTES])).await.unwrap();
        let (sent, ()) = tokio::join!(sink.send(Bytes::from_static(b"s")), async { drop(pieces) });
        assert_eq!(sent, Err(Abandoned));
        assert_eq!(sink.send(Bytes::new()).await, Err(Abandoned));
    }
}
