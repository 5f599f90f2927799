//! Progress and partial results of long work.
//!
//! A service with `"metadata": {"type": "Async"}` takes its requests from a queue. The host keeps each request on disk
//! until it is answered, so the processor may get it again: after the host has ended, or after the time of
//! `queue.timeout_ms` has passed. Without a partial result the work then begins anew.
//!
//! ```
//! use bulkhead_guest::{Error, Model, Processor, Request, Response, job};
//!
//! /// Adds the squares of 1 to 100.
//! struct Squares;
//!
//! impl Processor for Squares {
//!     fn initialize(_model: &Model) -> Result<Self, Error> {
//!         Ok(Self)
//!     }
//!
//!     fn process(&mut self, _request: Request) -> Result<Response, Error> {
//!         let (mut done, mut sum) = job::partial().and_then(|kept| decode(&kept)).unwrap_or((0, 0));
//!         while done < 100 {
//!             done += 1;
//!             sum += done * done;
//!             job::report(done as f64 / 100.0, format_args!("{done} of 100"));
//!             if done % 10 == 0 {
//!                 job::keep_partial(&encode(done, sum))?;
//!             }
//!         }
//!         Ok(Response::text(sum.to_string()))
//!     }
//! }
//!
//! fn encode(done: u64, sum: u64) -> Vec<u8> {
//!     [done.to_le_bytes(), sum.to_le_bytes()].concat()
//! }
//!
//! fn decode(kept: &[u8]) -> Option<(u64, u64)> {
//!     let (done, sum) = kept.split_first_chunk()?;
//!     Some((u64::from_le_bytes(*done), u64::from_le_bytes(sum.try_into().ok()?)))
//! }
//!
//! bulkhead_guest::export!(Squares);
//!
//! let item = job::simulate(2, Some(encode(99, 328_350)));
//! let response = Squares::initialize(&Model::default())?.process(Request::post(""))?;
//! assert_eq!(response.body, b"338350");
//! assert_eq!(item.reports(), [(1.0, "100 of 100".to_owned())]);
//! # Ok::<(), Error>(())
//! ```
//!
//! In a call that is no item of a queue, nobody hears a report, [`keep_partial`] is an error, and there is nothing in
//! [`partial`].

use std::error;
use std::fmt::{self, Display, Formatter};

#[cfg(target_family = "wasm")]
use crate::bindings::job::bulkhead::processor::job as host;
#[cfg(not(target_family = "wasm"))]
use crate::simulated as host;
#[cfg(not(target_family = "wasm"))]
pub use crate::simulated::{Simulation, simulate};

/// The reason why a partial result was not kept: it is larger than `queue.max_payload_bytes`, another consumer has the
/// item, the storage has failed, or the call is no item of a queue.
///
/// The work can go on without a partial result.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NotKept(String);

/// Says how far the work is: a part from 0 to 1, and a sentence for people. Whoever asks for the item sees the last
/// report.
///
/// A fraction outside of 0 to 1 counts as the nearest one inside. A report whose fraction is no number is ignored. The
/// note is cut after 1 KiB. A report costs little, so call this after each step.
pub fn report(fraction: f64, note: impl Display) {
    host::report(fraction, &note.to_string());
}

/// Keeps a partial result, in place of the one before, for the case that this item is delivered again. It is on disk
/// when this function returns.
///
/// The host writes all of `data` each time. So keep a partial result about once a second, or as often as the work since
/// the last one is worth it.
///
/// # Errors
/// Says why it was not kept.
pub fn keep_partial(data: &[u8]) -> Result<(), NotKept> {
    host::keep_partial(data).map_err(NotKept)
}

/// Returns the partial result that an earlier delivery of this item kept last.
///
/// It may be from an earlier version of the processor. So begin it with the number of its format, and begin anew if the
/// number is another one.
#[must_use]
pub fn partial() -> Option<Vec<u8>> {
    host::partial()
}

/// Returns the number of this delivery: 1 for the first, 0 for a call that is no item of a queue.
///
/// A delivery that the host took back does not count: because the host was told to end, or because the version was
/// replaced. So a partial result may exist at delivery 1.
#[must_use]
pub fn delivery() -> u32 {
    host::delivery()
}

impl Display for NotKept {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl error::Error for NotKept {}
