//! The trait for the records of services, their versions and the audit log.
//!
//! [`super::local`] keeps them in a database in the data directory, and [`super::memory`] in memory. Callers await
//! every answer; an implementation that blocks does so on threads of its own. `suite::catalog` tests each rule below
//! with every implementation.

use super::{Entry, Record, StorageError, StorageFuture, VersionRecord};

/// Versions of a service that are kept, including those that answer requests. Each keeps its files, its machine code
/// and its image, some megabytes, so that going back to it is quick. Ten versions are a week or two of a busy team's
/// work.
pub const VERSIONS_KEPT: usize = 10;

/// Entries that are kept. With some 400 bytes each, they take less than 5 MB. They are years of a team's changes, or a
/// week of those of a script that deploys every minute.
pub const ENTRIES_KEPT: u64 = 10_000;

/// One change to the catalog. The revision in `from` is compared with the present one. If they differ, another client
/// has changed the service in the meantime, and nothing is changed.
#[derive(Clone, Debug)]
pub enum Edit {
    /// Stores `record` as the service's record, with the new revision in its `revision`. A `version` becomes the newest
    /// of the service's versions, or replaces the one with the same number.
    Put {
        record: Box<Record>,
        version: Option<Box<VersionRecord>>,
        /// The revision that `record` was made from; `None` if there is no such service yet.
        from: Option<u64>,
    },
    /// Removes a service and all its versions. Its audit entries stay.
    Remove { service: String, from: u64 },
    /// Changes no service: only the entry is added.
    Note,
}

/// The records of all services, the versions that are kept of each, and the audit log.
///
/// Every read after a commit sees the change.
pub trait Catalog: Send + Sync {
    /// The records of all services, ordered by name.
    ///
    /// # Errors
    /// [`StorageError::Record`] for a record that this version of the host cannot read; the store's own faults.
    fn records(&self) -> StorageFuture<'_, Vec<Record>>;

    /// The versions that are kept of a service, oldest first; none for a service that does not exist.
    ///
    /// # Errors
    /// As [`Catalog::records`].
    fn versions<'a>(&'a self, service: &'a str) -> StorageFuture<'a, Vec<VersionRecord>>;

    /// The versions that are kept of all services, ordered by service and then by number.
    ///
    /// # Errors
    /// As [`Catalog::records`].
    fn all_versions(&self) -> StorageFuture<'_, Vec<VersionRecord>>;

    /// Makes one change and adds its entry to the audit log, as one transaction: after a crash at any moment there are
    /// both or neither, and no reader sees one without the other. Returns the new number of the entry, which is the
    /// service's new revision. The `number` in `entry` is ignored.
    ///
    /// **Durability.** Once this returns, the change survives a power failure.
    ///
    /// **Numbers.** They count up over all services. No number is used twice, not even after its entry, its service or
    /// the whole process is gone.
    ///
    /// **Versions.** [`VERSIONS_KEPT`] versions of each service are kept. A put removes the oldest ones beyond that,
    /// except those that may answer requests by the new record ([`Record::is_at_work`]).
    ///
    /// **Entries.** [`ENTRIES_KEPT`] entries of the audit log are kept. Each commit removes older ones.
    ///
    /// **Abandoned.** If the future is dropped, the change is made completely or not at all, perhaps a moment later.
    ///
    /// # Errors
    /// [`StorageError::Conflict`] if the service is not at the revision that `edit` is made from; of two writers with
    /// the same revision, one gets this error. [`StorageError::Unknown`] if the store failed at the very end and it is
    /// not known whether the change was made; the error has the revision that the service has in that case. After any
    /// other error, nothing has changed.
    fn commit(&self, edit: Edit, entry: Entry) -> StorageFuture<'_, u64>;

    /// The newest `limit` audit entries with numbers below `before`, newest first; only those of `service` if it is named,
    /// whether it still exists or not.
    ///
    /// # Errors
    /// As [`Catalog::records`], for entries.
    fn entries<'a>(
        &'a self,
        service: Option<&'a str>,
        before: Option<u64>,
        limit: usize,
    ) -> StorageFuture<'a, Vec<Entry>>;

    /// The audit entry with this number; `None` if it was removed or never existed.
    ///
    /// # Errors
    /// As [`Catalog::entries`].
    fn entry(&self, number: u64) -> StorageFuture<'_, Option<Entry>>;
}

/// Compares the revision that a change is made from with the one that is found.
pub(super) fn compare(service: &str, expected: Option<u64>, found: Option<u64>) -> Result<(), StorageError> {
    if expected == found {
        return Ok(());
    }
    Err(StorageError::Conflict { service: service.to_owned(), expected, found })
}

/// The versions to remove of a service with this record. `kept` has the numbers of its versions, in order.
pub(super) fn surplus(kept: &[u64], record: &Record) -> Vec<u64> {
    let surplus = kept.len().saturating_sub(VERSIONS_KEPT);
    kept.iter().copied().filter(|number| !record.is_at_work(*number)).take(surplus).collect()
}
