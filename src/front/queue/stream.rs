//! A watch over a streamed answer: each item with its length before it.

use std::pin::Pin;
use std::task::{Context, Poll, ready};

use bytes::Bytes;
use http_body_util::BodyExt;
use hyper::body::{Body, Frame};
use tokio::sync::mpsc;

use super::protocol::frame::{Parts, prefixed};
use super::session::{End, Gone, PATIENCE, Port, Watch};
use crate::call::{Cut, Stream};
use crate::queue::Item;
use crate::refusal::Refusal;

/// The size of the pieces of a large item. A slow client takes one after the other.
const PIECE: usize = 16 << 10;

/// The items on their way to the client, in pieces.
struct Frames {
    pieces: mpsc::Receiver<Piece>,
    /// True if the last piece was not the end of its item.
    is_inside: bool,
}

/// Some bytes of an item, and whether they are its last; or the reason for the end of the stream.
type Piece = Result<(Bytes, bool), Cut>;

impl Body for Frames {
    type Data = Bytes;
    type Error = Cut;

    fn poll_frame(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, Cut>>> {
        Poll::Ready(match ready!(self.pieces.poll_recv(cx)) {
            Some(Ok((bytes, is_last))) => {
                self.is_inside = !is_last;
                Some(Ok(Frame::data(bytes)))
            }
            Some(Err(cut)) => Some(Err(cut)),
            // A client must not take a part for an item.
            None if std::mem::take(&mut self.is_inside) => {
                Some(Err(Cut { cause: "the watch has ended within an item".into(), ..Refusal::Draining.cut() }))
            }
            None => None,
        })
    }
}

/// The sending side.
struct ToStream(mpsc::Sender<Piece>);

impl Port for ToStream {
    async fn send(&mut self, item: &Item, parts: Parts) -> Result<(), Gone> {
        let mut rest = prefixed(item, parts);
        while !rest.is_empty() {
            let piece = rest.split_to(rest.len().min(PIECE));
            let taken = tokio::time::timeout(PATIENCE, self.0.send(Ok((piece, rest.is_empty())))).await;
            taken.map_err(|_| Gone)?.map_err(|_| Gone)?;
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
    tokio::spawn(async move {
        let mut port = ToStream(pieces);
        if let End::Queue(why) = watch.run(&mut port).await {
            let is_over = why == crate::queue::QueueError::Ended;
            if !is_over {
                // A client that is gone needs no reason.
                let _ = port.0.send(Err(Refusal::from(why).cut())).await;
            }
        }
    });
    Frames { pieces: received, is_inside: false }.boxed_unsync()
}
