//! How much one processor or model may unpack to.

use std::fmt::{self, Display, Formatter};

const MIB: u64 = 1024 * 1024;

/// Generous for a model, small enough that a bomb fills nobody's disk.
const MAX_BYTES: u64 = 1024 * MIB;
/// Directories count too: an archive of nothing else would otherwise be free.
const MAX_ENTRIES: u64 = 10_000;
/// What a tar stream may hold besides the files' bytes: headers and padding.
const TAR_OVERHEAD: u64 = 64 * MIB;

/// What is left of the limits while a directory is read or an archive unpacked.
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

    /// Spends one file or directory.
    pub(super) fn entry(&mut self) -> Result<(), TooMuch> {
        self.entries = self.entries.checked_sub(1).ok_or(TooMuch::Entries(self.max_entries))?;
        Ok(())
    }

    pub(super) fn bytes(&mut self, count: u64) -> Result<(), TooMuch> {
        self.bytes = self.bytes.checked_sub(count).ok_or(TooMuch::Bytes(self.max_bytes))?;
        Ok(())
    }

    /// How far an uncompressed tar stream is read at most.
    pub(super) fn stream_limit(&self) -> u64 {
        self.bytes.saturating_add(TAR_OVERHEAD)
    }
}
