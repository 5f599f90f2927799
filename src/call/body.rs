//! The body of an answer: whole, or a stream.

use std::collections::VecDeque;
use std::pin::Pin;
use std::task::{Context, Poll, Waker};

use bytes::{Bytes, BytesMut};
use http_body_util::BodyExt;
use http_body_util::combinators::UnsyncBoxBody;
use hyper::body::{Body as _, Frame};

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
    /// The status that the request counts with, which may differ from the status in its head. 0 stands for the service's
    /// own status for faults.
    pub status: u16,
    /// The stable code that belongs to the status.
    pub code: &'static str,
    /// The text for the log.
    pub cause: String,
}

impl Cut {
    /// The end of a stream that its guest has given up.
    pub fn by_guest(cause: String) -> Self {
        Self { status: 0, code: "processor_exception", cause }
    }
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

/// Turns a stream into a whole body if all its pieces are there. Otherwise, and if it has trailers, it stays a stream with
/// the same pieces.
///
/// # Errors
/// If the stream is cut.
pub fn collect_ready(mut stream: Stream) -> Result<Body, Cut> {
    let (mut pieces, mut cx) = (Vec::new(), Context::from_waker(Waker::noop()));
    loop {
        match Pin::new(&mut stream).poll_frame(&mut cx) {
            Poll::Ready(Some(Ok(frame))) if frame.is_data() => pieces.extend(frame.into_data()),
            Poll::Ready(None) => return Ok(Body::Whole(joined(pieces))),
            Poll::Ready(Some(Err(cut))) => return Err(cut),
            Poll::Ready(Some(Ok(trailers))) => return Ok(resumed(pieces, Some(trailers), stream)),
            Poll::Pending => return Ok(resumed(pieces, None, stream)),
        }
    }
}

/// Returns a stream with the frames that were read ahead.
fn resumed(pieces: Vec<Bytes>, next: Option<Frame<Bytes>>, rest: Stream) -> Body {
    let ahead = pieces.into_iter().map(Frame::data).chain(next).collect();
    Body::Stream(Resumed { ahead, rest }.boxed_unsync())
}

fn joined(mut pieces: Vec<Bytes>) -> Bytes {
    match pieces.len() {
        1 => pieces.remove(0),
        _ => pieces.concat().into(),
    }
}

/// A stream of which some frames were read ahead.
struct Resumed {
    ahead: VecDeque<Frame<Bytes>>,
    rest: Stream,
}

impl hyper::body::Body for Resumed {
    type Data = Bytes;
    type Error = Cut;

    fn poll_frame(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, Cut>>> {
        match self.ahead.pop_front() {
            Some(frame) => Poll::Ready(Some(Ok(frame))),
            None => Pin::new(&mut self.rest).poll_frame(cx),
        }
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
    async fn a_stream_whose_pieces_are_there_is_a_whole_body() {
        let frames = |frames: Vec<Result<Frame<Bytes>, Cut>>| {
            http_body_util::StreamBody::new(futures_util::stream::iter(frames)).boxed_unsync()
        };
        let piece = |text: &'static str| Ok(Frame::data(Bytes::from_static(text.as_bytes())));
        for (pieces, whole) in [(vec![], ""), (vec!["one"], "one"), (vec!["one", "two"], "onetwo")] {
            let body = collect_ready(frames(pieces.into_iter().map(piece).collect())).unwrap();
            assert_eq!(body.whole().unwrap(), whole);
        }
        let cut = Cut::by_guest("it failed".into());
        let is_cut = collect_ready(frames(vec![piece("half"), Err(cut.clone())]));
        assert_eq!(is_cut.unwrap_err(), cut);
        let trailers = Ok(Frame::trailers(http::HeaderMap::new()));
        let Ok(Body::Stream(mut stream)) = collect_ready(frames(vec![piece("a"), trailers])) else {
            panic!("it is a stream")
        };
        assert!(stream.frame().await.unwrap().unwrap().is_data());
        assert!(stream.frame().await.unwrap().unwrap().is_trailers());
        assert!(stream.frame().await.is_none());

        let (mut sender, stream) = Channel::new(2);
        sender.send_data(Bytes::from_static(b"half")).await.unwrap();
        let body = collect_ready(stream.boxed_unsync()).unwrap();
        drop(sender);
        assert_eq!(body.read(100).await, Ok(Beginning { bytes: Bytes::from_static(b"half"), length: 4 }));
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
