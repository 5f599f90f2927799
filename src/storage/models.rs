//! Model directories, put together from artifacts.

use std::collections::HashSet;
use std::fs::{self, File};
use std::io;
use std::os::unix::fs::{OpenOptionsExt, PermissionsExt};
use std::path::{Component, Path, PathBuf};

use sha2::{Digest as _, Sha256};

use super::local::artifacts::{READ_ONLY, entries};
use super::{Digest, Doing, ModelFile, Storage, StorageError, Verdict, VersionRecord, sync_dir};
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

/// Returns the model's directory. Makes it if it is missing, and makes it again if its files are not those of the list.
/// A directory gets its final name only when it is complete.
pub(super) fn assemble(storage: &Storage, files: &[ModelFile]) -> Result<Option<PathBuf>, StorageError> {
    if files.is_empty() {
        return Ok(None);
    }
    let models = storage.dir.join("models");
    let dir = models.join(name(files));
    let is_there = dir.is_dir();
    if is_there {
        match first_damage(storage, &dir, files) {
            None => return Ok(Some(dir)),
            Some(damage) => {
                tracing::warn!(dir = %dir.display(), damage, "a model directory is damaged; making it anew");
            }
        }
    }
    let fresh = tempfile::Builder::new()
        .prefix(UNFINISHED)
        .tempdir_in(&models)
        .doing(|| format!("make a directory in {}", models.display()))?;
    for file in files {
        if file.directory {
            fs::create_dir_all(fresh.path().join(&file.path)).map_err(|source| of_placing(file, source))?;
            continue;
        }
        let from = storage.whole_artifact(&file.sha256, &format!("model file {:?}", file.path))?;
        place(storage, &from, &fresh.path().join(&file.path)).map_err(|source| of_placing(file, source))?;
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
    sync_dir(&models)?;
    Ok(Some(dir))
}

/// The first file of the directory that differs from the list, and the difference.
fn first_damage(storage: &Storage, dir: &Path, files: &[ModelFile]) -> Option<String> {
    let lost = files.iter().find(|file| file.directory && !dir.join(&file.path).is_dir());
    if let Some(lost) = lost {
        return Some(format!("directory {:?} is missing", lost.path));
    }
    let mut files = files.iter().filter(|file| !file.directory);
    files.find_map(|file| match storage.verified.check(&dir.join(&file.path), &file.sha256) {
        Verdict::Whole => None,
        Verdict::Missing => Some(format!("{:?} is missing", file.path)),
        Verdict::Damaged(reason) => Some(format!("{:?}: {reason}", file.path)),
    })
}

/// Puts a file into a model directory, as a hard link. Nothing writes through the link: artifacts are read-only, and an
/// existing name is an error. On a file system without hard links, the file is copied.
fn place(storage: &Storage, from: &Path, to: &Path) -> io::Result<()> {
    if let Some(parent) = to.parent() {
        fs::create_dir_all(parent)?;
    }
    failpoint::is_full("model.place")?;
    let link = || {
        // An artifact that an earlier version of the host has stored may still be writable.
        let _ = fs::set_permissions(from, fs::Permissions::from_mode(READ_ONLY));
        fs::hard_link(from, to)
    };
    match storage.verified.keeping(from, link) {
        Err(error) if error.kind() != io::ErrorKind::AlreadyExists => copy(from, to),
        linked => linked,
    }
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

/// Removes model directories that no version needs. Other files and directories stay.
pub(super) fn sweep(models: &Path, versions: &[VersionRecord]) -> Result<(), StorageError> {
    let named: HashSet<String> = versions.iter().map(|version| name(&version.model)).collect();
    let is_ours = |entry: &str| Digest::parse(entry).is_some() || entry.starts_with(UNFINISHED);
    for (entry, path) in entries(models)? {
        if !named.contains(&entry) && is_ours(&entry) && path.is_dir() {
            fs::remove_dir_all(&path).doing(|| format!("remove {}", path.display()))?;
        }
    }
    Ok(())
}

/// Checks that a recorded path stays inside its directory: relative, of plain names only. New paths have passed
/// [`super::model_path`], which is stricter; older records have not.
pub(super) fn is_inside(path: &str) -> bool {
    let plain = |component: Component<'_>| matches!(component, Component::Normal(_));
    !path.is_empty() && path.len() <= 1024 && !path.contains(['\0', '\\']) && Path::new(path).components().all(plain)
}

#[cfg(test)]
mod tests;
