//! The results and their targets: a table for people, a file for programs, and the data of the page.

mod line;
mod machine;

use std::fs;
use std::path::Path;
use std::time::{SystemTime, UNIX_EPOCH};

use anyhow::{Context, Result};
use bulkhead_plots::Curve;
use serde_json::{Value, json};

pub(super) use self::line::{Goal, Line, Target, Verdict};
pub(super) use self::machine::Machine;
use super::contest::Runs;
use super::stats::Spread;

/// All results of one run.
pub(super) struct Report {
    pub(super) quick: bool,
    pub(super) unix_seconds: u64,
    /// The cores that other processes kept busy before the run.
    pub(super) busy_cores: f64,
    pub(super) machine: Machine,
    pub(super) lines: Vec<Line>,
    /// The results of all servers that echo 1 KiB.
    pub(super) contest: Vec<Runs>,
    pub(super) skipped: Vec<Skipped>,
    pub(super) curves: Vec<Curve>,
    pub(super) open_rate: u32,
    pub(super) compute: Vec<Computed>,
    pub(super) spent: Vec<Spent>,
}

/// A peer that did not run.
pub(super) struct Skipped {
    pub(super) name: String,
    pub(super) why: String,
}

/// The result of one kernel under one regime.
pub(super) struct Computed {
    pub(super) kernel: &'static str,
    pub(super) build: &'static str,
    pub(super) checks: &'static str,
    /// The time relative to native.
    pub(super) relative: Spread,
    pub(super) native_us: f64,
}

/// A part of a request's processor time.
pub(super) struct Spent {
    pub(super) part: &'static str,
    pub(super) how: &'static str,
    /// The time in µs; `None` for bare hyper where it has no such part.
    pub(super) bare: Option<f64>,
    pub(super) bulkhead: f64,
}

impl Report {
    pub(super) fn new(quick: bool, busy_cores: f64) -> Self {
        Self {
            quick,
            unix_seconds: SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |now| now.as_secs()),
            busy_cores,
            machine: Machine::ours(),
            lines: Vec::new(),
            contest: Vec::new(),
            skipped: Vec::new(),
            curves: Vec::new(),
            open_rate: 0,
            compute: Vec::new(),
            spent: Vec::new(),
        }
    }

    pub(super) fn print(&self) {
        let rows: Vec<[String; 5]> = self.lines.iter().map(Line::cells).collect();
        let head = ["what", "target", "measured", "ratio", "verdict"].map(str::to_owned);
        let width = |column: usize| {
            let lengths = rows.iter().chain([&head]).map(|row| row[column].chars().count());
            lengths.max().unwrap_or(0)
        };
        let widths: [usize; 5] = std::array::from_fn(width);
        println!();
        for row in [&head].into_iter().chain(&rows) {
            let cells = row.iter().zip(widths).map(|(cell, width)| format!("{cell:width$}"));
            println!("{}", cells.collect::<Vec<_>>().join("  ").trim_end());
        }
        println!(
            "\nMedians; in parentheses the minimum and maximum. Ratios compare with the server that the line names, or with \
             the target if that is a bound."
        );
        let count = |verdict| self.lines.iter().filter(|line| line.verdict() == verdict).count();
        let [met, missed, absent] = [Verdict::Met, Verdict::Missed, Verdict::Absent].map(count);
        println!("{met} targets met, {missed} missed, {absent} lines without a measurement");
        for Skipped { name, why } in &self.skipped {
            println!("skipped: {name}: {why}");
        }
    }

    pub(super) fn write(&self, file: &Path) -> Result<()> {
        let report = format!("{:#}\n", self.values());
        fs::write(file, report).with_context(|| format!("cannot write {}", file.display()))
    }

    fn values(&self) -> Value {
        let curve = |curve: &Curve| json!({ "name": curve.name, "share_us": curve.points });
        let computed = |cell: &Computed| {
            json!({
                "kernel": cell.kernel, "build": cell.build, "checks": cell.checks,
                "relative": cell.relative.values(), "native_us": cell.native_us,
            })
        };
        let spent = |spent: &Spent| json!({ "part": spent.part, "how": spent.how, "bare_us": spent.bare, "bulkhead_us": spent.bulkhead });
        json!({
            "unix_seconds": self.unix_seconds,
            "quick": self.quick,
            "cores_busy_with_others": self.busy_cores,
            "machine": self.machine.values(),
            "results": self.lines.iter().map(Line::values).collect::<Vec<_>>(),
            "echo_1_kib": self.contest.iter().map(Runs::values).collect::<Vec<_>>(),
            "skipped": self.skipped.iter().map(|Skipped { name, why }| json!({ "name": name, "why": why })).collect::<Vec<_>>(),
            "open_loop": { "per_s": self.open_rate, "curves": self.curves.iter().map(curve).collect::<Vec<_>>() },
            "compute": self.compute.iter().map(computed).collect::<Vec<_>>(),
            "where_the_time_goes": self.spent.iter().map(spent).collect::<Vec<_>>(),
        })
    }
}
