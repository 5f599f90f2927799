//! A catalog and artifacts in memory, which behave as those in the data directory do: for tests, and to prove that
//! nothing outside of storage depends on the data directory.

mod artifacts;
mod catalog;

pub use self::artifacts::MemoryArtifacts;
pub use self::catalog::MemoryCatalog;
