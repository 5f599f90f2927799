//! Builds of the bench: guests that are not examples, the digits model without our compiler flags, and the kernels
//! natively.

use std::path::PathBuf;

use anyhow::{Result, bail};
use bulkhead_artifacts::{RUSTFLAGS, build, inner_cargo};

use crate::{cargo, stage};

/// A way to compile a guest.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Build {
    /// Cargo's defaults.
    Plain,
    /// Vector instructions only.
    Simd,
    /// The flags of `bulkhead build` and the project template.
    Ours,
}

impl Build {
    pub(crate) const ALL: [Self; 3] = [Self::Plain, Self::Simd, Self::Ours];

    const fn name(self) -> &'static str {
        match self {
            Self::Plain => "plain",
            Self::Simd => "simd",
            Self::Ours => "ours",
        }
    }

    fn rustflags(self) -> &'static [&'static str] {
        match self {
            Self::Plain => &[],
            Self::Simd => &["-Ctarget-feature=+simd128"],
            Self::Ours => RUSTFLAGS,
        }
    }

    fn packages(self, with_digits: bool) -> &'static [&'static str] {
        match self {
            Self::Plain if with_digits => &["compute", "digits"],
            Self::Plain | Self::Simd => &["compute"],
            Self::Ours => &["compute", "http-echo", "large"],
        }
    }
}

/// Builds all guests. `with_digits` includes the digits model without flags, which takes minutes.
pub(crate) fn build_all(with_digits: bool) -> Result<()> {
    for way in Build::ALL {
        stage::announce(&format!("building the guests of the bench, {}", way.name()));
        build(way.packages(with_digits), way.rustflags(), &target_dir(way), cargo::run)?;
    }
    stage::announce("building the kernels and the digits model natively");
    let mut native = inner_cargo();
    native.args(["build", "--profile", "native", "--locked", "--package", "compute", "--features", "native"]);
    native.args(["--bin", "native", "--target-dir"]).arg(cargo::target_dir().join("bench/native"));
    if !cargo::run(&mut native)?.success() {
        bail!("cargo could not build the kernels natively; see its output above");
    }
    Ok(())
}

fn target_dir(way: Build) -> PathBuf {
    cargo::target_dir().join("bench/guests").join(way.name())
}

#[cfg(feature = "bench")]
mod built {
    use bulkhead_artifacts::TARGET;

    use super::{Build, PathBuf, cargo, target_dir};

    fn component(way: Build, name: &str) -> PathBuf {
        target_dir(way).join(TARGET).join("release").join(name.replace('-', "_")).with_extension("wasm")
    }

    pub(crate) fn compute(way: Build) -> PathBuf {
        component(way, "compute")
    }

    /// The digits model without flags. The file exists only after a build `with_digits`.
    pub(crate) fn plain_digits() -> PathBuf {
        component(Build::Plain, "digits")
    }

    pub(crate) fn large() -> PathBuf {
        component(Build::Ours, "large")
    }

    pub(crate) fn http_echo() -> PathBuf {
        component(Build::Ours, "http-echo")
    }

    pub(crate) fn native() -> PathBuf {
        cargo::target_dir().join("bench/native/native/native")
    }
}

#[cfg(feature = "bench")]
pub(crate) use self::built::{compute, http_echo, large, native, plain_digits};
