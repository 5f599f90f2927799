//! The body of a request, read from its stream.

use std::pin::Pin;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll, Waker, ready};

use bytes::{Bytes, BytesMut};
use h2::RecvStream;
use http::HeaderMap;
use hyper::body::{Body, Frame, SizeHint};
use tokio::sync::oneshot;

use crate::incoming::{Arriving, Broken, Incoming};

/// Receives one message when the body is first read: send `100 Continue` now.
pub(super) type Leave = oneshot::Receiver<()>;

/// The input of a stream. The body of the request shares it with the code that discards the rest of a refused request.
///
/// A stream that is dropped before its input has ended is reset. Some clients then discard the answer that came before
/// (curl 7.88), although a reset with NO_ERROR means only that no more input is needed (RFC 9113 §8.1).
#[derive(Clone)]
pub(super) struct Input(Arc<Mutex<Shared>>);

struct Shared {
    stream: RecvStream,
    /// True after the answer: the body of the request breaks off for its reader.
    is_given_up: bool,
    /// The task that waits for more of the body.
    reader: Option<Waker>,
}

impl Input {
    /// Breaks the body off for its reader, because the answer has been sent. The rest is discarded.
    pub(super) fn give_up(&self) {
        let mut shared = self.lock();
        shared.is_given_up = true;
        if let Some(reader) = shared.reader.take() {
            reader.wake();
        }
    }

    /// True if all input has been read.
    pub(super) fn has_ended(&self) -> bool {
        self.with(|stream| stream.is_end_stream())
    }

    /// True if the body breaks off here. Otherwise this task is woken when it does.
    fn is_given_up(&self, cx: &Context<'_>) -> bool {
        let mut shared = self.lock();
        if !shared.is_given_up && !shared.reader.as_ref().is_some_and(|reader| reader.will_wake(cx.waker())) {
            shared.reader = Some(cx.waker().clone());
        }
        shared.is_given_up
    }

    /// Returns the next data; `None` at the end. The window grows by the bytes that were read, so the client may send
    /// as many again.
    fn poll_data(&self, cx: &mut Context<'_>) -> Poll<Option<Result<Bytes, h2::Error>>> {
        self.with(|stream| {
            let data = ready!(stream.poll_data(cx));
            if let Some(Ok(data)) = &data {
                let _ = stream.flow_control().release_capacity(data.len());
            }
            Poll::Ready(data)
        })
    }

    /// Returns the trailers, after all data; `None` if there are none.
    fn poll_trailers(&self, cx: &mut Context<'_>) -> Poll<Option<HeaderMap>> {
        self.with(|stream| stream.poll_trailers(cx)).map(|trailers| trailers.ok().flatten())
    }

    /// Discards input; ready at its end, or after `left` bytes.
    pub(super) fn poll_discard(&self, left: &mut u64, cx: &mut Context<'_>) -> Poll<()> {
        while let Some(Ok(data)) = ready!(self.poll_data(cx)) {
            *left = left.saturating_sub(data.len() as u64);
            if *left == 0 {
                break;
            }
        }
        Poll::Ready(())
    }

    fn with<T>(&self, act: impl FnOnce(&mut RecvStream) -> T) -> T {
        act(&mut self.lock().stream)
    }

    fn lock(&self) -> MutexGuard<'_, Shared> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// The rest of a request whose stream has not ended yet.
pub(super) struct Coming {
    pub(super) input: Input,
    /// Set if the client waits for `100 Continue`. Ready when the body is first read.
    pub(super) leave: Option<Leave>,
}

/// Makes the body of a request, and returns the rest of its stream, if there is one.
pub(super) fn incoming(stream: RecvStream, length: Option<u64>, expects_leave: bool) -> (Incoming, Option<Coming>) {
    if stream.is_end_stream() {
        return (Incoming::empty(), None);
    }
    let input = Input(Arc::new(Mutex::new(Shared { stream, is_given_up: false, reader: None })));
    let (ask, leave) = if expects_leave { Some(oneshot::channel()).unzip() } else { (None, None) };
    let body = Streamed { input: input.clone(), left: length, ask };
    (Incoming::Arriving(Box::pin(body)), Some(Coming { input, leave }))
}

struct Streamed {
    input: Input,
    /// Bytes still to come, if the client declared a length. h2 enforces the length.
    left: Option<u64>,
    ask: Option<oneshot::Sender<()>>,
}

impl Streamed {
    fn poll_piece(&mut self, cx: &mut Context<'_>) -> Poll<Option<Result<Bytes, Broken>>> {
        if let Some(ask) = self.ask.take() {
            let _ = ask.send(());
        }
        if self.input.is_given_up(cx) {
            return Poll::Ready(Some(Err(Broken::CutOff)));
        }
        let piece = match ready!(self.input.poll_data(cx)) {
            None => return Poll::Ready(None),
            // The stream was reset: by the client, or by h2 because the body's length is not the declared one.
            Some(Err(_)) => return Poll::Ready(Some(Err(Broken::CutOff))),
            Some(Ok(piece)) => piece,
        };
        self.left = self.left.map(|left| left.saturating_sub(piece.len() as u64));
        Poll::Ready(Some(Ok(piece)))
    }
}

impl Body for Streamed {
    type Data = Bytes;
    type Error = Broken;

    fn poll_frame(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, Broken>>> {
        match ready!(self.poll_piece(cx)) {
            Some(piece) => Poll::Ready(Some(piece.map(Frame::data))),
            None => self.input.poll_trailers(cx).map(|trailers| trailers.map(|trailers| Ok(Frame::trailers(trailers)))),
        }
    }

    fn is_end_stream(&self) -> bool {
        self.input.has_ended()
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
