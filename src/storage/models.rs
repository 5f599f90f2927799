//! Model directories, put together from artifacts.

use std::collections::HashSet;
use std::fs::{self, File};
use std::io;
use std::os::unix::fs::{OpenOptionsExt, PermissionsExt};
use std::path::{Component, Path, PathBuf};

use sha2::{Digest as _, Sha256};

use super::artifacts::{Digest, READ_ONLY, entries};
use super::record::{ModelFile, VersionRecord};
use super::{Doing, Storage, StorageError, Verdict, sync_dir};
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
mod tests {
    use super::*;

    #[test]
    fn paths_stay_inside() {
        for fine in ["a", "a/b.onnx", "a b/ü"] {
            assert!(is_inside(fine), "{fine}");
        }
        for bad in ["", "/a", "../a", "a/../b", "./a", "a\0", "a\\..\\b", "."] {
            assert!(!is_inside(bad), "{bad:?}");
        }
    }

    fn upload(storage: &Storage, bytes: &[u8]) -> Digest {
        let digest = Digest::parse(&hex(&Sha256::digest(bytes))).unwrap();
        let mut upload = storage.upload(100).unwrap();
        upload.write(bytes).unwrap();
        upload.finish(&digest).unwrap();
        digest
    }

    fn file(path: &str, sha256: &Digest) -> ModelFile {
        ModelFile { path: path.into(), sha256: sha256.clone(), size: 3, directory: false }
    }

    fn empty(path: &str) -> ModelFile {
        ModelFile { path: path.into(), sha256: Digest::of(b""), size: 0, directory: true }
    }

    /// Changes the bytes of a file, under all its names.
    fn rot(path: &Path) {
        fs::set_permissions(path, fs::Permissions::from_mode(0o600)).unwrap();
        fs::write(path, "rot").unwrap();
    }

    #[test]
    fn a_directory_holds_what_its_list_says_and_is_shared() {
        let data = tempfile::tempdir().unwrap();
        let storage = Storage::open(data.path()).unwrap();
        let file = file("deep/er/x", &upload(&storage, b"abc"));
        let without = storage.model_dir(std::slice::from_ref(&file)).unwrap().unwrap();
        assert!(!without.join("deep/empty").exists());
        let files = [file, empty("deep/empty")];
        let dir = storage.model_dir(&files).unwrap().unwrap();
        assert!(fs::read_dir(dir.join("deep/empty")).unwrap().next().is_none(), "it is there and holds nothing");
        fs::remove_dir(dir.join("deep/empty")).unwrap();
        storage.model_dir(&files).unwrap();
        assert!(dir.join("deep/empty").is_dir(), "it is there again");
        assert_eq!(fs::read(dir.join("deep/er/x")).unwrap(), b"abc");
        assert_eq!(storage.model_dir(&files).unwrap().unwrap(), dir);
        assert_eq!(storage.model_dir(&[]).unwrap(), None);
        storage.sweep_models().unwrap();
        assert!(!dir.exists(), "no record names it");
    }

    /// Two entries of one path used to copy the second one through the link of the first, into the artifact itself.
    #[test]
    fn no_list_writes_into_an_artifact() {
        let data = tempfile::tempdir().unwrap();
        let storage = Storage::open(data.path()).unwrap();
        let (abc, abd) = (upload(&storage, b"abc"), upload(&storage, b"abd"));
        for files in [
            [file("m", &abc), file("m", &abc)],
            [file("a/b", &abc), file("a//b", &abc)],
            [file("m", &abc), file("m", &abd)],
            [file("m", &abc), file("m/x", &abd)],
            [file("m/x", &abc), file("m", &abd)],
            [file("m", &abc), empty("m/x")],
            [empty("m"), file("m", &abc)],
        ] {
            let error = storage.model_dir(&files).unwrap_err();
            assert!(matches!(error, StorageError::BadModel { .. }), "{files:?}: {error}");
        }
        for (digest, bytes) in [(&abc, b"abc"), (&abd, b"abd")] {
            assert_eq!(fs::read(storage.whole_artifact(digest, "it").unwrap()).unwrap(), bytes);
        }
        assert!(entries(&data.path().join("models")).unwrap().is_empty(), "nothing half-made is left");
    }

    #[test]
    fn artifacts_and_what_is_made_of_them_are_read_only() {
        let data = tempfile::tempdir().unwrap();
        let storage = Storage::open(data.path()).unwrap();
        let abc = upload(&storage, b"abc");
        fs::set_permissions(storage.artifact(&abc).unwrap(), fs::Permissions::from_mode(0o600)).unwrap();
        let dir = storage.model_dir(&[file("x", &abc)]).unwrap().unwrap();
        copy(&storage.artifact(&abc).unwrap(), &dir.join("copy")).unwrap();
        for path in [storage.artifact(&abc).unwrap(), dir.join("x"), dir.join("copy")] {
            assert_eq!(fs::metadata(&path).unwrap().permissions().mode() & 0o777, READ_ONLY, "{path:?}");
        }
        assert_eq!(copy(&dir.join("x"), &dir.join("x")).unwrap_err().kind(), io::ErrorKind::AlreadyExists);
    }

    #[test]
    fn a_file_that_has_rotted_is_refused_by_name_until_it_is_uploaded_again() {
        let data = tempfile::tempdir().unwrap();
        let storage = Storage::open(data.path()).unwrap();
        let (abc, abd) = (upload(&storage, b"abc"), upload(&storage, b"abd"));
        let files = [file("fine", &abd), file("deep/x", &abc)];
        let dir = storage.model_dir(&files).unwrap().unwrap();
        rot(&dir.join("deep/x"));
        let error = storage.model_dir(&files).unwrap_err();
        assert!(matches!(&error, StorageError::Damaged { sha256, .. } if sha256 == abc.as_str()), "{error}");
        assert!(error.to_string().starts_with("model file \"deep/x\" is damaged"), "{error}");
        assert!(!storage.renew(&abc) && storage.renew(&abd), "one that is damaged is not there");
        upload(&storage, b"abc");
        assert_eq!(storage.model_dir(&files).unwrap().unwrap(), dir);
        assert_eq!(fs::read(dir.join("deep/x")).unwrap(), b"abc");
    }

    #[test]
    fn a_directory_that_has_lost_a_file_is_made_anew() {
        let data = tempfile::tempdir().unwrap();
        let storage = Storage::open(data.path()).unwrap();
        let files = [file("x", &upload(&storage, b"abc")), file("y", &upload(&storage, b"abd"))];
        let dir = storage.model_dir(&files).unwrap().unwrap();
        fs::remove_file(dir.join("x")).unwrap();
        fs::remove_file(dir.join("y")).unwrap();
        fs::write(dir.join("y"), "another").unwrap();
        assert_eq!(storage.model_dir(&files).unwrap().unwrap(), dir);
        assert_eq!(
            (fs::read(dir.join("x")).unwrap(), fs::read(dir.join("y")).unwrap()),
            (b"abc".into(), b"abd".into())
        );
        let aside = dir.with_file_name("fresh");
        fs::create_dir(&aside).unwrap();
        take_over(&aside, &dir).unwrap();
        assert!(!dir.join("x").exists() && dir.is_dir(), "the empty one has taken its place");
    }
}
