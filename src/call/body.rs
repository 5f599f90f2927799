//! The body of an answer: whole, or a stream.

use bytes::{Bytes, BytesMut};
use http_body_util::BodyExt;
use http_body_util::combinators::UnsyncBoxBody;

/// The bytes of an answer, in pieces. Dropping the stream releases its worker or its connection.
pub type Stream = UnsyncBoxBody<Bytes, Cut>;

/// The body of an answer.
#[derive(Debug)]
pub enum Body {
    Whole(Bytes),
    Stream(Stream),
}

/// The reason why a stream ends early, as it stands in the account of its request.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{cause}")]
pub struct Cut {
    /// The status that the request counts with, which may differ from the status in its head.
    pub status: u16,
    /// The stable code that belongs to the status.
    pub code: &'static str,
    /// The text for the log.
    pub cause: String,
}

/// The result of reading a body to its end: its first bytes, and its length.
#[derive(Debug, PartialEq, Eq)]
pub struct Beginning {
    pub bytes: Bytes,
    /// The number of bytes in the whole body.
    pub length: usize,
}

impl Body {
    /// Returns the bytes of a whole body.
    pub fn whole(&self) -> Option<&Bytes> {
        match self {
            Self::Whole(bytes) => Some(bytes),
            Self::Stream(_) => None,
        }
    }

    /// Reads to the end and keeps the first bytes, at most `most`. There is no timeout: a stream ends by its own
    /// deadline.
    ///
    /// # Errors
    /// If the stream is cut.
    pub async fn read(self, most: usize) -> Result<Beginning, Cut> {
        let mut stream = match self {
            Self::Whole(bytes) => {
                return Ok(Beginning { length: bytes.len(), bytes: bytes.slice(..bytes.len().min(most)) });
            }
            Self::Stream(stream) => stream,
        };
        let (mut kept, mut length) = (BytesMut::new(), 0);
        while let Some(frame) = stream.frame().await {
            let Ok(piece) = frame?.into_data() else { continue };
            length += piece.len();
            kept.extend_from_slice(&piece[..piece.len().min(most - kept.len())]);
        }
        Ok(Beginning { bytes: kept.freeze(), length })
    }
}

impl From<Bytes> for Body {
    fn from(bytes: Bytes) -> Self {
        Self::Whole(bytes)
    }
}

#[cfg(test)]
mod tests {
    use std::convert::Infallible;

    use http_body_util::{Channel, Full};

    use super::*;

    #[tokio::test]
    async fn a_body_is_read_to_its_end_and_as_much_kept_as_is_asked_for() {
        let never = |never: Infallible| match never {};
        for most in [0, 3, 4, 100] {
            let bytes = Bytes::from_static(b"whole");
            let stream = Full::new(bytes.clone()).map_err(never).boxed_unsync();
            for body in [Body::Whole(bytes.clone()), Body::Stream(stream)] {
                let kept = bytes.slice(..most.min(5));
                assert_eq!(body.read(most).await, Ok(Beginning { bytes: kept, length: 5 }));
            }
        }
    }

    #[tokio::test]
    async fn a_stream_that_is_cut_is_not_whole() {
        let (mut sender, stream) = Channel::new(2);
        let cut = Cut { status: 400, code: "fuel_exhausted", cause: "the fuel is used up".into() };
        sender.send_data(Bytes::from_static(b"half")).await.unwrap();
        sender.abort(cut.clone());
        assert_eq!(Body::Stream(stream.boxed_unsync()).read(100).await, Err(cut));
    }
}
