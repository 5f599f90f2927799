//! Model directories, put together from artifacts.

use std::collections::HashSet;
use std::fs;
use std::io;
use std::path::{Component, Path, PathBuf};

use sha2::{Digest as _, Sha256};

use super::artifacts::{entries, hex};
use super::record::{ModelFile, VersionRecord};
use super::{Doing, StorageError, sync_dir};
use crate::failpoint;

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

/// The model's directory, made now if it is not there. It gets its name only when it is complete.
pub(super) fn assemble(data: &Path, files: &[ModelFile]) -> Result<Option<PathBuf>, StorageError> {
    if files.is_empty() {
        return Ok(None);
    }
    let models = data.join("models");
    let dir = models.join(name(files));
    if dir.is_dir() {
        return Ok(Some(dir));
    }
    let fresh = tempfile::Builder::new()
        .prefix(".model-")
        .tempdir_in(&models)
        .doing(|| format!("make a directory in {}", models.display()))?;
    for file in files {
        if file.directory {
            let to = fresh.path().join(&file.path);
            fs::create_dir_all(&to).doing(|| format!("place model directory {:?}", file.path))?;
            continue;
        }
        let from = data.join("artifacts").join(file.sha256.as_str());
        if !from.is_file() {
            return Err(StorageError::Missing { sha256: file.sha256.as_str().to_owned() });
        }
        let to = fresh.path().join(&file.path);
        let place = || -> io::Result<()> {
            if let Some(parent) = to.parent() {
                fs::create_dir_all(parent)?;
            }
            failpoint::is_full("model.place")?;
            // A link costs nothing; where the file system has none, a copy serves.
            fs::hard_link(&from, &to).or_else(|_| fs::copy(&from, &to).map(|_| ()))
        };
        place().doing(|| format!("place model file {:?}", file.path))?;
    }
    let fresh = fresh.keep();
    failpoint::reach("model.linked");
    match fs::rename(&fresh, &dir) {
        Ok(()) => sync_dir(&models)?,
        // Another deploy of the same model was faster.
        Err(_) if dir.is_dir() => fs::remove_dir_all(&fresh).doing(|| format!("remove {}", fresh.display()))?,
        Err(error) => return Err(error).doing(|| format!("keep model directory {}", dir.display())),
    }
    Ok(Some(dir))
}

/// Removes directories that no version's list names.
pub(super) fn sweep(models: &Path, versions: &[VersionRecord]) -> Result<(), StorageError> {
    let named: HashSet<String> = versions.iter().map(|version| name(&version.model)).collect();
    for (entry, path) in entries(models)? {
        if !named.contains(&entry) {
            fs::remove_dir_all(&path).doing(|| format!("remove {}", path.display()))?;
        }
    }
    Ok(())
}

/// Whether a model file's path stays inside its directory: relative, of plain names only.
pub(super) fn is_inside(path: &str) -> bool {
    let plain = |component: Component<'_>| matches!(component, Component::Normal(_));
    !path.is_empty() && path.len() <= 1024 && !path.contains(['\0', '\\']) && Path::new(path).components().all(plain)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::storage::Storage;

    #[test]
    fn paths_stay_inside() {
        for fine in ["a", "a/b.onnx", "a b/ü"] {
            assert!(is_inside(fine), "{fine}");
        }
        for bad in ["", "/a", "../a", "a/../b", "./a", "a\0", "a\\..\\b", "."] {
            assert!(!is_inside(bad), "{bad:?}");
        }
    }

    #[test]
    fn a_directory_holds_what_its_list_says_and_is_shared() {
        let data = tempfile::tempdir().unwrap();
        let storage = Storage::open(data.path()).unwrap();
        let mut upload = storage.upload(10).unwrap();
        upload.write(b"abc").unwrap();
        let sha256 =
            crate::storage::Digest::parse("ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad").unwrap();
        upload.finish(&sha256).unwrap();
        let file = ModelFile { path: "deep/er/x".into(), sha256, size: 3, directory: false };
        let empty =
            ModelFile { path: "deep/empty".into(), sha256: crate::storage::Digest::of(b""), size: 0, directory: true };
        let without = storage.model_dir(std::slice::from_ref(&file)).unwrap().unwrap();
        assert!(!without.join("deep/empty").exists());
        let files = [file, empty];
        let dir = storage.model_dir(&files).unwrap().unwrap();
        assert!(fs::read_dir(dir.join("deep/empty")).unwrap().next().is_none(), "it is there and holds nothing");
        assert_eq!(fs::read(dir.join("deep/er/x")).unwrap(), b"abc");
        assert_eq!(storage.model_dir(&files).unwrap().unwrap(), dir);
        assert_eq!(storage.model_dir(&[]).unwrap(), None);
        storage.sweep_models().unwrap();
        assert!(!dir.exists(), "no record names it");
    }
}
