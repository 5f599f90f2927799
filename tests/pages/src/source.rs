//! Names in Rust sources, for tests that must know every variant of an enum or every item of a kind. The sources are
//! formatted by rustfmt, which this relies on.

/// Returns the variants of the enum that this line begins, such as `pub enum Fault {`.
///
/// # Panics
/// If the source has no such line, or no end of the enum.
pub fn variants<'s>(source: &'s str, begin: &str) -> Vec<&'s str> {
    let (_, rest) = source.split_once(&format!("\n{begin}\n")).unwrap_or_else(|| panic!("no line `{begin}`"));
    let (body, _) = rest.split_once("\n}\n").unwrap_or_else(|| panic!("`{begin}` does not end"));
    let lines = body.lines().filter_map(|line| line.strip_prefix("    "));
    let names = lines.filter(|line| line.starts_with(|first: char| first.is_ascii_uppercase()));
    names.map(name).collect()
}

/// Returns the names of the items of this sort (`static` or `const`) and type.
pub fn items<'s>(source: &'s str, sort: &str, of: &str) -> Vec<&'s str> {
    let items = source.lines().filter_map(|line| line.split_once(&format!("{sort} "))?.1.split_once(": "));
    items.filter(|(_, rest)| rest.starts_with(&format!("{of} ="))).map(|(name, _)| name).collect()
}

/// The name at the beginning of a text.
fn name(text: &str) -> &str {
    text.split(|c: char| !c.is_ascii_alphanumeric() && c != '_').next().unwrap_or_default()
}

/// Compares the names that a list has with those in the source.
///
/// # Panics
/// If one is missing or stands twice. `place` is the list's file.
pub fn assert_complete(listed: &[String], known: &[&str], place: &str) {
    assert!(!known.is_empty(), "no names are found for the list in {place}");
    let missing: Vec<_> = known.iter().filter(|name| !listed.iter().any(|listed| listed == *name)).collect();
    assert!(missing.is_empty(), "the list in {place} has no {missing:?}");
    assert_eq!(listed.len(), known.len(), "the list in {place} has an item twice: {listed:?}");
}

/// The name of an enum's variant, from what its `Debug` shows.
pub fn variant(value: &impl std::fmt::Debug) -> String {
    name(&format!("{value:?}")).to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn variants_and_items_are_found_by_their_lines() {
        let source = "\
use a;

/// Says something.
#[derive(Debug)]
pub enum Fault {
    /// A comment.
    One,
    Two(String),
    Three {
        Field: u8,
    },
}

static A: Kind =
    kind(1);
pub(in crate::b) static B_C: Kind = kind(2);
static D: &[&Kind] = &[];
const E: u8 = 1;
";
        assert_eq!(variants(source, "pub enum Fault {"), ["One", "Two", "Three"]);
        assert_eq!(items(source, "static", "Kind"), ["A", "B_C"]);
        assert_eq!(items(source, "const", "u8"), ["E"]);
        assert_eq!(variant(&Some(1)), "Some");
    }

    #[test]
    #[should_panic(expected = "the list in b.rs has no [\"Two\"]")]
    fn a_name_that_a_list_lacks_is_told() {
        assert_complete(&["One".to_owned()], &["One", "Two"], "b.rs");
    }
}
