//! Key-value stores, which guests use through `wasi:keyvalue`. Each service has one; its versions and all their guests
//! share it. It is removed with the service.
//!
//! All stores are in one database, `keyvalue.redb` in the data directory, which is made by the first write of a guest. A
//! change is on disk before the guest learns that it was made. Changes and reads take turns, so each of them is atomic.
//!
//! The size of a store is bounded, so that no service can fill the disk.

mod table;
#[cfg(test)]
mod tests;

use std::error::Error;
use std::fs::{self, Permissions};
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use redb::Database;
use tokio::sync::Mutex;
use tokio::task::spawn_blocking;

use crate::storage::{Absent, OpenDatabase, StorageError};

/// Most bytes of a key.
pub const MAX_KEY: usize = 1 << 10;
/// Most bytes of a value.
pub const MAX_VALUE: usize = 1 << 20;
/// Most keys of a store.
pub const MAX_KEYS: u64 = 100_000;
/// Most bytes of a store, keys and values together.
pub const MAX_BYTES: u64 = 64 << 20;
/// Most bytes that are read at once.
pub const MAX_READ: usize = 16 << 20;
/// Most keys that are listed at once.
pub const MAX_LISTED: usize = 1000;

/// The reason why a store refuses an operation. A refused operation has changed nothing.
#[derive(Debug, thiserror::Error)]
pub enum KeyValueError {
    #[error("the key has {0} bytes, and may have {MAX_KEY}")]
    KeyTooLong(usize),
    #[error("the value has {0} bytes, and may have {MAX_VALUE}")]
    ValueTooLarge(usize),
    #[error("the store would have more than {MAX_KEYS} keys")]
    TooManyKeys,
    #[error("the store would have more than {MAX_BYTES} bytes")]
    Full,
    #[error("the values together have more than {MAX_READ} bytes, which is the limit for one call")]
    TooMuch,
    #[error("the value is not an integer in decimal digits")]
    NotAnInteger,
    #[error("the sum does not fit into 64 bits")]
    Overflow,
    /// The disk or the database has failed. The cause is for the operator.
    #[error("the store cannot be used")]
    Unavailable(#[source] StorageError),
}

impl KeyValueError {
    /// The sentence for the operator, with its causes.
    pub(crate) fn told(&self) -> String {
        let causes = std::iter::successors(Some(self as &dyn Error), |&error| error.source());
        causes.map(ToString::to_string).collect::<Vec<_>>().join(": ")
    }
}

type Outcome<T> = Result<T, KeyValueError>;

/// The stores of a host.
#[derive(Debug)]
pub struct Stores {
    path: PathBuf,
    /// `None` until it is first used, and after a failure.
    database: Arc<Mutex<Option<OpenDatabase>>>,
}

/// The store of one service.
#[derive(Clone, Debug)]
pub struct Store {
    stores: Arc<Stores>,
    service: Arc<str>,
}

/// A value with the number of its last change, which is 0 for a key that is not there.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Versioned {
    pub version: u64,
    pub value: Option<Vec<u8>>,
}

/// A part of the keys of a store, in the order of their bytes.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Listed {
    pub keys: Vec<String>,
    /// True if further keys follow.
    pub has_more: bool,
}

impl Stores {
    /// Makes the stores of a host. The file is opened, or made, when a guest uses it.
    pub fn new(path: PathBuf) -> Self {
        Self { path, database: Arc::default() }
    }

    pub fn store(self: &Arc<Self>, service: &str) -> Store {
        Store { stores: Arc::clone(self), service: service.into() }
    }

    /// Removes the store of a service, if there is one.
    ///
    /// # Errors
    /// If the database fails.
    pub async fn remove(&self, service: &str) -> Outcome<()> {
        let service = service.to_owned();
        self.clean(move |database| table::remove(database, &service)).await
    }

    /// Removes the stores of all services but these. A crash may have left them.
    ///
    /// # Errors
    /// If the database fails.
    pub async fn keep_only(&self, services: Vec<String>) -> Outcome<()> {
        self.clean(move |database| table::keep_only(database, &services)).await
    }

    /// As [`Self::work`]; does nothing if no guest has used a store yet.
    async fn clean(&self, work: impl FnOnce(&Database) -> Result<(), redb::Error> + Send + 'static) -> Outcome<()> {
        let is_there = tokio::fs::try_exists(&self.path).await;
        let is_there = is_there.map_err(|source| {
            KeyValueError::Unavailable(StorageError::Io { what: format!("look for {}", self.path.display()), source })
        })?;
        if is_there { self.work(move |database| work(database).map(Ok)).await } else { Ok(()) }
    }

    /// Works on the database, on a thread that may wait for the disk. One piece of work is done at a time. It goes on if
    /// the future is dropped.
    async fn work<T: Send + 'static>(
        &self,
        work: impl FnOnce(&Database) -> Result<Outcome<T>, redb::Error> + Send + 'static,
    ) -> Outcome<T> {
        let mut slot = Arc::clone(&self.database).lock_owned().await;
        let path = self.path.clone();
        let worked = spawn_blocking(move || {
            let open = match slot.take() {
                Some(open) => open,
                None => open(&path)?,
            };
            let (outcome, open) = open.work(&path, work);
            *slot = open;
            outcome
        });
        let panicked = |error: tokio::task::JoinError| StorageError::Io {
            what: "work on the key-value stores".into(),
            source: std::io::Error::other(error),
        };
        worked.await.map_err(panicked).flatten().map_err(KeyValueError::Unavailable)?
    }
}

impl Store {
    /// Returns the value of a key.
    ///
    /// # Errors
    /// If the database fails.
    pub async fn get(&self, key: String) -> Outcome<Versioned> {
        self.work(move |database, service| table::get(database, service, &key)).await
    }

    /// Returns the values of several keys, in their order.
    ///
    /// # Errors
    /// If they are too large together, or the database fails.
    pub async fn get_many(&self, keys: Vec<String>) -> Outcome<Vec<(String, Option<Vec<u8>>)>> {
        self.work(move |database, service| table::get_many(database, service, keys)).await
    }

    /// Sets all of these values, or none.
    ///
    /// # Errors
    /// If they do not fit, or the database fails.
    pub async fn set(&self, entries: Vec<(String, Vec<u8>)>) -> Outcome<()> {
        for (key, value) in &entries {
            check(key, value)?;
        }
        self.work(move |database, service| table::set(database, service, &entries)).await
    }

    /// Removes keys; those that are not there do not matter.
    ///
    /// # Errors
    /// If the database fails.
    pub async fn delete(&self, keys: Vec<String>) -> Outcome<()> {
        self.work(move |database, service| table::delete(database, service, &keys)).await
    }

    /// Lists keys: the first ones, or those that come after `after`.
    ///
    /// # Errors
    /// If the database fails.
    pub async fn list(&self, after: Option<String>) -> Outcome<Listed> {
        self.work(move |database, service| table::list(database, service, after.as_deref())).await
    }

    /// Adds to an integer, which is 0 if the key is not there, and returns the sum. The value is the integer in decimal
    /// digits.
    ///
    /// # Errors
    /// If the value is no integer, the sum is too large, or the database fails.
    pub async fn increment(&self, key: String, delta: i64) -> Outcome<i64> {
        check(&key, &[])?;
        self.work(move |database, service| table::increment(database, service, &key, delta)).await
    }

    /// Sets a value if its last change has this number. Returns false, and changes nothing, if it has another.
    ///
    /// # Errors
    /// If the value does not fit, or the database fails.
    pub async fn swap(&self, key: String, version: u64, value: Vec<u8>) -> Outcome<bool> {
        check(&key, &value)?;
        self.work(move |database, service| table::swap(database, service, (&key, &value), version)).await
    }

    async fn work<T: Send + 'static>(
        &self,
        work: impl FnOnce(&Database, &str) -> Result<Outcome<T>, redb::Error> + Send + 'static,
    ) -> Outcome<T> {
        let service = Arc::clone(&self.service);
        self.stores.work(move |database| work(database, &service)).await
    }
}

/// Opens the database, or makes it. Values are secrets of their service.
fn open(path: &Path) -> Result<OpenDatabase, StorageError> {
    let database = OpenDatabase::open(path, Absent::Create)?;
    fs::set_permissions(path, Permissions::from_mode(0o600))
        .map_err(|source| StorageError::Io { what: format!("close {} to other users", path.display()), source })?;
    Ok(database)
}

fn check(key: &str, value: &[u8]) -> Outcome<()> {
    match (key.len(), value.len()) {
        (key, _) if key > MAX_KEY => Err(KeyValueError::KeyTooLong(key)),
        (_, value) if value > MAX_VALUE => Err(KeyValueError::ValueTooLarge(value)),
        _ => Ok(()),
    }
}
