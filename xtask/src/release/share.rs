//! Manual pages and shell completions, where programs look for them below `/usr/local/share` or `/usr/share`.
//!
//! The program itself writes them, because only it has the definition of its command line.

use std::fs;
use std::path::Path;
use std::process::Command;

use anyhow::{Context, Result, bail};

/// A shell, and the place of its completions.
const COMPLETIONS: [(&str, &str); 3] = [
    ("bash", "bash-completion/completions/bulkhead"),
    ("zsh", "zsh/site-functions/_bulkhead"),
    ("fish", "fish/vendor_completions.d/bulkhead.fish"),
];
const MANUAL: &str = "man/man1";

/// Writes the files of `program` below `share`, in place of those that are there.
pub(crate) fn write(program: &Path, share: &Path) -> Result<()> {
    match fs::remove_dir_all(share) {
        Err(error) if error.kind() != std::io::ErrorKind::NotFound => {
            return Err(error).with_context(|| format!("cannot remove {}", share.display()));
        }
        _ => {}
    }
    output(Command::new(program).args(["man", "--dir"]).arg(share.join(MANUAL)))?;
    for (shell, place) in COMPLETIONS {
        let script = output(Command::new(program).args(["completions", shell]))?;
        let path = share.join(place);
        let written = path.parent().map_or(Ok(()), fs::create_dir_all).and_then(|()| fs::write(&path, script));
        written.with_context(|| format!("cannot write {}", path.display()))?;
    }
    Ok(())
}

fn output(command: &mut Command) -> Result<Vec<u8>> {
    let output = command.output().with_context(|| format!("cannot run {}", command.get_program().display()))?;
    if !output.status.success() {
        bail!("{command:?} ended with {}: {}", output.status, String::from_utf8_lossy(&output.stderr).trim());
    }
    Ok(output.stdout)
}

#[cfg(test)]
mod tests {
    use std::env;

    use super::*;

    #[test]
    fn every_script_is_where_its_shell_looks_and_old_files_are_gone() {
        let share = env::temp_dir().join(format!("bulkhead-share-{}", std::process::id()));
        let old = share.join(MANUAL).join("bulkhead-gone.1");
        fs::create_dir_all(share.join(MANUAL)).unwrap();
        fs::write(&old, "the page of a command of an earlier version").unwrap();
        // `echo` stands for the program; it prints its arguments.
        write(Path::new("echo"), &share).unwrap();
        for (shell, place) in COMPLETIONS {
            assert_eq!(fs::read_to_string(share.join(place)).unwrap(), format!("completions {shell}\n"));
        }
        assert!(!old.exists());
        assert!(write(Path::new("false"), &share).is_err());
        let _ = fs::remove_dir_all(&share);
    }
}
