//! Bulkhead beside bare hyper and other servers: same machine, same client, taking turns; and its guests beside the same
//! code natively.
//!
//! The command that a user types may be a debug build, so it builds host, guests and bench for release and becomes the
//! latter, which measures. Host and bare server are built alike: with a profile each, or both without.

mod guests;
#[cfg(feature = "bench")]
mod measure;

use std::os::unix::process::CommandExt;
use std::process::Command;

use anyhow::{Result, anyhow};

use crate::{cargo, release, stage};

#[cfg(feature = "bench")]
pub(crate) use self::measure::{bare_server, run as measure, train, train_bare};

/// The same allocator as the host's, so that a difference is not the allocator's.
#[cfg(feature = "bench")]
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

/// `quick` leaves out what takes long to install: peers that are not here yet.
pub(crate) fn run(quick: bool, plain: bool) -> Result<bool> {
    let tool = if plain { cargo::bench_tool()? } else { release::bench_tool()? };
    let host = if plain { cargo::host()? } else { release::host(&tool)? };
    cargo::guests()?;
    guests::build_all(!quick)?;
    stage::announce("measuring");
    let mut command = Command::new(&tool);
    command.arg("measure").arg(host).args(quick.then_some("--quick")).args(plain.then_some("--plain"));
    // Whoever interrupts us means the bench, which then ends what it has started.
    Err(anyhow!(command.exec()).context(format!("cannot run {}", tool.display())))
}

#[cfg(not(feature = "bench"))]
pub(crate) fn bare_server() -> Result<bool> {
    anyhow::bail!("this was built without the feature `bench`; `cargo xtask bench` builds it with")
}

#[cfg(not(feature = "bench"))]
pub(crate) fn measure(_host: &std::path::Path, _quick: bool, _plain: bool) -> Result<bool> {
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
