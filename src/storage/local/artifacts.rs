//! Uploaded files, each named by the SHA-256 of what it holds.

use std::collections::HashSet;
use std::fs;
use std::io::Write;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime};

use sha2::{Digest as _, Sha256};
use tempfile::NamedTempFile;

use crate::failpoint;
use crate::hex::hex;
use crate::storage::error::Doing;
use crate::storage::{Digest, ImageName, StorageError, VersionRecord, sync_dir};

/// What the names of unfinished uploads begin with.
const UNFINISHED: &str = ".upload-";

/// The mode of every artifact, and of the files in model directories.
pub(in crate::storage) const READ_ONLY: u32 = 0o444;

/// An artifact on its way in. Dropped unfinished, it leaves nothing behind.
pub struct Upload {
    file: NamedTempFile,
    hasher: Sha256,
    left: u64,
    limit: u64,
}

impl Upload {
    pub(in crate::storage) fn begin(dir: &Path, limit: u64) -> Result<Self, StorageError> {
        let file = tempfile::Builder::new()
            .prefix(UNFINISHED)
            .tempfile_in(dir)
            .doing(|| format!("make a file in {}", dir.display()))?;
        Ok(Self { file, hasher: Sha256::new(), left: limit, limit })
    }

    pub fn write(&mut self, bytes: &[u8]) -> Result<(), StorageError> {
        self.left = self.left.checked_sub(bytes.len() as u64).ok_or(StorageError::TooLarge { limit: self.limit })?;
        self.hasher.update(bytes);
        failpoint::is_full("upload.write")
            .and_then(|()| self.file.write_all(bytes))
            .doing(|| "write an upload".into())?;
        failpoint::reach("upload.written");
        Ok(())
    }

    /// Gives the artifact its name, if that is its digest.
    pub fn finish(self, expected: &Digest) -> Result<(), StorageError> {
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

/// Removes what an earlier process did not finish to receive.
pub(in crate::storage) fn remove_unfinished(dir: &Path) -> Result<(), StorageError> {
    for (name, path) in entries(dir)? {
        if name.starts_with(UNFINISHED) && !path.is_dir() {
            fs::remove_file(&path).doing(|| format!("remove {}", path.display()))?;
        }
    }
    Ok(())
}

/// Removes artifacts that no version names, and unfinished uploads, once they are older than `grace`. Other files are
/// not the host's, and stay.
pub(in crate::storage) fn sweep(dir: &Path, versions: &[VersionRecord], grace: Duration) -> Result<(), StorageError> {
    let named: HashSet<&str> = versions.iter().flat_map(VersionRecord::digests).map(Digest::as_str).collect();
    let now = SystemTime::now();
    let is_ours = |(name, path): &(String, PathBuf)| {
        (Digest::parse(name).is_some() || name.starts_with(UNFINISHED)) && !path.is_dir()
    };
    for (name, path) in entries(dir)?.into_iter().filter(is_ours) {
        let age = fs::metadata(&path).and_then(|m| m.modified()).ok().and_then(|at| now.duration_since(at).ok());
        if !named.contains(name.as_str()) && age.is_some_and(|age| age > grace) {
            fs::remove_file(&path).doing(|| format!("remove {}", path.display()))?;
        }
    }
    Ok(())
}

/// Removes machine code of processors that no version names, and images that no version's guests start from.
pub(in crate::storage) fn sweep_compiled(
    dir: &Path,
    versions: &[VersionRecord],
    image: ImageName,
) -> Result<(), StorageError> {
    let processors = versions.iter().map(|version| version.processor.sha256.as_str().to_owned());
    let named: HashSet<String> = processors.chain(versions.iter().filter_map(image)).collect();
    for engine in engines(dir)? {
        for (name, path) in entries(&engine)?.into_iter().filter(|(_, path)| !path.is_dir()) {
            let of = name.split('.').next().unwrap_or_default();
            if !named.contains(of) {
                fs::remove_file(&path).doing(|| format!("remove {}", path.display()))?;
            }
        }
    }
    Ok(())
}

/// Finds a file of a service in the data directory: an artifact, a model or machine code. Unfinished files do not
/// count.
pub(in crate::storage) fn any_left(data: &Path) -> Result<Option<PathBuf>, StorageError> {
    let is_whole = |(name, _): &(String, PathBuf)| !name.starts_with('.');
    for dir in ["artifacts", "models"] {
        if let Some((_, path)) = entries(&data.join(dir))?.into_iter().find(is_whole) {
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

/// The directories with machine code, one for each engine: `fuel-<hash>` and `epoch-<hash>`. Others are not the host's.
fn engines(compiled: &Path) -> Result<Vec<PathBuf>, StorageError> {
    let is_engine = |(name, path): &(String, PathBuf)| {
        let of_engine = name.strip_prefix("fuel-").or_else(|| name.strip_prefix("epoch-"));
        of_engine.is_some_and(|hash| hash.bytes().all(|byte| byte.is_ascii_hexdigit()))
            && fs::symlink_metadata(path).is_ok_and(|metadata| metadata.is_dir())
    };
    Ok(entries(compiled)?.into_iter().filter(is_engine).map(|(_, path)| path).collect())
}

pub(in crate::storage) fn entries(dir: &Path) -> Result<Vec<(String, PathBuf)>, StorageError> {
    let what = || format!("list {}", dir.display());
    let mut entries = Vec::new();
    for entry in fs::read_dir(dir).doing(what)? {
        let entry = entry.doing(what)?;
        entries.push((entry.file_name().to_string_lossy().into_owned(), entry.path()));
    }
    Ok(entries)
}

#[cfg(test)]
mod tests {
    use super::*;

    const ABC: &str = "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad";

    #[test]
    fn an_upload_is_kept_under_its_digest_only() {
        let dir = tempfile::tempdir().unwrap();
        let upload = |bytes: &[u8], expected: &str| {
            let mut upload = Upload::begin(dir.path(), 3).unwrap();
            upload.write(bytes)?;
            upload.finish(&Digest::parse(expected).unwrap())
        };
        assert!(matches!(upload(b"abd", ABC), Err(StorageError::WrongDigest { .. })));
        assert!(matches!(upload(b"abcd", ABC), Err(StorageError::TooLarge { limit: 3 })));
        assert!(entries(dir.path()).unwrap().is_empty(), "what failed leaves nothing");
        upload(b"abc", ABC).unwrap();
        assert_eq!(fs::read(dir.path().join(ABC)).unwrap(), b"abc");
    }

    #[test]
    fn only_what_nobody_names_and_is_old_is_swept() {
        let dir = tempfile::tempdir().unwrap();
        fs::write(dir.path().join(ABC), "abc").unwrap();
        sweep(dir.path(), &[], Duration::from_secs(60)).unwrap();
        assert_eq!(entries(dir.path()).unwrap().len(), 1);
        sweep(dir.path(), &[], Duration::ZERO).unwrap();
        assert!(entries(dir.path()).unwrap().is_empty());
    }
}
