//! Commits: one change to a service and its entry in the audit log, in one transaction.

use redb::{ReadableDatabase, ReadableTable, WriteTransaction};
use serde::Deserialize;

use super::audit;
use super::records::{Outcome, Records, SERVICES, VERSIONS, of_service};
use crate::failpoint;
use crate::storage::catalog::{compare, surplus};
use crate::storage::{Edit, Entry, Record, StorageError, VersionRecord};

/// A commit that is being made.
struct Commit {
    edit: Edit,
    /// The entry. It gets its number at the first try, and keeps it if the commit is tried again.
    entry: Entry,
    /// The record with that number, as JSON.
    json: Option<Vec<u8>>,
    /// True if the change is on disk already and is written again.
    is_again: bool,
}

/// The outcome of one transaction.
enum Tried {
    Made,
    /// The service is not at the revision that the change was made from, but at this one.
    Conflict(Option<u64>),
    /// The stored record cannot be read.
    Unreadable(serde_json::Error),
}

/// The part of a record that a change is compared with.
#[derive(Deserialize)]
struct Revision {
    revision: u64,
}

impl Commit {
    fn service(&self) -> Option<&str> {
        match &self.edit {
            Edit::Put { record, .. } => Some(&record.name),
            Edit::Remove { service, .. } => Some(service),
            Edit::Note => None,
        }
    }

    /// The service's revision after the change; `None` if the service is removed, or no service is changed.
    fn after(&self) -> Option<u64> {
        matches!(self.edit, Edit::Put { .. }).then_some(self.entry.number)
    }

    /// The revision that the service must be at.
    fn expected(&self) -> Option<u64> {
        match &self.edit {
            _ if self.is_again => self.after(),
            Edit::Put { from, .. } => *from,
            Edit::Remove { from, .. } => Some(*from),
            Edit::Note => None,
        }
    }

    fn make(&mut self, transaction: &WriteTransaction) -> Result<Tried, redb::Error> {
        if let Some(service) = self.service() {
            match present_revision(transaction, service)? {
                Ok(found) if found != self.expected() => return Ok(Tried::Conflict(found)),
                Ok(_) => {}
                Err(error) => return Ok(Tried::Unreadable(error)),
            }
        }
        if !self.is_again {
            self.entry.number = audit::next_number(transaction)?;
        }
        audit::append(transaction, &self.entry)?;
        match &self.edit {
            Edit::Put { record, version, .. } => {
                let json = Record { revision: self.entry.number, ..Record::clone(record) };
                let json = serde_json::to_vec(&json).expect("a record is plain JSON");
                transaction.open_table(SERVICES)?.insert(record.name.as_str(), json.as_slice())?;
                put_version(transaction, record, version.as_deref())?;
                self.json = Some(json);
            }
            Edit::Remove { service, .. } => {
                transaction.open_table(SERVICES)?.remove(service.as_str())?;
                transaction.open_table(VERSIONS)?.retain_in(of_service(service), |_, _| false)?;
            }
            Edit::Note => {}
        }
        Ok(Tried::Made)
    }
}

fn present_revision(
    transaction: &WriteTransaction,
    service: &str,
) -> Result<Result<Option<u64>, serde_json::Error>, redb::Error> {
    let table = transaction.open_table(SERVICES)?;
    let json = table.get(service)?;
    let revision = json.map(|json| serde_json::from_slice::<Revision>(json.value())).transpose();
    Ok(revision.map(|found| found.map(|found| found.revision)))
}

/// Adds the version, and removes those that are too many.
fn put_version(
    transaction: &WriteTransaction,
    record: &Record,
    version: Option<&VersionRecord>,
) -> Result<(), redb::Error> {
    let service = record.name.as_str();
    let mut versions = transaction.open_table(VERSIONS)?;
    if let Some(version) = version {
        let json = serde_json::to_vec(version).expect("a version is plain JSON");
        versions.insert((service, version.number), json.as_slice())?;
    }
    let mut kept = Vec::new();
    for row in versions.range(of_service(service))? {
        kept.push(row?.0.value().1);
    }
    for number in surplus(&kept, record) {
        versions.remove((service, number))?;
    }
    Ok(())
}

impl Records {
    /// Makes a change. If the disk fails at the very end, the change may be on disk nevertheless. In that case it is
    /// read back, and written again if it is there: after a failure of the disk, it is not known to be durable.
    pub(super) fn commit(&self, edit: Edit, entry: Entry) -> Result<u64, StorageError> {
        let mut commit = Commit { edit, entry: Entry { number: 0, ..entry }, json: None, is_again: false };
        let Err(error) = self.try_commit(&mut commit) else { return Ok(commit.entry.number) };
        let Some(service) = commit.service().map(str::to_owned) else { return Err(error) };
        if !error.is_of_the_disk() {
            return Err(error);
        }
        let made = match self.kept(&service) {
            Ok(kept) if kept != commit.json => return Err(error),
            Ok(_) => {
                commit.is_again = commit.entry.number > 0;
                failpoint::is_full("record.again").is_ok() && self.try_commit(&mut commit).is_ok()
            }
            Err(_) => false,
        };
        if made {
            return Ok(commit.entry.number);
        }
        Err(StorageError::Unknown { service, made: commit.after(), source: Box::new(error) })
    }

    fn try_commit(&self, commit: &mut Commit) -> Result<(), StorageError> {
        let tried = self.transact(|transaction| match commit.make(transaction)? {
            Tried::Made if commit.service().is_none() => Ok(Outcome::Keep(Tried::Made)),
            Tried::Made => {
                failpoint::reach("record.commit");
                failpoint::is_full("record.full").map_err(redb::Error::Io)?;
                Ok(Outcome::Keep(Tried::Made))
            }
            refused => Ok(Outcome::Undo(refused)),
        })?;
        let service = commit.service().unwrap_or_default();
        match tried {
            Tried::Made => Ok(()),
            Tried::Conflict(found) => compare(service, commit.expected(), found),
            Tried::Unreadable(source) => Err(StorageError::Record { service: service.to_owned(), source }),
        }
    }

    /// The record that is on disk, as JSON.
    fn kept(&self, service: &str) -> Result<Option<Vec<u8>>, StorageError> {
        self.with(|database| {
            let table = database.begin_read()?.open_table(SERVICES)?;
            Ok(table.get(service)?.map(|json| json.value().to_owned()))
        })
    }
}
