//! Checks a socket for unread input.

use std::mem::MaybeUninit;

use socket2::SockRef;
use tokio::net::TcpStream;

/// True if bytes have arrived on `stream` and were not read. The runtime learns of them only when it polls the kernel
/// the next time. Code that is about to close a connection because nothing has arrived must ask the kernel itself.
pub(in crate::front) fn has_unread(stream: &TcpStream) -> bool {
    // The socket does not block; the end of the stream is 0 bytes.
    SockRef::from(stream).peek(&mut [MaybeUninit::uninit()]).is_ok_and(|count| count > 0)
}

#[cfg(test)]
mod tests {
    use std::io::Write;

    use super::*;

    /// Loopback delivers before `write` and `shutdown` return.
    #[tokio::test]
    async fn bytes_are_seen_before_the_runtime_knows_of_them_and_an_end_is_none() {
        let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        let mut client = std::net::TcpStream::connect(listener.local_addr().unwrap()).unwrap();
        let accepted = listener.accept().unwrap().0;
        accepted.set_nonblocking(true).unwrap();
        let stream = TcpStream::from_std(accepted).unwrap();
        assert!(!has_unread(&stream));
        client.write_all(b"xy").unwrap();
        assert!(has_unread(&stream) && has_unread(&stream), "looking takes nothing");
        let mut read = [0; 2];
        assert!(stream.try_read(&mut read).is_err(), "the runtime has not asked for news yet");
        stream.readable().await.unwrap();
        assert_eq!(stream.try_read(&mut read).unwrap(), 2);
        client.shutdown(std::net::Shutdown::Write).unwrap();
        assert!(!has_unread(&stream));
    }
}
