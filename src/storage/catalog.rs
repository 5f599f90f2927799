//! The seam for what is known of services: their records, their versions and the audit log.
//!
//! [`super::local`] keeps them in a database in the data directory, and [`super::memory`] in memory. Callers await every
//! answer; an implementation that blocks does so on threads of its own. `suite::catalog` holds each rule below against
//! every implementation.

use super::{Entry, Record, StorageError, StorageFuture, VersionRecord};

/// Versions of a service that are kept, those at work included. Each keeps its files, and machine code and an image
/// besides, so that going back to it is quick: some megabytes each, and a week or two of a busy team's work.
pub const VERSIONS_KEPT: usize = 10;

/// Entries that are kept. At some 400 bytes each they stay below 5 MB, and they are years of a team's changes, or days of
/// a script's that deploys every minute.
pub const ENTRIES_KEPT: u64 = 10_000;

/// One change to the catalog. The revision in `from` is compared with the present one: if they differ, somebody else has
/// changed the service since, and nothing is changed.
#[derive(Clone, Debug)]
pub enum Edit {
    /// Makes `record` the service's; its `revision` is replaced by the new one. A `version` becomes the newest of the
    /// service's versions, or replaces the one of the same number.
    Put {
        record: Box<Record>,
        version: Option<Box<VersionRecord>>,
        /// The revision that `record` was made from; `None`: there is no such service.
        from: Option<u64>,
    },
    /// Forgets a service and all its versions. Its audit entries stay.
    Remove { service: String, from: u64 },
    /// Changes no service: only the entry is added.
    Note,
}

/// The records of all services, the versions that are kept of each, and the audit log.
///
/// Whatever has been committed is seen by every later read, of any reader.
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
    /// both or neither, and no reader sees one without the other. Answers the entry's number, whatever its `number` was
    /// before; it is the service's revision from now on.
    ///
    /// **Durability.** The change survives the loss of power once this has answered.
    ///
    /// **Numbers.** They count up over all services. None is given out twice, not even after its entry, its service or
    /// the whole process is gone.
    ///
    /// **Versions.** Of each service [`VERSIONS_KEPT`] are kept: a put forgets the oldest ones beyond that, but none that
    /// may answer requests by the new record ([`Record::is_at_work`]).
    ///
    /// **Entries.** Of the audit log [`ENTRIES_KEPT`] are kept: each commit forgets what is older.
    ///
    /// **Abandoned.** If the future is dropped, the change is made whole or not at all, perhaps a moment later.
    ///
    /// # Errors
    /// [`StorageError::Conflict`] if the service is not at the revision that `edit` is made from; of two writers with the
    /// same one, one gets this. [`StorageError::Unknown`] if the store failed at the very end, and whether the change was
    /// made cannot be told; it says which revision the service has if it was. After every other error nothing has
    /// changed.
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

    /// The audit entry of that number; `None` if it is forgotten, or was never given out.
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

/// The versions to forget of a service with this record; `kept` are the numbers of those that there are, in order.
pub(super) fn surplus(kept: &[u64], record: &Record) -> Vec<u64> {
    let surplus = kept.len().saturating_sub(VERSIONS_KEPT);
    kept.iter().copied().filter(|number| !record.is_at_work(*number)).take(surplus).collect()
}
