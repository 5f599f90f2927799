//! The artifacts in memory.

use std::collections::{HashMap, HashSet};
use std::fs;
use std::io::{self, Write};
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, SystemTime};

use bytes::Bytes;
use tempfile::TempDir;

use crate::storage::error::Doing;
use crate::storage::{Artifacts, ByteRange, Digest, READ_ONLY, Reader, StorageError, StorageFuture, Upload, blocking};

/// Artifacts that exist as long as this value, and a temporary directory for those that are needed as files.
pub struct MemoryArtifacts {
    all: Arc<Mutex<HashMap<Digest, Stored>>>,
    files: TempDir,
}

#[derive(Clone)]
struct Stored {
    bytes: Bytes,
    /// The time of the upload, or of the latest renewal.
    renewed: SystemTime,
}

impl MemoryArtifacts {
    /// # Errors
    /// A temporary directory that cannot be made.
    pub fn new() -> io::Result<Self> {
        Ok(Self { all: Arc::default(), files: tempfile::tempdir()? })
    }

    fn all(&self) -> MutexGuard<'_, HashMap<Digest, Stored>> {
        lock(&self.all)
    }

    fn present(&self, digest: &Digest) -> Result<Bytes, StorageError> {
        let stored = self.all().get(digest).map(|stored| stored.bytes.clone());
        stored.ok_or_else(|| StorageError::Missing { sha256: digest.as_str().to_owned() })
    }

    fn whole(&self, digest: &Digest, part: &str) -> Result<Bytes, StorageError> {
        let bytes = self.present(digest)?;
        let found = Digest::of(&bytes);
        if found == *digest {
            return Ok(bytes);
        }
        let reason = format!("its bytes hash to {}", found.as_str());
        Err(StorageError::Damaged { part: part.to_owned(), sha256: digest.as_str().to_owned(), reason })
    }

    async fn to_file(&self, digest: &Digest, bytes: Bytes) -> Result<PathBuf, StorageError> {
        let (dir, path) = (self.files.path().to_owned(), self.files.path().join(digest.as_str()));
        blocking(move || write(&dir, &path, &bytes).doing(|| format!("write {}", path.display())).map(|()| path)).await
    }

    #[cfg(test)]
    pub(in crate::storage) fn damage(&self, digest: &Digest) {
        self.all().get_mut(digest).expect("it is there").bytes = Bytes::from_static(b"damaged");
    }

    #[cfg(test)]
    pub(in crate::storage) fn age(&self, digest: &Digest, by: Duration) {
        self.all().get_mut(digest).expect("it is there").renewed -= by;
    }

    #[cfg(test)]
    pub(in crate::storage) fn count(&self) -> usize {
        self.all().len()
    }
}

fn lock(all: &Mutex<HashMap<Digest, Stored>>) -> MutexGuard<'_, HashMap<Digest, Stored>> {
    all.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Writes a read-only file. An existing one is replaced.
fn write(dir: &Path, path: &Path, bytes: &[u8]) -> io::Result<()> {
    let mut file = tempfile::NamedTempFile::new_in(dir)?;
    file.write_all(bytes)?;
    file.as_file().set_permissions(fs::Permissions::from_mode(READ_ONLY))?;
    file.persist(path)?;
    Ok(())
}

impl Artifacts for MemoryArtifacts {
    fn renew<'a>(&'a self, digest: &'a Digest) -> StorageFuture<'a, bool> {
        Box::pin(async move {
            if self.whole(digest, "a file").is_err() {
                return Ok(false);
            }
            let mut all = self.all();
            let found = all.get_mut(digest);
            Ok(found.map(|stored| stored.renewed = SystemTime::now()).is_some())
        })
    }

    fn begin(&self, limit: u64) -> StorageFuture<'_, Box<dyn Upload>> {
        let upload = MemoryUpload { all: Arc::clone(&self.all), bytes: Vec::new(), limit };
        Box::pin(async { Ok(Box::new(upload) as Box<dyn Upload>) })
    }

    fn size<'a>(&'a self, digest: &'a Digest, part: &'a str) -> StorageFuture<'a, u64> {
        Box::pin(async move { Ok(self.whole(digest, part)?.len() as u64) })
    }

    fn read<'a>(&'a self, digest: &'a Digest, part: &'a str, range: ByteRange) -> StorageFuture<'a, Box<dyn Reader>> {
        Box::pin(async move {
            let bytes = self.whole(digest, part)?;
            let range = range.within(bytes.len() as u64, digest)?;
            let inside = |at: u64| usize::try_from(at).expect("it is inside of what is in memory");
            Ok(Box::new(MemoryReader(bytes.slice(inside(range.start)..inside(range.end)))) as Box<dyn Reader>)
        })
    }

    fn file<'a>(&'a self, digest: &'a Digest, part: &'a str) -> StorageFuture<'a, PathBuf> {
        Box::pin(async move { self.to_file(digest, self.whole(digest, part)?).await })
    }

    fn unverified_file<'a>(&'a self, digest: &'a Digest) -> StorageFuture<'a, PathBuf> {
        Box::pin(async move { self.to_file(digest, self.present(digest)?).await })
    }

    fn sweep(&self, named: HashSet<Digest>, grace: Duration) -> StorageFuture<'_, ()> {
        Box::pin(async move {
            let now = SystemTime::now();
            let is_young = |stored: &Stored| now.duration_since(stored.renewed).is_ok_and(|age| age <= grace);
            self.all().retain(|digest, stored| named.contains(digest) || is_young(stored));
            Ok(())
        })
    }
}

struct MemoryUpload {
    all: Arc<Mutex<HashMap<Digest, Stored>>>,
    bytes: Vec<u8>,
    limit: u64,
}

impl Upload for MemoryUpload {
    fn write(&mut self, piece: Bytes) -> StorageFuture<'_, ()> {
        Box::pin(async move {
            if (self.bytes.len() + piece.len()) as u64 > self.limit {
                return Err(StorageError::TooLarge { limit: self.limit });
            }
            self.bytes.extend_from_slice(&piece);
            Ok(())
        })
    }

    fn finish<'a>(self: Box<Self>, expected: &'a Digest) -> StorageFuture<'a, ()> {
        Box::pin(async move {
            let found = Digest::of(&self.bytes);
            if found != *expected {
                return Err(StorageError::WrongDigest { expected: expected.as_str().to_owned(), found: found.into() });
            }
            let stored = Stored { bytes: self.bytes.into(), renewed: SystemTime::now() };
            lock(&self.all).insert(found, stored);
            Ok(())
        })
    }
}

/// The remaining bytes. A piece is at most half of them, so that readers get several pieces.
struct MemoryReader(Bytes);

impl Reader for MemoryReader {
    fn next(&mut self) -> StorageFuture<'_, Option<Bytes>> {
        Box::pin(async {
            let length = self.0.len().div_ceil(2);
            Ok((length > 0).then(|| self.0.split_to(length)))
        })
    }
}
