//! The files of the queues, and the free space of their disk.

use std::fs::{self, File};
use std::os::unix::fs::{OpenOptionsExt, PermissionsExt};
use std::path::Path;
use std::time::{Duration, Instant};

use redb::backends::FileBackend;
use redb::{Database, StorageBackend};

use super::log;
use super::writer::Space;
use crate::failpoint;

/// The free space that puts leave on the disk.
pub(super) const RESERVE: u64 = 64 << 20;
/// The memory for pages of the database.
const CACHE: usize = 16 << 20;
/// The files of the queues, as they are opened.
pub(in crate::queue) struct Files {
    pub(in crate::queue) database: Database,
    pub(in crate::queue) log: Box<dyn StorageBackend>,
    /// The space for records in the log.
    pub(in crate::queue) log_capacity: u64,
}

/// Opens the database and the log beside it, and makes what is missing.
pub(super) fn open(path: &Path) -> Result<Files, redb::Error> {
    let log_path = path.with_extension("log");
    let database = Database::builder().set_cache_size(CACHE).create(path)?;
    // Items and their headers are secrets of their callers.
    let private = 0o600;
    let mut options = File::options();
    let log = options.read(true).write(true).create(true).truncate(false).mode(private).open(&log_path)?;
    for file in [path, &log_path] {
        fs::set_permissions(file, fs::Permissions::from_mode(private))?;
    }
    File::open(directory_of(path))?.sync_all()?;
    Ok(Files { database, log: Box::new(FileBackend::new(log)?), log_capacity: log::CAPACITY })
}

fn directory_of(path: &Path) -> &Path {
    path.parent().unwrap_or(path)
}

/// Looks at the free space of the disk with this file, at most ten times a second.
pub(super) fn space_beside(path: &Path) -> Space {
    let dir = directory_of(path).to_owned();
    const VALID: Duration = Duration::from_millis(100);
    let mut last: Option<(Instant, bool)> = None;
    Box::new(move || {
        if let Some((_, is_there)) = last.filter(|(at, _)| at.elapsed() < VALID) {
            return is_there;
        }
        // If the free space cannot be read, the disk counts as having room. A write fails if it has none.
        let has_room = rustix::fs::statvfs(&dir).map_or(true, |disk| disk.f_bavail * disk.f_frsize >= RESERVE);
        let is_there = has_room && failpoint::is_full("queues.space").is_ok();
        last = Some((Instant::now(), is_there));
        is_there
    })
}
