//! Detects a client's disconnect where a read does not show it: while earlier input is unread, or after the end of its
//! stream.
//!
//! The kernel reports it at once (`EPOLLRDHUP`, `EPOLLERR`) through a second registration of the same socket. The first
//! registration cannot be used: waiting for its next event would clear the readiness that tells the stream of unread
//! input.

use std::io;
use std::os::fd::AsFd;

use tokio::io::Interest;
use tokio::net::TcpStream;

/// The event that counts as a disconnect.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Sign {
    /// The end of the client's stream, or a reset.
    End,
    /// Only a reset.
    Reset,
}

/// Ends when the client of `stream` has disconnected, as defined by `sign`. Must be called within the runtime.
pub(super) fn watch(stream: &TcpStream, sign: Sign) -> io::Result<impl Future<Output = ()> + Send + use<>> {
    let second = std::net::TcpStream::from(stream.as_fd().try_clone_to_owned()?);
    Ok(has_left(TcpStream::from_std(second)?, sign))
}

async fn has_left(stream: TcpStream, sign: Sign) {
    if sign == Sign::Reset {
        let _ = stream.ready(Interest::ERROR).await;
        return;
    }
    // An error counts as an end, too.
    while let Ok(ready) = stream.ready(Interest::READABLE).await
        && !ready.is_read_closed()
    {
        // More input is not the awaited event. This makes tokio wait for the next event.
        let _ = stream.try_io(Interest::READABLE, || Err::<(), _>(io::ErrorKind::WouldBlock.into()));
    }
}

#[cfg(test)]
mod tests {
    use std::io::Write;
    use std::pin::pin;
    use std::time::Duration;

    use socket2::SockRef;
    use tokio::net::TcpListener;
    use tokio::time::timeout;

    use super::*;

    /// Long enough for everything under way to arrive.
    const MOMENT: Duration = Duration::from_millis(20);

    async fn pair() -> (std::net::TcpStream, TcpStream) {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let client = std::net::TcpStream::connect(listener.local_addr().unwrap()).unwrap();
        (client, listener.accept().await.unwrap().0)
    }

    #[tokio::test]
    async fn leaving_is_noticed_behind_unread_bytes_and_the_bytes_stay() {
        for reset in [false, true] {
            let (mut client, stream) = pair().await;
            client.write_all(&[b'x'; 1000]).unwrap();
            let mut left = pin!(watch(&stream, Sign::End).unwrap());
            assert!(timeout(MOMENT, &mut left).await.is_err(), "it is still there");
            client.write_all(&[b'y'; 1000]).unwrap();
            assert!(timeout(MOMENT, &mut left).await.is_err(), "it has only said more");
            if reset {
                SockRef::from(&client).set_linger(Some(Duration::ZERO)).unwrap();
            }
            drop(client);
            left.await;
            if !reset {
                let mut first = [0; 1];
                stream.readable().await.unwrap();
                assert_eq!((stream.try_read(&mut first).unwrap(), first), (1, [b'x']));
            }
        }
    }
    #[tokio::test]
    async fn a_reset_is_noticed_after_the_end_of_the_stream_and_the_end_is_none() {
        let (client, stream) = pair().await;
        let mut left = pin!(watch(&stream, Sign::Reset).unwrap());
        client.shutdown(std::net::Shutdown::Write).unwrap();
        stream.readable().await.unwrap();
        assert_eq!(stream.try_read(&mut [0; 1]).unwrap(), 0, "the stream has ended");
        assert!(timeout(MOMENT, &mut left).await.is_err(), "it waits for an answer");
        let mut late = pin!(watch(&stream, Sign::Reset).unwrap());
        assert!(timeout(MOMENT, &mut late).await.is_err(), "as seen from now on, too");
        SockRef::from(&client).set_linger(Some(Duration::ZERO)).unwrap();
        drop(client);
        left.await;
        late.await;
        watch(&stream, Sign::Reset).unwrap().await;
    }
}
