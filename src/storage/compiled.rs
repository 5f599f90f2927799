//! Removes compiled code that no version needs.

use std::collections::HashSet;
use std::fs;
use std::path::{Path, PathBuf};

use super::error::Doing;
use super::{StorageError, VersionRecord, entries};

/// Removes machine code of processors that no version names, and images that no version's guests start from.
pub(super) fn sweep(dir: &Path, versions: &[VersionRecord]) -> Result<(), StorageError> {
    let processors =
        versions.iter().flat_map(|version| &version.processor).map(|processor| processor.sha256.as_str().to_owned());
    let named: HashSet<String> =
        processors.chain(versions.iter().filter_map(|version| version.image.clone())).collect();
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

/// The directories with machine code, one for each engine: `fuel-<hash>` and `epoch-<hash>`. Others are not the host's.
pub(super) fn engines(compiled: &Path) -> Result<Vec<PathBuf>, StorageError> {
    let is_engine = |(name, path): &(String, PathBuf)| {
        let of_engine = name.strip_prefix("fuel-").or_else(|| name.strip_prefix("epoch-"));
        of_engine.is_some_and(|hash| hash.bytes().all(|byte| byte.is_ascii_hexdigit()))
            && fs::symlink_metadata(path).is_ok_and(|metadata| metadata.is_dir())
    };
    Ok(entries(compiled)?.into_iter().filter(is_engine).map(|(_, path)| path).collect())
}
