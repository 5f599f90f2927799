//! Protects the data directory from other users of the machine.
//!
//! The directory and its parts must belong to the user that the host runs as, and be closed to all others: they have
//! tokens in plain text, and machine code. A part that others could access is closed to them, with a line in the log. A
//! part of another owner is refused, because its owner could open it again at any moment. A directory that others may
//! use and that has no data of a host, such as `/tmp`, is refused as well; so is a link from the data directory to a
//! place that others may use. Closing or emptying these would take them from others.

use std::fs::{self, Metadata, Permissions};
use std::io;
use std::os::unix::fs::{MetadataExt, PermissionsExt};
use std::path::Path;

use super::{Doing, StorageError};

/// The mode bits for the group and for all other users.
const OTHERS: u32 = 0o077;
const OTHERS_WRITE: u32 = 0o022;
/// Names that may be in a directory before it becomes a data directory: the host's own, since an operator may have put
/// a token there, and `lost+found` of a new file system.
const EXPECTED: [&str; 6] = ["admin.token", "artifacts", "bulkhead.pid", "compiled", "lost+found", "models"];

/// Closes the data directory and its parts to other users. Missing parts are skipped.
pub(super) fn close(dir: &Path) -> Result<(), StorageError> {
    refuse_foreign(dir).doing(|| format!("use {}", dir.display()))?;
    close_one(dir)?;
    for name in ["artifacts", "models", "admin.token", "bulkhead.redb", "keyvalue.redb"] {
        close_part(&dir.join(name))?;
    }
    let compiled = dir.join("compiled");
    if close_part(&compiled)? == Before::Writable {
        // The directory has machine code and the hashes of this code, so a change of both would go unnoticed. The code
        // is compiled again.
        tracing::warn!(
            path = %compiled.display(),
            "other users could change the compiled code; it is removed, and made again"
        );
        empty(&compiled).doing(|| format!("empty {}", compiled.display()))?;
    }
    Ok(())
}

/// The access that others had before.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Before {
    Closed,
    Readable,
    Writable,
}

/// Refuses a directory that others may use and that is no data directory: it has files, but no database.
fn refuse_foreign(dir: &Path) -> io::Result<()> {
    let metadata = fs::metadata(dir)?;
    let is_open = metadata.mode() & OTHERS != 0;
    if !is_open || dir.join("bulkhead.redb").exists() {
        return Ok(());
    }
    let mut names = fs::read_dir(dir)?.flatten().map(|entry| entry.file_name());
    let Some(found) = names.find(|name| !EXPECTED.iter().any(|expected| name == expected)) else { return Ok(()) };
    let why = format!(
        "it has {found:?} and no database of bulkhead, and other users may use it; name another directory with --data, \
         for bulkhead alone: one that does not exist yet is made"
    );
    Err(io::Error::new(io::ErrorKind::PermissionDenied, why))
}

/// As [`close_one`], for a part of the data directory. The target of a link is not the host's own and is not changed.
fn close_part(path: &Path) -> Result<Before, StorageError> {
    let is_link = fs::symlink_metadata(path).is_ok_and(|metadata| metadata.is_symlink());
    match fs::metadata(path) {
        Ok(target) if is_link && target.mode() & OTHERS != 0 => {
            let why =
                "it is a link to a place that other users may use; close that place to others, or remove the link";
            Err(io::Error::new(io::ErrorKind::PermissionDenied, why)).doing(|| format!("use {}", path.display()))
        }
        _ => close_one(path),
    }
}

fn close_one(path: &Path) -> Result<Before, StorageError> {
    let what = || format!("use {}", path.display());
    let us = rustix::process::geteuid().as_raw();
    match fs::symlink_metadata(path) {
        // For a service with `DynamicUser`, systemd puts a symbolic link that belongs to root in the directory's place.
        Ok(link) if link.is_symlink() && link.uid() == 0 => {}
        Ok(metadata) => check_owner(&metadata, us).doing(what)?,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Before::Closed),
        Err(error) => return Err(error).doing(what),
    }
    let metadata = fs::metadata(path).doing(what)?;
    check_owner(&metadata, us).doing(what)?;
    let mode = metadata.mode() & 0o7777;
    if mode & OTHERS == 0 {
        return Ok(Before::Closed);
    }
    fs::set_permissions(path, Permissions::from_mode(mode & !OTHERS))
        .doing(|| format!("keep others out of {}", path.display()))?;
    tracing::warn!(
        path = %path.display(),
        mode = format!("{mode:04o}"),
        "other users of this machine could read this; it is closed to them now, and they may have read it before"
    );
    Ok(if mode & OTHERS_WRITE == 0 { Before::Readable } else { Before::Writable })
}

fn check_owner(metadata: &Metadata, us: u32) -> io::Result<()> {
    let owner = metadata.uid();
    if owner == us {
        return Ok(());
    }
    let why = format!(
        "it belongs to user {owner}, who could read and change it, and the host runs as user {us}; change its owner, or \
         name another directory with --data: one that does not exist yet is made"
    );
    Err(io::Error::new(io::ErrorKind::PermissionDenied, why))
}

fn empty(dir: &Path) -> io::Result<()> {
    for entry in fs::read_dir(dir)? {
        let entry = entry?;
        if entry.file_type()?.is_dir() {
            fs::remove_dir_all(entry.path())?;
        } else {
            fs::remove_file(entry.path())?;
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn mode(path: &Path) -> u32 {
        fs::metadata(path).unwrap().mode() & 0o7777
    }

    fn open_to_all(path: &Path, mode: u32) {
        fs::set_permissions(path, Permissions::from_mode(mode)).unwrap();
    }

    #[test]
    fn what_others_could_get_at_is_closed_to_them() {
        let dir = tempfile::tempdir().unwrap();
        let data = dir.path();
        for name in ["artifacts", "models", "compiled"] {
            fs::create_dir(data.join(name)).unwrap();
            open_to_all(&data.join(name), 0o755);
        }
        for name in ["admin.token", "bulkhead.redb", "compiled/code"] {
            fs::write(data.join(name), "x").unwrap();
            open_to_all(&data.join(name), 0o666);
        }
        open_to_all(data, 0o2777);
        close(data).unwrap();
        assert_eq!(mode(data), 0o2700);
        for name in ["artifacts", "models", "compiled"] {
            assert_eq!(mode(&data.join(name)), 0o700, "{name}");
        }
        for name in ["admin.token", "bulkhead.redb"] {
            assert_eq!(mode(&data.join(name)), 0o600, "{name}");
        }
        assert!(data.join("compiled/code").exists(), "nobody else could change it");
    }

    #[test]
    fn compiled_code_that_others_could_change_is_thrown_away() {
        let dir = tempfile::tempdir().unwrap();
        let compiled = dir.path().join("compiled");
        fs::create_dir_all(compiled.join("engine")).unwrap();
        fs::write(compiled.join("engine/code"), "x").unwrap();
        fs::write(compiled.join("stray"), "x").unwrap();
        fs::write(dir.path().join("bulkhead.redb"), "x").unwrap();
        open_to_all(&compiled, 0o770);
        close(dir.path()).unwrap();
        assert_eq!((mode(&compiled), fs::read_dir(&compiled).unwrap().count()), (0o700, 0));
    }

    /// If `compiled` is a link to `/tmp`, then `/tmp` must not be emptied.
    #[test]
    fn what_others_use_is_neither_closed_nor_emptied() {
        let dir = tempfile::tempdir().unwrap();
        let (shared, data) = (dir.path().join("shared"), dir.path().join("data"));
        for made in [&shared, &data] {
            fs::create_dir(made).unwrap();
        }
        fs::write(shared.join("theirs"), "x").unwrap();
        open_to_all(&shared, 0o1777);
        for part in ["compiled", "artifacts", "models"] {
            let link = data.join(part);
            std::os::unix::fs::symlink(&shared, &link).unwrap();
            open_to_all(&data, 0o700);
            let refused = close(&data).unwrap_err().to_string();
            assert!(refused.contains(part), "{refused}");
            fs::remove_file(&link).unwrap();
        }
        let refused = std::error::Error::source(&close(&shared).unwrap_err()).unwrap().to_string();
        assert!(refused.contains("theirs") && refused.contains("--data"), "{refused}");
        assert_eq!((mode(&shared), fs::read_dir(&shared).unwrap().count()), (0o1777, 1));
        fs::remove_file(shared.join("theirs")).unwrap();
        fs::create_dir(shared.join("lost+found")).unwrap();
        close(&shared).unwrap();
        assert_eq!(mode(&shared), 0o1700, "a new volume is nobody else's");
    }

    #[test]
    fn what_a_link_leads_to_is_closed() {
        let dir = tempfile::tempdir().unwrap();
        let (real, link) = (dir.path().join("real"), dir.path().join("link"));
        fs::create_dir(&real).unwrap();
        open_to_all(&real, 0o755);
        std::os::unix::fs::symlink(&real, &link).unwrap();
        close(&link).unwrap();
        assert_eq!(mode(&real), 0o700);
    }

    #[test]
    fn what_belongs_to_another_user_is_refused() {
        let dir = tempfile::tempdir().unwrap();
        let metadata = fs::metadata(dir.path()).unwrap();
        let us = metadata.uid();
        assert!(check_owner(&metadata, us).is_ok());
        let refused = check_owner(&metadata, us + 1).unwrap_err().to_string();
        assert!(refused.contains(&format!("belongs to user {us}")) && refused.contains("--data"), "{refused}");
    }
}
