//! Reads from the socket straight into hyper's buffer, so that what comes is copied once less.

use std::io;
use std::pin::Pin;
use std::task::{Context, Poll, ready};

use hyper::rt::ReadBufCursor;
use tokio::io::{AsyncRead, ReadBuf};

/// Bytes that lie in hyper's buffer without hyper knowing of them yet. Those not handed on are forgotten there.
pub(super) struct Landed<'a, 'b> {
    cursor: &'a mut ReadBufCursor<'b>,
    count: usize,
}

/// Reads once into the room that `cursor` has; no bytes are the end of the stream.
#[expect(
    unsafe_code,
    reason = "hyper's cursor has no safe way to read into it; going around it copies every byte twice"
)]
pub(super) fn poll_land<'a, 'b, R: AsyncRead + Unpin>(
    from: &mut R,
    cx: &mut Context<'_>,
    cursor: &'a mut ReadBufCursor<'b>,
) -> Poll<io::Result<Landed<'a, 'b>>> {
    // SAFETY: `ReadBuf` only ever writes initialised bytes into the memory it is given.
    let mut buffer = ReadBuf::uninit(unsafe { cursor.as_mut() });
    ready!(Pin::new(from).poll_read(cx, &mut buffer))?;
    let count = buffer.filled().len();
    Poll::Ready(Ok(Landed { cursor, count }))
}

impl Landed<'_, '_> {
    #[expect(unsafe_code, reason = "hyper's cursor shows its memory only as possibly uninitialised")]
    pub(super) fn bytes(&mut self) -> &[u8] {
        // SAFETY: the first `count` bytes were filled by `poll_land`, and nothing is uninitialised by looking at them.
        unsafe { self.cursor.as_mut()[..self.count].assume_init_ref() }
    }

    /// Gives hyper the first `count` of the bytes.
    #[expect(unsafe_code, reason = "hyper trusts that what it is given has been filled")]
    pub(super) fn hand_on(self, count: usize) {
        assert!(count <= self.count, "handed on what never came");
        // SAFETY: the first `self.count` bytes were filled by `poll_land`.
        unsafe { self.cursor.advance(count) };
    }
}
