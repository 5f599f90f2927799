//! The process that uses a data directory, for the error message of a second process.
//!
//! The database's lock decides which process may use the directory, but does not tell which one does; so the host
//! writes its process id to a file.

use std::fs;
use std::path::Path;

const NAME: &str = "bulkhead.pid";

/// Writes this process's id to the directory. It is only for an error message, so a failure is ignored.
pub fn note_holder(data: &Path) {
    let _ = fs::write(data.join(NAME), format!("{}\n", std::process::id()));
}

/// The process id in the directory, if there is one and such a process exists.
pub fn holder(data: &Path) -> Option<u32> {
    let pid: u32 = fs::read_to_string(data.join(NAME)).ok()?.trim().parse().ok()?;
    Path::new("/proc").join(pid.to_string()).exists().then_some(pid)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_a_process_that_is_there_is_named() {
        let data = tempfile::tempdir().unwrap();
        assert_eq!(holder(data.path()), None);
        note_holder(data.path());
        assert_eq!(holder(data.path()), Some(std::process::id()));
        for stale in ["", "x", "4294967295"] {
            fs::write(data.path().join(NAME), stale).unwrap();
            assert_eq!(holder(data.path()), None, "{stale}");
        }
    }
}
