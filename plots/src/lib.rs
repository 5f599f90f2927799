//! Measurements as one self-contained page: no scripts, no fonts, no external pictures.
//!
//! `page` is the frame and its text; each other file is one kind of chart. Names and units come from the measuring
//! program and may contain any characters: [`Text`] escapes them.

mod bars;
mod curves;
mod lines;
mod number;
mod page;

pub use bars::bars;
pub use curves::{Curve, curves};
pub use lines::{Line, lines};
pub use number::grouped;
pub use page::{Text, document, moment, section};

/// The text in place of a chart without data.
pub const NOTHING: &str = "<p class=\"note\">Nothing was measured.</p>\n";
