//! How many there are of each kind, kinds in their order: a histogram.

use std::fmt::Write;

use super::{NOTHING, Text, grouped};

const WIDTH: f64 = 900.0;
const HEIGHT: f64 = 260.0;
const TOP: f64 = 24.0;
const BOTTOM: f64 = 34.0;
/// Of a column's share of the width, the part that is left free.
const GAP: f64 = 0.15;

/// A name and a number for each column.
pub fn columns(columns: &[(String, u64)]) -> String {
    let most = columns.iter().map(|(_, count)| *count).max().unwrap_or(0) as f64;
    if most <= 0.0 {
        return NOTHING.to_owned();
    }
    let share = WIDTH / columns.len() as f64;
    // Writing to a string cannot fail.
    let mut svg = format!("<svg viewBox=\"0 0 {WIDTH} {HEIGHT}\" role=\"img\">\n");
    for (index, (name, count)) in columns.iter().enumerate() {
        let height = (HEIGHT - TOP - BOTTOM) * *count as f64 / most;
        let (left, top) = (share * (index as f64 + GAP / 2.0), HEIGHT - BOTTOM - height);
        let middle = share * (index as f64 + 0.5);
        let _ = writeln!(
            svg,
            "<rect class=\"bar ours\" x=\"{left:.1}\" y=\"{top:.1}\" width=\"{:.1}\" height=\"{height:.1}\" rx=\"2\"/>",
            share * (1.0 - GAP)
        );
        let _ = writeln!(
            svg,
            "<text class=\"tick middle\" x=\"{middle:.1}\" y=\"{:.1}\">{}</text>",
            top - 6.0,
            if *count < 10 { count.to_string() } else { grouped(*count as f64).replace(".0", "") }
        );
        let _ = writeln!(
            svg,
            "<text class=\"tick middle\" x=\"{middle:.1}\" y=\"{:.1}\">{}</text>",
            HEIGHT - BOTTOM + 20.0,
            Text(name)
        );
    }
    svg.push_str("</svg>\n");
    svg
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_column_is_as_high_as_its_share() {
        let svg = columns(&[("a".into(), 100), ("<b>".into(), 50), ("c".into(), 7)]);
        assert!(svg.contains("height=\"202.0\"") && svg.contains("height=\"101.0\""), "{svg}");
        assert!(svg.contains(">7<") && svg.contains("&lt;b&gt;"), "{svg}");
        assert_eq!(columns(&[]), NOTHING);
    }
}
