//! Notices that a client has left while bytes which it sent before are still unread.
//!
//! Reading would tell as much, but only once all that stands before the end of the stream has been taken in and kept. The
//! system knows at once (`EPOLLRDHUP`) and says so through a second registration of the same socket: the readiness of
//! the first is how the stream knows that there is something to read, and waiting for the next event would forget it.

use std::io;
use std::os::fd::AsFd;

use tokio::io::Interest;
use tokio::net::TcpStream;

/// Ends when the client of `stream` has closed its side or the connection is broken. Must be called within the runtime.
pub(super) fn watch(stream: &TcpStream) -> io::Result<impl Future<Output = ()> + Send + use<>> {
    let second = std::net::TcpStream::from(stream.as_fd().try_clone_to_owned()?);
    Ok(has_left(TcpStream::from_std(second)?))
}

async fn has_left(stream: TcpStream) {
    // An error is an end as well.
    while let Ok(ready) = stream.ready(Interest::READABLE).await
        && !ready.is_read_closed()
    {
        // There is more to read, which is not what is waited for. This is how tokio is told to wait for the next event.
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

    /// In which everything that is under way arrives.
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
            let mut left = pin!(watch(&stream).unwrap());
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
}
