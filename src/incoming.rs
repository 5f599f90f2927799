//! A request's body while it arrives, over any protocol.

use std::future::poll_fn;
use std::pin::Pin;
use std::task::{Context, Poll};

use bytes::{Bytes, BytesMut};
use hyper::body::{Body, Frame, SizeHint};

pub enum Incoming {
    /// A complete body, without the bytes that were already handed on.
    Whole(Bytes),
    /// A body of which some or all bytes are still to arrive.
    Arriving(Pin<Box<dyn Arriving>>),
}

/// A body that is still arriving.
pub trait Arriving: Body<Data = Bytes, Error = Broken> + Send {
    /// Appends the next bytes to `whole`. Returns false if no more bytes will arrive.
    fn poll_append(self: Pin<&mut Self>, cx: &mut Context<'_>, whole: &mut BytesMut) -> Poll<Result<bool, Broken>>;
}

/// The reason why a body did not arrive.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Broken {
    /// The client closed the connection in the middle of the body.
    #[error("the client closed in the middle of its request")]
    CutOff,
    /// The chunks are malformed, so that the end of the body is unknown.
    #[error("the chunks of the body are malformed: {0}")]
    Malformed(BadChunks),
}

/// The rule of the chunked coding that a body breaks (RFC 9112 §7.1).
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum BadChunks {
    #[error("a chunk's size is not hexadecimal")]
    SizeNotHexadecimal,
    #[error("a chunk's size has more than 16 digits")]
    SizeTooLarge,
    #[error("a chunk's size is followed by neither an extension nor the end of the line")]
    NoExtension,
    #[error("a chunk's extension is malformed")]
    BadExtension,
    #[error("a line ends without a carriage return")]
    BareLineFeed,
    #[error("a carriage return is not followed by a line feed")]
    BareCarriageReturn,
    #[error("a chunk's data is not followed by the end of the line: it is longer or shorter than its size")]
    DataNotEnded,
    #[error("a trailer line is not `name: value`")]
    BadTrailer,
    #[error("its extensions and trailers are larger than 16384 bytes")]
    TooMuchBeside,
}

impl Incoming {
    pub const fn empty() -> Self {
        Self::Whole(Bytes::new())
    }

    /// As [`Arriving::poll_append`].
    pub async fn append(&mut self, whole: &mut BytesMut) -> Result<bool, Broken> {
        match self {
            Self::Whole(bytes) => {
                whole.extend_from_slice(&std::mem::take(bytes));
                Ok(false)
            }
            Self::Arriving(arriving) => poll_fn(|cx| arriving.as_mut().poll_append(cx, whole)).await,
        }
    }
}

impl Body for Incoming {
    type Data = Bytes;
    type Error = Broken;

    fn poll_frame(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, Broken>>> {
        match &mut *self {
            Self::Whole(bytes) if bytes.is_empty() => Poll::Ready(None),
            Self::Whole(bytes) => Poll::Ready(Some(Ok(Frame::data(std::mem::take(bytes))))),
            Self::Arriving(arriving) => arriving.as_mut().poll_frame(cx),
        }
    }

    fn is_end_stream(&self) -> bool {
        match self {
            Self::Whole(bytes) => bytes.is_empty(),
            Self::Arriving(arriving) => arriving.is_end_stream(),
        }
    }

    fn size_hint(&self) -> SizeHint {
        match self {
            Self::Whole(bytes) => SizeHint::with_exact(bytes.len() as u64),
            Self::Arriving(arriving) => arriving.size_hint(),
        }
    }
}
