//! The documentation as the tests of the workspace read it.
//!
//! `markdown` finds headings, links and blocks in a page, `shell` the commands of a block. `generated` compares the parts
//! of a page that are made from code, and `source` finds out if the code knows all names. The tests of `tree` check what
//! needs no other code: links, the list of pages, and the length of the README.

pub mod generated;
pub mod markdown;
pub mod shell;
pub mod source;
#[cfg(test)]
mod tree;

use std::fs;
use std::path::Path;

use bulkhead_artifacts::root;
use markdown::Block;

/// A Markdown file of this repository.
#[derive(Debug)]
pub struct Page {
    /// The path from the root of the repository.
    pub path: String,
    pub text: String,
}

impl Page {
    /// Reads the page at this path from the root of the repository.
    ///
    /// # Panics
    /// If the file cannot be read as text.
    pub fn read(path: &str) -> Self {
        let text = fs::read_to_string(root().join(path)).unwrap_or_else(|error| panic!("{path}: {error}"));
        Self { path: path.to_owned(), text }
    }

    pub fn blocks(&self) -> Vec<Block> {
        markdown::blocks(&self.text)
    }
}

/// Returns the pages in `docs/`, without the list of pages, sorted by path.
pub fn book() -> Vec<Page> {
    let mut paths = Vec::new();
    find("docs", usize::MAX, &mut paths);
    paths.retain(|path| path != "docs/SUMMARY.md");
    paths.sort_unstable();
    paths.iter().map(|path| Page::read(path)).collect()
}

/// Returns every page for readers of the repository: the book, the Markdown files in the root, and each README at most
/// two directories deep. The files in `src/` are parts of new projects.
pub fn all() -> Vec<Page> {
    let mut paths = Vec::new();
    find("", 2, &mut paths);
    paths.retain(|path| !path.contains('/') || path.ends_with("/README.md"));
    paths.retain(|path| !path.starts_with("docs/") && !path.starts_with("src/"));
    paths.sort_unstable();
    paths.iter().map(|path| Page::read(path)).chain(book()).collect()
}

/// Adds the Markdown files in a directory and in those up to `depth` levels below. Directories that hold no sources of
/// this repository are left out.
fn find(directory: &str, depth: usize, paths: &mut Vec<String>) {
    let entries = fs::read_dir(root().join(directory)).unwrap_or_else(|error| panic!("{directory}: {error}"));
    for entry in entries.map(|entry| entry.unwrap_or_else(|error| panic!("{directory}: {error}"))) {
        let name = entry.file_name().to_string_lossy().into_owned();
        let path = if directory.is_empty() { name.clone() } else { format!("{directory}/{name}") };
        if entry.path().is_dir() {
            let is_made = name.starts_with('.') || ["target", "node_modules", "bulkhead-data"].contains(&name.as_str());
            if depth > 0 && !is_made {
                find(&path, depth - 1, paths);
            }
        } else if Path::new(&name).extension().is_some_and(|extension| extension == "md") {
            paths.push(path);
        }
    }
}
