//! The long forms of the tests that count and measure: thousands of deploys, kills and hostile clients instead of a few.
//!
//! The code is that of `cargo xtask test`, and so is the build: the places where the host can be made to fail exist in
//! debug builds alone, whose dependencies are optimised all the same. One test runs at a time, so that what is measured
//! is the host and not its neighbours. `--hours` soaks a release build instead and watches its memory and descriptors.

use std::io::Write;

use anyhow::Result;

use crate::{cargo, figures, stage, test};

pub(crate) fn run(hours: Option<f64>, filter: Option<&str>) -> Result<bool> {
    let file = figures::fresh("chaos.jsonl")?;
    let host = hours.map(|_| cargo::host()).transpose()?;
    cargo::guests()?;
    stage::announce("chaos: figures as they come, then all of them");
    let mut cargo = cargo::cargo();
    cargo.args(["test", "--locked", "--package", "bulkhead", "--test", "it"]);
    if let (Some(hours), Some(host)) = (hours, &host) {
        let seconds = (hours * 3600.0).ceil();
        cargo.env("BULKHEAD_SOAK_SECONDS", seconds.to_string()).env("BULKHEAD_TEST_BINARY", host);
    }
    let filter = filter.or(hours.map(|_| "soak"));
    cargo.env("BULKHEAD_CHAOS", "long").env("BULKHEAD_FIGURES", &file);
    cargo.args(filter).args(["--", "--nocapture", "--test-threads", "1"]);
    let tally = test::cargo_test(&mut cargo, |line| {
        // With one thread the harness leaves its own line open, and the first figure follows on it.
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
