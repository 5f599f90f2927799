//! The documentation: renews the pages that are made from code, and builds the book.

mod book;
#[cfg(test)]
mod named;

use anyhow::{Context, Result, bail};

use crate::{cargo, stage};

/// The modules whose tests compare the generated pages with the code.
const PAGES: [&str; 1] = ["reference::"];
/// The modules whose tests check what the pages say: links, blocks and command lines.
const CHECKS: [&str; 2] = ["documented::", "tree::"];

/// With `check`, only compares the pages with the code and checks their links and blocks. Otherwise renews them and
/// builds the book.
pub(crate) fn run(check: bool) -> Result<bool> {
    let libraries = ["--package", "bulkhead", "--package", "bulkhead-pages", "--lib"];
    if check {
        stage::announce("comparing the pages with the code, and checking their links and blocks");
        let modules: Vec<&str> = PAGES.into_iter().chain(CHECKS).collect();
        let pages_are_right = test(&libraries, &modules, false)?;
        let commands_exist = test(&["--package", "xtask", "--bins"], &["docs::named::"], false)?;
        return Ok(pages_are_right && commands_exist);
    }
    stage::announce("renewing the pages that are made from code: docs/reference");
    if !test(&libraries, &PAGES, true)? {
        bail!("a page could not be renewed; see the tests above");
    }
    let index = book::build()?;
    stage::announce(&format!("the book: {}", index.display()));
    Ok(true)
}

/// Runs the tests of these modules; true if all pass.
fn test(packages: &[&str], modules: &[&str], renews: bool) -> Result<bool> {
    let mut cargo = cargo::cargo();
    cargo.args(["test", "--quiet", "--locked", "--no-fail-fast"]).args(packages).arg("--").args(modules);
    if renews {
        cargo.env("BULKHEAD_BLESS", "1");
    } else {
        cargo.env_remove("BULKHEAD_BLESS");
    }
    Ok(cargo::run(&mut cargo).context("cargo cannot be run; install Rust from https://rustup.rs")?.success())
}
