//! A connection whose writes fail if the client takes nothing for a time.

use std::io::{self, IoSlice};
use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::Duration;

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

use super::stall::Stall;

/// The connection. It does not matter how long a message takes, as long as the client takes some of it.
pub(in crate::front) struct Patient<T> {
    stream: T,
    stall: Stall,
}

impl<T> Patient<T> {
    pub(in crate::front) fn new(stream: T, patience: Duration) -> Self {
        Self { stream, stall: Stall::new(patience) }
    }
}

impl<T: AsyncRead + Unpin> AsyncRead for Patient<T> {
    fn poll_read(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buffer: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_read(cx, buffer)
    }
}

impl<T: AsyncWrite + Unpin> AsyncWrite for Patient<T> {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        let written = Pin::new(&mut self.stream).poll_write(cx, bytes);
        self.stall.watch(cx, written)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        parts: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let written = Pin::new(&mut self.stream).poll_write_vectored(cx, parts);
        self.stall.watch(cx, written)
    }

    fn is_write_vectored(&self) -> bool {
        self.stream.is_write_vectored()
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_shutdown(cx)
    }
}

#[cfg(test)]
mod tests {
    use tokio::io::{AsyncReadExt, AsyncWriteExt};
    use tokio::time::Instant;

    use super::*;

    const PATIENCE: Duration = Duration::from_secs(10);

    #[tokio::test(start_paused = true)]
    async fn a_client_that_takes_nothing_is_given_up() {
        let (client, host) = tokio::io::duplex(8);
        let began = Instant::now();
        let failed = Patient::new(host, PATIENCE).write_all(&[1; 9]).await.unwrap_err();
        assert_eq!((failed.kind(), began.elapsed().as_secs()), (io::ErrorKind::TimedOut, 10));
        drop(client);
    }

    #[tokio::test(start_paused = true)]
    async fn a_slow_client_gets_everything() {
        let (mut client, host) = tokio::io::duplex(8);
        let began = Instant::now();
        let reading = async {
            let mut taken = 0;
            while taken < 100 {
                tokio::time::sleep(PATIENCE - Duration::from_secs(1)).await;
                taken += client.read(&mut [0; 8]).await.unwrap();
            }
        };
        let mut host = Patient::new(host, PATIENCE);
        let (written, ()) = tokio::join!(host.write_all(&[1; 100]), reading);
        written.unwrap();
        assert!(began.elapsed() > 8 * PATIENCE, "{:?}", began.elapsed());
    }
}
