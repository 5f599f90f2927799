//! The sending half of a socket, which can be told to reset the connection when it is dropped.

use std::io;
use std::ops::{Deref, DerefMut};
use std::time::Duration;

use socket2::SockRef;
use tokio::net::TcpStream;
use tokio::net::tcp::{OwnedReadHalf, OwnedWriteHalf};

pub(super) struct Sender {
    /// `None` only while this is dropped or taken apart.
    half: Option<OwnedWriteHalf>,
    resets: bool,
}

impl Sender {
    pub(super) fn new(half: OwnedWriteHalf) -> Self {
        Self { half: Some(half), resets: false }
    }

    /// While this is set, dropping the half resets the connection, so that the client cannot take the connection's end
    /// for the end of an answer.
    pub(super) fn reset_on_drop(&mut self, resets: bool) {
        self.resets = resets;
    }

    /// Returns the whole socket.
    pub(super) fn reunite(mut self, reading: OwnedReadHalf) -> io::Result<TcpStream> {
        let half = self.half.take().ok_or(io::ErrorKind::NotConnected)?;
        reading.reunite(half).map_err(io::Error::other)
    }
}

impl Deref for Sender {
    type Target = OwnedWriteHalf;

    fn deref(&self) -> &OwnedWriteHalf {
        self.half.as_ref().unwrap_or_else(|| unreachable!("it is there until the drop"))
    }
}

impl DerefMut for Sender {
    fn deref_mut(&mut self) -> &mut OwnedWriteHalf {
        self.half.as_mut().unwrap_or_else(|| unreachable!("it is there until the drop"))
    }
}

impl Drop for Sender {
    fn drop(&mut self) {
        if let Some(half) = self.half.take_if(|_| self.resets) {
            // A close that does not wait for unsent bytes is a reset (RFC 9293 §3.10.4).
            let _ = SockRef::from(half.as_ref()).set_linger(Some(Duration::ZERO));
            half.forget();
        }
    }
}
