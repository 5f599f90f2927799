//! Figures: the guarantees of `SECURITY.md`, counted and measured.
//!
//! A figure is one line of JSON, `{"figure", "target", "measured", "met"}`. `cargo xtask test` runs the short forms and
//! shows the figures as a table; `cargo xtask chaos` runs the long forms of the same code. Figures that depend on the
//! host's correctness are asserted. Times, which a busy machine could spoil, are only reported.

use std::fs::File;
use std::io::Write;

use serde_json::{Value, json};

/// Returns the number of repetitions: `short` in every test run, `long` in a chaos run.
pub(crate) fn rounds(short: usize, long: usize) -> usize {
    if is_long() { long } else { short }
}

/// True in a chaos run.
pub(crate) fn is_long() -> bool {
    std::env::var("BULKHEAD_CHAOS").is_ok_and(|value| value == "long")
}

/// Records and asserts a figure that a correct host reaches on any machine.
#[track_caller]
pub(crate) fn must(figure: &str, target: &str, measured: impl Into<Value>, met: bool) {
    let measured = measured.into();
    record(figure, target, &measured, met);
    assert!(met, "{figure}: {measured}, and the target is {target}");
}

/// Records a figure that depends on the machine, without asserting it.
pub(crate) fn tell(figure: &str, target: &str, measured: impl Into<Value>, met: bool) {
    record(figure, target, &measured.into(), met);
}

fn record(figure: &str, target: &str, measured: &Value, met: bool) {
    let line = json!({"figure": figure, "target": target, "measured": measured, "met": met});
    println!("{line}");
    if let Some(path) = std::env::var_os("BULKHEAD_FIGURES") {
        // One write per line, because several test threads append to the same file.
        let mut file = File::options().create(true).append(true).open(path).expect("a file for figures");
        file.write_all(format!("{line}\n").as_bytes()).expect("a line is written");
    }
}
