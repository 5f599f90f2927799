//! The host for distribution, and the bench built the same way, so that both sides of the comparison are built alike.

mod share;
mod symbols;

use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result, bail};

use self::symbols::Split;
use crate::profiled::{self, Program};
use crate::{cargo, setup, stage};

const HOST: Program = Program { package: "bulkhead", features: &[] };
const BENCH: Program = Program { package: "xtask", features: &["bench"] };

/// Builds the host and writes what is installed with it to `target/dist`: `bulkhead`, its symbols in `bulkhead.debug`,
/// and `share/` with manual pages and completions.
pub(crate) fn run() -> Result<bool> {
    let built = host(&cargo::bench_tool()?)?;
    let directory = cargo::target_dir().join("dist");
    let Split { program, symbols } = symbols::split(&setup::objcopy()?, &built, &directory)?;
    let share = directory.join("share");
    share::write(&program, &share)?;
    stage::announce("done");
    for written in [program, symbols, share] {
        println!("{}", written.display());
    }
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
