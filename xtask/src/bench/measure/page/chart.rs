//! Horizontal bars of medians, each with its minimum and maximum.

use std::fmt::Write;

use bulkhead_plots::{NOTHING, Text, grouped};

use super::super::stats::Spread;

pub(super) struct Bar {
    pub(super) name: String,
    pub(super) spread: Spread,
    pub(super) is_ours: bool,
}

const WIDTH: f64 = 900.0;
const NAMES: f64 = 250.0;
/// The width reserved for a number behind the longest bar.
const NUMBERS: f64 = 150.0;
const ROW: f64 = 34.0;
const THICKNESS: f64 = 20.0;

pub(super) fn bars(bars: &[Bar], unit: &str) -> String {
    let most = bars.iter().map(|bar| bar.spread.most).fold(0.0, f64::max);
    if most <= 0.0 {
        return NOTHING.to_owned();
    }
    let scale = (WIDTH - NAMES - NUMBERS) / most;
    let height = ROW * bars.len() as f64;
    // Writing to a string cannot fail, here and below.
    let mut svg = format!("<svg viewBox=\"0 0 {WIDTH} {height}\" role=\"img\">\n");
    for (index, Bar { name, spread, is_ours }) in bars.iter().enumerate() {
        let middle = ROW * (index as f64 + 0.5);
        let (end, class) = (NAMES + spread.median * scale, if *is_ours { "ours" } else { "other" });
        let _ = writeln!(
            svg,
            "<text class=\"name {class}\" x=\"{:.1}\" y=\"{:.1}\">{}</text>",
            NAMES - 12.0,
            middle + 5.0,
            Text(name)
        );
        let _ = writeln!(
            svg,
            "<rect class=\"bar {class}\" x=\"{NAMES}\" y=\"{:.1}\" width=\"{:.1}\" height=\"{THICKNESS}\" rx=\"3\"/>",
            middle - THICKNESS / 2.0,
            end - NAMES
        );
        let (least, most) = (NAMES + spread.least * scale, NAMES + spread.most * scale);
        let _ = writeln!(
            svg,
            "<path class=\"whisker\" d=\"M{least:.1} {middle:.1}H{most:.1}M{least:.1} {:.1}v8M{most:.1} {:.1}v8\"/>",
            middle - 4.0,
            middle - 4.0
        );
        let _ = writeln!(
            svg,
            "<text class=\"number\" x=\"{:.1}\" y=\"{:.1}\">{} {unit}</text>",
            end.max(most) + 8.0,
            middle + 5.0,
            grouped(spread.median)
        );
    }
    svg.push_str("</svg>\n");
    svg
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_bar_is_as_long_as_its_share() {
        let bar =
            |median| Bar { name: "a".into(), spread: Spread { median, least: median, most: median }, is_ours: true };
        let svg = bars(&[bar(100.0), bar(50.0)], "x");
        assert!(svg.contains("width=\"500.0\"") && svg.contains("width=\"250.0\""), "{svg}");
        assert!(bars(&[], "x").contains("Nothing"));
    }
}
