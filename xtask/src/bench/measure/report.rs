//! What was measured, beside what was aimed for: a table for people, a file for programs.

use std::fs;
use std::path::Path;
use std::process::Command;
use std::time::{SystemTime, UNIX_EPOCH};

use anyhow::{Context, Result};
use bulkhead_artifacts::root;
use serde_json::{Value, json};

/// One line of the table.
pub(super) struct Line {
    pub(super) what: String,
    pub(super) target: Option<Target>,
    pub(super) measured: String,
    /// The same numbers for programs; units are in the names.
    pub(super) values: Value,
}

/// What one number of a line should be.
pub(super) struct Target {
    pub(super) text: &'static str,
    pub(super) is_met: bool,
}

pub(super) fn print(lines: &[Line]) {
    println!("\n{:44} {:14} {:58} verdict", "what", "target", "measured (median, least–most)");
    for Line { what, target, measured, .. } in lines {
        let (target, verdict) = match target {
            Some(Target { text, is_met: true }) => (*text, "met"),
            Some(Target { text, is_met: false }) => (*text, "MISSED"),
            None => ("", ""),
        };
        println!("{}", format!("{what:44} {target:14} {measured:58} {verdict}").trim_end());
    }
}

pub(super) fn write(file: &Path, lines: &[Line], quick: bool, busy_cores: f64) -> Result<()> {
    let results: Vec<Value> = lines
        .iter()
        .map(|line| {
            json!({
                "what": line.what,
                "target": line.target.as_ref().map(|target| target.text),
                "met": line.target.as_ref().map(|target| target.is_met),
                "values": line.values,
            })
        })
        .collect();
    let report = json!({
        "unix_seconds": SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |now| now.as_secs()),
        "quick": quick,
        "cores_busy_with_others": busy_cores,
        "machine": machine(),
        "results": results,
    });
    fs::write(file, format!("{report:#}\n")).with_context(|| format!("cannot write {}", file.display()))
}

/// Numbers mean nothing without it.
fn machine() -> Value {
    let line = |file: &str, name: &str| {
        let text = fs::read_to_string(file).unwrap_or_default();
        let line = text.lines().find(|line| line.starts_with(name)).unwrap_or_default();
        line.split_once(':').map_or(line, |(_, value)| value).trim().to_owned()
    };
    let output = |program: &str, args: &[&str]| {
        let output = Command::new(program).args(args).current_dir(root()).output();
        output.map(|output| String::from_utf8_lossy(&output.stdout).trim().to_owned()).unwrap_or_default()
    };
    json!({
        "cores": std::thread::available_parallelism().map_or(0, usize::from),
        "processor": line("/proc/cpuinfo", "model name"),
        "kernel": line("/proc/sys/kernel/osrelease", ""),
        "rustc": output("rustc", &["--version"]),
        "commit": output("git", &["describe", "--always", "--dirty"]),
    })
}
