//! The items of a watch, as they come.

use bytes::{Buf, Bytes, BytesMut};
use http_body_util::BodyExt;
use hyper::body::Incoming;

use super::{Entry, wire};
use crate::Error;
use crate::error::{Unread, Unreadable};
use crate::pool::Connection;

/// Most bytes of an item: the largest `queue.max_payload_bytes` of a Bulkhead, and its tags.
const MOST_BYTES: usize = 65 << 20;
/// Bytes of the length before each item.
const PREFIX: usize = 4;

/// The items of a watch. When it is dropped, the consumer leaves, and what it has not committed is delivered again.
pub struct Entries {
    body: Incoming,
    read: BytesMut,
    // The connection is closed with it.
    _connection: Connection,
}

impl Entries {
    pub(super) fn new(connection: Connection, body: Incoming) -> Self {
        Self { body, read: BytesMut::new(), _connection: connection }
    }

    /// Waits for the next item; `None` if the queue has ended. Dropping the future loses nothing.
    ///
    /// # Errors
    /// [`Error::Response`] if the connection ends, or what comes is not an item. The watch is over then; begin another.
    pub async fn next(&mut self) -> Result<Option<Entry>, Error> {
        loop {
            if let Some(item) = self.whole()? {
                return wire::entry(item).map(Some).map_err(|why| unreadable(Unread::Malformed(why)));
            }
            match self.body.frame().await {
                Some(Ok(frame)) => {
                    if let Ok(data) = frame.into_data() {
                        self.read.extend_from_slice(&data);
                    }
                }
                Some(Err(error)) => return Err(unreadable(Unread::BrokenOff(error.to_string()))),
                None if self.read.is_empty() => return Ok(None),
                None => return Err(unreadable(Unread::BrokenOff("the stream ends within an item".to_owned()))),
            }
        }
    }

    /// The next item, if all of it has come.
    fn whole(&mut self) -> Result<Option<Bytes>, Error> {
        let Some(prefix) = self.read.first_chunk::<PREFIX>() else { return Ok(None) };
        let length = u32::from_be_bytes(*prefix) as usize;
        if length > MOST_BYTES {
            return Err(unreadable(Unread::TooLarge { limit: MOST_BYTES }));
        }
        if self.read.len() < PREFIX + length {
            self.read.reserve(PREFIX + length - self.read.len());
            return Ok(None);
        }
        self.read.advance(PREFIX);
        Ok(Some(self.read.split_to(length).freeze()))
    }
}

fn unreadable(why: Unread) -> Error {
    Error::Response(Unreadable { status: 200, why })
}
