//! Figures: what the promises of `SECURITY.md` come to, counted and measured.
//!
//! A figure is one line of JSON, `{"figure", "target", "measured", "met"}`. `cargo xtask test` runs the short forms and
//! shows the figures as a table; `cargo xtask chaos` runs the long forms of the same code. What a wrong host would get
//! wrong is asserted; what a busy machine could spoil, a time, is only told.

use std::fs::File;
use std::io::Write;

use serde_json::{Value, json};

/// How often something is done: `short` in every test run, `long` in a chaos run.
pub(crate) fn rounds(short: usize, long: usize) -> usize {
    if is_long() { long } else { short }
}

/// Whether this is a chaos run.
pub(crate) fn is_long() -> bool {
    std::env::var("BULKHEAD_CHAOS").is_ok_and(|value| value == "long")
}

/// A figure that a correct host reaches on any machine.
#[track_caller]
pub(crate) fn must(figure: &str, target: &str, measured: impl Into<Value>, met: bool) {
    let measured = measured.into();
    record(figure, target, &measured, met);
    assert!(met, "{figure}: {measured}, and the target is {target}");
}

/// A figure that depends on the machine: told, and not asserted.
pub(crate) fn tell(figure: &str, target: &str, measured: impl Into<Value>, met: bool) {
    record(figure, target, &measured.into(), met);
}

fn record(figure: &str, target: &str, measured: &Value, met: bool) {
    let line = json!({"figure": figure, "target": target, "measured": measured, "met": met});
    println!("{line}");
    if let Some(path) = std::env::var_os("BULKHEAD_FIGURES") {
        // One write a line: several test threads append to the same file.
        let mut file = File::options().create(true).append(true).open(path).expect("a file for figures");
        file.write_all(format!("{line}\n").as_bytes()).expect("a line is written");
    }
}
