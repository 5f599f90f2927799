//! Builds with cargo: the host, the example processors, and the bench's release build.

use std::env;
use std::io::{self, BufRead, BufReader, IsTerminal};
use std::path::PathBuf;
use std::process::{Command, ExitStatus, Stdio};
use std::sync::mpsc::{self, RecvTimeoutError};
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};
use bulkhead_artifacts::root;

use crate::{setup, stage};

/// The interval of progress lines where there is no progress bar.
const HEARTBEAT: Duration = Duration::from_secs(20);

/// Makes a cargo command for this workspace, as if the user called it from the root.
pub(crate) fn cargo() -> Command {
    let mut cargo = Command::new("cargo");
    cargo.current_dir(root());
    // `cargo run` sets these variables for this program. Build scripts that read them would take them for their own.
    for name in env::vars_os().filter_map(|(name, _)| name.into_string().ok()) {
        let about_us = ["CARGO_MANIFEST_", "CARGO_PKG_", "CARGO_BIN_"].iter().any(|start| name.starts_with(start));
        if about_us || ["CARGO_PRIMARY_PACKAGE", "CARGO_CRATE_NAME", "OUT_DIR"].contains(&name.as_str()) {
            cargo.env_remove(&name);
        }
    }
    cargo
}

/// Returns the target directory of the workspace.
pub(crate) fn target_dir() -> PathBuf {
    // A relative path counts from the workspace root, where our cargo runs.
    match env::var_os("CARGO_TARGET_DIR") {
        Some(directory) => root().join(directory),
        None => root().join("target"),
    }
}

/// Builds the host with `cargo build --release` and returns its path.
pub(crate) fn host() -> Result<PathBuf> {
    stage::announce("building the host: cargo build --release");
    build(cargo().args(["build", "--release", "--locked", "--package", "bulkhead"]), "the host")?;
    Ok(target_dir().join("release/bulkhead"))
}

/// Builds every example processor.
pub(crate) fn guests() -> Result<Vec<String>> {
    setup::wasm_target()?;
    stage::announce("building the example processors for Wasm");
    bulkhead_artifacts::build_all(run)
}

/// Builds this program for release, with the feature `bench`.
pub(crate) fn bench_tool() -> Result<PathBuf> {
    stage::announce("building the bench: a bare server and a load generator");
    build(cargo().args(["build", "--release", "--locked", "--package", "xtask", "--features", "bench"]), "the bench")?;
    Ok(target_dir().join("release/xtask"))
}

/// Runs a cargo build; a failure names `what`.
pub(crate) fn build(cargo: &mut Command, what: &str) -> Result<()> {
    let status = run(cargo).context("cargo cannot be run; install Rust from https://rustup.rs")?;
    if !status.success() {
        bail!("cargo could not build {what}; see its output above");
    }
    Ok(())
}

/// Runs cargo. On a terminal, cargo draws its progress bar. Elsewhere, routine lines such as "Compiling" are counted
/// instead of printed, because hundreds of them would hide the other output.
pub(crate) fn run(cargo: &mut Command) -> io::Result<ExitStatus> {
    if io::stderr().is_terminal() {
        return cargo.status();
    }
    let mut child = cargo.stderr(Stdio::piped()).spawn()?;
    let (sender, messages) = mpsc::channel();
    if let Some(stderr) = child.stderr.take() {
        thread::spawn(move || {
            BufReader::new(stderr).lines().map_while(Result::ok).try_for_each(|line| sender.send(line))
        });
    }
    let (mut compiling, mut told) = (0_u32, Instant::now());
    loop {
        match messages.recv_timeout(HEARTBEAT.saturating_sub(told.elapsed())) {
            Ok(line) => match line.split_whitespace().next() {
                Some("Compiling") => compiling += 1,
                Some("Downloaded" | "Downloading" | "Updating" | "Locking" | "Finished" | "Adding") | None => {}
                Some(_) => eprintln!("{line}"),
            },
            Err(RecvTimeoutError::Timeout) => {
                stage::announce(&format!("… still building, {compiling} crates so far"));
                told = Instant::now();
            }
            Err(RecvTimeoutError::Disconnected) => break,
        }
    }
    child.wait()
}
