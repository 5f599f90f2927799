//! The program for users, and its symbols in a file beside it.
//!
//! Line tables are three quarters of the program that cargo builds. Debuggers and profilers need them, the program itself
//! does not: the file and line of a panic are in its code. The program keeps the names of its functions, so that stacks
//! can be read without the other file. It also keeps the name and a checksum of that file, its *debug link*: gdb,
//! addr2line, perf and Rust's own backtraces look for the file beside the program, in `.debug` there, and below
//! `/usr/lib/debug`.

use std::ffi::OsString;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result, bail};

/// The two files, made of one program.
#[derive(Debug)]
pub(crate) struct Split {
    pub(crate) program: PathBuf,
    pub(crate) symbols: PathBuf,
}

/// Writes `NAME` and `NAME.debug` to `directory`, where `NAME` is that of the program at `built`.
pub(crate) fn split(objcopy: &Path, built: &Path, directory: &Path) -> Result<Split> {
    let name = built.file_name().with_context(|| format!("{} is not a program", built.display()))?;
    let name = name.to_string_lossy();
    let (program, symbols) = (directory.join(&*name), directory.join(format!("{name}.debug")));
    fs::create_dir_all(directory).with_context(|| format!("cannot create {}", directory.display()))?;
    // The link has the checksum of the finished file, so that comes first.
    write(&symbols, |fresh| run(Command::new(objcopy).arg("--only-keep-debug").arg(built).arg(fresh)))?;
    write(&program, |fresh| {
        let mut link = OsString::from("--add-gnu-debuglink=");
        link.push(&symbols);
        run(Command::new(objcopy).arg("--strip-debug").arg(link).arg(built).arg(fresh))
    })?;
    Ok(Split { program, symbols })
}

/// Makes a file under another name and renames it: the file of that name may be in use.
fn write(path: &Path, make: impl FnOnce(&Path) -> Result<()>) -> Result<()> {
    let fresh = path.with_added_extension("new");
    make(&fresh)?;
    fs::rename(&fresh, path).with_context(|| format!("cannot write {}", path.display()))
}

fn run(objcopy: &mut Command) -> Result<()> {
    let output = objcopy.output().with_context(|| format!("cannot run {}", objcopy.get_program().display()))?;
    if !output.status.success() {
        bail!("objcopy ended with {}: {}", output.status, String::from_utf8_lossy(&output.stderr).trim());
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use std::env;

    use super::*;
    use crate::setup;

    const PANICS: &str = "\
#[inline(never)]
fn innermost(text: &str) -> u32 {
    text.parse().expect(\"a number\")
}
fn main() {
    let text = std::env::args().nth(1).unwrap_or_default();
    println!(\"{}\", innermost(&text));
}
";

    /// Runs the program into its panic and returns its standard error.
    fn panic_of(program: &Path, backtrace: &str) -> String {
        let output = Command::new(program).arg("x").env("RUST_BACKTRACE", backtrace).output().unwrap();
        assert!(!output.status.success());
        String::from_utf8(output.stderr).unwrap()
    }

    #[test]
    fn a_program_is_split_and_its_panics_still_name_file_and_line() {
        let Some(objcopy) = setup::objcopy_here() else {
            println!("skipped: there is no objcopy in the toolchain or on the PATH");
            return;
        };
        let directory = env::temp_dir().join(format!("bulkhead-symbols-{}", std::process::id()));
        fs::create_dir_all(&directory).unwrap();
        let (source, built) = (directory.join("main.rs"), directory.join("probe"));
        fs::write(&source, PANICS).unwrap();
        // As the release profile builds the host.
        run(Command::new("rustc")
            .args(["--edition", "2024", "-O", "-Cdebuginfo=line-tables-only", "-o"])
            .args([&built, &source]))
        .unwrap();
        let line = format!("{}:3", source.display());

        let given = directory.join("dist");
        let Split { program, symbols } = split(&objcopy, &built, &given).unwrap();
        let size = |path: &Path| fs::metadata(path).unwrap().len();
        assert!(size(&program) * 2 < size(&built), "{} of {} bytes", size(&program), size(&built));
        assert!(panic_of(&program, "0").contains(&line));
        let whole = panic_of(&program, "1");
        assert!(whole.contains("innermost") && whole.matches(&line).count() == 2, "{whole}");

        fs::rename(&symbols, given.join("elsewhere")).unwrap();
        let bare = panic_of(&program, "1");
        assert!(bare.contains("innermost") && bare.matches(&line).count() == 1, "{bare}");

        // A second run replaces both files.
        split(&objcopy, &built, &given).unwrap();
        let mut names: Vec<_> = fs::read_dir(&given).unwrap().map(|entry| entry.unwrap().file_name()).collect();
        names.sort();
        assert_eq!(names, ["elsewhere", "probe", "probe.debug"]);
        fs::remove_dir_all(&directory).unwrap();
    }

    #[test]
    fn a_file_that_is_no_program_is_refused_and_nothing_is_left() {
        let Some(objcopy) = setup::objcopy_here() else {
            println!("skipped: there is no objcopy in the toolchain or on the PATH");
            return;
        };
        let directory = env::temp_dir().join(format!("bulkhead-no-symbols-{}", std::process::id()));
        fs::create_dir_all(&directory).unwrap();
        let text = directory.join("text");
        fs::write(&text, "no program").unwrap();
        let error = split(&objcopy, &text, &directory.join("dist")).unwrap_err();
        assert!(format!("{error:#}").contains("objcopy ended"), "{error:#}");
        assert_eq!(fs::read_dir(directory.join("dist")).unwrap().count(), 0);
        fs::remove_dir_all(&directory).unwrap();
    }
}
