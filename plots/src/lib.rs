//! Measurements as one page that needs nothing else: no scripts, no fonts, no pictures from elsewhere.
//!
//! `page` is the frame and the text in it, the other files are a chart each. Names and units come from whoever measured,
//! and may hold anything: [`Text`] makes it harmless.

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

/// What stands where a chart would, if there is nothing to draw.
pub const NOTHING: &str = "<p class=\"note\">Nothing was measured.</p>\n";
