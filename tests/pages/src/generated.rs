//! The parts of a page that are made from code, between `<!-- generated: NAME -->` and `<!-- end -->`. The rest of the
//! page is written by hand.

use std::{env, fs};

use bulkhead_artifacts::root;

use crate::Page;

const BEGIN: &str = "<!-- generated: ";
const CLOSE: &str = " -->\n";
const END: &str = "<!-- end -->";

/// Compares the generated parts of the page with `parts`, each a name and its text. With `BULKHEAD_BLESS` in the
/// environment, writes them first.
///
/// # Panics
/// If the page is not what the code says, has a part that is not in `parts`, or lacks one that is.
pub fn check(path: &str, parts: &[(&str, String)]) {
    let page = Page::read(path);
    let renewed = renew(&page.text, parts).unwrap_or_else(|mistake| panic!("{path}: {mistake}"));
    if env::var_os("BULKHEAD_BLESS").is_some() && renewed != page.text {
        // Other tests read the page meanwhile, and must find it complete.
        let (page, new) = (root().join(path), root().join(format!("{path}.new")));
        let written = fs::write(&new, &renewed).and_then(|()| fs::rename(&new, &page));
        written.unwrap_or_else(|error| panic!("{path}: {error}"));
        return;
    }
    if let Some((line, wanted, found)) = difference(&renewed, &page.text) {
        panic!(
            "{path} is not what the code says; renew it with: cargo xtask docs\n\
             line {line} in the code: {wanted}\n\
             line {line} in the page: {found}"
        );
    }
}

/// Returns the page with its parts made anew.
fn renew(page: &str, parts: &[(&str, String)]) -> Result<String, String> {
    let mut renewed = String::new();
    let mut missing: Vec<&str> = parts.iter().map(|(name, _)| *name).collect();
    let mut rest = page;
    while let Some((before, after)) = rest.split_once(BEGIN) {
        let (name, after) = after.split_once(CLOSE).ok_or("a part begins without a name")?;
        let (_, after) = after.split_once(END).ok_or_else(|| format!("the part `{name}` has no end"))?;
        let (_, text) = parts.iter().find(|part| part.0 == name).ok_or_else(|| format!("no code makes `{name}`"))?;
        missing.retain(|missing| *missing != name);
        renewed.push_str(&format!("{before}{BEGIN}{name}{CLOSE}\n{}\n\n{END}", text.trim_end()));
        rest = after;
    }
    renewed.push_str(rest);
    match missing.first() {
        Some(name) => Err(format!("there is no line `{}`", format!("{BEGIN}{name}{CLOSE}").trim_end())),
        None => Ok(renewed),
    }
}

/// The first line that differs: its number, and its text in both.
fn difference<'t>(wanted: &'t str, found: &'t str) -> Option<(usize, &'t str, &'t str)> {
    if wanted == found {
        return None;
    }
    let (mut wanted, mut found) = (wanted.lines(), found.lines());
    for line in 1.. {
        match (wanted.next(), found.next()) {
            (Some(wanted), Some(found)) if wanted == found => {}
            (None, None) => return Some((line, "the end", "the end, but for its last line feed")),
            (wanted, found) => return Some((line, wanted.unwrap_or("the end"), found.unwrap_or("the end"))),
        }
    }
    None
}

/// Writes a table. `|` inside a cell is escaped.
pub fn table<const N: usize>(header: [&str; N], rows: impl IntoIterator<Item = [String; N]>) -> String {
    let mut table = format!("| {} |\n|{}\n", header.join(" | "), "---|".repeat(N));
    for row in rows {
        let cells = row.map(|cell| cell.replace('|', "\\|").replace('\n', " "));
        table.push_str(&format!("| {} |\n", cells.join(" | ")));
    }
    table
}

/// The text with `<` and `*` escaped outside code spans, so that neither begins HTML or emphasis.
pub fn prose(text: &str) -> String {
    let escape = |part: &str| part.replace('<', "\\<").replace('*', "\\*");
    let parts = text.split('`').enumerate();
    parts.map(|(index, part)| if index % 2 == 0 { escape(part) } else { part.to_owned() }).collect::<Vec<_>>().join("`")
}

/// The text as a code span.
pub fn code(text: impl AsRef<str>) -> String {
    format!("`{}`", text.as_ref())
}

#[cfg(test)]
mod tests {
    use super::*;

    const PAGE: &str =
        "# A\n\n<!-- generated: one -->\n\nold\n\n<!-- end -->\n\nbetween\n\n<!-- generated: two -->\n<!-- end -->\n";

    #[test]
    fn parts_are_made_anew_and_the_rest_stays() {
        let parts = [("two", "second\n".to_owned()), ("one", "first".to_owned())];
        let renewed = renew(PAGE, &parts).unwrap();
        let expected = "# A\n\n<!-- generated: one -->\n\nfirst\n\n<!-- end -->\n\nbetween\n\n<!-- generated: two -->\n\nsecond\n\n<!-- end -->\n";
        assert_eq!(renewed, expected);
        assert_eq!(renew(&renewed, &parts).unwrap(), expected);
        assert_eq!(difference(&renewed, PAGE), Some((5, "first", "old")));
    }

    #[test]
    fn a_part_that_only_the_page_or_only_the_code_has_is_a_mistake() {
        let part = |name| (name, String::new());
        assert_eq!(renew(PAGE, &[part("one")]), Err("no code makes `two`".to_owned()));
        let more = [part("one"), part("two"), part("three")];
        assert_eq!(renew(PAGE, &more), Err("there is no line `<!-- generated: three -->`".to_owned()));
        assert_eq!(renew("<!-- generated: one -->\n", &[part("one")]), Err("the part `one` has no end".to_owned()));
    }

    #[test]
    fn what_means_something_in_markdown_is_escaped() {
        assert_eq!(prose("<a> `<b>` *"), "\\<a> `<b>` \\*");
        assert_eq!(table(["a", "b"], [["1|2".to_owned(), "3".to_owned()]]), "| a | b |\n|---|---|\n| 1\\|2 | 3 |\n");
    }
}
