//! The host for distribution, and the bench built the same way, so that both sides of the comparison are built alike.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result, bail};

use crate::profiled::{self, Program};
use crate::{cargo, stage};

const HOST: Program = Program { package: "bulkhead", features: &[] };
const BENCH: Program = Program { package: "xtask", features: &["bench"] };

pub(crate) fn run() -> Result<bool> {
    let built = host(&cargo::bench_tool()?)?;
    let directory = cargo::target_dir().join("dist");
    let given = directory.join("bulkhead");
    let copied = fs::create_dir_all(&directory).and_then(|()| {
        // Copied next to the old file and renamed over it, because the old program may be running.
        let fresh = directory.join(".bulkhead");
        fs::copy(&built, &fresh)?;
        fs::rename(fresh, &given)
    });
    copied.with_context(|| format!("cannot write {}", given.display()))?;
    stage::announce("done");
    println!("{}", given.display());
    Ok(true)
}

/// Builds the host; the program `bench` sends its training load.
pub(crate) fn host(bench: &Path) -> Result<PathBuf> {
    cargo::guests()?;
    profiled::build(&HOST, |counting| finish(Command::new(bench).arg("train").arg(counting)))
}

/// Builds the bench, which contains the bare server.
pub(crate) fn bench_tool() -> Result<PathBuf> {
    profiled::build(&BENCH, |counting| finish(Command::new(counting).arg("train-bare")))
}

fn finish(command: &mut Command) -> Result<()> {
    let program = command.get_program().to_owned();
    let status = command.status().with_context(|| format!("cannot run {}", program.display()))?;
    if !status.success() {
        bail!("{} ended with {status}; see its output above", program.display());
    }
    Ok(())
}
