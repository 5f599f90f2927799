//! The whole test suite: set-up, guests, the workspace, the examples, the official Python SDK.

mod clients;
mod sdk;
mod tally;

use std::io::{BufRead, BufReader, Write};
use std::path::Path;
use std::process::{Command, Stdio};
use std::time::Instant;

use anyhow::{Context, Result};
use bulkhead_artifacts::root;

use crate::setup::Python;
use crate::{cargo, figures, setup, stage, toolchains};
pub(crate) use sdk::cases as sdk_cases;
use tally::Tally;

/// One part of the suite and its result.
struct Part {
    name: &'static str,
    tally: Tally,
    seconds: f64,
}

pub(crate) fn run(args: &[String]) -> Result<bool> {
    let start = Instant::now();
    setup::wasm_target()?;
    let python = if args.is_empty() { Some(python()) } else { None };
    cargo::guests()?;

    let envoy = match &python {
        Some(Ok(Python::Ready(python))) => Some(setup::envoy(python)),
        Some(Ok(Python::Missing(why))) => Some(Err(why.clone())),
        Some(Err(_)) | None => None,
    };

    let toolchains = match &python {
        Some(Ok(python)) => Some(toolchains::guests(python)?),
        Some(Err(_)) | None => None,
    };

    let figures = figures::fresh("figures.jsonl")?;
    let mut parts = vec![part("host, guest SDK, tools", || {
        let mut cargo = cargo::cargo();
        cargo.args(["test", "--workspace", "--locked"]).env("BULKHEAD_FIGURES", &figures);
        if args.is_empty() {
            cargo.arg("--no-fail-fast");
        }
        if let Some(Ok(envoy)) = &envoy {
            cargo.env("BULKHEAD_ENVOY", envoy);
        }
        if let Some(Ok(Python::Ready(python))) = &python {
            cargo.env("BULKHEAD_PYTHON", python);
        }
        if let Some(guests) = &toolchains {
            cargo.env("BULKHEAD_TOOLCHAINS", &guests.directory);
        }
        cargo_test(cargo.args(args), show)
    })?];
    for (name, why) in toolchains.iter().flat_map(|guests| &guests.missing) {
        parts[0].tally.skip(format!("the guest {name}: {why}"));
    }
    if let (Some(Err(why)), [host, ..]) = (&envoy, &mut parts[..]) {
        host.tally.skip(format!("the gateway beside Envoy: {why}"));
    }
    if let (Some(python), [host, ..]) = (&python, &mut parts[..]) {
        clients::missing(python).into_iter().for_each(|name| host.tally.skip(name));
    }
    if let Some(python) = python {
        parts.push(part("examples, natively", || {
            cargo_test(
                &mut examples(&[
                    "-p",
                    "echo",
                    "-p",
                    "json-score",
                    "-p",
                    "long-job",
                    "-p",
                    "faults",
                    "-p",
                    "canned-chat",
                ]),
                show,
            )
        })?);
        parts.push(part("digits, without its model", || {
            cargo_test(&mut examples(&["-p", "digits", "--no-default-features"]), show)
        })?);
        parts.push(part("official EAS SDK (Python)", || sdk::run(&python?))?);
    }
    Ok(report(&parts, &figures, start))
}

/// Makes the venv. Without Python, its tests are skipped; if the packages cannot be installed, they fail.
fn python() -> Result<Python> {
    setup::python().context("the Python venv")
}

/// Makes a cargo command that builds the examples natively, in a target directory apart from that of their Wasm builds.
fn examples(args: &[&str]) -> Command {
    let mut command = cargo::cargo();
    command
        .current_dir(root().join("examples"))
        .args(["test", "--locked", "--no-fail-fast", "--target-dir"])
        .arg(cargo::target_dir().join("examples-native"))
        .args(args);
    command
}

fn part(name: &'static str, run: impl FnOnce() -> Result<Tally>) -> Result<Part> {
    stage::announce(&format!("testing: {name}"));
    let start = Instant::now();
    let tally = run().unwrap_or_else(|error| {
        eprintln!("error: {error:#}");
        Tally::failure(format!("{name}: {error:#}"))
    });
    Ok(Part { name, tally, seconds: start.elapsed().as_secs_f64() })
}

/// Prints a line. A closed pipe must not end the run, because the exit code still counts.
fn show(line: &str) {
    let _ = writeln!(std::io::stdout(), "{line}");
}

/// Runs `cargo test`, passes each line of its output to `show`, and counts the results.
pub(crate) fn cargo_test(cargo: &mut Command, mut show: impl FnMut(&str)) -> Result<Tally> {
    let mut child = cargo.stdout(Stdio::piped()).spawn().context("cargo cannot be run")?;
    let mut tally = Tally::default();
    let output = child.stdout.take().context("cargo has no output")?;
    for line in BufReader::new(output).lines() {
        let line = line.context("reading what cargo prints")?;
        show(&line);
        tally.libtest(&line);
    }
    let status = child.wait()?;
    if !status.success() && tally.failed == 0 {
        // The build failed, or a test binary ended without a result.
        tally.fail(format!("cargo test ended with {status}"));
    }
    Ok(tally)
}

fn report(parts: &[Part], figures: &Path, start: Instant) -> bool {
    print!("{}", figures::table(&figures::read(figures)));
    println!("\n{:28} {:>7} {:>7} {:>8} {:>9}", "part", "passed", "failed", "skipped", "time");
    let mut sum = Tally::default();
    for Part { name, tally, seconds } in parts {
        println!("{name:28} {:>7} {:>7} {:>8} {seconds:>7.1} s", tally.passed, tally.failed, tally.skipped);
        sum.add(tally);
    }
    for (what, names) in [("skipped", &sum.skipped_names), ("failed", &sum.failed_names)] {
        for name in names {
            println!("{what}: {name}");
        }
    }
    println!("\nin {:.1} s", start.elapsed().as_secs_f64());
    println!("{} passed, {} failed, {} skipped", sum.passed, sum.failed, sum.skipped);
    sum.failed == 0
}
