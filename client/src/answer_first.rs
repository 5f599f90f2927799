//! A connection on which an answer that has arrived counts for more than a write that failed.
//!
//! A server may refuse a request before it has read all of it, and close. What is written then fails, while the answer
//! lies in the socket: the system keeps what has arrived also after a reset. hyper gives a request up at the first error,
//! so it is told of none: what is written after a failure goes nowhere, and reading shows whether there was an answer.

use std::io::{self, IoSlice};
use std::pin::Pin;
use std::task::{Context, Poll, ready};

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

pub(crate) struct AnswerFirst<S> {
    stream: S,
    write_failed: bool,
}

impl<S> AnswerFirst<S> {
    pub(crate) fn new(stream: S) -> Self {
        Self { stream, write_failed: false }
    }

    /// What writing so many bytes came to, as hyper is to see it.
    fn wrote(&mut self, cx: &Context<'_>, bytes: usize, written: io::Result<usize>) -> io::Result<usize> {
        written.or_else(|_| {
            self.write_failed = true;
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
        if self.write_failed {
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
        if self.write_failed {
            return Poll::Ready(Ok(bytes));
        }
        let written = ready!(Pin::new(&mut self.stream).poll_write_vectored(cx, slices));
        Poll::Ready(self.wrote(cx, bytes, written))
    }

    fn is_write_vectored(&self) -> bool {
        self.stream.is_write_vectored()
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        if self.write_failed {
            return Poll::Ready(Ok(()));
        }
        // A stream that keeps what is written to it, as TLS does, fails here.
        let flushed = ready!(Pin::new(&mut self.stream).poll_flush(cx));
        Poll::Ready(self.wrote(cx, 0, flushed.map(|()| 0)).map(drop))
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_shutdown(cx)
    }
}
