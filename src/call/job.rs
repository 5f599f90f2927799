//! A call that works on an item of a queue: its progress, and the partial results that survive it.

use std::fmt;
use std::pin::Pin;

use bytes::Bytes;

/// The item that a call works on. The queue implements it; the sandbox offers it to the guest.
pub trait Job: fmt::Debug + Send + Sync {
    /// Records how far the work is, for those who look at the item. `fraction` and `note` are as the guest gave them.
    fn report(&self, fraction: f64, note: String);

    /// Keeps a partial result for the next delivery of the item. Ready once it is on disk.
    fn keep_partial(&self, partial: Bytes) -> Keeping<'_>;

    /// The partial result that an earlier delivery has kept.
    fn partial(&self) -> Option<Bytes>;

    /// The number of this delivery, from 1.
    fn delivery(&self) -> u32;
}

/// The end of the keeping of a partial result. The error is a sentence for the guest.
pub type Keeping<'a> = Pin<Box<dyn Future<Output = Result<(), String>> + Send + 'a>>;
