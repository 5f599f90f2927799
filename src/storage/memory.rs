//! A catalog and artifacts in memory, which behave like those in the data directory. They are for tests, and prove that
//! nothing outside of storage depends on the data directory.

mod artifacts;
mod catalog;

pub use self::artifacts::MemoryArtifacts;
pub use self::catalog::MemoryCatalog;
