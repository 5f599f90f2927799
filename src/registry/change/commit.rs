//! Commits of changes to the catalog. Each requires that the service has not changed since its lock was taken.

use std::collections::HashMap;
use std::sync::{Mutex, PoisonError};

use super::ChangeError;
use super::request::ChangeLock;
use crate::failpoint;
use crate::registry::Registry;
use crate::storage::{Edit, Entry, Record, StorageError, VersionRecord};

/// Services with commits of unknown outcome, and the revisions that these commits may have made (`None`: the service is
/// removed). The record in memory is the one before these commits. A later commit replaces their result.
#[derive(Default)]
pub(in crate::registry) struct Unsettled(Mutex<HashMap<String, Vec<Option<u64>>>>);

impl Unsettled {
    /// Records the outcome of a commit.
    fn note(&self, service: &str, outcome: &Result<u64, StorageError>) {
        let mut all = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        match outcome {
            Ok(_) => drop(all.remove(service)),
            Err(StorageError::Unknown { made, .. }) => {
                let revisions = all.entry(service.to_owned()).or_default();
                if !revisions.contains(made) {
                    revisions.push(*made);
                }
            }
            Err(_) => {}
        }
    }

    /// True if a commit of this host may have made this revision.
    fn is_ours(&self, service: &str, revision: Option<u64>) -> bool {
        let all = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        all.get(service).is_some_and(|revisions| revisions.contains(&revision))
    }
}

impl Registry {
    /// Commits a record, its new version if there is one, and the audit entry of the change.
    pub(super) async fn keep(
        &self,
        mut record: Record,
        version: Option<VersionRecord>,
        lock: &ChangeLock<'_>,
    ) -> Result<Record, ChangeError> {
        let entry = lock.entry(&record.name, Some(&record));
        let (kept, version) = (Box::new(record.clone()), version.map(Box::new));
        let put = |from| Edit::Put { record: kept.clone(), version: version.clone(), from };
        record.revision = self.commit(&record.name, lock.revision(), put, entry).await?;
        failpoint::reach("deploy.kept");
        Ok(record)
    }

    /// Removes a service from the catalog.
    pub(super) async fn forget(&self, service: &str, lock: &ChangeLock<'_>) -> Result<(), ChangeError> {
        let entry = lock.entry(service, None);
        let remove = |from| match from {
            Some(from) => Edit::Remove { service: service.to_owned(), from },
            // An earlier removal of unknown outcome has succeeded.
            None => Edit::Note,
        };
        self.commit(service, lock.revision(), remove, entry).await?;
        Ok(())
    }

    /// Commits an edit of the revision `from`, or of a revision that an earlier commit of this host may have made.
    async fn commit(
        &self,
        service: &str,
        from: Option<u64>,
        edit: impl Fn(Option<u64>) -> Edit,
        entry: Entry,
    ) -> Result<u64, StorageError> {
        let catalog = self.storage.catalog();
        let mut outcome = catalog.commit(edit(from), entry.clone()).await;
        if let Err(StorageError::Conflict { found, .. }) = outcome
            && self.unsettled.is_ours(service, found)
        {
            outcome = catalog.commit(edit(found), entry).await;
        }
        self.unsettled.note(service, &outcome);
        outcome
    }

    /// Adds an audit entry for a request that changed no record: it was refused, or it changed only guests.
    pub async fn note(&self, entry: Entry) {
        if let Err(error) = self.storage.catalog().commit(Edit::Note, entry).await {
            tracing::warn!(error = error.with_source(), "an entry of the audit log could not be written");
        }
    }
}
