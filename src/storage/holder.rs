//! The process that uses a data directory, for whoever finds it in use.
//!
//! The database's lock decides who may use the directory, and cannot say who does; so the host writes that down.

use std::fs;
use std::path::Path;

const NAME: &str = "bulkhead.pid";

/// Writes down that this process uses the directory. It is told for help alone, so nothing depends on its success.
pub fn note_holder(data: &Path) {
    let _ = fs::write(data.join(NAME), format!("{}\n", std::process::id()));
}

/// The process that uses the directory, as far as it is known and there still is one of that number.
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
