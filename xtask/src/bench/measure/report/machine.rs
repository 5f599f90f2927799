//! The machine and the versions of a run, without which the numbers have no meaning.

use std::fs;
use std::process::Command;

use bulkhead_artifacts::root;
use serde_json::{Value, json};

pub(in super::super) struct Machine {
    /// Pairs of name and value.
    pub(in super::super) facts: Vec<(String, String)>,
}

impl Machine {
    pub(super) fn ours() -> Self {
        let cores = std::thread::available_parallelism().map_or(0, usize::from);
        let memory = line("/proc/meminfo", "MemTotal");
        let kib: f64 = memory.trim_end_matches(" kB").parse().unwrap_or(f64::NAN);
        let facts = [
            ("processor", line("/proc/cpuinfo", "model name")),
            ("cores", cores.to_string()),
            ("memory", format!("{:.1} GiB", kib / f64::from(1 << 20))),
            ("kernel", line("/proc/sys/kernel/osrelease", "")),
            ("rustc", output("rustc", &["--version"])),
            ("Bulkhead", output("git", &["describe", "--always", "--dirty"])),
        ];
        Self { facts: facts.map(|(name, fact)| (name.to_owned(), fact)).into() }
    }

    pub(in super::super) fn add(&mut self, name: &str, fact: &str) {
        self.facts.push((name.to_owned(), fact.to_owned()));
    }

    pub(super) fn values(&self) -> Value {
        self.facts.iter().map(|(name, fact)| (name.clone(), json!(fact))).collect::<serde_json::Map<_, _>>().into()
    }
}

fn line(file: &str, name: &str) -> String {
    let text = fs::read_to_string(file).unwrap_or_default();
    let line = text.lines().find(|line| line.starts_with(name)).unwrap_or_default();
    line.split_once(':').map_or(line, |(_, value)| value).trim().to_owned()
}

fn output(program: &str, args: &[&str]) -> String {
    let output = Command::new(program).args(args).current_dir(root()).output();
    output.map(|output| String::from_utf8_lossy(&output.stdout).trim().to_owned()).unwrap_or_default()
}
