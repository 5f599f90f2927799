//! Bar charts of counts per kind, in the order of the kinds. The bars are horizontal, so that the chart fits a narrow
//! screen.

use std::fmt::Write;

use super::{NOTHING, Text, grouped};

/// Draws a bar for each name and number. `class` is the class in the style sheet that all bars get: `good`, `warm` or
/// `bad`.
pub fn bars(rows: &[(String, u64)], class: &str) -> String {
    let most = rows.iter().map(|(_, count)| *count).max().unwrap_or(0) as f64;
    if most <= 0.0 {
        return NOTHING.to_owned();
    }
    // Writing to a string cannot fail.
    let mut table = "<table class=\"bars\">\n".to_owned();
    for (name, count) in rows {
        let share = 100.0 * *count as f64 / most;
        let number = if *count < 10 { count.to_string() } else { grouped(*count as f64).replace(".0", "") };
        // A number above 0 always gets a visible bar, however small its share.
        let bar = match count {
            0 => String::new(),
            _ => format!("<span class=\"{class}\" style=\"width: {share:.1}%\"></span>"),
        };
        let _ = writeln!(
            table,
            "<tr><td class=\"tight right\">{}<td class=\"share\">{bar}<td class=\"right\">{number}</tr>",
            Text(name)
        );
    }
    table.push_str("</table>\n");
    table
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_bar_is_as_long_as_its_share() {
        let table = bars(&[("a".into(), 100), ("<b>".into(), 50), ("c".into(), 7), ("d".into(), 0)], "good");
        assert!(table.contains("width: 100.0%") && table.contains("width: 50.0%"), "{table}");
        assert!(table.contains(">7<") && table.contains("&lt;b&gt;"), "{table}");
        assert_eq!(table.matches("<span class=\"good\"").count(), 3, "nothing has no bar: {table}");
        assert_eq!(bars(&[], "good"), NOTHING);
    }
}
