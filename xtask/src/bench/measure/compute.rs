//! Computing programs in the sandbox and natively, from the same source, in turns.

mod digits;

use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use anyhow::{Context, Result, bail, ensure};
use serde_json::{Value, json};

pub(super) use self::digits::digits;

use super::Plan;
use super::report::Computed;
use super::stats::Spread;
use crate::bench::guests::{self, Build};
use crate::host::Host;
use crate::http::{Connection, Response};
use crate::services::{self, Service};
use crate::stage;

/// The kernels, each with a number of rounds that takes some hundredths of a second.
const KERNELS: [(&str, u32); 3] = [("matmul", 20), ("sha256", 8), ("json", 20)];

const REGIMES: [(&str, Regime); 2] = [("metered", Regime::Metered), ("unmetered", Regime::Unmetered)];

#[derive(Clone, Copy)]
enum Regime {
    /// Fuel, the default.
    Metered,
    /// Epochs only.
    Unmetered,
}

/// A guest, deployed from one build with one regime.
struct Cell {
    build: &'static str,
    checks: &'static str,
    service: Service,
}

/// The mean time of a round, and the checksum of the result.
#[derive(Clone, Copy)]
struct Round {
    micros: f64,
    checksum: u64,
}

/// Measures each kernel natively and in every cell, by the program's own clock.
pub(super) fn kernels(host: &Host, directory: &Path, plan: &Plan) -> Result<Vec<Computed>> {
    let builds = Build::ALL.map(|way| (label(way), guests::compute(way)));
    let cells = deploy("compute", host, directory, &builds, &json!({}))?;
    let mut table = Vec::new();
    for (kernel, rounds) in KERNELS {
        stage::announce(&format!("  {kernel}"));
        let order = format!("{kernel} {rounds}");
        let natively = || natively(&order.split(' ').collect::<Vec<_>>(), rounds);
        let in_cell = |cell: &Cell| {
            let answer = call(host, &cell.service, order.as_bytes())?;
            round(&answer.text(), rounds).with_context(|| format!("`{}` answered {}", cell.service.name, answer.text()))
        };
        table.extend(compare(kernel, &cells, plan.rounds, natively, in_cell)?);
    }
    Ok(table)
}

/// Measures natively and in every cell, in turns. The result of a cell is relative to the native time of the same
/// round.
fn compare(
    kernel: &'static str,
    cells: &[Cell],
    rounds: usize,
    natively: impl Fn() -> Result<Round>,
    in_cell: impl Fn(&Cell) -> Result<Round>,
) -> Result<Vec<Computed>> {
    let mut native_times = Vec::new();
    let mut ratios = vec![Vec::new(); cells.len()];
    for round in 0..=rounds {
        let native = natively()?;
        let mut measured = Vec::new();
        for cell in cells {
            let here = in_cell(cell)?;
            ensure!(
                here.checksum == native.checksum,
                "{kernel} has another result in `{}` than natively",
                cell.service.name
            );
            measured.push(here.micros / native.micros);
        }
        // The first round is not counted: it warms caches and lets the host adjust the guests' slices.
        if round > 0 {
            native_times.push(native.micros);
            ratios.iter_mut().zip(measured).for_each(|(ratios, ratio)| ratios.push(ratio));
        }
    }
    let native_us = Spread::of(native_times).median;
    let computed = |(cell, ratios): (&Cell, Vec<f64>)| Computed {
        kernel,
        build: cell.build,
        checks: cell.checks,
        relative: Spread::of(ratios),
        native_us,
    };
    Ok(cells.iter().zip(ratios).map(computed).collect())
}

const fn label(way: Build) -> &'static str {
    match way {
        Build::Plain => "no flags",
        Build::Simd => "SIMD",
        Build::Ours => "SIMD and unrolling (the default)",
    }
}

/// Deploys every build with every regime.
fn deploy(
    name: &str,
    host: &Host,
    directory: &Path,
    builds: &[(&'static str, PathBuf)],
    more: &Value,
) -> Result<Vec<Cell>> {
    let mut cells = Vec::new();
    for (index, (build, file)) in builds.iter().enumerate() {
        for (checks, regime) in REGIMES {
            let fuel = match regime {
                Regime::Metered => json!(1_000_000_000_000_000_u64),
                Regime::Unmetered => json!("unlimited"),
            };
            let mut service = json!({
                "name": format!("{name}-{index}-{checks}"),
                "processor_path": file,
                "metadata": { "rpc": { "worker_threads": 1, "keepalive": 60_000 } },
                "sandbox": { "fuel": fuel, "memory_mb": 256, "expose": ["timing"] },
            });
            if let (Value::Object(service), Value::Object(more)) = (&mut service, more) {
                service.extend(more.clone());
            }
            stage::announce(&format!("  deploying {name}: {build}, {checks}"));
            let service = services::create(host, &services::write(&directory.join("services"), &service)?)?;
            cells.push(Cell { build, checks, service });
        }
    }
    Ok(cells)
}

fn call(host: &Host, service: &Service, body: &[u8]) -> Result<Response> {
    let mut connection = Connection::open(host.data)?;
    connection.send(&service.request(body))?;
    let answer = connection.receive()?;
    if answer.status != 200 {
        bail!("`{}` answered {}: {}", service.name, answer.status, answer.text());
    }
    Ok(answer)
}

fn natively(args: &[&str], rounds: u32) -> Result<Round> {
    let program = guests::native();
    let output = Command::new(&program).args(args).stdin(Stdio::null()).stderr(Stdio::inherit()).output();
    let output = output.with_context(|| format!("cannot run {}", program.display()))?;
    let text = String::from_utf8_lossy(&output.stdout);
    round(text.trim(), rounds).with_context(|| format!("`native {}` failed: {text:?}", args.join(" ")))
}

/// Parses `NANOSECONDS CHECKSUM`, the output for `rounds` rounds.
fn round(text: &str, rounds: u32) -> Option<Round> {
    let (nanos, checksum) = text.split_once(' ')?;
    Some(Round { micros: nanos.parse::<f64>().ok()? / 1e3 / f64::from(rounds), checksum: checksum.parse().ok()? })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_round_is_a_share_of_what_all_took() {
        let round = round("5000000 77", 10).unwrap();
        assert_eq!((round.micros, round.checksum), (500.0, 77));
        assert!(super::round("5000000", 10).is_none() && super::round("x 1", 10).is_none());
    }
}
