//! The socket of a connection as hyper gets it: each protocol reads in its own way, and all write in the same.

use std::io;
use std::pin::Pin;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use hyper::rt::ReadBufCursor;
use tokio::io::AsyncWrite;
use tokio::net::TcpStream;

use super::stall::Stall;

/// How a protocol reads.
pub(super) trait Intake: Unpin {
    /// As `hyper::rt::Read`: ready without bytes is the end.
    fn poll_read(
        &mut self,
        stream: &mut TcpStream,
        cx: &mut Context<'_>,
        cursor: ReadBufCursor<'_>,
    ) -> Poll<io::Result<()>>;

    /// The stream is closed for writing; what is left to do before it is dropped.
    fn poll_farewell(&mut self, _stream: &mut TcpStream, _cx: &mut Context<'_>) -> Poll<()> {
        Poll::Ready(())
    }

    /// Whether the stream is to be broken off, so that nobody takes its end for that of an answer.
    fn is_reset(&self) -> bool {
        false
    }
}

pub(super) struct Socket<I: Intake> {
    stream: TcpStream,
    intake: I,
    stall: Stall,
    /// No further byte can be written.
    closed: bool,
}

impl<I: Intake> Socket<I> {
    /// A client that takes nothing for `write_patience` is cut off.
    pub(super) fn new(stream: TcpStream, intake: I, write_patience: Duration) -> Self {
        Self { stream, intake, stall: Stall::new(write_patience), closed: false }
    }
}

impl<I: Intake> Drop for Socket<I> {
    fn drop(&mut self) {
        if self.intake.is_reset() {
            // Closed without waiting for what is unsent, it is reset (RFC 9293 §3.10.4).
            let _ = socket2::SockRef::from(&self.stream).set_linger(Some(Duration::ZERO));
        }
    }
}

impl<I: Intake> hyper::rt::Read for Socket<I> {
    fn poll_read(mut self: Pin<&mut Self>, cx: &mut Context<'_>, cursor: ReadBufCursor<'_>) -> Poll<io::Result<()>> {
        let Self { stream, intake, .. } = &mut *self;
        intake.poll_read(stream, cx, cursor)
    }
}

impl<I: Intake> hyper::rt::Write for Socket<I> {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        let written = Pin::new(&mut self.stream).poll_write(cx, bytes);
        self.stall.watch(cx, written)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        slices: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let written = Pin::new(&mut self.stream).poll_write_vectored(cx, slices);
        self.stall.watch(cx, written)
    }

    fn is_write_vectored(&self) -> bool {
        true
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let Self { stream, intake, closed, .. } = &mut *self;
        if !*closed {
            ready!(Pin::new(&mut *stream).poll_shutdown(cx))?;
            *closed = true;
        }
        intake.poll_farewell(stream, cx).map(Ok)
    }
}
