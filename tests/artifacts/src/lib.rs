//! Builds the example processors for Wasm, for the integration tests, the demo and the bench.
//!
//! The examples are a workspace with their own settings, so an inner cargo builds them, in a separate target directory:
//! it neither waits for the outer cargo's lock nor invalidates its cache. Cargo decides which files are out of date; if
//! none is, a call takes a fraction of a second.

mod environment;

use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::process::{Command, ExitStatus};
use std::sync::OnceLock;

use anyhow::{Context, Result, bail};

pub const TARGET: &str = "wasm32-wasip2";

/// Flags for vector instructions and for unrolling loops: the host checks the meter once per round, so fewer rounds
/// cost less.
pub const RUSTFLAGS: &[&str] = &[
    "-Ctarget-feature=+simd128",
    "-Cllvm-args=-unroll-partial-threshold=250",
    "-Cllvm-args=-force-target-max-vector-interleave=4",
];

/// Returns the component of the example `name`, the name of its directory. Builds it if necessary. For tests.
///
/// The first call in a process builds all examples together, because cargo unifies the features of packages that are
/// built together. Built one by one, their dependencies would be compiled again, and the components would differ from
/// the demo's.
///
/// # Panics
/// If the examples cannot be built, or `name` is not an example.
pub fn guest(name: &str) -> PathBuf {
    static BUILT: OnceLock<Result<(), String>> = OnceLock::new();
    let built = BUILT.get_or_init(|| build_all(Command::status).map(drop).map_err(|error| format!("{error:#}")));
    if let Err(error) = built {
        panic!("the example guests cannot be built: {error}");
    }
    let path = path(name);
    assert!(path.is_file(), "there is no example {name:?} in {}", root().join("examples").display());
    path
}

/// Builds every example, copies each to its [`path`], and returns their names. `run` runs cargo and shows its progress.
///
/// # Errors
/// If the Wasm target is not installed, or an example does not compile.
pub fn build_all(run: impl FnOnce(&mut Command) -> io::Result<ExitStatus>) -> Result<Vec<String>> {
    let names = examples()?;
    let target_dir = root().join("target/guests-build");
    let built = build(&names, RUSTFLAGS, &target_dir, run)?;
    fs::create_dir_all(root().join("target/guests"))?;
    for (name, built) in names.iter().zip(built) {
        place(&built, &path(name)).with_context(|| format!("cannot put {} in its place", built.display()))?;
    }
    Ok(names)
}

/// Builds the libraries of the given crates of the examples' workspace for Wasm with the given compiler flags. Returns
/// their components, in the order of `packages`.
///
/// # Errors
/// If the Wasm target is not installed, or a crate does not compile.
pub fn build(
    packages: &[impl AsRef<str>],
    rustflags: &[&str],
    target_dir: &Path,
    run: impl FnOnce(&mut Command) -> io::Result<ExitStatus>,
) -> Result<Vec<PathBuf>> {
    if !is_target_installed()? {
        bail!("the target {TARGET} is not installed; `rustup target add {TARGET}` or `cargo xtask setup` adds it");
    }
    let mut cargo = inner_cargo();
    cargo.args(["build", "--lib", "--release", "--locked", "--target", TARGET, "--target-dir"]).arg(target_dir);
    cargo.args(packages.iter().flat_map(|package| ["--package", package.as_ref()]));
    cargo.env("CARGO_ENCODED_RUSTFLAGS", rustflags.join("\x1f"));
    let status = run(&mut cargo).context("cargo cannot be run; install Rust from https://rustup.rs")?;
    if !status.success() {
        bail!("cargo could not build {}; see its output above", join(packages));
    }
    let directory = target_dir.join(TARGET).join("release");
    let file = |package: &str| directory.join(package.replace('-', "_")).with_extension("wasm");
    Ok(packages.iter().map(|package| file(package.as_ref())).collect())
}

/// Makes a cargo command for the examples' workspace, without the variables of the outer cargo.
pub fn inner_cargo() -> Command {
    let mut cargo = Command::new("cargo");
    environment::cleanse(&mut cargo, std::env::vars_os().map(|(name, _)| name));
    cargo.current_dir(root().join("examples"));
    cargo
}

fn join(packages: &[impl AsRef<str>]) -> String {
    packages.iter().map(AsRef::as_ref).collect::<Vec<_>>().join(", ")
}

/// Returns the path of an example's component.
pub fn path(name: &str) -> PathBuf {
    root().join("target/guests").join(name).with_extension("wasm")
}

/// True if the target has a standard library; an installed one is a directory with files.
///
/// # Errors
/// If rustc cannot be run.
pub fn is_target_installed() -> Result<bool> {
    let output = Command::new("rustc")
        .args(["--print", "target-libdir", "--target", TARGET])
        .output()
        .context("rustc cannot be run; install Rust from https://rustup.rs")?;
    if !output.status.success() {
        bail!("rustc does not know the target {TARGET}: {}", String::from_utf8_lossy(&output.stderr).trim());
    }
    let directory = String::from_utf8_lossy(&output.stdout).trim_end().to_owned();
    Ok(fs::read_dir(directory).is_ok_and(|mut files| files.next().is_some()))
}

/// Returns the root of the repository.
pub fn root() -> PathBuf {
    let own = Path::new(env!("CARGO_MANIFEST_DIR"));
    own.ancestors().nth(2).unwrap_or_else(|| unreachable!("this crate lies in tests/artifacts")).to_owned()
}

/// Returns the directories below `examples` that are crates.
fn examples() -> Result<Vec<String>> {
    let directory = root().join("examples");
    let entries = fs::read_dir(&directory).with_context(|| format!("cannot read {}", directory.display()))?;
    let mut names = Vec::new();
    for entry in entries {
        let entry = entry?;
        if entry.path().join("Cargo.toml").is_file() {
            names.push(entry.file_name().to_string_lossy().into_owned());
        }
    }
    names.sort_unstable();
    Ok(names)
}

/// Copies a file atomically, and only if it has changed, because other test processes may be reading it.
fn place(built: &Path, placed: &Path) -> io::Result<()> {
    let bytes = fs::read(built)?;
    if fs::read(placed).is_ok_and(|present| present == bytes) {
        return Ok(());
    }
    let aside = placed.with_extension(format!("{}.new", std::process::id()));
    fs::write(&aside, &bytes)?;
    fs::rename(&aside, placed)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_examples_are_found_by_their_directories() {
        let names = examples().unwrap();
        for name in ["digits", "echo", "faults", "json-score"] {
            assert!(names.iter().any(|found| found == name), "{name} is not among {names:?}");
        }
    }

    #[test]
    fn a_guest_is_put_in_place_once_and_again_when_it_changed() {
        let directory = std::env::temp_dir().join(format!("bulkhead-artifacts-{}", std::process::id()));
        fs::create_dir_all(&directory).unwrap();
        let (built, placed) = (directory.join("a_b.wasm"), directory.join("a-b.wasm"));
        let modified = || fs::metadata(&placed).unwrap().modified().unwrap();
        fs::write(&built, "one").unwrap();
        place(&built, &placed).unwrap();
        let first = modified();
        place(&built, &placed).unwrap();
        assert_eq!(modified(), first);
        fs::write(&built, "two").unwrap();
        place(&built, &placed).unwrap();
        assert_eq!(fs::read_to_string(&placed).unwrap(), "two");
        assert_eq!(fs::read_dir(&directory).unwrap().count(), 2, "nothing is left aside");
        fs::remove_dir_all(&directory).unwrap();
    }

    /// Checks that `bulkhead build` and the project template use the same flags as the examples.
    #[test]
    fn the_flags_are_those_of_the_project_template() {
        let template = fs::read_to_string(root().join("src/cli/template/config.toml")).unwrap();
        assert!(RUSTFLAGS.iter().all(|flag| template.contains(&format!("\"{flag}\""))), "{template}");
        assert_eq!(template.matches("\"-C").count(), RUSTFLAGS.len());
    }
}
