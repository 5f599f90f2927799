//! Bulkhead beside a bare hyper server: same machine, same client, taking turns.
//!
//! The command that a user types may be a debug build, so it builds host and bench for release and hands over to the
//! latter, which measures.

#[cfg(feature = "bench")]
mod measure;

use std::process::Command;

use anyhow::{Context, Result};

use crate::{cargo, stage};

#[cfg(feature = "bench")]
pub(crate) use self::measure::{bare_server, run as measure};

/// The same allocator as the host's, so that a difference is not the allocator's.
#[cfg(feature = "bench")]
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

pub(crate) fn run(quick: bool) -> Result<bool> {
    let unguarded = cargo::unguarded_host()?;
    let host = cargo::host()?;
    let tool = cargo::bench_tool()?;
    cargo::guests()?;
    stage::announce("measuring");
    let mut command = Command::new(&tool);
    command.arg("measure").arg(host).arg(unguarded).args(quick.then_some("--quick"));
    let status = command.status().with_context(|| format!("cannot run {}", tool.display()))?;
    Ok(status.success())
}

#[cfg(not(feature = "bench"))]
pub(crate) fn bare_server() -> Result<bool> {
    anyhow::bail!("this was built without the feature `bench`; `cargo xtask bench` builds it with")
}

#[cfg(not(feature = "bench"))]
pub(crate) fn measure(_host: &std::path::Path, _unguarded: &std::path::Path, _quick: bool) -> Result<bool> {
    bare_server()
}
