//! A range of an artifact's file, read piece by piece.

use std::fs::File;
use std::io::{self, Read, Seek, SeekFrom};
use std::path::Path;

use bytes::Bytes;

use crate::storage::error::Doing;
use crate::storage::{ByteRange, Digest, Reader, StorageError, StorageFuture, blocking};

/// Most bytes that are read at once.
const PIECE: usize = 256 << 10;

/// A file that is being read, even if it is removed in the meantime. `None` after the end, a failure, or a read whose
/// future was dropped.
pub(super) struct FileReader(Option<Reading>);

struct Reading {
    file: File,
    left: u64,
    digest: Digest,
    part: String,
}

impl FileReader {
    pub(super) fn open(path: &Path, digest: Digest, part: String, range: ByteRange) -> Result<Self, StorageError> {
        let what = || format!("read {}", path.display());
        let mut file = match File::open(path) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => {
                return Err(StorageError::Missing { sha256: digest.into() });
            }
            file => file.doing(what)?,
        };
        let size = file.metadata().doing(what)?.len();
        let range = range.within(size, &digest)?;
        file.seek(SeekFrom::Start(range.start)).doing(what)?;
        Ok(Self(Some(Reading { file, left: range.end - range.start, digest, part })))
    }
}

impl Reader for FileReader {
    fn next(&mut self) -> StorageFuture<'_, Option<Bytes>> {
        Box::pin(async move {
            let Some(mut reading) = self.0.take_if(|reading| reading.left > 0) else { return Ok(None) };
            let (piece, reading) = blocking(move || reading.piece().map(|piece| (piece, reading))).await?;
            self.0 = Some(reading);
            Ok(Some(piece))
        })
    }
}

impl Reading {
    fn piece(&mut self) -> Result<Bytes, StorageError> {
        let most = usize::try_from(self.left).unwrap_or(usize::MAX).min(PIECE);
        let mut piece = vec![0; most];
        let length = self.file.read(&mut piece).doing(|| format!("read artifact {}", self.digest.as_str()))?;
        if length == 0 {
            let reason = "it has become shorter".to_owned();
            let (part, sha256) = (self.part.clone(), self.digest.as_str().to_owned());
            return Err(StorageError::Damaged { part, sha256, reason });
        }
        piece.truncate(length);
        self.left -= length as u64;
        Ok(piece.into())
    }
}
