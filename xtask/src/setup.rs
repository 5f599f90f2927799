//! Installs what the other commands need and a user may have. Nothing here needs root, and doing it twice is quick.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use anyhow::{Context, Result, bail};
use bulkhead_artifacts::{TARGET, is_target_installed, root};

use crate::{cargo, stage, test};

/// Whether the Python SDK's tests can run.
pub(crate) enum Python {
    Ready(PathBuf),
    /// And why not.
    Missing(String),
}

pub(crate) fn run() -> Result<bool> {
    wasm_target()?;
    match python()? {
        Python::Ready(python) => stage::announce(&format!("ready: {TARGET}, {}", python.display())),
        Python::Missing(why) => {
            stage::announce(&format!("ready: {TARGET}; {why}, so `cargo xtask test` will skip:"));
            for name in test::sdk_cases()? {
                eprintln!("             {name}");
            }
        }
    }
    Ok(true)
}

/// Adds the Wasm target to the toolchain.
pub(crate) fn wasm_target() -> Result<()> {
    if is_target_installed()? {
        return Ok(());
    }
    stage::announce(&format!("adding the target: rustup target add {TARGET}"));
    let status = Command::new("rustup").args(["target", "add", TARGET]).status();
    let status = status.with_context(|| format!("the target {TARGET} is not installed and rustup cannot be run"))?;
    if !status.success() {
        bail!("`rustup target add {TARGET}` failed; it says why above");
    }
    Ok(())
}

/// Makes a venv with exactly what `tests/python/requirements.txt` lists.
pub(crate) fn python() -> Result<Python> {
    let requirements = root().join("tests/python/requirements.txt");
    let wanted = fs::read(&requirements).with_context(|| format!("cannot read {}", requirements.display()))?;
    let venv = cargo::target_dir().join("venv");
    let (python, stamp) = (venv.join("bin/python"), venv.join("installed.txt"));
    // Written last, so a venv that broke off half-way is made anew.
    if fs::read(&stamp).is_ok_and(|installed| installed == wanted) && runs(&python) {
        return Ok(Python::Ready(python));
    }
    if !runs(Path::new("python3")) {
        return Ok(Python::Missing("there is no python3".to_owned()));
    }
    stage::announce("making a Python venv with the EAS SDK");
    let made = Command::new("python3").args(["-m", "venv", "--clear"]).arg(&venv).stdout(Stdio::null()).output()?;
    if !made.status.success() {
        return Ok(Python::Missing("python3 has no venv or no pip (Debian: apt-get install python3-venv)".to_owned()));
    }
    let installed = Command::new(&python)
        .args(["-m", "pip", "install", "--quiet", "--disable-pip-version-check", "--requirement"])
        .arg(&requirements)
        .status()
        .context("the venv's python cannot be run")?;
    if !installed.success() {
        bail!("pip could not install {}; it says why above", requirements.display());
    }
    fs::write(&stamp, &wanted).with_context(|| format!("cannot write {}", stamp.display()))?;
    Ok(Python::Ready(python))
}

fn runs(python: &Path) -> bool {
    let status = Command::new(python).arg("--version").stdout(Stdio::null()).stderr(Stdio::null()).status();
    status.is_ok_and(|status| status.success())
}
