//! A watch over a streamed answer: each item with its length before it.

use std::pin::Pin;
use std::task::{Context, Poll, ready};

use bytes::Bytes;
use http_body_util::BodyExt;
use hyper::body::{Body, Frame};
use tokio::sync::{mpsc, oneshot};
use tokio::time::timeout;

use super::protocol::frame::{Parts, prefixed};
use super::session::{End, Gone, PATIENCE, Port, Watch};
use crate::call::{Cut, Stream};
use crate::queue::{Item, QueueError};
use crate::refusal::Refusal;

/// The size of the pieces of a large item. A slow client takes one after the other.
const PIECE: usize = 16 << 10;

/// The items on their way to the client, in pieces.
struct Frames {
    pieces: mpsc::Receiver<Piece>,
    /// True if the last piece was not the end of its item.
    is_inside: bool,
    end: oneshot::Receiver<Ending>,
}

/// Some bytes of an item.
struct Piece {
    bytes: Bytes,
    is_last: bool,
}

/// The end of a watch.
struct Ending {
    cut: Cut,
    /// True if the stream must not look whole, even after a whole item.
    is_failure: bool,
}

impl Body for Frames {
    type Data = Bytes;
    type Error = Cut;

    fn poll_frame(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, Cut>>> {
        if let Some(Piece { bytes, is_last }) = ready!(self.pieces.poll_recv(cx)) {
            self.is_inside = !is_last;
            return Poll::Ready(Some(Ok(Frame::data(bytes))));
        }
        let is_inside = std::mem::take(&mut self.is_inside);
        // A client must not take a part for an item.
        let ending = self.end.try_recv().ok().filter(|ending| ending.is_failure || is_inside);
        Poll::Ready(ending.map(|ending| Err(ending.cut)))
    }
}

/// The sending side.
struct ToStream(mpsc::Sender<Piece>);

impl Port for ToStream {
    async fn send(&mut self, item: &Item, parts: Parts) -> Result<(), Gone> {
        let mut rest = prefixed(item, parts);
        while !rest.is_empty() {
            let bytes = rest.split_to(rest.len().min(PIECE));
            let piece = Piece { bytes, is_last: rest.is_empty() };
            timeout(PATIENCE, self.0.send(piece)).await.map_err(|_| Gone)?.map_err(|_| Gone)?;
        }
        Ok(())
    }

    async fn listen(&mut self) -> Result<(), Gone> {
        self.0.closed().await;
        Err(Gone)
    }

    async fn ask(&mut self) -> Result<bool, Gone> {
        Ok(false)
    }
}

/// Begins a watch whose items are the pieces of the stream.
pub(super) fn begin(watch: Watch) -> Stream {
    let (pieces, received) = mpsc::channel(1);
    let (told, end) = oneshot::channel();
    tokio::spawn(async move {
        let mut port = ToStream(pieces);
        let end = watch.run(&mut port).await;
        let is_failure = matches!(&end, End::Queue(why) if *why != QueueError::Ended);
        let refusal = match end {
            End::Left | End::Silent => Refusal::ClientClosed,
            End::Drain => Refusal::Draining,
            End::Queue(why) => why.into(),
        };
        // A client that is gone needs no reason. The others find it once the pieces have ended.
        let _ = told.send(Ending { cut: refusal.cut(), is_failure });
    });
    Frames { pieces: received, is_inside: false, end }.boxed_unsync()
}
