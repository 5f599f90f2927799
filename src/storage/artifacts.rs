//! The seam for files that services are made of, each named by the SHA-256 of its bytes.
//!
//! [`super::local`] keeps them in the data directory, and [`super::memory`] in memory. Callers await every answer; an
//! implementation that blocks does so on threads of its own. `suite::artifacts` holds each rule below against every
//! implementation.

use std::collections::HashSet;
use std::path::PathBuf;
use std::time::Duration;

use bytes::Bytes;

use super::{Digest, StorageError, StorageFuture};

/// Uploaded files. An artifact never changes: it is there whole, it is missing, or the store has damaged it.
///
/// In errors, `part` names the role that the file has in a service: `the processor`.
pub trait Artifacts: Send + Sync {
    /// True if an artifact is there and intact; its age then starts anew, so that no sweep removes it before its finder
    /// can commit a record that names it. A damaged one counts as missing, so that it is uploaded again.
    ///
    /// # Errors
    /// The store's own faults.
    fn renew<'a>(&'a self, digest: &'a Digest) -> StorageFuture<'a, bool>;

    /// Begins to receive an artifact of at most `limit` bytes. Nobody sees anything of it before [`Upload::finish`].
    ///
    /// # Errors
    /// The store's own faults.
    fn begin(&self, limit: u64) -> StorageFuture<'_, Box<dyn Upload>>;

    /// The size in bytes of an artifact that is intact.
    ///
    /// # Errors
    /// [`StorageError::Missing`], [`StorageError::Damaged`]; the store's own faults.
    fn size<'a>(&'a self, digest: &'a Digest, part: &'a str) -> StorageFuture<'a, u64>;

    /// Begins to read a range of an artifact that is intact.
    ///
    /// # Errors
    /// As [`Artifacts::size`]; [`StorageError::BadRange`] for a range that ends beyond the artifact or before it begins.
    /// A range of no bytes is read as nothing, also at the very end.
    fn read<'a>(&'a self, digest: &'a Digest, part: &'a str, range: ByteRange) -> StorageFuture<'a, Box<dyn Reader>>;

    /// The path of a file on this machine that has the artifact's bytes, all of them verified. It is read-only, and may be
    /// linked but not written to. It is there as long as the artifact is named or young, and this process runs.
    ///
    /// # Errors
    /// As [`Artifacts::size`].
    fn file<'a>(&'a self, digest: &'a Digest, part: &'a str) -> StorageFuture<'a, PathBuf>;

    /// As [`Artifacts::file`], for a caller that compares the bytes with the digest itself, or may not need them: they
    /// may be damaged.
    ///
    /// # Errors
    /// [`StorageError::Missing`]; the store's own faults.
    fn unverified_file<'a>(&'a self, digest: &'a Digest) -> StorageFuture<'a, PathBuf>;

    /// Removes artifacts that are not in `named` and were neither uploaded nor renewed within `grace`, and unfinished
    /// uploads of that age.
    ///
    /// # Errors
    /// The store's own faults; artifacts that come after the one that cannot be removed may be left.
    fn sweep(&self, named: HashSet<Digest>, grace: Duration) -> StorageFuture<'_, ()>;
}

/// An artifact on its way in. If it is dropped, nothing of it is left. One of whose methods has failed, or was not awaited
/// to its end, can only be dropped.
pub trait Upload: Send {
    /// Adds bytes.
    ///
    /// # Errors
    /// [`StorageError::TooLarge`] once there are more than the limit; the store's own faults. The upload has ended then.
    fn write(&mut self, piece: Bytes) -> StorageFuture<'_, ()>;

    /// Makes the bytes the artifact of that name. One that was there before is replaced, and so is one that was damaged.
    /// The artifact survives the loss of power once this has answered. If the future is dropped, it is there whole or not
    /// at all.
    ///
    /// # Errors
    /// [`StorageError::WrongDigest`] if the bytes do not hash to `expected`; the store's own faults.
    fn finish<'a>(self: Box<Self>, expected: &'a Digest) -> StorageFuture<'a, ()>;
}

/// A range of an artifact that is being read.
pub trait Reader: Send {
    /// The next bytes of the range, at least one; `None` after the last. The bytes of a range come in order.
    ///
    /// # Errors
    /// [`StorageError::Missing`] if the artifact was removed meanwhile and cannot be read to the end,
    /// [`StorageError::Damaged`] if it has become shorter; the store's own faults. A range that cannot be read to its end
    /// never ends as if it was. The reader has ended then.
    fn next(&mut self) -> StorageFuture<'_, Option<Bytes>>;
}

/// A range of bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ByteRange {
    /// The first byte.
    pub start: u64,
    /// The byte after the last one; `None`: the range goes to the end.
    pub end: Option<u64>,
}

impl ByteRange {
    pub const WHOLE: Self = Self { start: 0, end: None };

    /// The range within an artifact of that size.
    pub(super) fn within(self, size: u64, digest: &Digest) -> Result<std::ops::Range<u64>, StorageError> {
        let end = self.end.unwrap_or(size);
        if self.start <= end && end <= size {
            return Ok(self.start..end);
        }
        Err(StorageError::BadRange { sha256: digest.as_str().to_owned(), range: self, size })
    }
}

impl From<std::ops::Range<u64>> for ByteRange {
    fn from(range: std::ops::Range<u64>) -> Self {
        Self { start: range.start, end: Some(range.end) }
    }
}

impl From<std::ops::RangeFrom<u64>> for ByteRange {
    fn from(range: std::ops::RangeFrom<u64>) -> Self {
        Self { start: range.start, end: None }
    }
}

impl std::fmt::Display for ByteRange {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self.end {
            Some(end) => write!(f, "{} to {end}", self.start),
            None => write!(f, "{} to the end", self.start),
        }
    }
}
