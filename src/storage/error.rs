//! The faults of the data directory: of the disk, of the database and of the files in it.

use std::io;
use std::path::PathBuf;

use super::ByteRange;

/// Why the data directory cannot be used.
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
        "--new-database begins where there is no database, and {} is one; start without the option, or move the file away",
        path.display()
    )]
    DatabaseThere { path: PathBuf },
    /// The disk failed while a change was made to last, and could not be asked since whether it was.
    #[error(
        "the disk failed while the change of service {service:?} was being kept; whether it was is seen when the host is \
         started again"
    )]
    Unknown {
        service: String,
        /// The service's revision if the change was made; `None` if the change was to remove the service.
        made: Option<u64>,
        source: Box<StorageError>,
    },
    /// A service is not at the revision that a change of it was made from. Nothing was changed.
    #[error(
        "service {service:?} was changed by somebody else meanwhile: it was {}, and is {}",
        told(*expected),
        told(*found)
    )]
    Conflict {
        service: String,
        /// The revision that the change was made from; `None` if there was to be no such service.
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
    /// An upload that does not hold what its name says.
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
    /// What was being done and what came in between, for a log that shows one line.
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

    /// True if the disk has failed the database.
    pub(super) fn is_of_the_disk(&self) -> bool {
        match self {
            Self::Database(error) => matches!(**error, redb::Error::Io(_) | redb::Error::PreviousIo),
            Self::DatabaseDamaged { .. } => true,
            _ => false,
        }
    }

    /// Whether there is no room left on the disk, or none for us.
    pub fn is_full(&self) -> bool {
        let full = [io::ErrorKind::StorageFull, io::ErrorKind::QuotaExceeded, io::ErrorKind::FileTooLarge];
        self.io_kind().is_some_and(|kind| full.contains(&kind))
    }

    /// Whether a file would have been larger than this process may make one (`ulimit -f`).
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

/// Says what was being done when an operation of the file system failed.
pub(super) trait Doing<T> {
    fn doing(self, what: impl FnOnce() -> String) -> Result<T, StorageError>;
}

impl<T> Doing<T> for io::Result<T> {
    fn doing(self, what: impl FnOnce() -> String) -> Result<T, StorageError> {
        self.map_err(|source| StorageError::Io { what: what(), source })
    }
}
