//! The environment variables that an inner cargo gets from the outer one.
//!
//! `cargo test`, clippy and coverage tools set variables that would affect the inner build: flags for the wrong target,
//! a compiler wrapper, a target directory whose lock is held. Variables for cargo's own paths, the network and its
//! output are passed on.

use std::ffi::{OsStr, OsString};
use std::process::Command;

const PASSING: &[&str] = &[
    "CARGO_HOME",
    "CARGO_BUILD_JOBS",
    "CARGO_CACHE_",
    "CARGO_HTTP_",
    "CARGO_NET_",
    "CARGO_REGISTRIES_",
    "CARGO_REGISTRY_",
    "CARGO_SOURCE_",
    "CARGO_TERM_",
];

const STAYING: &[&str] = &[
    "RUSTFLAGS",
    "RUSTDOCFLAGS",
    "RUSTC",
    "RUSTC_WRAPPER",
    "RUSTC_WORKSPACE_WRAPPER",
    "RUSTC_LINKER",
    "OUT_DIR",
    "TARGET",
    "HOST",
    "PROFILE",
    "MAKEFLAGS",
    "MFLAGS",
];

/// Removes from `command` those of the `present` variables that would change the build.
pub(crate) fn cleanse(command: &mut Command, present: impl Iterator<Item = OsString>) {
    for name in present.filter(|name| !passes(name)) {
        command.env_remove(name);
    }
}

fn passes(name: &OsStr) -> bool {
    let Some(name) = name.to_str() else { return true };
    if name.starts_with("CARGO") {
        return PASSING.iter().any(|passing| name.starts_with(passing));
    }
    // `CLIPPY_ARGS`, `CLIPPY_CONF_DIR` and the like belong to a wrapper that is not passed on.
    !STAYING.contains(&name) && !name.starts_with("CLIPPY_")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_would_change_the_build_stays_behind() {
        for name in [
            "CARGO",
            "CARGO_TARGET_DIR",
            "CARGO_BUILD_TARGET",
            "CARGO_ENCODED_RUSTFLAGS",
            "CARGO_INCREMENTAL",
            "CARGO_MANIFEST_DIR",
            "CARGO_PKG_NAME",
            "CARGO_PROFILE_RELEASE_LTO",
            "CARGO_MAKEFLAGS",
            "CARGO_TARGET_WASM32_WASIP2_RUSTFLAGS",
            "RUSTFLAGS",
            "RUSTC_WORKSPACE_WRAPPER",
            "CLIPPY_ARGS",
        ] {
            assert!(!passes(OsStr::new(name)), "{name}");
        }
    }

    #[test]
    fn what_cargo_needs_to_live_passes() {
        for name in ["CARGO_HOME", "CARGO_NET_OFFLINE", "CARGO_TERM_COLOR", "RUSTUP_TOOLCHAIN", "RUSTUP_HOME", "PATH"] {
            assert!(passes(OsStr::new(name)), "{name}");
        }
    }
}
