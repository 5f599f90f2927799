//! Uploads of artifacts into the data directory.

use std::fs;
use std::io::Write;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;

use bytes::Bytes;
use sha2::{Digest as _, Sha256};
use tempfile::NamedTempFile;

use crate::failpoint;
use crate::hex::hex;
use crate::storage::error::Doing;
use crate::storage::{Digest, READ_ONLY, StorageError, StorageFuture, Upload, blocking, sync_dir};

/// The prefix of the names of unfinished uploads.
pub(super) const UNFINISHED: &str = ".upload-";

/// An upload. `None` once it has failed, or its writer was dropped in the middle of a piece.
pub(super) struct FileUpload(Option<Receiving>);

/// The part that has been received. If it is dropped, its file is removed.
struct Receiving {
    file: NamedTempFile,
    hasher: Sha256,
    left: u64,
    limit: u64,
}

impl FileUpload {
    pub(super) fn begin(dir: &Path, limit: u64) -> Result<Self, StorageError> {
        let file = tempfile::Builder::new()
            .prefix(UNFINISHED)
            .tempfile_in(dir)
            .doing(|| format!("make a file in {}", dir.display()))?;
        Ok(Self(Some(Receiving { file, hasher: Sha256::new(), left: limit, limit })))
    }

    fn take(&mut self) -> Result<Receiving, StorageError> {
        let ended =
            || StorageError::Io { what: "write an upload".into(), source: std::io::Error::other("it has ended") };
        self.0.take().ok_or_else(ended)
    }
}

impl Upload for FileUpload {
    fn write(&mut self, piece: Bytes) -> StorageFuture<'_, ()> {
        Box::pin(async move {
            let mut receiving = self.take()?;
            let write = move || receiving.write(&piece).map(|()| receiving);
            self.0 = Some(blocking(write).await?);
            Ok(())
        })
    }

    fn finish<'a>(mut self: Box<Self>, expected: &'a Digest) -> StorageFuture<'a, ()> {
        Box::pin(async move {
            let (receiving, expected) = (self.take()?, expected.clone());
            blocking(move || receiving.finish(&expected)).await
        })
    }
}

impl Receiving {
    fn write(&mut self, piece: &[u8]) -> Result<(), StorageError> {
        self.left = self.left.checked_sub(piece.len() as u64).ok_or(StorageError::TooLarge { limit: self.limit })?;
        self.hasher.update(piece);
        failpoint::is_full("upload.write")
            .and_then(|()| self.file.write_all(piece))
            .doing(|| "write an upload".into())?;
        failpoint::reach("upload.written");
        Ok(())
    }

    /// Gives the file its name, if that is its digest.
    fn finish(self, expected: &Digest) -> Result<(), StorageError> {
        let found = hex(&self.hasher.finalize());
        if found != expected.as_str() {
            return Err(StorageError::WrongDigest { expected: expected.as_str().to_owned(), found });
        }
        let file = self.file.as_file();
        // Read-only, so that nothing writes to it by mistake.
        file.set_permissions(fs::Permissions::from_mode(READ_ONLY)).doing(|| "make an upload read-only".into())?;
        file.sync_all().doing(|| "sync an upload".into())?;
        failpoint::reach("upload.synced");
        let dir = self.file.path().parent().map(Path::to_owned).unwrap_or_default();
        self.file.persist(dir.join(&found)).map_err(|e| e.error).doing(|| format!("keep artifact {found}"))?;
        failpoint::reach("upload.kept");
        sync_dir(&dir)
    }
}
