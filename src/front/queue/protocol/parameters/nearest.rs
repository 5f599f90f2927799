//! The message for a name that the operation does not have.

use super::{Kind, Tagged, is_parameter};
use crate::quoted::Quoted;

/// Most bytes of a name that are compared, because the work grows with the length.
const COMPARED: usize = 64;

/// Names the nearest parameter of the request if one is similar, and all of them otherwise.
pub(super) fn unknown(name: &str, kind: &Kind) -> String {
    let (shown, request) = (Quoted(name), kind.name);
    if !is_parameter(name) {
        return format!("{shown} is a tag, and {request} has no tags; accepted is {}", list(kind));
    }
    match nearest(name, kind.parameters) {
        Some(nearest) => format!("{request} has no parameter {shown}; did you mean {nearest}?"),
        None => format!("{request} has no parameter {shown}; accepted is {}", list(kind)),
    }
}

/// The parameters of the request, as a list to read.
fn list(kind: &Kind) -> String {
    let names = kind.parameters.join(", ");
    match kind.tags {
        Tagged::Yes => format!("{names}, and tags without _ at the beginning of their names"),
        Tagged::No => names,
    }
}

/// The known name that differs by the fewest typing mistakes, if they are few.
fn nearest<'k>(asked: &str, known: &[&'k str]) -> Option<&'k str> {
    let asked = word(&asked[..asked.floor_char_boundary(COMPARED)]);
    let slips = |known: &str| strsim::damerau_levenshtein(&asked, &word(known));
    let nearest = known.iter().copied().min_by_key(|known| slips(known))?;
    (slips(nearest) <= 1 + asked.len() / 4).then_some(nearest)
}

/// The name in a form in which `_autoDelete_`, `_auto-delete` and `_auto_delete_` are equal.
fn word(name: &str) -> String {
    name.chars().filter(|c| !matches!(c, '_' | '-')).map(|c| c.to_ascii_lowercase()).collect()
}
