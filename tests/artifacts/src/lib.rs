//! Builds the example processors for Wasm, for whoever runs them: integration tests, the demo and the bench.
//!
//! They are a workspace of their own with settings of their own, so an inner cargo builds them, into a target directory
//! of its own: it can neither wait for the outer cargo's lock nor spoil its cache. Cargo alone decides what is fresh; when
//! all is, asking takes a fraction of a second.

mod environment;

use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::process::{Command, ExitStatus};
use std::sync::OnceLock;

use anyhow::{Context, Result, bail};

pub const TARGET: &str = "wasm32-wasip2";

/// Vector instructions, and loops unrolled far enough that the host's metering, one check per turn, costs little.
pub const RUSTFLAGS: &[&str] = &[
    "-Ctarget-feature=+simd128",
    "-Cllvm-args=-unroll-partial-threshold=250",
    "-Cllvm-args=-force-target-max-vector-interleave=4",
];

/// The component of the example `name`, as its directory is named, built if it has to be. For tests.
///
/// The first call in a process builds every example, because cargo unifies the features of what it builds together: one
/// by one, the same dependencies would be compiled anew, and the components would differ from the demo's.
///
/// # Panics
/// When the examples cannot be built, or `name` is not among them.
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

/// Builds every example, puts each at its [`path`], and says which there are. `run` runs the cargo that does it and shows
/// its progress as it sees fit.
///
/// # Errors
/// When the Wasm target is not installed, or an example does not compile.
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

/// Builds the libraries of some crates of the examples' workspace for Wasm with compiler flags of the caller's choice; their components,
/// in the order of `packages`.
///
/// # Errors
/// When the Wasm target is not installed, or a crate does not compile.
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
        bail!("cargo could not build {}; it says why above", join(packages));
    }
    let directory = target_dir.join(TARGET).join("release");
    let file = |package: &str| directory.join(package.replace('-', "_")).with_extension("wasm");
    Ok(packages.iter().map(|package| file(package.as_ref())).collect())
}

/// A cargo for the examples' workspace that knows nothing of the one around it.
pub fn inner_cargo() -> Command {
    let mut cargo = Command::new("cargo");
    environment::cleanse(&mut cargo, std::env::vars_os().map(|(name, _)| name));
    cargo.current_dir(root().join("examples"));
    cargo
}

fn join(packages: &[impl AsRef<str>]) -> String {
    packages.iter().map(AsRef::as_ref).collect::<Vec<_>>().join(", ")
}

/// Where the component of an example lies once it is built.
pub fn path(name: &str) -> PathBuf {
    root().join("target/guests").join(name).with_extension("wasm")
}

/// Whether there is a standard library for the target; an installed one is a directory with files.
///
/// # Errors
/// When rustc cannot be run.
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

/// The root of the repository.
pub fn root() -> PathBuf {
    let own = Path::new(env!("CARGO_MANIFEST_DIR"));
    own.ancestors().nth(2).unwrap_or_else(|| unreachable!("this crate lies in tests/artifacts")).to_owned()
}

/// The directories below `examples` that are crates.
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

/// Copies in one step that nobody can see half done, and not at all where nothing changed: other test processes may be
/// reading the file.
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

    /// `bulkhead build` and the project template promise the same code as the examples have.
    #[test]
    fn the_flags_are_those_of_the_project_template() {
        let template = fs::read_to_string(root().join("src/cli/template/config.toml")).unwrap();
        assert!(RUSTFLAGS.iter().all(|flag| template.contains(&format!("\"{flag}\""))), "{template}");
        assert_eq!(template.matches("\"-C").count(), RUSTFLAGS.len());
    }
}
