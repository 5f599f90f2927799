//! Figures that the tests write, one line of JSON each; see `tests/it/figures.rs`.

use std::fmt::Write;
use std::path::{Path, PathBuf};
use std::{fs, io};

use anyhow::{Context, Result};
use serde_json::Value;

use crate::cargo;

#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Figure {
    name: String,
    target: String,
    measured: String,
    met: bool,
}

impl Figure {
    /// Parses a line; `None` if it is not a figure.
    pub(crate) fn parse(line: &str) -> Option<Self> {
        let value: Value = serde_json::from_str(line.strip_prefix("{\"figure\":").and(Some(line))?).ok()?;
        let measured = match value.get("measured")? {
            Value::String(text) => text.clone(),
            other => other.to_string(),
        };
        let text = |key: &str| value.get(key)?.as_str().map(str::to_owned);
        Some(Self { name: text("figure")?, target: text("target")?, measured, met: value.get("met")?.as_bool()? })
    }
}

/// Removes the file of that name, to which the tests will append.
pub(crate) fn fresh(name: &str) -> Result<PathBuf> {
    let path = cargo::target_dir().join(name);
    match fs::remove_file(&path) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => Err(error),
        _ => Ok(path.clone()),
    }
    .with_context(|| format!("cannot empty {}", path.display()))
}

/// Reads the figures of the tests. The file is missing if the tests wrote none.
pub(crate) fn read(path: &Path) -> Vec<Figure> {
    fs::read_to_string(path).unwrap_or_default().lines().filter_map(Figure::parse).collect()
}

/// Makes a table of all figures, sorted by name; empty if there are none.
pub(crate) fn table(figures: &[Figure]) -> String {
    let mut table = String::new();
    if figures.is_empty() {
        return table;
    }
    let mut rows: Vec<&Figure> = figures.iter().collect();
    rows.sort_by(|a, b| a.name.cmp(&b.name));
    let width = |text: fn(&Figure) -> &str| rows.iter().map(|row| text(row).chars().count()).max().unwrap_or(0);
    let (name, measured) = (width(|row| &row.name), width(|row| &row.measured));
    // Writing to a string cannot fail.
    let _ = writeln!(table, "\n{:name$}  {:>measured$}  met  target", "figure", "measured", measured = measured.max(8));
    for row in &rows {
        let met = if row.met { "yes" } else { "NO" };
        let measured = measured.max(8);
        let _ = writeln!(table, "{:name$}  {:>measured$}  {met:3}  {}", row.name, row.measured, row.target);
    }
    let met = rows.iter().filter(|row| row.met).count();
    let _ = writeln!(table, "{met} of {} figures met", rows.len());
    table
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn figures_are_told_from_other_lines_and_set_out_by_name() {
        let lines = [
            "running 2 tests",
            r#"{"figure":"b.failed","target":"0 of 9","measured":0,"met":true}"#,
            r#"{"figure":"a.took_ms","target":"at most 5 ms","measured":7.5,"met":false}"#,
            r#"{"figure":"half"#,
            r#"{"other":1}"#,
        ];
        let figures: Vec<Figure> = lines.iter().filter_map(|line| Figure::parse(line)).collect();
        let table = table(&figures);
        let rows: Vec<&str> = table.lines().collect();
        assert_eq!(
            rows,
            [
                "",
                "figure     measured  met  target",
                "a.took_ms       7.5  NO   at most 5 ms",
                "b.failed          0  yes  0 of 9",
                "1 of 2 figures met"
            ]
        );
        assert_eq!(super::table(&[]), "");
    }
}
