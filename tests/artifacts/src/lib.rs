//! Builds the example processors, which are also the fixtures of tests, demo and bench.
//!
//! They are a workspace of their own with a target directory of their own, so building them waits for no other build.
//! What is up to date costs a look; what is not is built.

use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::{Mutex, PoisonError};

use anyhow::{Context, Result, bail};

/// Every example: a folder, a crate and a component by the same name.
pub const GUESTS: [&str; 4] = ["echo", "json-score", "faults", "digits"];

const TARGET: &str = "wasm32-wasip2";
/// SIMD, and the loop unrolling that Wasm targets do not do by themselves: what `bulkhead build` sets.
const RUSTFLAGS: [&str; 5] = [
    "-Ctarget-feature=+simd128",
    "-Cllvm-args=-unroll-runtime",
    "-Cllvm-args=-unroll-allow-partial",
    "-Cllvm-args=-unroll-count=8",
    "-Cllvm-args=-unroll-threshold=2000",
];

/// The root of the repository.
pub fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).ancestors().nth(2).unwrap_or(Path::new(".")).to_owned()
}

/// The component of one example, built if need be.
///
/// # Panics
/// When it cannot be built; cargo has said why.
pub fn guest(name: &str) -> PathBuf {
    build(&[name]).unwrap_or_else(|error| panic!("{error:#}"));
    path(name)
}

/// Where the component of one example lies once it is built.
pub fn path(name: &str) -> PathBuf {
    root().join("target/guests").join(name).with_extension("wasm")
}

/// Builds the named examples into `target/guests`, unless this process has already done so.
///
/// # Errors
/// When cargo cannot build them, or the Wasm target is missing.
pub fn build(names: &[&str]) -> Result<()> {
    static BUILT: Mutex<Vec<String>> = Mutex::new(Vec::new());
    let mut built = BUILT.lock().unwrap_or_else(PoisonError::into_inner);
    let missing: Vec<&str> = names.iter().copied().filter(|name| !built.iter().any(|b| b == name)).collect();
    if missing.is_empty() {
        return Ok(());
    }
    let target_dir = root().join("target/guests-build");
    let mut cargo = cargo(&target_dir);
    for name in &missing {
        cargo.args(["--package", name]);
    }
    if !cargo.status().context("cannot run cargo")?.success() {
        bail!("the example guests do not build; if the target is missing: rustup target add {TARGET}");
    }
    std::fs::create_dir_all(root().join("target/guests"))?;
    for name in missing {
        let from = target_dir.join(TARGET).join("release").join(name.replace('-', "_")).with_extension("wasm");
        replace(&from, &path(name)).with_context(|| format!("cannot copy {}", from.display()))?;
        built.push(name.to_owned());
    }
    Ok(())
}

/// The examples' own build, whatever build it is called from.
fn cargo(target_dir: &Path) -> Command {
    let mut cargo = Command::new("cargo");
    cargo
        .current_dir(root().join("examples"))
        .args(["build", "--release", "--locked", "--target", TARGET, "--target-dir"])
        .arg(target_dir)
        .env("CARGO_ENCODED_RUSTFLAGS", RUSTFLAGS.join("\x1f"));
    let leaks = |name: &str| {
        name.starts_with("CARGO_PKG_") || name.starts_with("CARGO_BUILD_") || name.starts_with("CARGO_PROFILE_")
    };
    for (name, _) in std::env::vars_os() {
        if name.to_str().is_some_and(leaks) {
            cargo.env_remove(name);
        }
    }
    for name in ["RUSTFLAGS", "CARGO_TARGET_DIR", "CARGO_MANIFEST_DIR", "RUSTC_WRAPPER", "RUSTC_WORKSPACE_WRAPPER"] {
        cargo.env_remove(name);
    }
    cargo
}

/// Puts a component in its place in one step: another test process may be reading it.
fn replace(from: &Path, to: &Path) -> std::io::Result<()> {
    let fresh = to.with_extension(format!("{}.tmp", std::process::id()));
    std::fs::copy(from, &fresh)?;
    std::fs::rename(fresh, to)
}
