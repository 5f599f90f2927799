//! Artifacts as files of the data directory.
//!
//! A file gets its name once it is complete, is read-only from then on, and is never opened for writing.

use std::collections::HashSet;
use std::fs;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use super::reader::FileReader;
use super::upload::{FileUpload, UNFINISHED};
use crate::storage::error::Doing;
use crate::storage::verified::{Verdict, Verified};
use crate::storage::{Artifacts, ByteRange, Digest, Reader, StorageError, StorageFuture, Upload, blocking, entries};

/// The directory with the artifacts.
#[derive(Clone)]
pub(in crate::storage) struct LocalArtifacts {
    dir: Arc<Path>,
    verified: Arc<Verified>,
}

impl LocalArtifacts {
    /// Opens the directory and removes the unfinished uploads of an earlier process.
    pub(super) fn open(dir: &Path, verified: Arc<Verified>) -> Result<Self, StorageError> {
        for (name, path) in entries(dir)? {
            if name.starts_with(UNFINISHED) && !path.is_dir() {
                fs::remove_file(&path).doing(|| format!("remove {}", path.display()))?;
            }
        }
        Ok(Self { dir: dir.into(), verified })
    }

    /// Does `work` on a thread that may block.
    async fn work<T: Send + 'static>(
        &self,
        work: impl FnOnce(&Self) -> Result<T, StorageError> + Send + 'static,
    ) -> Result<T, StorageError> {
        let files = self.clone();
        blocking(move || work(&files)).await
    }

    fn present(&self, digest: &Digest) -> Result<PathBuf, StorageError> {
        let path = self.dir.join(digest.as_str());
        if path.is_file() { Ok(path) } else { Err(StorageError::Missing { sha256: digest.as_str().to_owned() }) }
    }

    /// The path of a file that hashes to its name. May read the whole file.
    fn whole(&self, digest: &Digest, part: &str) -> Result<PathBuf, StorageError> {
        let path = self.present(digest)?;
        match self.verified.check(&path, digest) {
            Verdict::Whole => Ok(path),
            Verdict::Missing => Err(StorageError::Missing { sha256: digest.as_str().to_owned() }),
            Verdict::Damaged(reason) => {
                Err(StorageError::Damaged { part: part.to_owned(), sha256: digest.as_str().to_owned(), reason })
            }
        }
    }

    fn renew(&self, digest: &Digest) -> bool {
        let path = match self.whole(digest, "a file") {
            Ok(path) => path,
            Err(StorageError::Missing { .. }) => return false,
            Err(error) => {
                tracing::warn!(%error, "a damaged file counts as missing");
                return false;
            }
        };
        // A failure is ignored: the artifact is there, even if its time stays old.
        let touch = || fs::File::open(&path)?.set_modified(SystemTime::now());
        let _ = self.verified.keeping(&path, touch);
        true
    }

    /// Removes artifacts and unfinished uploads. Other files are not the host's, and stay.
    fn sweep(&self, named: &HashSet<Digest>, grace: Duration) -> Result<(), StorageError> {
        let now = SystemTime::now();
        for (name, path) in entries(&self.dir)? {
            let digest = Digest::parse(&name);
            let is_ours = (digest.is_some() || name.starts_with(UNFINISHED)) && !path.is_dir();
            if !is_ours || digest.is_some_and(|digest| named.contains(&digest)) {
                continue;
            }
            let age = fs::metadata(&path).and_then(|m| m.modified()).ok().and_then(|at| now.duration_since(at).ok());
            if age.is_some_and(|age| age > grace) {
                fs::remove_file(&path).doing(|| format!("remove {}", path.display()))?;
            }
        }
        Ok(())
    }
}

impl Artifacts for LocalArtifacts {
    fn renew<'a>(&'a self, digest: &'a Digest) -> StorageFuture<'a, bool> {
        let digest = digest.clone();
        Box::pin(self.work(move |files| Ok(files.renew(&digest))))
    }

    fn begin(&self, limit: u64) -> StorageFuture<'_, Box<dyn Upload>> {
        Box::pin(self.work(move |files| Ok(Box::new(FileUpload::begin(&files.dir, limit)?) as Box<dyn Upload>)))
    }

    fn size<'a>(&'a self, digest: &'a Digest, part: &'a str) -> StorageFuture<'a, u64> {
        let (digest, part) = (digest.clone(), part.to_owned());
        Box::pin(self.work(move |files| {
            let path = files.whole(&digest, &part)?;
            let metadata = fs::metadata(&path).doing(|| format!("read {}", path.display()))?;
            Ok(metadata.len())
        }))
    }

    fn read<'a>(&'a self, digest: &'a Digest, part: &'a str, range: ByteRange) -> StorageFuture<'a, Box<dyn Reader>> {
        let (digest, part) = (digest.clone(), part.to_owned());
        Box::pin(self.work(move |files| {
            let path = files.whole(&digest, &part)?;
            Ok(Box::new(FileReader::open(&path, digest, part, range)?) as Box<dyn Reader>)
        }))
    }

    fn file<'a>(&'a self, digest: &'a Digest, part: &'a str) -> StorageFuture<'a, PathBuf> {
        let (digest, part) = (digest.clone(), part.to_owned());
        Box::pin(self.work(move |files| files.whole(&digest, &part)))
    }

    fn unverified_file<'a>(&'a self, digest: &'a Digest) -> StorageFuture<'a, PathBuf> {
        let digest = digest.clone();
        Box::pin(self.work(move |files| files.present(&digest)))
    }

    fn sweep(&self, named: HashSet<Digest>, grace: Duration) -> StorageFuture<'_, ()> {
        Box::pin(self.work(move |files| files.sweep(&named, grace)))
    }
}
