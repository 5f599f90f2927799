//! Answers that are sent in pieces, while the processor still works.
//!
//! ```
//! use bulkhead_guest::{Error, Model, Processor, Request, Response, stream};
//!
//! /// Counts to the number in the request, one line after the other.
//! struct Count;
//!
//! impl Processor for Count {
//!     fn initialize(_model: &Model) -> Result<Self, Error> {
//!         Ok(Self)
//!     }
//!
//!     fn process(&mut self, request: Request) -> Result<Response, Error> {
//!         let end: u32 = str::from_utf8(&request.body)?.parse()?;
//!         let mut stream = Response::text("").stream()?;
//!         for number in 1..=end {
//!             stream.write(format!("{number}\n"))?;
//!         }
//!         Ok(stream.finish())
//!     }
//! }
//!
//! bulkhead_guest::export!(Count);
//!
//! let caller = stream::simulate();
//! Count::initialize(&Model::default())?.process(Request::post("3"))?;
//! assert_eq!(caller.received(), b"1\n2\n3\n");
//! # Ok::<(), Error>(())
//! ```
//!
//! Check the request before [`Response::stream`]: an error from [`Processor::process`](crate::Processor::process)
//! before it is an ordinary answer with a status. An error or a panic after it cuts the answer off, so that the caller
//! cannot take it for complete.
//!
//! The host allows `sandbox.stream_idle_ms` from one piece to the next, and `sandbox.stream_total_ms` for the whole
//! answer. When the caller leaves, [`Stream::write`] fails. The host stops the call a tenth of a second later; a
//! processor that returns before is used again.
//!
//! [`Events`] writes server-sent events.

use std::error;
use std::fmt::{self, Display, Formatter};
use std::io;
use std::marker::PhantomData;

#[cfg(target_family = "wasm")]
use crate::bindings::streaming::bulkhead::processor::streaming as host;
pub use crate::events::{Event, Events};
#[cfg(not(target_family = "wasm"))]
use crate::simulated_caller as host;
#[cfg(not(target_family = "wasm"))]
pub use crate::simulated_caller::{Simulation, simulate};
use crate::{Error, Response};

/// An answer whose head has been sent. [`Response::stream`] begins one.
#[derive(Debug)]
#[must_use = "`finish` makes the response that `process` returns"]
pub struct Stream(PhantomData<*const ()>);

/// Nobody reads the answer any more: the caller has left.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Abandoned;

impl Response {
    /// Sends the status and the headers of this response at once, and its body, if it has one, as the first piece.
    ///
    /// # Errors
    ///
    /// The status or a header is not valid, the call is one of a batch, or its answer has begun already.
    pub fn stream(self) -> Result<Stream, Error> {
        let Self { status, content_type, headers, body } = self;
        host::begin(status, content_type.as_deref(), &headers).map_err(|reason| Error::new(0, reason))?;
        let mut stream = Stream(PhantomData);
        stream.write(body)?;
        Ok(stream)
    }
}

impl Stream {
    /// Sends a piece of the body. Waits while the caller takes less than it gets. An empty piece is not sent.
    ///
    /// # Errors
    ///
    /// The caller has left.
    pub fn write(&mut self, piece: impl AsRef<[u8]>) -> Result<(), Abandoned> {
        host::write(piece.as_ref()).map_err(|()| Abandoned)
    }

    /// True if the caller has left. For work that takes long between two pieces.
    #[must_use]
    pub fn is_abandoned(&self) -> bool {
        host::is_abandoned()
    }

    /// Makes the response that `process` returns once everything is written.
    #[must_use = "`process` returns this response"]
    pub fn finish(self) -> Response {
        Response::new(Vec::new())
    }
}

/// Sends every buffer as a piece. Use a [`BufWriter`](io::BufWriter) for many small writes.
impl io::Write for Stream {
    fn write(&mut self, buffer: &[u8]) -> io::Result<usize> {
        Self::write(self, buffer).map_err(|abandoned| io::Error::new(io::ErrorKind::BrokenPipe, abandoned))?;
        Ok(buffer.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl Display for Abandoned {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        f.write_str("the caller has left")
    }
}

impl error::Error for Abandoned {}

#[cfg(test)]
mod tests {
    use std::io::Write as _;

    use super::*;

    #[test]
    fn a_response_with_a_body_begins_with_it() {
        let caller = simulate();
        let response = Response::text("one").with_status(201).with_header("x-part", "a");
        let mut stream = response.stream().unwrap();
        stream.write("two").unwrap();
        write!(stream, "{}", 3).unwrap();
        assert_eq!(stream.finish(), Response::new(""));
        let head = caller.head().unwrap();
        assert_eq!((head.status, head.content_type.as_deref()), (201, Some("text/plain; charset=utf-8")));
        assert_eq!(head.headers, [("x-part".to_owned(), "a".to_owned())]);
        assert_eq!(caller.pieces(), [&b"one"[..], b"two", b"3"]);
    }

    #[test]
    fn an_answer_begins_once() {
        let _caller = simulate();
        let _stream = Response::text("").stream().unwrap();
        assert_eq!(Response::text("").stream().unwrap_err().message(), "the answer has begun already");
    }

    #[test]
    fn a_caller_that_has_left_gets_nothing_more() {
        let caller = simulate();
        let mut stream = Response::text("a").stream().unwrap();
        assert!(!stream.is_abandoned());
        caller.leave();
        assert!(stream.is_abandoned());
        assert_eq!(Stream::write(&mut stream, "b"), Err(Abandoned));
        assert_eq!(write!(stream, "b").unwrap_err().kind(), io::ErrorKind::BrokenPipe);
        assert_eq!(caller.received(), b"a");
    }

    #[test]
    fn without_a_caller_there_is_nothing_to_begin() {
        assert!(Response::text("").stream().unwrap_err().message().contains("stream::simulate"));
    }
}
