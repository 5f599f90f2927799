//! Bytes that came off the socket and are not yet handed on.

use std::io;
use std::pin::Pin;
use std::task::{Context, Poll, ready};

use tokio::io::{AsyncRead, ReadBuf};

/// The first reads fit an ordinary request; only large heads make it grow.
const INITIAL: usize = 8 << 10;

#[derive(Debug, Default)]
pub(super) struct Inbox {
    /// All initialised, so that reading into it is safe; the live bytes are `start..end`.
    bytes: Vec<u8>,
    start: usize,
    end: usize,
}

impl Inbox {
    pub(super) fn holding(bytes: &[u8]) -> Self {
        let mut inbox = Self::default();
        if !bytes.is_empty() {
            inbox.append(bytes);
        }
        inbox
    }

    pub(super) fn as_slice(&self) -> &[u8] {
        &self.bytes[self.start..self.end]
    }

    pub(super) fn len(&self) -> usize {
        self.end - self.start
    }

    pub(super) fn is_empty(&self) -> bool {
        self.start == self.end
    }

    pub(super) fn consume(&mut self, count: usize) {
        self.start += count;
        debug_assert!(self.start <= self.end, "consumed what was never read");
        if self.is_empty() {
            (self.start, self.end) = (0, 0);
        }
    }

    pub(super) fn replace(&mut self, bytes: &[u8]) {
        (self.start, self.end) = (0, 0);
        self.append(bytes);
    }

    pub(super) fn append(&mut self, bytes: &[u8]) {
        self.make_room(bytes.len());
        self.bytes[self.end..self.end + bytes.len()].copy_from_slice(bytes);
        self.end += bytes.len();
    }

    /// Reads once, behind what is there; 0 bytes is the end of the stream.
    pub(super) fn poll_fill<R: AsyncRead + Unpin>(
        &mut self,
        from: &mut R,
        cx: &mut Context<'_>,
    ) -> Poll<io::Result<usize>> {
        self.make_room(1);
        let mut buffer = ReadBuf::new(&mut self.bytes[self.end..]);
        ready!(Pin::new(from).poll_read(cx, &mut buffer))?;
        let count = buffer.filled().len();
        self.end += count;
        Poll::Ready(Ok(count))
    }

    fn make_room(&mut self, count: usize) {
        if self.end + count <= self.bytes.len() {
            return;
        }
        self.bytes.copy_within(self.start..self.end, 0);
        (self.start, self.end) = (0, self.end - self.start);
        let wanted = (self.end + count).max(INITIAL);
        if wanted > self.bytes.len() {
            self.bytes.resize(wanted.next_power_of_two(), 0);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bytes_come_out_as_they_went_in_and_room_is_used_again() {
        let mut inbox = Inbox::default();
        for round in 0..100 {
            inbox.append(&[round; 1000]);
            assert_eq!(inbox.as_slice()[0], round);
            inbox.append(&[round; 500]);
            inbox.consume(1000);
            assert_eq!(inbox.as_slice(), [round; 500]);
            inbox.consume(500);
        }
        assert_eq!(inbox.bytes.len(), INITIAL);
    }

    #[test]
    fn large_heads_make_it_grow() {
        let mut inbox = Inbox::default();
        inbox.append(&[1; 5000]);
        inbox.consume(10);
        inbox.append(&[2; 20_000]);
        assert_eq!((inbox.len(), inbox.as_slice()[4990]), (24_990, 2));
    }
}
