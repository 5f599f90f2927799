//! Detects a client that accepts no data.

use std::io;
use std::pin::Pin;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use socket2::SockRef;
use tokio::net::TcpStream;
use tokio::time::Sleep;

/// Most bytes of a long answer that wait in the kernel.
const MOST_UNSENT: u32 = 64 << 10;

/// Keeps few bytes waiting in the kernel, so that the progress of a slow client shows, and what is sent next reaches it
/// soon. Without this the kernel takes megabytes, and then nothing until a third of them is gone.
pub(in crate::front) fn keep_little_unsent(stream: &TcpStream) {
    // If it cannot be set, a slow client is given up sooner.
    let _ = SockRef::from(stream).set_tcp_notsent_lowat(MOST_UNSENT);
}

/// Ends a connection on which writing makes no progress for too long. The timer exists only while a write waits.
pub(in crate::front) struct Stall {
    patience: Duration,
    timer: Option<Pin<Box<Sleep>>>,
}

impl Stall {
    pub(in crate::front) fn new(patience: Duration) -> Self {
        Self { patience, timer: None }
    }

    /// Records progress of writing, or the lack of it.
    pub(in crate::front) fn watch<T>(
        &mut self,
        cx: &mut Context<'_>,
        written: Poll<io::Result<T>>,
    ) -> Poll<io::Result<T>> {
        if written.is_ready() {
            self.timer = None;
            return written;
        }
        let patience = self.patience;
        let timer = self.timer.get_or_insert_with(|| Box::pin(tokio::time::sleep(patience)));
        ready!(timer.as_mut().poll(cx));
        Poll::Ready(Err(io::Error::new(io::ErrorKind::TimedOut, "the client accepts no data")))
    }
}
