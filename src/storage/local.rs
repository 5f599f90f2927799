//! The catalog and the artifacts in the data directory: a database, and files.

mod artifacts;
mod audit;
mod commit;
pub(crate) mod database;
mod reader;
mod records;
mod upload;

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;

pub(super) use self::artifacts::LocalArtifacts;
use self::records::{Opened, Records};
use super::compiled::engines;
use super::error::Doing;
use super::verified::Verified;
use super::{
    Catalog, Edit, Entry, Record, StorageError, StorageFuture, VersionRecord, blocking, canonical, entries, make_dir,
};

/// The way to open a data directory.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Opening {
    /// Makes a database if there is none; but not beside files of services, because then the database was lost.
    Usual,
    /// Makes a database; an existing one is an error.
    Anew,
}

/// The catalog in the database.
pub(super) struct LocalCatalog(Arc<Records>);

/// Opens the catalog and the artifacts in the data directory.
pub(super) fn open(
    dir: &Path,
    opening: Opening,
    verified: Arc<Verified>,
) -> Result<(LocalCatalog, LocalArtifacts), StorageError> {
    make_dir(&dir.join("artifacts"))?;
    let path = dir.join("bulkhead.redb");
    let is_anew = opening == Opening::Anew;
    let left = if is_anew { None } else { any_left(dir)? };
    let records = match Records::open(&path, left.is_none())? {
        Opened::There(_) if is_anew => return Err(StorageError::DatabaseThere { path }),
        Opened::There(records) | Opened::New(records) => records,
        Opened::Lost(state) => {
            return Err(StorageError::DatabaseLost { path, state, beside: left.unwrap_or_default() });
        }
    };
    fs::set_permissions(&path, fs::Permissions::from_mode(0o600))
        .doing(|| format!("keep others out of {}", path.display()))?;
    // From here on the lock of the database keeps other processes away.
    let artifacts = LocalArtifacts::open(&canonical(dir)?.join("artifacts"), verified)?;
    Ok((LocalCatalog(Arc::new(records)), artifacts))
}

/// Finds a file of a service in the data directory: an artifact, a model, queues, stores or machine code. Unfinished
/// files do not count.
fn any_left(data: &Path) -> Result<Option<PathBuf>, StorageError> {
    let is_whole = |(name, _): &(String, PathBuf)| !name.starts_with('.');
    for dir in ["artifacts", "models"] {
        if let Some((_, path)) = entries(&data.join(dir))?.into_iter().find(is_whole) {
            return Ok(Some(path));
        }
    }
    for file in ["queues.redb", "keyvalue.redb"] {
        let path = data.join(file);
        if path.try_exists().doing(|| format!("look for {}", path.display()))? {
            return Ok(Some(path));
        }
    }
    for engine in engines(&data.join("compiled"))? {
        if let Some((_, path)) = entries(&engine)?.into_iter().find(is_whole) {
            return Ok(Some(path));
        }
    }
    Ok(None)
}

impl LocalCatalog {
    /// Adds this many entries to an empty audit log, in one transaction.
    #[cfg(test)]
    pub(super) fn note_many(&self, entry: &Entry, count: u64) {
        let append = |number| Entry { number, ..entry.clone() };
        let made = self.0.transact(|transaction| {
            (1..=count).try_for_each(|number| audit::append(transaction, &append(number)))?;
            Ok(records::Outcome::Keep(()))
        });
        made.expect("it is written");
    }

    /// Does `work` on a thread that may block.
    fn work<'a, T: Send + 'static>(
        &self,
        work: impl FnOnce(&Records) -> Result<T, StorageError> + Send + 'static,
    ) -> StorageFuture<'a, T> {
        let records = Arc::clone(&self.0);
        Box::pin(blocking(move || work(&records)))
    }
}

impl Catalog for LocalCatalog {
    fn records(&self) -> StorageFuture<'_, Vec<Record>> {
        self.work(Records::all)
    }

    fn versions<'a>(&'a self, service: &'a str) -> StorageFuture<'a, Vec<VersionRecord>> {
        let service = service.to_owned();
        self.work(move |records| records.versions(&service))
    }

    fn all_versions(&self) -> StorageFuture<'_, Vec<VersionRecord>> {
        self.work(Records::all_versions)
    }

    fn commit(&self, edit: Edit, entry: Entry) -> StorageFuture<'_, u64> {
        self.work(move |records| records.commit(edit, entry))
    }

    fn entries<'a>(
        &'a self,
        service: Option<&'a str>,
        before: Option<u64>,
        limit: usize,
    ) -> StorageFuture<'a, Vec<Entry>> {
        let service = service.map(str::to_owned);
        self.work(move |records| records.entries(service.as_deref(), before, limit))
    }

    fn entry(&self, number: u64) -> StorageFuture<'_, Option<Entry>> {
        self.work(move |records| records.entry(number))
    }
}
