//! Key-value stores, which guests use through `wasi:keyvalue`. Each service has one; its versions and all their guests
//! share it. It is removed with the service.
//!
//! All stores are in one database, `keyvalue.redb` in the data directory, which is made when a guest first uses its
//! store. A change is on disk before the guest learns that it was made. Operations take turns, so each of them is
//! atomic. At most one of each store waits for its turn among those of the other stores, and none moves more than 16
//! MiB: so a busy service does not keep the others waiting for long.
//!
//! The size of a store is bounded, so that no service can fill the disk.

mod table;
#[cfg(test)]
mod tests;

use std::collections::HashMap;
use std::error::Error;
use std::fs::{self, Permissions};
use std::io;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::sync::{Arc, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use redb::Database;
use tokio::runtime::Handle;
use tokio::sync::Mutex;

use crate::storage::{Absent, OpenDatabase, StorageError};

/// Most bytes of a key.
pub const MAX_KEY: usize = 1 << 10;
/// Most bytes of a value.
pub const MAX_VALUE: usize = 1 << 20;
/// Most keys of a store.
pub const MAX_KEYS: u64 = 100_000;
/// Most bytes of a store, keys and values together.
pub const MAX_BYTES: u64 = 64 << 20;
/// Most bytes of values in one operation.
pub const MAX_MOVED: usize = 16 << 20;
/// Most keys of one operation.
pub const MAX_AT_ONCE: usize = 1000;
/// The time after a failure of the database in which it is not tried again.
const AFTER_FAILURE: Duration = Duration::from_secs(1);

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
    #[error("the values together have more than {MAX_MOVED} bytes, which is the limit for one call")]
    TooMuch,
    #[error("there are {0} keys, and may be {MAX_AT_ONCE} in one call")]
    TooManyAtOnce(usize),
    #[error("the value is not an integer in decimal digits")]
    NotAnInteger,
    #[error("the sum does not fit into 64 bits")]
    Overflow,
    #[error("the service was deleted")]
    Removed,
    /// The disk or the database has failed. The cause is for the operator.
    #[error("the store cannot be used")]
    Unavailable(#[source] Arc<StorageError>),
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
    /// The runtime whose blocking threads do the disk access; network threads do none.
    runtime: Handle,
    database: Arc<Mutex<Slot>>,
    /// The stores that may be used, by name.
    turns: Arc<std::sync::Mutex<HashMap<Arc<str>, Turn>>>,
}

#[derive(Debug, Default)]
enum Slot {
    #[default]
    Closed,
    Open(OpenDatabase),
    Failed(Instant, Arc<StorageError>),
}

/// Held by an operation on a store until it is done.
type Turn = Arc<Mutex<()>>;

/// The store of one service.
#[derive(Clone, Debug)]
pub struct Store {
    stores: Arc<Stores>,
    name: Arc<str>,
    turn: Turn,
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
    pub fn new(path: PathBuf, runtime: Handle) -> Self {
        Self { path, runtime, database: Arc::default(), turns: Arc::default() }
    }

    /// Returns the store of this name, which may be used until it is removed.
    pub fn store(self: &Arc<Self>, name: &str) -> Store {
        let name: Arc<str> = name.into();
        let turn = Arc::clone(lock(&self.turns).entry(Arc::clone(&name)).or_default());
        Store { stores: Arc::clone(self), name, turn }
    }

    /// Removes a store with its values. What still has it cannot use it any more.
    ///
    /// # Errors
    /// If the database fails. The store cannot be used then either.
    pub async fn remove(&self, name: &str) -> Outcome<()> {
        lock(&self.turns).remove(name);
        let name = name.to_owned();
        self.clean(move |database| table::remove(database, &name)).await
    }

    /// Removes the values of all stores but these. A crash may have left them.
    ///
    /// # Errors
    /// If the database fails.
    pub async fn keep_only(&self, names: Vec<String>) -> Outcome<()> {
        self.clean(move |database| table::keep_only(database, &names)).await
    }

    /// Works on the database, if a guest has ever used a store.
    async fn clean(&self, change: impl FnOnce(&Database) -> Result<(), redb::Error> + Send + 'static) -> Outcome<()> {
        let is_there = tokio::fs::try_exists(&self.path).await;
        let is_there = is_there.map_err(|source| {
            let what = format!("look for {}", self.path.display());
            KeyValueError::Unavailable(StorageError::Io { what, source }.into())
        })?;
        if is_there { self.transact(move |database| change(database).map(Ok)).await } else { Ok(()) }
    }

    /// Works on the database, on a thread that may wait for the disk. One operation is done at a time. It goes on if
    /// the future is dropped.
    async fn transact<T: Send + 'static>(
        &self,
        operation: impl FnOnce(&Database) -> Result<Outcome<T>, redb::Error> + Send + 'static,
    ) -> Outcome<T> {
        let mut slot = Arc::clone(&self.database).lock_owned().await;
        let path = self.path.clone();
        let done = self.runtime.spawn_blocking(move || slot.transact(&path, operation)).await;
        done.unwrap_or_else(|panicked| {
            let (what, source) = ("work on the key-value stores".into(), io::Error::other(panicked));
            Err(KeyValueError::Unavailable(StorageError::Io { what, source }.into()))
        })
    }
}

impl Slot {
    fn transact<T>(
        &mut self,
        path: &Path,
        operation: impl FnOnce(&Database) -> Result<Outcome<T>, redb::Error>,
    ) -> Outcome<T> {
        let opened = match std::mem::take(self) {
            Self::Open(open) => Ok(open),
            Self::Closed => open(path).map_err(Arc::new),
            Self::Failed(at, why) if at.elapsed() < AFTER_FAILURE => {
                *self = Self::Failed(at, Arc::clone(&why));
                return Err(KeyValueError::Unavailable(why));
            }
            Self::Failed(..) => open(path).map_err(Arc::new),
        };
        let failed = match opened.map(|open| open.work(path, operation)) {
            Ok((outcome, open)) => {
                *self = open.map_or(Self::Closed, Self::Open);
                match outcome {
                    Ok(outcome) => return outcome,
                    Err(error) => Arc::new(of_stores(error)),
                }
            }
            Err(error) => error,
        };
        *self = Self::Failed(Instant::now(), Arc::clone(&failed));
        let error = KeyValueError::Unavailable(failed);
        tracing::error!(error = error.told(), "the key-value stores cannot be used");
        Err(error)
    }
}

impl Store {
    /// Returns the value of a key.
    ///
    /// # Errors
    /// If the key is too long, or the database fails.
    pub async fn get(&self, key: String) -> Outcome<Versioned> {
        check_key(&key)?;
        self.operate(move |database, name| table::get(database, name, &key)).await
    }

    /// Returns the number of the last change of a key, which is 0 if it is not there.
    ///
    /// # Errors
    /// If the key is too long, or the database fails.
    pub async fn version(&self, key: String) -> Outcome<u64> {
        check_key(&key)?;
        self.operate(move |database, name| table::version(database, name, &key)).await
    }

    /// Returns the values of several keys, in their order.
    ///
    /// # Errors
    /// If they are too many or too large, or the database fails.
    pub async fn get_many(&self, keys: Vec<String>) -> Outcome<Vec<(String, Option<Vec<u8>>)>> {
        check_keys(&keys)?;
        self.operate(move |database, name| table::get_many(database, name, keys)).await
    }

    /// Sets all of these values, or none.
    ///
    /// # Errors
    /// If they do not fit, or the database fails.
    pub async fn set(&self, entries: Vec<(String, Vec<u8>)>) -> Outcome<()> {
        check_count(entries.len())?;
        for (key, value) in &entries {
            check(key, value)?;
        }
        if entries.iter().map(|(_, value)| value.len()).sum::<usize>() > MAX_MOVED {
            return Err(KeyValueError::TooMuch);
        }
        self.operate(move |database, name| table::set(database, name, &entries)).await
    }

    /// Removes keys; those that are not there do not matter.
    ///
    /// # Errors
    /// If they are too many, or the database fails.
    pub async fn delete(&self, keys: Vec<String>) -> Outcome<()> {
        check_keys(&keys)?;
        self.operate(move |database, name| table::delete(database, name, &keys)).await
    }

    /// Lists keys: the first ones, or those that come after `after`.
    ///
    /// # Errors
    /// If `after` is too long for a key, or the database fails.
    pub async fn list(&self, after: Option<String>) -> Outcome<Listed> {
        after.as_deref().map_or(Ok(()), check_key)?;
        self.operate(move |database, name| table::list(database, name, after.as_deref())).await
    }

    /// Adds to an integer, which is 0 if the key is not there, and returns the sum. The value is the integer in decimal
    /// digits.
    ///
    /// # Errors
    /// If the value is no integer, the sum is too large, or the database fails.
    pub async fn increment(&self, key: String, delta: i64) -> Outcome<i64> {
        check_key(&key)?;
        self.operate(move |database, name| table::increment(database, name, &key, delta)).await
    }

    /// Sets a value if its last change has this number. Returns false, and changes nothing, if it has another.
    ///
    /// # Errors
    /// If the value does not fit, or the database fails.
    pub async fn swap(&self, key: String, version: u64, value: Vec<u8>) -> Outcome<bool> {
        check(&key, &value)?;
        self.operate(move |database, name| table::swap(database, name, (&key, &value), version)).await
    }

    async fn operate<T: Send + 'static>(
        &self,
        operation: impl FnOnce(&Database, &str) -> Result<Outcome<T>, redb::Error> + Send + 'static,
    ) -> Outcome<T> {
        let turn = Arc::clone(&self.turn).lock_owned().await;
        let (name, turns) = (Arc::clone(&self.name), Arc::clone(&self.stores.turns));
        let transacted = self.stores.transact(move |database| {
            let _turn = turn;
            // Checked now, because the store may have been removed while this waited.
            let is_there = lock(&turns).contains_key(&name);
            if is_there { operation(database, &name) } else { Ok(Err(KeyValueError::Removed)) }
        });
        transacted.await
    }
}

fn lock<T>(mutex: &std::sync::Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Gives a damaged file the advice that fits it.
fn of_stores(error: StorageError) -> StorageError {
    match error {
        StorageError::DatabaseDamaged { path, reason } => StorageError::StoresDamaged { path, reason },
        other => other,
    }
}

/// Opens the database, or makes it. Values are secrets of their service.
fn open(path: &Path) -> Result<OpenDatabase, StorageError> {
    let database = OpenDatabase::open(path, Absent::Create).map_err(of_stores)?;
    fs::set_permissions(path, Permissions::from_mode(0o600))
        .map_err(|source| StorageError::Io { what: format!("close {} to other users", path.display()), source })?;
    Ok(database)
}

fn check(key: &str, value: &[u8]) -> Outcome<()> {
    check_key(key)?;
    if value.len() > MAX_VALUE { Err(KeyValueError::ValueTooLarge(value.len())) } else { Ok(()) }
}

fn check_key(key: &str) -> Outcome<()> {
    if key.len() > MAX_KEY { Err(KeyValueError::KeyTooLong(key.len())) } else { Ok(()) }
}

fn check_keys(keys: &[String]) -> Outcome<()> {
    check_count(keys.len())?;
    keys.iter().try_for_each(|key| check_key(key))
}

fn check_count(count: usize) -> Outcome<()> {
    if count > MAX_AT_ONCE { Err(KeyValueError::TooManyAtOnce(count)) } else { Ok(()) }
}
