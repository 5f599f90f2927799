//! The socket to an upstream, as hyper gets it. It records whether a byte of a request has left, bounds the size of a
//! head, and hides a failed write from hyper while there is something to read.
//!
//! An upstream may refuse a request before it has read all of it, and close. Writes then fail although the answer is in
//! the socket: the kernel keeps received bytes even after a reset. hyper gives up a request at the first error, so a
//! failed write stays pending until all input has been read.

use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::task::{Context, Poll, ready};

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::TcpStream;

/// Most bytes before an answer's head is complete, interim answers included. It is more than the largest head, so that
/// hyper judges the size of a head itself.
const MAX_BEFORE_ANSWER: u64 = 256 << 10;

pub(super) struct Tracked {
    stream: TcpStream,
    progress: Arc<Progress>,
}

/// The progress of the exchange on a connection. Only one task uses this value. It has atomics because the socket and
/// the link share it.
#[derive(Debug, Default)]
pub(super) struct Progress {
    written: AtomicU64,
    read: AtomicU64,
    awaits_answer: AtomicBool,
    /// A write has failed: the upstream accepts no more.
    write_failed: AtomicBool,
    /// The end of the input has been read, or reading has failed.
    read_ended: AtomicBool,
}

impl Progress {
    /// Records that a request is about to be sent.
    pub(super) fn begin(&self) {
        self.written.store(0, Ordering::Relaxed);
        self.read.store(0, Ordering::Relaxed);
        self.awaits_answer.store(true, Ordering::Relaxed);
    }

    /// Records that the head of the request's answer has arrived.
    pub(super) fn answered(&self) {
        self.awaits_answer.store(false, Ordering::Relaxed);
    }

    /// True if a byte of the request has been handed to the kernel, from where it may reach the upstream.
    pub(super) fn has_written(&self) -> bool {
        self.written.load(Ordering::Relaxed) > 0
    }

    /// True if the upstream accepts no more of a request.
    pub(super) fn has_write_failed(&self) -> bool {
        self.write_failed.load(Ordering::Relaxed)
    }

    /// Turns the result of a write into the one that hyper sees: a failure stays pending while there may be input.
    fn wrote(&self, cx: &Context<'_>, written: Poll<io::Result<usize>>) -> Poll<io::Result<usize>> {
        match written {
            Poll::Ready(Ok(count)) => {
                self.written.fetch_add(count as u64, Ordering::Relaxed);
            }
            Poll::Ready(Err(_)) if !self.read_ended.load(Ordering::Relaxed) => {
                // hyper has looked for an answer before it wrote, and must look again.
                if !self.write_failed.swap(true, Ordering::Relaxed) {
                    cx.waker().wake_by_ref();
                }
                return Poll::Pending;
            }
            Poll::Ready(Err(_)) | Poll::Pending => {}
        }
        written
    }
}

impl Tracked {
    pub(super) fn new(stream: TcpStream, progress: Arc<Progress>) -> Self {
        Self { stream, progress }
    }
}

impl AsyncRead for Tracked {
    fn poll_read(mut self: Pin<&mut Self>, cx: &mut Context<'_>, into: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        let progress = &self.progress;
        if progress.awaits_answer.load(Ordering::Relaxed) && progress.read.load(Ordering::Relaxed) > MAX_BEFORE_ANSWER {
            return Poll::Ready(Err(io::Error::new(io::ErrorKind::InvalidData, "the head of the answer has no end")));
        }
        let before = into.filled().len();
        let read = ready!(Pin::new(&mut self.stream).poll_read(cx, into));
        let count = into.filled().len() - before;
        if read.is_err() || (count == 0 && into.remaining() > 0) {
            self.progress.read_ended.store(true, Ordering::Relaxed);
        }
        self.progress.read.fetch_add(count as u64, Ordering::Relaxed);
        Poll::Ready(read)
    }
}

impl AsyncWrite for Tracked {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        let written = Pin::new(&mut self.stream).poll_write(cx, bytes);
        self.progress.wrote(cx, written)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        slices: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let written = Pin::new(&mut self.stream).poll_write_vectored(cx, slices);
        self.progress.wrote(cx, written)
    }

    fn is_write_vectored(&self) -> bool {
        true
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_shutdown(cx)
    }
}
