//! Programs that compute, in the sandbox and natively from the same source, in turns.
//!
//! Kernels tell how long they took by their own clock. The digits model is asked for many pictures and for one; the
//! difference is what a picture costs, without the call around it. That is timed by the host, and natively around the
//! same function.

use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use anyhow::{Context, Result, bail, ensure};
use bulkhead_artifacts::{path, root};
use serde_json::{Value, json};

use super::Plan;
use super::report::{Computed, Line, Target};
use super::stats::Spread;
use crate::bench::guests::{self, Build};
use crate::host::Host;
use crate::http::{Connection, Response};
use crate::services::{self, Service};
use crate::stage;

/// Kernels, each with rounds that take some hundredths of a second.
const KERNELS: [(&str, u32); 3] = [("matmul", 20), ("sha256", 8), ("json", 20)];
const DIGITS: &str = "digits, one row";
const ONE_ROW: Target = Target::at_most(1.5, "×");

const REGIMES: [(&str, Regime); 2] = [("metered", Regime::Metered), ("unmetered", Regime::Unmetered)];

#[derive(Clone, Copy)]
enum Regime {
    /// Fuel, which is the default.
    Metered,
    /// Epochs alone.
    Unmetered,
}

/// A guest that was compiled and deployed in one way.
struct Cell {
    build: &'static str,
    checks: &'static str,
    service: Service,
}

/// How long one round took, and what came out of it.
#[derive(Clone, Copy)]
struct Round {
    micros: f64,
    checksum: u64,
}

/// Each kernel natively and in every cell.
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

/// The model, one picture.
pub(super) fn digits(host: &Host, directory: &Path, plan: &Plan) -> Result<(Vec<Computed>, Vec<Line>)> {
    let mut builds = vec![(label(Build::Ours), path("digits"))];
    // Deploying it costs ten seconds of compiling.
    if !plan.is_quick && guests::plain_digits().is_file() {
        builds.push((label(Build::Plain), guests::plain_digits()));
    }
    let example = root().join("examples/digits");
    let model = json!({ "model_path": example.join("model"), "model_entry": "digits.onnx" });
    let cells = deploy("digits", host, directory, &builds, &model)?;
    let (one, many, count) = pictures(&example)?;
    let files = [("one.json", &one), ("many.json", &many)].map(|(name, body)| {
        let file = directory.join(name);
        std::fs::write(&file, body).map(|()| file)
    });
    let [one_file, many_file] = files;
    let (one_file, many_file) = (one_file?, many_file?);
    let onnx = example.join("model/digits.onnx");
    let extra = f64::from(count - 1);

    stage::announce("  the digits model");
    let native_call = |file: &Path| natively(&["digits", &onnx.to_string_lossy(), &file.to_string_lossy(), "20"], 20);
    let natively = || {
        Ok(Round { micros: (native_call(&many_file)?.micros - native_call(&one_file)?.micros) / extra, checksum: 0 })
    };
    let in_cell = |cell: &Cell| {
        let many = run_micros(&call(host, &cell.service, many.as_bytes())?)?;
        let one = run_micros(&call(host, &cell.service, one.as_bytes())?)?;
        Ok(Round { micros: (many - one) / extra, checksum: 0 })
    };
    let table = compare(DIGITS, &cells, plan.rounds.max(5), natively, in_cell)?;
    let call_in_cell = Spread::of(
        (0..50).map(|_| run_micros(&call(host, &cells[0].service, one.as_bytes())?)).collect::<Result<Vec<_>>>()?,
    );
    let call_natively = Spread::of((0..5).map(|_| Ok(native_call(&one_file)?.micros)).collect::<Result<Vec<_>>>()?);
    let native = table.first().map_or(f64::NAN, |cell| cell.native_us);
    let line = table.first().and_then(|cell| cell.relative).map_or_else(
        || Line::absent(DIGITS, Some(ONE_ROW), "no figure"),
        |relative| {
            let ratio = Spread { median: relative, least: relative, most: relative };
            let text = format!("{:.1} to {native:.1} µs a row", relative * native);
            Line::ratio("digits, one row in the sandbox, metered, to native tract", Some(ONE_ROW), ratio, text)
        },
    );
    let whole = Line::told(
        "digits, a whole call of one row, run time",
        format!("{:.1} µs; natively the same function {:.1} µs", call_in_cell.median, call_natively.median),
        json!({ "sandbox_us": call_in_cell.values(), "native_us": call_natively.values() }),
    );
    Ok((table, vec![line, whole]))
}

/// Natively and in every cell, in turns; the median of each cell relative to native in the same round.
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
                "{kernel} came to another result in `{}` than natively",
                cell.service.name
            );
            measured.push(here.micros / native.micros);
        }
        // The first round warms caches and finds the guests' slices.
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
        relative: Some(Spread::of(ratios).median).filter(|ratio| ratio.is_finite()),
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

/// Every build under every regime.
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

/// How long a call was with its guest, as the host tells with `"expose": ["timing"]`.
fn run_micros(answer: &Response) -> Result<f64> {
    let timing = answer.header("server-timing").context("an answer without Server-Timing")?;
    let run = timing.split(", ").find_map(|part| part.strip_prefix("run;dur="));
    let run = run.with_context(|| format!("no run time in {timing:?}"))?;
    Ok(run.parse::<f64>().with_context(|| format!("{run:?} is no time"))? * 1e3)
}

fn natively(args: &[&str], rounds: u32) -> Result<Round> {
    let program = guests::native();
    let output = Command::new(&program).args(args).stdin(Stdio::null()).stderr(Stdio::inherit()).output();
    let output = output.with_context(|| format!("cannot run {}", program.display()))?;
    let text = String::from_utf8_lossy(&output.stdout);
    round(text.trim(), rounds).with_context(|| format!("`native {}` failed: {text:?}", args.join(" ")))
}

/// `NANOSECONDS CHECKSUM` of so many rounds.
fn round(text: &str, rounds: u32) -> Option<Round> {
    let (nanos, checksum) = text.split_once(' ')?;
    Some(Round { micros: nanos.parse::<f64>().ok()? / 1e3 / f64::from(rounds), checksum: checksum.parse().ok()? })
}

/// One picture, all of them, and how many that is.
fn pictures(example: &Path) -> Result<(String, String, u32)> {
    let file = example.join("data/heldout.jsonl");
    let text = std::fs::read_to_string(&file).with_context(|| format!("cannot read {}", file.display()))?;
    let rows = text.lines().map(|line| Ok(serde_json::from_str::<Value>(line)?["pixels"].take()));
    let rows =
        rows.collect::<Result<Vec<Value>>>().with_context(|| format!("{} is not as expected", file.display()))?;
    let first = rows.first().context("there are no pictures")?;
    let body = |rows: &[Value]| json!({ "rows": rows }).to_string();
    Ok((body(std::slice::from_ref(first)), body(&rows), u32::try_from(rows.len())?))
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
