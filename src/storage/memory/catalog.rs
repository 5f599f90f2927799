//! The catalog in memory.

use std::collections::BTreeMap;
use std::sync::{Mutex, MutexGuard, PoisonError};

use crate::storage::catalog::{compare, surplus};
use crate::storage::{Catalog, ENTRIES_KEPT, Edit, Entry, Record, StorageError, StorageFuture, VersionRecord};

/// Records, versions and the audit log, which exist as long as this value.
#[derive(Default)]
pub struct MemoryCatalog(Mutex<State>);

#[derive(Default)]
struct State {
    services: BTreeMap<String, Record>,
    versions: BTreeMap<(String, u64), VersionRecord>,
    entries: BTreeMap<u64, Entry>,
    /// The number of the newest entry.
    last: u64,
}

impl State {
    fn commit(&mut self, edit: Edit, entry: Entry) -> Result<u64, StorageError> {
        let number = self.last + 1;
        match edit {
            Edit::Put { record, version, from } => {
                compare(&record.name, from, self.revision(&record.name))?;
                self.put_version(&record, version.map(|version| *version));
                self.services.insert(record.name.clone(), Record { revision: number, ..*record });
            }
            Edit::Remove { service, from } => {
                compare(&service, Some(from), self.revision(&service))?;
                self.services.remove(&service);
                self.versions.retain(|(name, _), _| *name != service);
            }
            Edit::Note => {}
        }
        self.last = number;
        self.entries.insert(number, Entry { number, ..entry });
        if let Some(old) = number.checked_sub(ENTRIES_KEPT) {
            self.entries.remove(&old);
        }
        Ok(number)
    }

    fn put_version(&mut self, record: &Record, version: Option<VersionRecord>) {
        let name = &record.name;
        if let Some(version) = version {
            self.versions.insert((name.clone(), version.number), version);
        }
        let kept: Vec<u64> = self.versions_of(name).map(|version| version.number).collect();
        for number in surplus(&kept, record) {
            self.versions.remove(&(name.clone(), number));
        }
    }

    fn revision(&self, service: &str) -> Option<u64> {
        self.services.get(service).map(|record| record.revision)
    }

    fn versions_of(&self, service: &str) -> impl Iterator<Item = &VersionRecord> {
        self.versions.range((service.to_owned(), 0)..=(service.to_owned(), u64::MAX)).map(|(_, version)| version)
    }
}

impl MemoryCatalog {
    /// Adds this many entries.
    #[cfg(test)]
    pub(in crate::storage) fn note_many(&self, entry: &Entry, count: u64) {
        for _ in 0..count {
            self.state().commit(Edit::Note, entry.clone()).expect("nothing is compared");
        }
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Catalog for MemoryCatalog {
    fn records(&self) -> StorageFuture<'_, Vec<Record>> {
        Box::pin(async { Ok(self.state().services.values().cloned().collect()) })
    }

    fn versions<'a>(&'a self, service: &'a str) -> StorageFuture<'a, Vec<VersionRecord>> {
        Box::pin(async move { Ok(self.state().versions_of(service).cloned().collect()) })
    }

    fn all_versions(&self) -> StorageFuture<'_, Vec<VersionRecord>> {
        Box::pin(async { Ok(self.state().versions.values().cloned().collect()) })
    }

    fn commit(&self, edit: Edit, entry: Entry) -> StorageFuture<'_, u64> {
        Box::pin(async move { self.state().commit(edit, entry) })
    }

    fn entries<'a>(
        &'a self,
        service: Option<&'a str>,
        before: Option<u64>,
        limit: usize,
    ) -> StorageFuture<'a, Vec<Entry>> {
        Box::pin(async move {
            let state = self.state();
            let newest_first = state.entries.range(..before.unwrap_or(u64::MAX)).rev().map(|(_, entry)| entry);
            let of_service = newest_first.filter(|entry| service.is_none_or(|service| entry.service == service));
            Ok(of_service.take(limit).cloned().collect())
        })
    }

    fn entry(&self, number: u64) -> StorageFuture<'_, Option<Entry>> {
        Box::pin(async move { Ok(self.state().entries.get(&number).cloned()) })
    }
}
