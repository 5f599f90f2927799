//! The database's file: every page is checked when it is opened, and a damaged file does not crash the host.
//!
//! The library trusts a file that was closed cleanly. If another program or a failing disk has changed the file since,
//! the library may panic. So the checksum of every page is compared at each opening, and a panic inside the library
//! becomes an error.

use std::any::Any;
use std::cell::Cell;
use std::io;
use std::panic::{self, AssertUnwindSafe};
use std::path::Path;
use std::sync::Once;
use std::time::{Duration, Instant};

use redb::{Database, DatabaseError};

use crate::storage::StorageError;

/// The longest wait for the file's lock. After a host was killed, its child may hold the lock for a moment, until it
/// has executed the compiler or has died.
const LOCK_PATIENCE: Duration = Duration::from_secs(1);
const LOCK_PAUSE: Duration = Duration::from_millis(20);
/// Most bytes of a database that are kept in memory. The system keeps its file in memory as well.
const CACHE: usize = 32 << 20;

/// The treatment of a file that is missing or empty.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Absent {
    Create,
    Fail,
}

/// An open database.
#[derive(Debug)]
pub(crate) struct OpenDatabase(Database);

impl OpenDatabase {
    /// Opens the file and compares the checksum of every page.
    ///
    /// # Errors
    /// A file that is damaged, cannot be read, or is open in another process.
    pub(crate) fn open(path: &Path, absent: Absent) -> Result<Self, StorageError> {
        let opened = again_while_locked(|| contained(|| open(path, absent)));
        let opened = opened.map_err(|panic| damaged(path, panic))?;
        opened.map(Self).map_err(|error| of_opening(path, error))
    }

    /// Does `work`, and hands the database back for further use unless it failed. After a failure the library's memory
    /// may differ from the disk, so the next user opens the database again.
    pub(crate) fn work<T>(
        self,
        path: &Path,
        work: impl FnOnce(&Database) -> Result<T, redb::Error>,
    ) -> (Result<T, StorageError>, Option<Self>) {
        let outcome = match contained(|| work(&self.0)) {
            Ok(Ok(value)) => return (Ok(value), Some(self)),
            Ok(Err(redb::Error::Corrupted(reason))) => damaged(path, reason),
            Ok(Err(error)) => StorageError::Database(Box::new(error)),
            Err(panic) => damaged(path, panic),
        };
        // Closing writes to the file, and may fail on the same damage.
        let _ = contained(|| drop(self));
        (Err(outcome), None)
    }
}

fn open(path: &Path, absent: Absent) -> Result<Database, DatabaseError> {
    let mut builder = Database::builder();
    builder.set_check_integrity_on_open(true).set_cache_size(CACHE);
    match absent {
        Absent::Create => builder.create(path),
        Absent::Fail => builder.open(path),
    }
}

type Opened = Result<Result<Database, DatabaseError>, String>;

/// Retries for a while if another process has the file open.
fn again_while_locked(open: impl Fn() -> Opened) -> Opened {
    let end = Instant::now() + LOCK_PATIENCE;
    loop {
        match open() {
            Ok(Err(DatabaseError::DatabaseAlreadyOpen)) if Instant::now() < end => std::thread::sleep(LOCK_PAUSE),
            opened => return opened,
        }
    }
}

fn of_opening(path: &Path, error: DatabaseError) -> StorageError {
    match error {
        DatabaseError::Storage(redb::StorageError::Corrupted(reason)) => damaged(path, reason),
        DatabaseError::Storage(redb::StorageError::Io(source)) => match source.kind() {
            // The file ends too early, or begins with something else.
            io::ErrorKind::UnexpectedEof | io::ErrorKind::InvalidData | io::ErrorKind::InvalidInput => {
                damaged(path, source.to_string())
            }
            _ => cannot_open(path, source),
        },
        DatabaseError::UpgradeRequired(format) => {
            damaged(path, format!("it has version {format} of the file format, which no host writes"))
        }
        DatabaseError::RepairAborted => damaged(path, "it cannot be repaired".into()),
        other => StorageError::Database(Box::new(other.into())),
    }
}

fn damaged(path: &Path, reason: String) -> StorageError {
    StorageError::DatabaseDamaged { path: path.to_owned(), reason }
}

fn cannot_open(path: &Path, source: io::Error) -> StorageError {
    StorageError::Io { what: format!("open {}", path.display()), source }
}

thread_local! {
    /// True while a panic of this thread will be turned into an error.
    static CONTAINED: Cell<bool> = const { Cell::new(false) };
}

/// Does `work`; a panic in it becomes an error with the panic's message, and is not printed.
fn contained<T>(work: impl FnOnce() -> T) -> Result<T, String> {
    static HOOK: Once = Once::new();
    HOOK.call_once(|| {
        let print = panic::take_hook();
        panic::set_hook(Box::new(move |info| {
            if !CONTAINED.get() {
                print(info);
            }
        }));
    });
    let before = CONTAINED.replace(true);
    // The caller drops the state that `work` may have left inconsistent.
    let outcome = panic::catch_unwind(AssertUnwindSafe(work));
    CONTAINED.set(before);
    outcome.map_err(|panic| said(panic.as_ref()))
}

fn said(panic: &(dyn Any + Send)) -> String {
    let text = panic.downcast_ref::<String>().map(String::as_str).or_else(|| panic.downcast_ref::<&str>().copied());
    text.unwrap_or("its pages are inconsistent").to_owned()
}
