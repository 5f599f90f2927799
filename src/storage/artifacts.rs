//! The trait for the files of services, each named by the SHA-256 of its bytes.
//!
//! [`super::local`] keeps them in the data directory, and [`super::memory`] in memory. Callers await every answer; an
//! implementation that blocks does so on threads of its own. `suite::artifacts` tests each rule below with every
//! implementation.

use std::collections::HashSet;
use std::path::PathBuf;
use std::time::Duration;

use bytes::Bytes;

use super::{Digest, StorageError, StorageFuture};

/// Uploaded files. An artifact never changes: it is complete, or it is missing, or the store has damaged it.
///
/// In errors, `part` is the role of the file in a service, such as `the processor`.
pub trait Artifacts: Send + Sync {
    /// True if an artifact exists and is intact. Its age then starts again, so that no sweep removes it before the
    /// caller can commit a record that names it. A damaged artifact counts as missing, so that it is uploaded again.
    ///
    /// # Errors
    /// The store's own faults.
    fn renew<'a>(&'a self, digest: &'a Digest) -> StorageFuture<'a, bool>;

    /// Begins to receive an artifact of at most `limit` bytes. It is not visible before [`Upload::finish`].
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
    /// As [`Artifacts::size`]; [`StorageError::BadRange`] for a range that ends after the end of the artifact or before
    /// its own start. An empty range is valid, also at the very end.
    fn read<'a>(&'a self, digest: &'a Digest, part: &'a str, range: ByteRange) -> StorageFuture<'a, Box<dyn Reader>>;

    /// The path of a file on this machine that has the artifact's bytes, all of them verified. It is read-only, and may
    /// be linked but not written to. It exists while this process runs, as long as a version names the artifact or the
    /// artifact is young.
    ///
    /// # Errors
    /// As [`Artifacts::size`].
    fn file<'a>(&'a self, digest: &'a Digest, part: &'a str) -> StorageFuture<'a, PathBuf>;

    /// As [`Artifacts::file`], but the bytes are not verified and may be damaged. It is for a caller that compares them
    /// with the digest itself, or may not need them.
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

/// An upload of an artifact. If it is dropped, nothing of it is left. Once a method has failed, or its future was
/// dropped, the upload can only be dropped.
pub trait Upload: Send {
    /// Adds bytes.
    ///
    /// # Errors
    /// [`StorageError::TooLarge`] once there are more bytes than the limit; the store's own faults. The upload has then
    /// ended.
    fn write(&mut self, piece: Bytes) -> StorageFuture<'_, ()>;

    /// Stores the bytes as the artifact with the name `expected`. An existing one is replaced, also if it is damaged.
    /// Once this returns, the artifact survives a power failure. If the future is dropped, the artifact is stored
    /// completely or not at all.
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
    /// [`StorageError::Missing`] if the artifact was removed in the meantime and cannot be read to the end,
    /// [`StorageError::Damaged`] if it has become shorter; the store's own faults. A range that cannot be read
    /// completely ends with an error, never with `None`. The reader has then ended.
    fn next(&mut self) -> StorageFuture<'_, Option<Bytes>>;
}

/// A range of bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ByteRange {
    /// The first byte.
    pub start: u64,
    /// The byte after the last one; `None` if the range goes to the end.
    pub end: Option<u64>,
}

impl ByteRange {
    pub const WHOLE: Self = Self { start: 0, end: None };

    /// The range within an artifact of this size.
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
