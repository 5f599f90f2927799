//! The long forms of the measuring tests: thousands of deploys, kills and hostile clients instead of a few.
//!
//! The code is that of `cargo xtask test`, and so is the build: the failure points of the host exist only in debug
//! builds, whose dependencies are optimised nevertheless. One test runs at a time, so that tests do not affect each
//! other's figures. `--hours` runs a release build under load instead and checks its memory and descriptors.

use std::io::Write;

use anyhow::Result;

use crate::{cargo, figures, stage, test};

pub(crate) fn run(hours: Option<f64>, filter: Option<&str>) -> Result<bool> {
    let file = figures::fresh("chaos.jsonl")?;
    let host = hours.map(|_| cargo::host()).transpose()?;
    cargo::guests()?;
    stage::announce("chaos: figures as they are measured, then a table of all of them");
    let mut cargo = cargo::cargo();
    cargo.args(["test", "--locked", "--package", "bulkhead", "--lib", "--test", "it"]);
    if let (Some(hours), Some(host)) = (hours, &host) {
        let seconds = (hours * 3600.0).ceil();
        cargo.env("BULKHEAD_SOAK_SECONDS", seconds.to_string()).env("BULKHEAD_TEST_BINARY", host);
    }
    let filter = filter.or(hours.map(|_| "soak"));
    cargo.env("BULKHEAD_CHAOS", "long").env("BULKHEAD_FIGURES", &file);
    cargo.args(filter).args(["--", "--nocapture", "--test-threads", "1"]);
    let tally = test::cargo_test(&mut cargo, |line| {
        // With one thread, the test harness prints the test's name without a line break, and the first figure follows
        // on the same line.
        match line.find("{\"figure\":") {
            Some(at) => {
                let _ = writeln!(std::io::stdout(), "{}", &line[at..]);
            }
            None => eprintln!("{line}"),
        }
    })?;
    println!("{}", figures::table(&figures::read(&file)));
    for name in &tally.failed_names {
        println!("failed: {name}");
    }
    println!("{} passed, {} failed, {} skipped", tally.passed, tally.failed, tally.skipped);
    Ok(tally.failed == 0 && tally.passed > 0)
}
