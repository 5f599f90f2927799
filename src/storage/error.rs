//! The faults of the data directory: of the disk, of the database and of the files in it.

use std::io;
use std::path::PathBuf;

use super::ByteRange;

/// The reason why the data directory cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum StorageError {
    #[error("cannot {what}")]
    Io { what: String, source: io::Error },
    #[error("the database of the data directory failed")]
    Database(#[source] Box<redb::Error>),
    /// The database's file is damaged.
    #[error(
        "the database {} is damaged: {reason}; restore it from a backup, or move it away and start with --new-database, \
         without any service",
        path.display()
    )]
    DatabaseDamaged { path: PathBuf, reason: String },
    /// The file of the key-value stores is damaged.
    #[error(
        "the key-value stores {} are damaged: {reason}; restore the file from a backup, or remove it: all stores are \
         empty then",
        path.display()
    )]
    StoresDamaged { path: PathBuf, reason: String },
    /// The database is gone, but files of services are still there.
    #[error(
        "the database {} {state}, and files of services lie beside it, such as {}; restore it from a backup, or start \
         with --new-database, without any service: files that no service names are then removed",
        path.display(),
        beside.display()
    )]
    DatabaseLost {
        path: PathBuf,
        /// Completes the sentence that begins with the path.
        state: &'static str,
        /// One of the files.
        beside: PathBuf,
    },
    /// The database's file was moved, replaced or cut off while it was open.
    #[error(
        "the database {} {how} while the host runs; put the file back as it was, or start the host again",
        path.display()
    )]
    DatabaseChanged {
        path: PathBuf,
        /// Completes the sentence that begins with the path.
        how: &'static str,
    },
    /// A new database was asked for, but there is one.
    #[error(
        "--new-database makes a database where there is none, but {} exists; start without the option, or move the file \
         away",
        path.display()
    )]
    DatabaseThere { path: PathBuf },
    /// The disk failed while a change was being stored, and it could not be found out whether the change was stored.
    #[error(
        "the disk failed while the change of service {service:?} was being stored; the next start of the host shows \
         whether it was stored"
    )]
    Unknown {
        service: String,
        /// The service's revision if the change was made; `None` if the change was to remove the service.
        made: Option<u64>,
        source: Box<StorageError>,
    },
    /// A service is not at the revision that a change of it was made from. Nothing was changed.
    #[error(
        "service {service:?} was changed by another client in the meantime: it was {}, and is {}",
        told(*expected),
        told(*found)
    )]
    Conflict {
        service: String,
        /// The revision that the change was made from; `None` if it expected no such service.
        expected: Option<u64>,
        /// The present revision; `None` if there is no such service.
        found: Option<u64>,
    },
    /// A record that this version of the host cannot read.
    #[error("the record of service {service:?} cannot be read")]
    Record { service: String, source: serde_json::Error },
    /// A file that a record names is gone.
    #[error("artifact {sha256} is not there; upload it first")]
    Missing { sha256: String },
    /// A file that a record names no longer hashes to its name.
    #[error("{part} is damaged (artifact {sha256}): {reason}; upload it again")]
    Damaged {
        /// The role of the file in the service.
        part: String,
        sha256: String,
        reason: String,
    },
    /// Model files that cannot be placed in one directory.
    #[error("{reason}")]
    BadModel { reason: String },
    /// An upload whose SHA-256 is not the one in its name.
    #[error("the upload's SHA-256 is {found}, its name says {expected}")]
    WrongDigest { expected: String, found: String },
    #[error("the upload is larger than {} MiB", limit >> 20)]
    TooLarge { limit: u64 },
    /// A range that is not inside the artifact.
    #[error("bytes {range} are not in artifact {sha256}, which has {size} bytes")]
    BadRange {
        sha256: String,
        range: ByteRange,
        /// Bytes of the artifact.
        size: u64,
    },
}

fn told(revision: Option<u64>) -> String {
    revision.map_or_else(|| "absent".to_owned(), |revision| format!("at revision {revision}"))
}

impl StorageError {
    /// The error and its cause in one line, for the log.
    pub fn with_source(&self) -> String {
        match std::error::Error::source(self) {
            Some(source) => format!("{self}: {source}"),
            None => self.to_string(),
        }
    }

    /// True if another process uses the data directory.
    pub fn is_in_use(&self) -> bool {
        matches!(self, Self::Database(error) if matches!(**error, redb::Error::DatabaseAlreadyOpen))
    }

    /// True if the database failed because of the disk.
    pub(super) fn is_of_the_disk(&self) -> bool {
        match self {
            Self::Database(error) => matches!(**error, redb::Error::Io(_) | redb::Error::PreviousIo),
            Self::DatabaseDamaged { .. } | Self::StoresDamaged { .. } => true,
            _ => false,
        }
    }

    /// True if there is no room left on the disk, or none for this process.
    pub fn is_full(&self) -> bool {
        let full = [io::ErrorKind::StorageFull, io::ErrorKind::QuotaExceeded, io::ErrorKind::FileTooLarge];
        self.io_kind().is_some_and(|kind| full.contains(&kind))
    }

    /// True if a file would have been larger than this process may make one (`ulimit -f`).
    pub fn is_over_file_limit(&self) -> bool {
        self.io_kind() == Some(io::ErrorKind::FileTooLarge)
    }

    fn io_kind(&self) -> Option<io::ErrorKind> {
        let error = match self {
            Self::Io { source, .. } => source,
            Self::Database(error) => match &**error {
                redb::Error::Io(source) => source,
                _ => return None,
            },
            Self::DatabaseDamaged { .. }
            | Self::StoresDamaged { .. }
            | Self::DatabaseLost { .. }
            | Self::DatabaseChanged { .. }
            | Self::DatabaseThere { .. }
            | Self::Unknown { .. }
            | Self::Conflict { .. }
            | Self::Record { .. }
            | Self::Missing { .. }
            | Self::Damaged { .. }
            | Self::BadModel { .. }
            | Self::WrongDigest { .. }
            | Self::TooLarge { .. }
            | Self::BadRange { .. } => return None,
        };
        Some(error.kind())
    }
}

/// Adds the operation that was tried to an error of the file system.
pub(super) trait Doing<T> {
    fn doing(self, what: impl FnOnce() -> String) -> Result<T, StorageError>;
}

impl<T> Doing<T> for io::Result<T> {
    fn doing(self, what: impl FnOnce() -> String) -> Result<T, StorageError> {
        self.map_err(|source| StorageError::Io { what: what(), source })
    }
}
