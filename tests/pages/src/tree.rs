//! Checks of the pages that need no other code: every link leads somewhere, the book lists every page, and the README
//! stays short.

use std::collections::BTreeSet;
use std::path::{Component, Path, PathBuf};

use bulkhead_artifacts::root;

use crate::{Page, all, book, markdown};

/// The most lines of README.md.
const README: usize = 150;

#[test]
fn every_link_leads_to_a_file_and_a_heading() {
    let faults: Vec<String> = all().iter().flat_map(broken).collect();
    assert!(faults.is_empty(), "links that lead nowhere:\n{}", faults.join("\n"));
}

/// A sentence for each link of the page that leads nowhere.
fn broken(page: &Page) -> Vec<String> {
    let mut faults = Vec::new();
    for link in markdown::links(&page.text) {
        let target = if link.file.is_empty() { Some(page.path.clone().into()) } else { beside(&page.path, &link.file) };
        let Some(target) = target.filter(|target| root().join(target).exists()) else {
            faults.push(format!("{}:{}: there is no file {}", page.path, link.line, link.file));
            continue;
        };
        let is_page = target.extension().is_some_and(|extension| extension == "md");
        if !link.anchor.is_empty() && is_page {
            let other = (!link.file.is_empty()).then(|| Page::read(&target.to_string_lossy()));
            if !markdown::anchors(&other.as_ref().unwrap_or(page).text).contains(&link.anchor) {
                faults.push(format!(
                    "{}:{}: {} has no heading #{}",
                    page.path,
                    link.line,
                    target.display(),
                    link.anchor
                ));
            }
        }
    }
    faults
}

/// The path from the root of the repository of what `page` calls `target`; `None` outside the repository.
fn beside(page: &str, target: &str) -> Option<PathBuf> {
    let mut path = Path::new(page).parent()?.to_owned();
    for part in Path::new(target).components() {
        match part {
            Component::Normal(name) => path.push(name),
            Component::ParentDir if path.pop() => {}
            Component::CurDir => {}
            _ => return None,
        }
    }
    Some(path)
}

#[test]
fn the_list_of_pages_has_every_page_once_and_nothing_else() {
    let summary = Page::read("docs/SUMMARY.md");
    let listed: Vec<String> =
        markdown::links(&summary.text).into_iter().map(|link| format!("docs/{}", link.file)).collect();
    let unique: BTreeSet<&String> = listed.iter().collect();
    let pages = book();
    let pages: BTreeSet<&String> = pages.iter().map(|page| &page.path).collect();
    let missing: Vec<_> = pages.difference(&unique).collect();
    let idle: Vec<_> = unique.difference(&pages).collect();
    assert!(missing.is_empty(), "docs/SUMMARY.md does not list {missing:?}");
    assert!(idle.is_empty(), "docs/SUMMARY.md lists {idle:?}, which do not exist");
    assert_eq!(listed.len(), unique.len(), "docs/SUMMARY.md lists a page twice");
}

#[test]
fn the_readme_is_short() {
    let lines = Page::read("README.md").text.lines().count();
    assert!(lines <= README, "README.md has {lines} lines; move something to docs/, it may have {README}");
}

#[test]
fn a_link_that_leads_nowhere_is_named() {
    let text =
        "# A\n\n[b](#a) [c](#c) [d](../README.md#nothing) [e](nothing.md) [f](../../../../g) [h](../src/lib.rs#L1)\n";
    let page = Page { path: "docs/README.md".to_owned(), text: text.to_owned() };
    let path = &page.path;
    assert_eq!(
        broken(&page),
        [
            format!("{path}:3: docs/README.md has no heading #c"),
            format!("{path}:3: README.md has no heading #nothing"),
            format!("{path}:3: there is no file nothing.md"),
            format!("{path}:3: there is no file ../../../../g"),
        ]
    );
}
