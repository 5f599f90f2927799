//! Limits on the unpacked size of a processor or a model.

use std::fmt::{self, Display, Formatter};

const MIB: u64 = 1024 * 1024;

/// Large enough for a model, small enough that a compression bomb does not fill the disk.
const MAX_BYTES: u64 = 1024 * MIB;
/// Most files and directories. Directories count, so that an archive of directories alone is limited as well.
const MAX_ENTRIES: u64 = 10_000;
/// Most bytes of a tar stream besides the content of files: headers and padding.
const TAR_OVERHEAD: u64 = 64 * MIB;

/// The remaining bytes and entries while a directory is read or an archive is unpacked.
#[derive(Debug)]
pub(super) struct Budget {
    bytes: u64,
    entries: u64,
    max_bytes: u64,
    max_entries: u64,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum TooMuch {
    Bytes(u64),
    Entries(u64),
}

impl Display for TooMuch {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        match self {
            Self::Bytes(max) => write!(f, "holds more than {} MiB", max / MIB),
            Self::Entries(max) => write!(f, "holds more than {max} files and directories"),
        }
    }
}

impl Default for Budget {
    fn default() -> Self {
        Self::new(MAX_BYTES, MAX_ENTRIES)
    }
}

impl Budget {
    pub(super) fn new(max_bytes: u64, max_entries: u64) -> Self {
        Self { bytes: max_bytes, entries: max_entries, max_bytes, max_entries }
    }

    /// Counts one file or directory.
    pub(super) fn entry(&mut self) -> Result<(), TooMuch> {
        self.entries = self.entries.checked_sub(1).ok_or(TooMuch::Entries(self.max_entries))?;
        Ok(())
    }

    pub(super) fn bytes(&mut self, count: u64) -> Result<(), TooMuch> {
        self.bytes = self.bytes.checked_sub(count).ok_or(TooMuch::Bytes(self.max_bytes))?;
        Ok(())
    }

    /// Most bytes of an uncompressed tar stream that are read.
    pub(super) fn stream_limit(&self) -> u64 {
        self.bytes.saturating_add(TAR_OVERHEAD)
    }
}
