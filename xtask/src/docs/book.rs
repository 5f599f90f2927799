//! Builds the book with mdBook, and installs mdBook if it is missing.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use anyhow::{Context, Result, bail};
use bulkhead_artifacts::root;

use crate::{cargo, stage};

const VERSION: &str = "0.5.4";

/// Builds the book and returns its first page.
pub(super) fn build() -> Result<PathBuf> {
    let mdbook = mdbook()?;
    let directory = cargo::target_dir().join("book");
    stage::announce("building the book");
    let built = Command::new(&mdbook).arg("build").arg("--dest-dir").arg(directory.join("docs")).arg(root()).status();
    if !built.with_context(|| format!("{} cannot be run", mdbook.display()))?.success() {
        bail!("mdBook could not build the book; see its output above");
    }
    beside(&directory)?;
    Ok(directory.join("docs/index.html"))
}

/// Puts the files of the root that pages link to beside the book, as plain text under the name that mdBook gives a link.
fn beside(directory: &Path) -> Result<()> {
    for entry in fs::read_dir(root())? {
        let path = entry?.path();
        if path.extension().is_some_and(|extension| extension == "md") {
            let text = fs::read_to_string(&path).with_context(|| format!("cannot read {}", path.display()))?;
            let text = text.replace('&', "&amp;").replace('<', "&lt;");
            let page = directory.join(path.with_extension("html").file_name().unwrap_or_default());
            let html = format!("<!doctype html>\n<meta charset=\"utf-8\">\n<pre>\n{text}</pre>\n");
            fs::write(&page, html).with_context(|| format!("cannot write {}", page.display()))?;
        }
    }
    Ok(())
}

/// Returns mdBook in [`VERSION`]. Installs it into the target directory, without its server and its search.
fn mdbook() -> Result<PathBuf> {
    let home = cargo::target_dir().join("mdbook");
    let program = home.join("bin/mdbook");
    if is_installed(&program) {
        return Ok(program);
    }
    stage::announce(&format!("installing mdBook {VERSION}, which takes some minutes"));
    let mut install = cargo::cargo();
    install.args(["install", "mdbook", "--version", VERSION, "--locked", "--no-default-features", "--force"]);
    install.arg("--root").arg(&home).arg("--target-dir").arg(home.join("build"));
    cargo::build(&mut install, "mdBook")?;
    if !is_installed(&program) {
        bail!("`cargo install mdbook` did not install {}", program.display());
    }
    Ok(program)
}

fn is_installed(program: &Path) -> bool {
    let output = Command::new(program).arg("--version").stdin(Stdio::null()).output();
    output.is_ok_and(|output| String::from_utf8_lossy(&output.stdout).trim() == format!("mdbook v{VERSION}"))
}
