//! The front page shows the echo example, word for word.

use std::{fs, path::Path};

#[test]
fn the_front_page_shows_the_echo_example() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let page = fs::read_to_string(root.join("src/front_page.md")).unwrap();
    let example = fs::read_to_string(root.join("../examples/echo/src/lib.rs")).unwrap();

    let (_, shown) = page.split_once("```\n").unwrap();
    let (shown, _) = shown.split_once("```\n").unwrap();
    let (_, code) = example.split_once("\n\n").unwrap();
    let (code, _) = code.split_once("\n#[cfg(test)]").unwrap();
    assert_eq!(shown, code, "src/front_page.md differs from examples/echo/src/lib.rs");
}
