//! The catalog and the artifacts in the data directory: a database, and files.

pub(super) mod artifacts;
mod audit;
mod database;
pub(super) mod records;
