//! The body of a reply: here, or still coming.

use bytes::Bytes;
use hyper::body::Body;

use crate::outcome::Streamed;

pub(crate) enum Content<S = Streamed> {
    Whole(Bytes),
    Stream(Box<S>),
    /// Left out of the answer to HEAD, and of a length that is not known.
    Unknown,
}

impl<S: Body> Content<S> {
    /// Its length, where that is known before its end.
    pub(in crate::front) fn length(&self) -> Option<u64> {
        match self {
            Self::Whole(bytes) => Some(bytes.len() as u64),
            Self::Stream(stream) => stream.size_hint().exact(),
            Self::Unknown => None,
        }
    }

    /// Bytes that are known to be sent.
    pub(in crate::front) fn len(&self) -> usize {
        match self {
            Self::Whole(bytes) => bytes.len(),
            Self::Stream(_) | Self::Unknown => 0,
        }
    }
}
