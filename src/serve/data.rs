//! Checks the data directory for common mistakes before it is opened, and reports the files that a new database does
//! not name.

use std::fs;
use std::path::Path;

use anyhow::{Result, bail};

/// Refuses what is not a data directory, with a plainer message than the file system's.
pub(super) fn check(data: &Path) -> Result<()> {
    if fs::metadata(data).is_ok_and(|there| !there.is_dir()) {
        bail!("it is a file, and must be a directory");
    }
    for path in [data.to_owned(), data.join("bulkhead.redb")] {
        // The directory or the database was moved to a disk that is not mounted now.
        if let (Ok(target), false) = (fs::read_link(&path), path.exists()) {
            bail!(
                "{} is a symbolic link to {}, which is not there; is the disk mounted? If it is lost, remove the link",
                path.display(),
                target.display()
            );
        }
    }
    Ok(())
}

/// Logs what the host does with the files that the new database does not name.
pub(super) fn tell_of_new_database(data: &Path) {
    let count = |part: &str| fs::read_dir(data.join(part)).map_or(0, Iterator::count);
    let (uploads, models, compiled) = (count("artifacts"), count("models"), count("compiled"));
    tracing::warn!(
        uploads,
        models,
        compiled,
        "began with a new, empty database, without any service; files and key-value stores that the former services left \
         are removed, uploads after a while"
    );
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::symlink;

    use super::*;

    #[test]
    fn what_is_no_data_directory_is_told_in_plain_words() {
        let place = tempfile::tempdir().unwrap();
        let said = |path: &Path| check(path).err().map(|error| error.to_string()).unwrap_or_default();
        let file = place.path().join("file");
        fs::write(&file, "").unwrap();
        assert!(said(&file).contains("is a file, and must be a directory"));
        let link = place.path().join("link");
        symlink("/nowhere/data", &link).unwrap();
        assert!(said(&link).contains("link to /nowhere/data, which is not there"), "{}", said(&link));

        let data = place.path().join("data");
        assert_eq!(said(&data), "", "one that is not there yet is made");
        fs::create_dir(&data).unwrap();
        symlink("/nowhere/redb", data.join("bulkhead.redb")).unwrap();
        assert!(said(&data).contains("bulkhead.redb is a symbolic link to /nowhere/redb"), "{}", said(&data));
        fs::remove_file(data.join("bulkhead.redb")).unwrap();
        symlink(&file, data.join("bulkhead.redb")).unwrap();
        assert_eq!(said(&data), "");
    }
}
