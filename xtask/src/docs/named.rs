//! Checks that every `cargo xtask …` that the documentation names exists.

use bulkhead_pages::{Page, all};

use crate::args;

#[test]
fn every_command_that_the_documentation_names_exists() {
    let pages = all();
    let named: Vec<_> = pages.iter().flat_map(named).collect();
    assert!(named.len() > 10, "{named:?}");
    for (place, words) in named {
        if let Err(mistake) = args::parse(words.iter().map(|word| (*word).to_owned())) {
            panic!("{place}: `cargo xtask {}`: {mistake}", words.join(" "));
        }
    }
}

/// The command after each `cargo xtask` of a page, its options and their values, with its place. They end with the code,
/// and where a sentence goes on.
fn named(page: &Page) -> Vec<(String, Vec<&str>)> {
    let mut named = Vec::new();
    for (offset, _) in page.text.match_indices("xtask ") {
        let (before, after) = page.text.split_at(offset);
        if !before.trim_end().ends_with("cargo") {
            continue;
        }
        let text = &after["xtask ".len()..];
        let end = text.find(['`', '#', '"', ';', '|', ')', ',', '\n']).unwrap_or(text.len());
        // `N` stands for a number.
        let words = text[..end].split_whitespace().map(|word| if word == "N" { "2" } else { word });
        let mut may_be_value = true;
        let is_argument = |word: &&str| {
            let is_option = word.starts_with('-');
            std::mem::replace(&mut may_be_value, is_option) || is_option
        };
        let words: Vec<&str> = words.take_while(is_argument).collect();
        let is_command = |word: &&str| word.bytes().all(|byte| byte.is_ascii_lowercase() || byte == b'-');
        if words.first().is_some_and(is_command) {
            named.push((format!("{}:{}", page.path, before.lines().count()), words));
        }
    }
    named
}

#[test]
fn commands_are_found_in_code_and_across_lines() {
    let text = "`cargo xtask demo --once` and `cargo\nxtask setup`, `cargo xtask` alone\n    cargo xtask chaos [FILTER]   # long\n`cargo xtask chaos --hours N`\ncargo xtask guests builds them\n";
    let page = Page { path: "a.md".to_owned(), text: text.to_owned() };
    let found: Vec<_> = named(&page).into_iter().map(|(place, words)| format!("{place} {}", words.join(" "))).collect();
    assert_eq!(
        found,
        ["a.md:1 demo --once", "a.md:1 setup", "a.md:3 chaos", "a.md:4 chaos --hours 2", "a.md:5 guests"]
    );
}
