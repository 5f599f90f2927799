//! The body of a reply: whole, or a stream.

use bytes::Bytes;
use hyper::body::Body;

use crate::outcome::Streamed;

pub(crate) enum Content<S = Streamed> {
    Whole(Bytes),
    Stream(Box<S>),
    /// Omitted from the answer to HEAD, with an unknown length.
    Unknown,
}

impl<S: Body> Content<S> {
    /// Returns its length, if that is known before its end.
    pub(in crate::front) fn length(&self) -> Option<u64> {
        match self {
            Self::Whole(bytes) => Some(bytes.len() as u64),
            Self::Stream(stream) => stream.size_hint().exact(),
            Self::Unknown => None,
        }
    }

    /// Returns the number of bytes that are known to be sent.
    pub(in crate::front) fn len(&self) -> usize {
        match self {
            Self::Whole(bytes) => bytes.len(),
            Self::Stream(_) | Self::Unknown => 0,
        }
    }
}
