//! The streams of one HTTP/2 connection: how many there were, and how fast their client takes its answers.
//!
//! The socket shows no stall of one stream: a client that opens no window for it goes on reading frames of the others.
//! So an answer is handed to hyper in pieces, the next only when the window has let the last one through, and a stream
//! that asks for no piece for too long is dropped, which resets it (RFC 9113 §5.4.2) and leaves the others alone.

use std::pin::{Pin, pin};
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::task::{Context, Poll};
use std::time::Duration;

use bytes::Bytes;
use hyper::body::{Body, Frame, SizeHint};
use hyper::rt::Executor;
use tokio::sync::Notify;
use tokio::time::Instant;

use crate::front::connection::ConnectionLimits;
use crate::front::relayed::{Content, Relayed};
use crate::gateway::CutOff;

/// Handed on at once; what a frame of HTTP/2 holds unless the client asks for more.
const PIECE: usize = 16 << 10;

/// When a stream last asked for a piece of its answer; `None` before there is one.
#[derive(Debug, Default)]
struct Pace(Mutex<Option<Instant>>);

impl Pace {
    fn step(&self) {
        *self.0.lock().unwrap_or_else(PoisonError::into_inner) = Some(Instant::now());
    }

    /// What there is has been let through, and the next piece is not the client's to wait for.
    fn rest(&self) {
        *self.0.lock().unwrap_or_else(PoisonError::into_inner) = None;
    }

    fn last(&self) -> Option<Instant> {
        *self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

tokio::task_local! {
    /// Of the stream whose task this is.
    static PACE: Arc<Pace>;
}

/// Runs every stream of one connection in a task of its own, for as long as its client takes its answer. Clones share
/// the count.
#[derive(Clone)]
pub(in crate::front) struct Streams(Arc<Shared>);

struct Shared {
    limits: ConnectionLimits,
    begun: AtomicU64,
    open: AtomicUsize,
    /// The connection has had all requests that it may have.
    enough: Notify,
}

impl Streams {
    pub(in crate::front) fn new(limits: ConnectionLimits) -> Self {
        let (begun, open, enough) = (AtomicU64::new(0), AtomicUsize::new(0), Notify::new());
        Self(Arc::new(Shared { limits, begun, open, enough }))
    }

    /// Ends when no further stream should come: there were enough, or there was none for too long.
    pub(in crate::front) async fn over(&self) {
        loop {
            let begun = self.0.begun.load(Ordering::Relaxed);
            tokio::select! {
                () = self.0.enough.notified() => return,
                () = tokio::time::sleep(self.0.limits.patience.idle) => {}
            }
            if self.0.open.load(Ordering::Relaxed) == 0 && self.0.begun.load(Ordering::Relaxed) == begun {
                return;
            }
        }
    }
}

impl<F> Executor<F> for Streams
where
    F: Future<Output: Send> + Send + 'static,
{
    fn execute(&self, stream: F) {
        if self.0.begun.fetch_add(1, Ordering::Relaxed) + 1 == self.0.limits.requests {
            self.0.enough.notify_one();
        }
        let open = Open::count(Arc::clone(&self.0));
        let (pace, patience) = (Arc::new(Pace::default()), self.0.limits.patience.write);
        tokio::spawn(PACE.scope(Arc::clone(&pace), async move {
            let _open = open;
            until_stalled(stream, pace, patience).await;
        }));
    }
}

/// Counts a stream for as long as it lives.
struct Open(Arc<Shared>);

impl Open {
    fn count(streams: Arc<Shared>) -> Self {
        streams.open.fetch_add(1, Ordering::Relaxed);
        Self(streams)
    }
}

impl Drop for Open {
    fn drop(&mut self) {
        self.0.open.fetch_sub(1, Ordering::Relaxed);
    }
}

async fn until_stalled<F: Future>(stream: F, pace: Arc<Pace>, patience: Duration) {
    let mut stream = pin!(stream);
    let mut timer = pin!(tokio::time::sleep(patience));
    std::future::poll_fn(|cx| {
        if stream.as_mut().poll(cx).is_ready() {
            return Poll::Ready(());
        }
        let Some(last) = pace.last() else { return Poll::Pending };
        let limit = last + patience;
        if timer.deadline() != limit {
            timer.as_mut().reset(limit);
        }
        timer.as_mut().poll(cx)
    })
    .await;
}

/// An answer in pieces, whose stream must be run by [`Streams`].
pub(in crate::front) struct Paced {
    /// What is here and not yet asked for.
    rest: Bytes,
    /// Where more comes from, in the pieces in which it comes.
    relayed: Option<Box<Relayed>>,
    pace: Arc<Pace>,
}

impl Paced {
    pub(in crate::front) fn new(content: Content) -> Self {
        let (rest, relayed) = match content {
            Content::Whole(bytes) => (bytes, None),
            Content::Coming(relayed) => (Bytes::new(), Some(relayed)),
        };
        Self { rest, relayed, pace: PACE.with(Arc::clone) }
    }
}

impl Body for Paced {
    type Data = Bytes;
    type Error = CutOff;

    fn poll_frame(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, CutOff>>> {
        if let Some(relayed) = &mut self.relayed {
            let frame = Pin::new(relayed).poll_frame(cx);
            if frame.is_pending() {
                self.pace.rest();
            } else {
                self.pace.step();
            }
            return frame;
        }
        self.pace.step();
        // hyper is done with a stream as soon as the window has room for one byte of the last piece. So that byte goes
        // alone: then all others have been let through.
        let piece = match self.rest.len() {
            0 => return Poll::Ready(None),
            1 => 1,
            more => (more - 1).min(PIECE),
        };
        Poll::Ready(Some(Ok(Frame::data(self.rest.split_to(piece)))))
    }

    fn is_end_stream(&self) -> bool {
        self.relayed.as_ref().map_or(self.rest.is_empty(), |relayed| relayed.is_end_stream())
    }

    fn size_hint(&self) -> SizeHint {
        let whole = || SizeHint::with_exact(self.rest.len() as u64);
        self.relayed.as_ref().map_or_else(whole, |relayed| relayed.size_hint())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A stream whose client has room for so many pieces.
    async fn taken(body: &mut Paced, room: usize) {
        for _ in 0..room {
            let frame = std::future::poll_fn(|cx| Pin::new(&mut *body).poll_frame(cx)).await;
            if frame.is_none() {
                return;
            }
        }
        std::future::pending::<()>().await;
    }

    async fn runs(pieces: usize, room: usize) -> Duration {
        let start = Instant::now();
        let pace = Arc::new(Pace::default());
        let stream = async {
            tokio::time::sleep(Duration::from_secs(60)).await;
            taken(&mut Paced::new(Content::Whole(vec![0; pieces * PIECE].into())), room).await;
        };
        PACE.scope(Arc::clone(&pace), until_stalled(stream, pace, Duration::from_secs(10))).await;
        start.elapsed()
    }

    #[tokio::test(start_paused = true)]
    async fn only_an_answer_that_is_not_taken_is_given_up() {
        assert_eq!(runs(3, 10).await.as_secs(), 60, "however long it took to come");
        assert_eq!(runs(3, 2).await.as_secs(), 70, "ten seconds after its last piece");
    }

    #[tokio::test]
    async fn the_pieces_are_the_answer_and_the_last_is_one_byte() {
        let whole: Vec<u8> = (0..100_000_u32).map(|i| i.to_le_bytes()[1]).collect();
        for length in [0, 1, 2, PIECE, PIECE + 1, PIECE + 2, whole.len()] {
            let pace = Arc::default();
            let mut body =
                PACE.sync_scope(pace, || Paced::new(Content::Whole(Bytes::copy_from_slice(&whole[..length]))));
            let mut pieces: Vec<Bytes> = Vec::new();
            while let Some(Ok(frame)) = std::future::poll_fn(|cx| Pin::new(&mut body).poll_frame(cx)).await {
                pieces.push(frame.into_data().unwrap());
            }
            assert_eq!(pieces.concat(), &whole[..length]);
            assert!(pieces.iter().all(|piece| piece.len() <= PIECE && !piece.is_empty()));
            assert!(pieces.last().is_none_or(|piece| piece.len() == 1), "{length}");
        }
    }
}
