//! Everything that is built is built here: the host, the example processors, and the bench's own release build.

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

/// Where nobody watches a progress bar, a line now and then says that there is still progress.
const HEARTBEAT: Duration = Duration::from_secs(20);

/// A cargo for the workspace around us, as if called from its root by the user.
pub(crate) fn cargo() -> Command {
    let mut cargo = Command::new("cargo");
    cargo.current_dir(root());
    // `cargo run` has told us about ourselves, and build scripts that ask would take it for news about them.
    for name in env::vars_os().filter_map(|(name, _)| name.into_string().ok()) {
        let about_us = ["CARGO_MANIFEST_", "CARGO_PKG_", "CARGO_BIN_"].iter().any(|start| name.starts_with(start));
        if about_us || ["CARGO_PRIMARY_PACKAGE", "CARGO_CRATE_NAME", "OUT_DIR"].contains(&name.as_str()) {
            cargo.env_remove(&name);
        }
    }
    cargo
}

/// Where the workspace is built.
pub(crate) fn target_dir() -> PathBuf {
    // A relative one is meant from where the user is, and our cargo runs from the root.
    match env::var_os("CARGO_TARGET_DIR") {
        Some(directory) => root().join(directory),
        None => root().join("target"),
    }
}

/// Builds the host as users do and says where it is.
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

/// Builds this program for release, with what the bench needs.
pub(crate) fn bench_tool() -> Result<PathBuf> {
    stage::announce("building the bench: a bare server and a load generator");
    build(cargo().args(["build", "--release", "--locked", "--package", "xtask", "--features", "bench"]), "the bench")?;
    Ok(target_dir().join("release/xtask"))
}

/// Lets cargo build, and names what could not be built.
pub(crate) fn build(cargo: &mut Command, what: &str) -> Result<()> {
    let status = run(cargo).context("cargo cannot be run; install Rust from https://rustup.rs")?;
    if !status.success() {
        bail!("cargo could not build {what}; it says why above");
    }
    Ok(())
}

/// Lets cargo draw its progress bar on a terminal. Elsewhere hundreds of lines would bury everything else, so they are
/// counted, and only what is not a matter of course is passed on.
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
