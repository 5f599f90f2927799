//! Which services exist, one record each, and the versions that each of them has had: two tables of one database, so
//! that a change of both is one transaction.

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
use crate::storage::{Entry, Record, StorageError, VersionRecord};

/// Service name → record as JSON.
const SERVICES: TableDefinition<'_, &str, &[u8]> = TableDefinition::new("services");
/// Service name and version number → version as JSON.
const VERSIONS: TableDefinition<'_, (&str, u64), &[u8]> = TableDefinition::new("versions");

/// Versions of a service that are kept, those at work included. Each keeps its files, and machine code and an image
/// besides, so that going back to it is quick: some megabytes each, and a week or two of a busy team's work.
pub const VERSIONS_KEPT: usize = 10;

pub(in crate::storage) struct Records {
    path: PathBuf,
    /// Identifies the file, in case another one replaces it.
    inode: Inode,
    slot: Mutex<Slot>,
}

/// The database between two uses.
struct Slot {
    /// `None` after a failure of the disk, until it is opened anew.
    database: Option<OpenDatabase>,
    /// Bytes of the file when it was last used. It never shrinks between two uses.
    length: u64,
}

/// The outcome of an opening.
pub(in crate::storage) enum Opened {
    There(Records),
    /// There was none, and now there is.
    New(Records),
    /// There is none, and a new one must not be made; completes the sentence that begins with the file's path.
    Lost(&'static str),
}

/// A change, and its entry in the audit log.
struct Edit<'a> {
    what: What<'a>,
    /// Its number is known once the edit has been tried, and stays if it is tried again.
    entry: Entry,
    /// The record with that number, as JSON.
    json: Option<Vec<u8>>,
}

/// What a transaction does.
enum What<'a> {
    /// The record, and the version that comes with it as JSON.
    Put {
        record: &'a Record,
        version: Option<(u64, &'a [u8])>,
    },
    Remove {
        service: &'a str,
    },
}

impl Edit<'_> {
    fn service(&self) -> &str {
        match self.what {
            What::Put { record, .. } => &record.name,
            What::Remove { service } => service,
        }
    }

    fn make(&mut self, transaction: &WriteTransaction) -> Result<(), redb::Error> {
        if self.entry.number == 0 {
            self.entry.number = audit::next_number(transaction)?;
        }
        audit::append(transaction, &self.entry)?;
        let mut services = transaction.open_table(SERVICES)?;
        let mut versions = transaction.open_table(VERSIONS)?;
        match self.what {
            What::Put { record, version } => {
                let revised = Record { revision: self.entry.number, ..record.clone() };
                let json = serde_json::to_vec(&revised).expect("a record is plain JSON");
                services.insert(record.name.as_str(), json.as_slice())?;
                if let Some((number, json)) = version {
                    versions.insert((record.name.as_str(), number), json)?;
                }
                forget_old(&mut versions, record)?;
                self.json = Some(json);
            }
            What::Remove { service } => {
                services.remove(service)?;
                versions.retain_in(of_service(service), |_, _| false)?;
            }
        }
        Ok(())
    }
}

/// All versions of a service.
fn of_service(service: &str) -> RangeInclusive<(&str, u64)> {
    (service, 0)..=(service, u64::MAX)
}

/// Forgets the oldest versions beyond those that are kept; one that answers requests is not forgotten.
fn forget_old(versions: &mut redb::Table<'_, (&str, u64), &[u8]>, record: &Record) -> Result<(), redb::Error> {
    let service = record.name.as_str();
    let mut kept = Vec::new();
    for entry in versions.range(of_service(service))? {
        kept.push(entry?.0.value().1);
    }
    let mut surplus = kept.len().saturating_sub(VERSIONS_KEPT);
    for number in kept.into_iter().filter(|number| !record.is_at_work(*number)) {
        if surplus == 0 {
            break;
        }
        versions.remove((service, number))?;
        surplus -= 1;
    }
    Ok(())
}

impl Records {
    /// Opens the database. If there is none, makes one, but only if `may_begin` is true.
    pub(in crate::storage) fn open(path: &Path, may_begin: bool) -> Result<Opened, StorageError> {
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
        // The tables are there from the first start on.
        records.transact(|transaction| {
            transaction.open_table(SERVICES)?;
            transaction.open_table(VERSIONS)?;
            audit::make(transaction)
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

    pub(in crate::storage) fn all(&self) -> Result<Vec<Record>, StorageError> {
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

    /// Every version that is kept of any service.
    pub(in crate::storage) fn all_versions(&self) -> Result<Vec<VersionRecord>, StorageError> {
        self.versions_in(None)
    }

    /// The versions that are kept of a service, oldest first.
    pub(in crate::storage) fn versions(&self, service: &str) -> Result<Vec<VersionRecord>, StorageError> {
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

    /// Makes `record` the service's, keeps `version` where one is new, and adds `entry` to the audit log: all or nothing.
    /// Answers the entry's number, which is the service's revision from now on.
    pub(in crate::storage) fn put(
        &self,
        record: &Record,
        version: Option<&VersionRecord>,
        entry: &Entry,
    ) -> Result<u64, StorageError> {
        let failed = |source| StorageError::Record { service: record.name.clone(), source };
        let version = match version {
            Some(version) => Some((version.number, serde_json::to_vec(version).map_err(failed)?)),
            None => None,
        };
        let version = version.as_ref().map(|(number, json)| (*number, json.as_slice()));
        self.write(Edit { what: What::Put { record, version }, entry: entry.clone(), json: None })
    }

    pub(in crate::storage) fn remove(&self, service: &str, entry: &Entry) -> Result<u64, StorageError> {
        self.write(Edit { what: What::Remove { service }, entry: entry.clone(), json: None })
    }

    /// Makes an edit. Where the disk fails at the very end of it, the change may be there all the same: what is on disk
    /// decides, and it is written again, because a disk that has failed to make a change last has not said that it
    /// lasts.
    fn write(&self, mut edit: Edit<'_>) -> Result<u64, StorageError> {
        let Err(error) = self.change(&mut edit) else { return Ok(edit.entry.number) };
        if !error.is_of_the_disk() {
            return Err(error);
        }
        let made = match self.kept(edit.service()) {
            Ok(kept) if kept != edit.json => return Err(error),
            Ok(_) => failpoint::is_full("record.again").is_ok() && self.change(&mut edit).is_ok(),
            Err(_) => false,
        };
        if made {
            return Ok(edit.entry.number);
        }
        Err(StorageError::Unknown { service: edit.service().to_owned(), source: Box::new(error) })
    }

    fn change(&self, edit: &mut Edit<'_>) -> Result<(), StorageError> {
        self.transact(|transaction| {
            edit.make(transaction)?;
            failpoint::reach("record.commit");
            failpoint::is_full("record.full").map_err(redb::Error::Io)
        })
    }

    fn kept(&self, service: &str) -> Result<Option<Vec<u8>>, StorageError> {
        self.with(|database| {
            let table = database.begin_read()?.open_table(SERVICES)?;
            Ok(table.get(service)?.map(|json| json.value().to_owned()))
        })
    }

    /// One durable transaction. Two phases: a crash during recovery from an earlier crash must not undo it.
    pub(in crate::storage) fn transact(
        &self,
        change: impl FnOnce(&WriteTransaction) -> Result<(), redb::Error>,
    ) -> Result<(), StorageError> {
        self.with(|database| {
            let mut transaction = database.begin_write()?;
            transaction.set_two_phase_commit(true);
            change(&transaction)?;
            transaction.commit()?;
            Ok(failpoint::is_full("record.committed").map_err(redb::StorageError::Io)?)
        })
    }

    /// Works with the database. One that the disk has failed refuses everything from then on, and what it holds in
    /// memory is not what is on disk: it is closed, and opened anew when it is next needed, as after a crash. One that
    /// has vanished, or whose place another file has taken, is an error for as long as that is so.
    pub(in crate::storage) fn with<T>(
        &self,
        work: impl FnOnce(&Database) -> Result<T, redb::Error>,
    ) -> Result<T, StorageError> {
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

    /// Checks that the file is still the one that was opened. Data written to a file that was deleted, replaced or cut
    /// off would be lost.
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
