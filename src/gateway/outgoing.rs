//! The body of a request on its way to an upstream: streamed as it arrives, or whole. A whole one can be sent again.
//!
//! A body that breaks off is not reported to hyper as an error, because hyper would drop an answer that is on its way.
//! It is recorded in [`Upload`] instead, and nothing more is sent. The code that waits for the answer decides what to
//! do.

use std::convert::Infallible;
use std::future::poll_fn;
use std::pin::Pin;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, OnceLock, PoisonError};
use std::task::{Context, Poll, Waker, ready};
use std::time::Duration;

use bytes::Bytes;
use hyper::body::{Body, Frame, SizeHint};
use tokio::time::{Sleep, sleep};

use super::failure::Failure;
use crate::incoming::{Broken, Incoming};

/// The time after which the body is sent even if the upstream has not sent `100 Continue` (RFC 9110 §10.1.1).
const LEAVE_PATIENCE: Duration = Duration::from_secs(1);

pub(super) enum Outgoing {
    Whole(Bytes),
    Streamed(Box<Streamed>),
}

/// A body that is still arriving.
pub(super) struct Streamed {
    /// The part that had arrived when the body was opened.
    first: Option<Bytes>,
    rest: Incoming,
    upload: Arc<Upload>,
    leave: Option<Leave>,
}

/// The progress of a body.
#[derive(Debug, Default)]
pub(super) struct Upload {
    bytes: AtomicU64,
    /// The upstream accepts more, but the client has not sent it.
    awaited: AtomicBool,
    ended: AtomicBool,
    broken: OnceLock<Broken>,
}

impl Upload {
    pub(super) fn bytes(&self) -> u64 {
        self.bytes.load(Ordering::Relaxed)
    }

    pub(super) fn is_awaited(&self) -> bool {
        self.awaited.load(Ordering::Relaxed)
    }

    pub(super) fn has_ended(&self) -> bool {
        self.ended.load(Ordering::Relaxed)
    }

    /// Returns the reason why the rest of the body will not come; `None` if it may still come.
    pub(super) fn broken(&self) -> Option<Broken> {
        self.broken.get().copied()
    }
}

/// The wait for the upstream's `100 Continue`, if the client waits for it.
struct Leave {
    granted: Arc<Granted>,
    patience: Pin<Box<Sleep>>,
}

#[derive(Default)]
struct Granted {
    is_granted: AtomicBool,
    waiter: Mutex<Option<Waker>>,
}

impl Granted {
    fn grant(&self) {
        self.is_granted.store(true, Ordering::Relaxed);
        if let Some(waiter) = self.waiter.lock().unwrap_or_else(PoisonError::into_inner).take() {
            waiter.wake();
        }
    }
}

impl Leave {
    fn poll(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        if self.granted.is_granted.load(Ordering::Relaxed) {
            return Poll::Ready(());
        }
        *self.granted.waiter.lock().unwrap_or_else(PoisonError::into_inner) = Some(cx.waker().clone());
        self.patience.as_mut().poll(cx)
    }
}

impl Outgoing {
    /// Opens a body with the part of it that has arrived. Does not wait.
    pub(super) async fn open(mut body: Incoming) -> Result<Self, Failure> {
        if let Incoming::Whole(whole) = body {
            return Ok(Self::Whole(whole));
        }
        let first = poll_fn(|cx| match Pin::new(&mut body).poll_frame(cx) {
            Poll::Ready(frame) => Poll::Ready(frame),
            Poll::Pending => Poll::Ready(None),
        });
        let first = match first.await {
            None if body.is_end_stream() => return Ok(Self::Whole(Bytes::new())),
            None => None,
            Some(Err(broken)) => return Err(Failure::Request(broken)),
            // A body of trailers alone is empty.
            Some(Ok(frame)) => frame.into_data().ok(),
        };
        match first {
            Some(first) if body.is_end_stream() => Ok(Self::Whole(first)),
            first => Ok(Self::streamed(first, body, None)),
        }
    }

    fn streamed(first: Option<Bytes>, rest: Incoming, leave: Option<Leave>) -> Self {
        Self::Streamed(Box::new(Streamed { first, rest, upload: Arc::default(), leave }))
    }

    /// Makes a body that is held back until the upstream sends `100 Continue`, for a client that waits for it. The
    /// callback must be called when it arrives.
    pub(super) fn with_leave(body: Incoming) -> (Self, impl Fn() + Send + Sync + 'static) {
        let granted = Arc::new(Granted::default());
        let leave = Leave { granted: Arc::clone(&granted), patience: Box::pin(sleep(LEAVE_PATIENCE)) };
        (Self::streamed(None, body, Some(leave)), move || granted.grant())
    }

    /// Copies the body, if it is whole.
    pub(super) fn again(&self) -> Option<Self> {
        match self {
            Self::Whole(bytes) => Some(Self::Whole(bytes.clone())),
            Self::Streamed(_) => None,
        }
    }

    /// Returns the progress of a body that is still arriving.
    pub(super) fn upload(&self) -> Option<Arc<Upload>> {
        match self {
            Self::Whole(_) => None,
            Self::Streamed(streamed) => Some(Arc::clone(&streamed.upload)),
        }
    }

    /// Returns its length, if that is known before its end.
    pub(super) fn length(&self) -> Option<u64> {
        self.size_hint().exact()
    }
}

impl Streamed {
    fn poll_piece(&mut self, cx: &mut Context<'_>) -> Poll<Option<Bytes>> {
        if self.upload.broken().is_some() {
            return Poll::Pending;
        }
        if let Some(leave) = &mut self.leave {
            ready!(leave.poll(cx));
            self.leave = None;
        }
        if let Some(first) = self.first.take() {
            return Poll::Ready(Some(first));
        }
        loop {
            let frame = match ready!(Pin::new(&mut self.rest).poll_frame(cx)) {
                None => return Poll::Ready(None),
                Some(Err(broken)) => {
                    let _ = self.upload.broken.set(broken);
                    return Poll::Pending;
                }
                Some(Ok(frame)) => frame,
            };
            // Trailers are not forwarded (RFC 9110 §6.5.1).
            if let Ok(piece) = frame.into_data() {
                return Poll::Ready(Some(piece));
            }
        }
    }
}

impl Body for Outgoing {
    type Data = Bytes;
    type Error = Infallible;

    fn poll_frame(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, Infallible>>> {
        match &mut *self {
            Self::Whole(bytes) if bytes.is_empty() => Poll::Ready(None),
            Self::Whole(bytes) => Poll::Ready(Some(Ok(Frame::data(std::mem::take(bytes))))),
            Self::Streamed(streamed) => {
                let piece = streamed.poll_piece(cx);
                streamed.upload.awaited.store(piece.is_pending(), Ordering::Relaxed);
                let piece = ready!(piece);
                if let Some(piece) = &piece {
                    streamed.upload.bytes.fetch_add(piece.len() as u64, Ordering::Relaxed);
                }
                if piece.is_none() || (streamed.first.is_none() && streamed.rest.is_end_stream()) {
                    streamed.upload.ended.store(true, Ordering::Relaxed);
                }
                Poll::Ready(piece.map(|piece| Ok(Frame::data(piece))))
            }
        }
    }

    fn is_end_stream(&self) -> bool {
        match self {
            Self::Whole(bytes) => bytes.is_empty(),
            Self::Streamed(streamed) => streamed.first.is_none() && streamed.rest.is_end_stream(),
        }
    }

    fn size_hint(&self) -> SizeHint {
        match self {
            Self::Whole(bytes) => SizeHint::with_exact(bytes.len() as u64),
            Self::Streamed(streamed) => {
                let first = streamed.first.as_ref().map_or(0, |first| first.len() as u64);
                match streamed.rest.size_hint().exact() {
                    Some(rest) => SizeHint::with_exact(first + rest),
                    None => SizeHint::default(),
                }
            }
        }
    }
}
