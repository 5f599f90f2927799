//! Model directories, put together from artifacts.

use std::collections::HashSet;
use std::fs::{self, File};
use std::io;
use std::os::unix::fs::{OpenOptionsExt, PermissionsExt};
use std::path::{Component, Path, PathBuf};
use std::sync::Arc;

use sha2::{Digest as _, Sha256};

use super::error::Doing;
use super::verified::{Verdict, Verified};
use super::{Artifacts, Digest, ModelFile, READ_ONLY, StorageError, VersionRecord, blocking, entries, sync_dir};
use crate::failpoint;
use crate::hex::hex;

/// The prefix of directories that are being made, or that another one has replaced.
const UNFINISHED: &str = ".model-";

/// Names a directory by its list of files, so services with the same model share one.
fn name(files: &[ModelFile]) -> String {
    let mut hasher = Sha256::new();
    for file in files {
        hasher.update(file.path.as_bytes());
        hasher.update([0]);
        hasher.update(file.sha256.as_str().as_bytes());
        if file.directory {
            hasher.update(b"/");
        }
    }
    hex(&hasher.finalize())
}

/// The directory with the model directories of this machine.
#[derive(Clone)]
pub(super) struct Models {
    dir: Arc<Path>,
    verified: Arc<Verified>,
}

impl Models {
    pub(super) fn new(dir: PathBuf, verified: Arc<Verified>) -> Self {
        Self { dir: dir.into(), verified }
    }

    /// Returns the model's directory. Makes it if it is missing, and makes it again if its files are not those of the
    /// list. A directory gets its final name only when it is complete.
    pub(super) async fn assemble(
        &self,
        artifacts: &dyn Artifacts,
        files: &[ModelFile],
    ) -> Result<Option<PathBuf>, StorageError> {
        if files.is_empty() {
            return Ok(None);
        }
        let (models, listed) = (self.clone(), files.to_vec());
        let found = blocking(move || Ok(models.find(&listed))).await?;
        let is_there = match found {
            Found::Whole(dir) => return Ok(Some(dir)),
            Found::Missing => false,
            Found::Damaged(damage) => {
                let dir = self.dir.join(name(files));
                tracing::warn!(dir = %dir.display(), damage, "a model directory is damaged; making it again");
                true
            }
        };
        let mut sources = Vec::with_capacity(files.len());
        for file in files {
            let part = format!("model file {:?}", file.path);
            let source = if file.directory { None } else { Some(artifacts.file(&file.sha256, &part).await?) };
            sources.push((file.clone(), source));
        }
        let models = self.clone();
        blocking(move || models.make(&sources, is_there)).await.map(Some)
    }

    fn find(&self, files: &[ModelFile]) -> Found {
        let dir = self.dir.join(name(files));
        if !dir.is_dir() {
            return Found::Missing;
        }
        match self.first_damage(&dir, files) {
            None => Found::Whole(dir),
            Some(damage) => Found::Damaged(damage),
        }
    }

    /// The first file of the directory that differs from the list, and the difference.
    fn first_damage(&self, dir: &Path, files: &[ModelFile]) -> Option<String> {
        let lost = files.iter().find(|file| file.directory && !dir.join(&file.path).is_dir());
        if let Some(lost) = lost {
            return Some(format!("directory {:?} is missing", lost.path));
        }
        let mut files = files.iter().filter(|file| !file.directory);
        files.find_map(|file| match self.verified.check(&dir.join(&file.path), &file.sha256) {
            Verdict::Whole => None,
            Verdict::Missing => Some(format!("{:?} is missing", file.path)),
            Verdict::Damaged(reason) => Some(format!("{:?}: {reason}", file.path)),
        })
    }

    /// Makes the directory of these files, each with the path of its artifact.
    fn make(&self, files: &[(ModelFile, Option<PathBuf>)], is_there: bool) -> Result<PathBuf, StorageError> {
        let list: Vec<ModelFile> = files.iter().map(|(file, _)| file.clone()).collect();
        let dir = self.dir.join(name(&list));
        let fresh = tempfile::Builder::new()
            .prefix(UNFINISHED)
            .tempdir_in(&self.dir)
            .doing(|| format!("make a directory in {}", self.dir.display()))?;
        for (file, source) in files {
            let place = fresh.path().join(&file.path);
            let placed = match source {
                Some(source) => self.place(source, &place),
                None => fs::create_dir_all(&place),
            };
            placed.map_err(|source| of_placing(file, source))?;
        }
        let fresh = fresh.keep();
        failpoint::reach("model.linked");
        if is_there {
            take_over(&fresh, &dir)?;
        } else {
            match fs::rename(&fresh, &dir) {
                Ok(()) => {}
                // Another deploy of the same model was faster.
                Err(_) if dir.is_dir() => fs::remove_dir_all(&fresh).doing(|| format!("remove {}", fresh.display()))?,
                Err(error) => return Err(error).doing(|| format!("keep model directory {}", dir.display())),
            }
        }
        sync_dir(&self.dir)?;
        Ok(dir)
    }

    /// Puts a file into a model directory, as a hard link. Nothing writes through the link: artifacts are read-only, and
    /// an existing name is an error. On a file system without hard links, the file is copied.
    fn place(&self, from: &Path, to: &Path) -> io::Result<()> {
        if let Some(parent) = to.parent() {
            fs::create_dir_all(parent)?;
        }
        failpoint::is_full("model.place")?;
        let link = || {
            // An artifact that an earlier version of the host has stored may still be writable.
            let _ = fs::set_permissions(from, fs::Permissions::from_mode(READ_ONLY));
            fs::hard_link(from, to)
        };
        match self.verified.keeping(from, link) {
            Err(error) if error.kind() != io::ErrorKind::AlreadyExists => copy(from, to),
            linked => linked,
        }
    }

    /// Removes model directories that no version needs. Other files and directories stay.
    pub(super) fn sweep(&self, versions: &[VersionRecord]) -> Result<(), StorageError> {
        let named: HashSet<String> = versions.iter().map(|version| name(&version.model)).collect();
        let is_ours = |entry: &str| Digest::parse(entry).is_some() || entry.starts_with(UNFINISHED);
        for (entry, path) in entries(&self.dir)? {
            if !named.contains(&entry) && is_ours(&entry) && path.is_dir() {
                fs::remove_dir_all(&path).doing(|| format!("remove {}", path.display()))?;
            }
        }
        Ok(())
    }
}

/// The model directory as it is found.
enum Found {
    Whole(PathBuf),
    Missing,
    /// The difference from the list.
    Damaged(String),
}

/// Copies to a new file; by reference if the file system supports it.
fn copy(from: &Path, to: &Path) -> io::Result<()> {
    let mut copy = File::options().write(true).create_new(true).mode(READ_ONLY).open(to)?;
    io::copy(&mut File::open(from)?, &mut copy)?;
    Ok(())
}

/// Separates faults of the list, which its sender can fix, from those of the disk.
fn of_placing(file: &ModelFile, source: io::Error) -> StorageError {
    use io::ErrorKind::{AlreadyExists, InvalidFilename, IsADirectory, NotADirectory};
    match source.kind() {
        AlreadyExists | InvalidFilename | IsADirectory | NotADirectory => {
            let reason = format!("model file {:?} cannot lie in a directory with the others: {source}", file.path);
            StorageError::BadModel { reason }
        }
        _ => StorageError::Io { what: format!("place model file {:?}", file.path), source },
    }
}

/// Replaces a damaged directory by the fresh one, atomically if the file system supports it. The old one stays until
/// the next sweep: a guest may still be reading its intact files.
fn take_over(fresh: &Path, dir: &Path) -> Result<(), StorageError> {
    use rustix::fs::{CWD, RenameFlags, renameat_with};
    if renameat_with(CWD, fresh, CWD, dir, RenameFlags::EXCHANGE).is_ok() {
        return Ok(());
    }
    let aside = fresh.with_extension("replaced");
    let moved = fs::rename(dir, &aside).and_then(|()| fs::rename(fresh, dir));
    moved.doing(|| format!("keep model directory {}", dir.display()))
}

/// Checks that a recorded path stays inside its directory: relative, of plain names only. New paths have passed
/// [`super::model_path`], which is stricter; older records have not.
pub(super) fn is_inside(path: &str) -> bool {
    let plain = |component: Component<'_>| matches!(component, Component::Normal(_));
    !path.is_empty() && path.len() <= 1024 && !path.contains(['\0', '\\']) && Path::new(path).components().all(plain)
}

#[cfg(test)]
mod tests;
