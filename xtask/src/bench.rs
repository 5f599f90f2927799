//! Compares Bulkhead with bare hyper and other servers on the same machine, with the same client, in turns. Compares
//! its guests with the same code compiled natively.
//!
//! The command that a user types may be a debug build. So it builds host, guests and bench for release and executes the
//! release build, which measures. Host and bare server are built alike: both with a profile, or both without.

mod guests;
#[cfg(feature = "bench")]
mod measure;

use std::os::unix::process::CommandExt;
use std::process::Command;

use anyhow::{Result, anyhow};

use crate::{cargo, release, stage};

#[cfg(feature = "bench")]
pub(crate) use self::measure::{bare_server, run as measure, train, train_bare};

/// The host's allocator, so that differences do not come from the allocator.
#[cfg(feature = "bench")]
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

/// Builds everything and runs the measurements. `quick` leaves out peers that are not installed, because installing
/// takes long.
/// `queues` measures only the queues.
pub(crate) fn run(quick: bool, plain: bool, queues: bool) -> Result<bool> {
    let tool = if plain { cargo::bench_tool()? } else { release::bench_tool()? };
    let host = if plain { cargo::host()? } else { release::host(&tool)? };
    cargo::guests()?;
    guests::build_all(!quick)?;
    stage::announce("measuring");
    let mut command = Command::new(&tool);
    command.arg("measure").arg(host).args(quick.then_some("--quick")).args(plain.then_some("--plain"));
    command.args(queues.then_some("--queues"));
    // The process is replaced, so that Ctrl-C reaches the bench, which then ends the processes it has started.
    Err(anyhow!(command.exec()).context(format!("cannot run {}", tool.display())))
}

#[cfg(not(feature = "bench"))]
pub(crate) fn bare_server() -> Result<bool> {
    anyhow::bail!("built without the feature `bench`; `cargo xtask bench` enables it")
}

#[cfg(not(feature = "bench"))]
pub(crate) fn measure(_host: &std::path::Path, _quick: bool, _plain: bool, _queues: bool) -> Result<bool> {
    bare_server()
}

#[cfg(not(feature = "bench"))]
pub(crate) fn train(_host: &std::path::Path) -> Result<bool> {
    bare_server()
}

#[cfg(not(feature = "bench"))]
pub(crate) fn train_bare() -> Result<bool> {
    bare_server()
}
