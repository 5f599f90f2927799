//! A connection that reports an answer that has arrived, not a failed write.
//!
//! A server may refuse a request before it has read all of it, and close. Writes then fail although the answer is in
//! the socket: the system keeps received bytes even after a reset. hyper gives up a request at the first error, so
//! failed writes are hidden from it: further writes are dropped, and reading shows whether there was an answer.

use std::io::{self, IoSlice};
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::task::{Context, Poll, ready};

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

pub(crate) struct AnswerFirst<S> {
    stream: S,
    writes: Writes,
}

/// A shared flag: true once a write to the connection has failed. hyper is not told of it.
#[derive(Clone, Debug, Default)]
pub(crate) struct Writes(Arc<AtomicBool>);

impl Writes {
    pub(crate) fn have_failed(&self) -> bool {
        self.0.load(Ordering::Relaxed)
    }
}

impl<S> AnswerFirst<S> {
    pub(crate) fn new(stream: S) -> Self {
        Self { stream, writes: Writes::default() }
    }

    pub(crate) fn writes(&self) -> Writes {
        self.writes.clone()
    }

    /// Turns the result of writing `bytes` into the one that hyper sees: a failure is recorded and reported as success.
    fn wrote(&mut self, cx: &Context<'_>, bytes: usize, written: io::Result<usize>) -> io::Result<usize> {
        written.or_else(|_| {
            self.writes.0.store(true, Ordering::Relaxed);
            // hyper has looked for an answer before it wrote, and must look again.
            cx.waker().wake_by_ref();
            Ok(bytes)
        })
    }
}

impl<S: AsyncRead + Unpin> AsyncRead for AnswerFirst<S> {
    fn poll_read(mut self: Pin<&mut Self>, cx: &mut Context<'_>, into: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_read(cx, into)
    }
}

impl<S: AsyncWrite + Unpin> AsyncWrite for AnswerFirst<S> {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        if self.writes.have_failed() {
            return Poll::Ready(Ok(bytes.len()));
        }
        let written = ready!(Pin::new(&mut self.stream).poll_write(cx, bytes));
        Poll::Ready(self.wrote(cx, bytes.len(), written))
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        slices: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let bytes = slices.iter().map(|slice| slice.len()).sum();
        if self.writes.have_failed() {
            return Poll::Ready(Ok(bytes));
        }
        let written = ready!(Pin::new(&mut self.stream).poll_write_vectored(cx, slices));
        Poll::Ready(self.wrote(cx, bytes, written))
    }

    fn is_write_vectored(&self) -> bool {
        self.stream.is_write_vectored()
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        if self.writes.have_failed() {
            return Poll::Ready(Ok(()));
        }
        // A buffered stream, such as TLS, reports failed writes here.
        let flushed = ready!(Pin::new(&mut self.stream).poll_flush(cx));
        Poll::Ready(self.wrote(cx, 0, flushed.map(|()| 0)).map(drop))
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_shutdown(cx)
    }
}
