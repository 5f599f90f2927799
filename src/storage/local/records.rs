//! The database. The records of services, their versions and the audit log are its tables, so that a change of all
//! three is one transaction.

use std::fs;
use std::io;
use std::ops::RangeInclusive;
use std::path::{Path, PathBuf};
use std::sync::{Mutex, PoisonError};

use redb::{Database, ReadableDatabase, ReadableTable, TableDefinition, TableError, WriteTransaction};
use serde::de::DeserializeOwned;

use super::audit;
use super::database::{Absent, OpenDatabase};
use crate::failpoint;
use crate::storage::error::Doing;
use crate::storage::verified::Inode;
use crate::storage::{Record, StorageError, VersionRecord};

/// Service name → record as JSON.
pub(super) const SERVICES: TableDefinition<'_, &str, &[u8]> = TableDefinition::new("services");
/// Service name and version number → version as JSON.
pub(super) const VERSIONS: TableDefinition<'_, (&str, u64), &[u8]> = TableDefinition::new("versions");

pub(super) struct Records {
    path: PathBuf,
    /// Identifies the file, in case another one replaces it.
    inode: Inode,
    slot: Mutex<Slot>,
}

/// The database between two uses.
struct Slot {
    /// `None` after a failure of the disk, until it is opened again.
    database: Option<OpenDatabase>,
    /// Bytes of the file when it was last used. It never shrinks between two uses.
    length: u64,
}

/// The outcome of an opening.
pub(super) enum Opened {
    There(Records),
    /// There was no database, and one was made.
    New(Records),
    /// There is no database, and none may be made. The text completes the sentence that begins with the file's path.
    Lost(&'static str),
}

/// All versions of a service.
pub(super) fn of_service(service: &str) -> RangeInclusive<(&str, u64)> {
    (service, 0)..=(service, u64::MAX)
}

/// The outcome of a transaction.
pub(super) enum Outcome<T> {
    Keep(T),
    Undo(T),
}

impl Records {
    /// Opens the database. If there is none, makes one, but only if `may_begin` is true.
    pub(super) fn open(path: &Path, may_begin: bool) -> Result<Opened, StorageError> {
        let absent = match fs::metadata(path) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => Some("is missing"),
            // A crash during the first start leaves an empty file.
            Ok(metadata) if metadata.is_file() && metadata.len() == 0 => Some("is empty"),
            Ok(_) => None,
            Err(error) => return Err(error).doing(|| format!("open {}", path.display())),
        };
        if let Some(state) = absent.filter(|_| !may_begin) {
            return Ok(Opened::Lost(state));
        }
        let database = OpenDatabase::open(path, absent.map_or(Absent::Fail, |_| Absent::Create))?;
        let metadata = fs::metadata(path).doing(|| format!("open {}", path.display()))?;
        let slot = Slot { database: Some(database), length: metadata.len() };
        let records = Self { path: path.to_owned(), inode: Inode::from(&metadata), slot: Mutex::new(slot) };
        let is_new = absent.is_some() || records.is_blank()?;
        if is_new && !may_begin {
            return Ok(Opened::Lost("has no tables"));
        }
        // Makes the tables, so that they exist from the first start on.
        records.transact(|transaction| {
            transaction.open_table(SERVICES)?;
            transaction.open_table(VERSIONS)?;
            audit::make(transaction).map(Outcome::Keep)
        })?;
        Ok(if is_new { Opened::New(records) } else { Opened::There(records) })
    }

    /// True if the file has no tables: the first start ended before its first transaction.
    fn is_blank(&self) -> Result<bool, StorageError> {
        self.with(|database| match database.begin_read()?.open_table(SERVICES) {
            Ok(_) => Ok(false),
            Err(TableError::TableDoesNotExist(_)) => Ok(true),
            Err(error) => Err(error.into()),
        })
    }

    pub(super) fn all(&self) -> Result<Vec<Record>, StorageError> {
        let rows = self.with(|database| {
            let table = database.begin_read()?.open_table(SERVICES)?;
            let mut rows = Vec::new();
            for entry in table.iter()? {
                let (name, json) = entry?;
                rows.push((name.value().to_owned(), json.value().to_owned()));
            }
            Ok(rows)
        })?;
        read_all(rows)
    }

    /// All versions that are kept, of all services.
    pub(super) fn all_versions(&self) -> Result<Vec<VersionRecord>, StorageError> {
        self.versions_in(None)
    }

    /// The versions that are kept of a service, oldest first.
    pub(super) fn versions(&self, service: &str) -> Result<Vec<VersionRecord>, StorageError> {
        self.versions_in(Some(service))
    }

    fn versions_in(&self, service: Option<&str>) -> Result<Vec<VersionRecord>, StorageError> {
        let rows = self.with(|database| {
            let table = database.begin_read()?.open_table(VERSIONS)?;
            let range = match service {
                Some(service) => table.range(of_service(service))?,
                None => table.iter()?,
            };
            let mut rows = Vec::new();
            for entry in range {
                let (key, json) = entry?;
                rows.push((key.value().0.to_owned(), json.value().to_owned()));
            }
            Ok(rows)
        })?;
        read_all(rows)
    }

    /// Makes a durable transaction. It is undone if `change` returns an error or [`Outcome::Undo`]. It is committed in
    /// two phases, because a crash during the recovery from an earlier crash must not undo it.
    pub(super) fn transact<T>(
        &self,
        change: impl FnOnce(&WriteTransaction) -> Result<Outcome<T>, redb::Error>,
    ) -> Result<T, StorageError> {
        self.with(|database| {
            let mut transaction = database.begin_write()?;
            transaction.set_two_phase_commit(true);
            match change(&transaction)? {
                Outcome::Keep(value) => {
                    transaction.commit()?;
                    failpoint::is_full("record.committed").map_err(redb::StorageError::Io)?;
                    Ok(value)
                }
                Outcome::Undo(value) => {
                    transaction.abort()?;
                    Ok(value)
                }
            }
        })
    }

    /// Works with the database. After a failure of the disk, the database refuses all work, and its memory may differ
    /// from the disk. So it is closed, and opened again at the next use, as after a crash. A file that is missing or
    /// was replaced is an error until the right file is back.
    pub(super) fn with<T>(&self, work: impl FnOnce(&Database) -> Result<T, redb::Error>) -> Result<T, StorageError> {
        let mut slot = self.slot.lock().unwrap_or_else(PoisonError::into_inner);
        self.check_file(slot.length)?;
        let database = match slot.database.take() {
            Some(database) => database,
            None => OpenDatabase::open(&self.path, Absent::Fail)?,
        };
        let (outcome, database) = database.work(&self.path, work);
        let length = fs::metadata(&self.path).map_or(slot.length, |metadata| metadata.len());
        *slot = Slot { database, length };
        outcome
    }

    /// Checks that the file is still the one that was opened. Data that is written to a file that was deleted, replaced
    /// or truncated would be lost.
    fn check_file(&self, length: u64) -> Result<(), StorageError> {
        let changed = |how| Err(StorageError::DatabaseChanged { path: self.path.clone(), how });
        match fs::metadata(&self.path) {
            Ok(now) if Inode::from(&now) != self.inode => changed("was replaced"),
            Ok(now) if now.len() < length => changed("was cut off"),
            Ok(_) => Ok(()),
            Err(error) if error.kind() == io::ErrorKind::NotFound => changed("was moved away"),
            Err(error) => Err(error).doing(|| format!("open {}", self.path.display())),
        }
    }
}

fn read_all<T: DeserializeOwned>(rows: Vec<(String, Vec<u8>)>) -> Result<Vec<T>, StorageError> {
    let read = |(service, json): (String, Vec<u8>)| {
        serde_json::from_slice(&json).map_err(|source| StorageError::Record { service, source })
    };
    rows.into_iter().map(read).collect()
}

#[cfg(test)]
mod tests;
