//! Values over time.

use std::fmt::Write;

use super::number::round_up;
use super::page::legend;
use super::{NOTHING, Text, grouped};

/// One value after the other, each of an interval of the same length; `None` for an interval without a value.
pub struct Line {
    pub name: String,
    /// The class in the style sheet: `ours`, `good`, `warm` or `bad`, followed by `dashed` or `dotted` so that lines
    /// differ without colours.
    pub class: &'static str,
    pub values: Vec<Option<f64>>,
}

const WIDTH: f64 = 900.0;
const HEIGHT: f64 = 260.0;
const LEFT: f64 = 70.0;
const RIGHT: f64 = 110.0;
const TOP: f64 = 14.0;
const BOTTOM: f64 = 34.0;
const MARKS: usize = 5;
/// The least distance between the names of lines whose ends are close together.
const APART: f64 = 18.0;

/// Draws the chart. `seconds` is the length of an interval.
pub fn lines(lines: &[Line], seconds: f64, unit: &str) -> String {
    let most = lines.iter().flat_map(|line| line.values.iter().flatten()).copied().fold(0.0, f64::max);
    let count = lines.iter().map(|line| line.values.len()).max().unwrap_or(0);
    if most <= 0.0 || count == 0 {
        return NOTHING.to_owned();
    }
    let (most, length) = (round_up(most), count as f64 * seconds);
    let across = |index: usize| LEFT + (WIDTH - LEFT - RIGHT) * (index as f64 + 0.5) / count as f64;
    let up = |value: f64| HEIGHT - BOTTOM - (HEIGHT - TOP - BOTTOM) * value / most;
    // Writing to a string cannot fail, here and below.
    let mut svg = legend(lines.iter().map(|line| (line.class, line.name.as_str())));
    svg += &format!("<svg viewBox=\"0 0 {WIDTH} {HEIGHT}\" role=\"img\">\n");
    for mark in 0..=MARKS {
        let part = mark as f64 / MARKS as f64;
        let (value, y) = (most * part, up(most * part));
        let _ = writeln!(svg, "<path class=\"grid\" d=\"M{LEFT} {y:.1}H{:.1}\"/>", WIDTH - RIGHT);
        let text = if mark == MARKS { format!("{} {unit}", grouped(value)) } else { grouped(value) };
        let _ = writeln!(
            svg,
            "<text class=\"tick end\" x=\"{:.1}\" y=\"{:.1}\">{}</text>",
            LEFT - 8.0,
            y + 4.0,
            Text(&text)
        );
        let x = LEFT + (WIDTH - LEFT - RIGHT) * part;
        let _ = writeln!(
            svg,
            "<text class=\"tick middle\" x=\"{x:.1}\" y=\"{:.1}\">{} s</text>",
            HEIGHT - BOTTOM + 20.0,
            grouped(length * part)
        );
    }
    for Line { name, class, values } in lines {
        for (first, stretch) in stretches(values) {
            let points = stretch.iter().enumerate().map(|(index, value)| (across(first + index), up(*value)));
            let points: Vec<String> = points.map(|(x, y)| format!("{x:.1} {y:.1}")).collect();
            // A stretch of one value is drawn as a dot.
            let end = if points.len() == 1 { "h0.1" } else { "" };
            let _ = writeln!(
                svg,
                "<path class=\"line {class}\" d=\"M{}{end}\"><title>{}</title></path>",
                points.join("L"),
                Text(name)
            );
        }
    }
    let mut ends: Vec<(&Line, f64)> =
        lines.iter().filter_map(|line| Some((line, up(line.values.iter().rev().flatten().next().copied()?)))).collect();
    ends.sort_by(|(_, a), (_, b)| a.total_cmp(b));
    let mut free = 0.0;
    for (Line { name, class, .. }, y) in ends {
        let y = y.max(free);
        free = y + APART;
        let _ = writeln!(
            svg,
            "<text class=\"label {class}\" x=\"{:.1}\" y=\"{:.1}\">{}</text>",
            WIDTH - RIGHT + 10.0,
            y + 4.0,
            Text(name)
        );
    }
    svg.push_str("</svg>\n");
    svg
}

/// Returns the runs of values without a gap, each with the index of its first value.
fn stretches(values: &[Option<f64>]) -> Vec<(usize, Vec<f64>)> {
    let mut stretches: Vec<(usize, Vec<f64>)> = Vec::new();
    for (index, value) in values.iter().enumerate() {
        let Some(value) = value else { continue };
        match stretches.last_mut() {
            Some((first, stretch)) if *first + stretch.len() == index => stretch.push(*value),
            _ => stretches.push((index, vec![*value])),
        }
    }
    stretches
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_gap_is_a_gap() {
        let values = [Some(1.0), Some(2.0), None, Some(4.0)];
        assert_eq!(stretches(&values), [(0, vec![1.0, 2.0]), (3, vec![4.0])]);
        let line = Line { name: "<p99>".into(), class: "ours", values: values.to_vec() };
        let svg = lines(&[line], 1.0, "ms");
        assert_eq!(svg.matches("class=\"line ours\"").count(), 2);
        assert!(svg.contains("&lt;p99&gt;") && !svg.contains("NaN"), "{svg}");
    }

    #[test]
    fn nothing_is_said_to_be_nothing() {
        assert_eq!(lines(&[], 1.0, "ms"), NOTHING);
        assert_eq!(lines(&[Line { name: "a".into(), class: "ours", values: vec![None; 3] }], 1.0, "ms"), NOTHING);
    }
}
