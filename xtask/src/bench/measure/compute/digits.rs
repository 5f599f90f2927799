//! The digits model in the sandbox and natively.
//!
//! Sends requests with many pictures and with one; the difference gives the cost of a picture without the call around
//! it. The host reports the time in the sandbox. Natively, the clock is around the same function.

use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result};
use bulkhead_artifacts::{path, root};
use serde_json::{Value, json};

use super::super::report::{Computed, Line};
use super::super::stats::Spread;
use super::super::{Plan, goals};
use super::{Cell, Round, call, compare, deploy, label, natively};
use crate::bench::guests::{self, Build};
use crate::host::Host;
use crate::http::Response;
use crate::stage;

const NAME: &str = "digits, one row";
const NATIVE_ROUNDS: u32 = 20;
const WHOLE_CALLS: usize = 50;
/// The least number of rounds. A round takes a few milliseconds, so fewer would be distorted by a single disturbance.
const LEAST_ROUNDS: usize = 9;

/// A request for one picture and one for all, and the files that hold the same bodies for the native program.
struct Pictures {
    one: Vec<u8>,
    all: Vec<u8>,
    one_file: PathBuf,
    all_file: PathBuf,
    count: f64,
}

pub(in super::super) fn digits(host: &Host, directory: &Path, plan: &Plan) -> Result<(Vec<Computed>, Vec<Line>)> {
    let mut builds = vec![(label(Build::Ours), path("digits"))];
    // Deploying this build takes ten seconds of compilation.
    if !plan.is_quick && guests::plain_digits().is_file() {
        builds.push((label(Build::Plain), guests::plain_digits()));
    }
    let example = root().join("examples/digits");
    let model = json!({ "model_path": example.join("model"), "model_entry": "digits.onnx" });
    let cells = deploy("digits", host, directory, &builds, &model)?;
    let pictures = Pictures::held_out(&example, directory)?;
    let onnx = example.join("model/digits.onnx");
    let native_call = |file: &Path| {
        let rounds = NATIVE_ROUNDS.to_string();
        natively(&["digits", &onnx.to_string_lossy(), &file.to_string_lossy(), &rounds], NATIVE_ROUNDS)
    };
    let row = |all: f64, one: f64| Round { micros: (all - one) / (pictures.count - 1.0), checksum: 0 };

    stage::announce("  the digits model");
    let native_row = || Ok(row(native_call(&pictures.all_file)?.micros, native_call(&pictures.one_file)?.micros));
    let row_in = |cell: &Cell| {
        let run = |body| call(host, &cell.service, body).and_then(|answer| run_micros(&answer));
        Ok(row(run(&pictures.all)?, run(&pictures.one)?))
    };
    let table = compare(NAME, &cells, plan.rounds.max(LEAST_ROUNDS), native_row, row_in)?;
    let metered = table.first().context("no cell")?;
    let text = format!("{:.1} to {:.1} µs a row", metered.relative.median * metered.native_us, metered.native_us);
    let line = goals::DIGITS.ratio(metered.relative, text);

    let whole = |times: Result<Vec<f64>>| times.map(Spread::of);
    let one = |_| call(host, &cells[0].service, &pictures.one).and_then(|answer| run_micros(&answer));
    let here = whole((0..WHOLE_CALLS).map(one).collect())?;
    let there = whole((0..WHOLE_CALLS / 10).map(|_| Ok(native_call(&pictures.one_file)?.micros)).collect())?;
    let whole = Line::told(
        "digits, a call of one row: run time",
        format!("{:.1} µs; natively the same function {:.1} µs", here.median, there.median),
        json!({ "sandbox_us": here.values(), "native_us": there.values() }),
    );
    Ok((table, vec![line, whole]))
}

/// Returns the run time of a call in its guest, which the host reports with `"expose": ["timing"]`.
fn run_micros(answer: &Response) -> Result<f64> {
    let timing = answer.header("server-timing").context("an answer without Server-Timing")?;
    let run = timing.split(", ").find_map(|part| part.strip_prefix("run;dur="));
    let run = run.with_context(|| format!("no run time in {timing:?}"))?;
    Ok(run.parse::<f64>().with_context(|| format!("{run:?} is not a time"))? * 1e3)
}

impl Pictures {
    fn held_out(example: &Path, directory: &Path) -> Result<Self> {
        let file = example.join("data/heldout.jsonl");
        let text = fs::read_to_string(&file).with_context(|| format!("cannot read {}", file.display()))?;
        let rows = text.lines().map(|line| Ok(serde_json::from_str::<Value>(line)?["pixels"].take()));
        let rows =
            rows.collect::<Result<Vec<Value>>>().with_context(|| format!("{} is not as expected", file.display()))?;
        let body = |rows: &[Value]| json!({ "rows": rows }).to_string().into_bytes();
        let (one, all) = (body(rows.get(..1).context("there are no pictures")?), body(&rows));
        let (one_file, all_file) = (directory.join("digits-one.json"), directory.join("digits-all.json"));
        fs::write(&one_file, &one).with_context(|| format!("cannot write {}", one_file.display()))?;
        fs::write(&all_file, &all).with_context(|| format!("cannot write {}", all_file.display()))?;
        Ok(Self { one, all, one_file, all_file, count: rows.len() as f64 })
    }
}
