//! What is measured, and in which order.

mod bare;
mod closed;
mod compare;
mod guard;
mod latency;
mod open;
mod report;
mod response;
mod stats;
mod usage;

use std::path::Path;
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Result, bail};
use bulkhead_artifacts::root;
use serde_json::json;

use self::bare::Bare;
pub(crate) use self::bare::serve as bare_server;
use self::report::{Line, Target};
use crate::host::{Host, Log};
use crate::{cargo, services, stage};

/// Cores' worth of other people's work from which on numbers are not worth much.
const QUIET: f64 = 0.1;

/// How much is measured.
struct Plan {
    rounds: usize,
    load: Duration,
    open_rounds: usize,
    open_load: Duration,
    refusals: usize,
    loops: usize,
}

const FULL: Plan = Plan {
    rounds: 7,
    load: Duration::from_secs(4),
    open_rounds: 5,
    open_load: Duration::from_secs(4),
    refusals: 2000,
    loops: 40,
};
const QUICK: Plan = Plan {
    rounds: 3,
    load: Duration::from_millis(1500),
    open_rounds: 3,
    open_load: Duration::from_millis(1500),
    refusals: 500,
    loops: 12,
};

/// Measures the host `binary`; `unguarded` is the same built without the guard.
pub(crate) fn run(binary: &Path, unguarded: &Path, quick: bool) -> Result<bool> {
    let plan = if quick { &QUICK } else { &FULL };
    let busy = usage::busy_cores()?;
    if busy > QUIET {
        stage::announce(&format!(
            "others keep {busy:.1} cores of this machine busy: what follows tells of them as well"
        ));
    }
    let directory = cargo::target_dir().join("bench");
    let host = Host::start(binary, &directory.join("data"), &Log::Nowhere)?;
    let mut lines = idle(&host)?;
    let create = |file: &str| services::create(&host, &root().join(file));

    stage::announce("deploying digits");
    lines.push(deploy(&host)?);
    stage::announce("a looping guest's deadline");
    lines.extend(latency::late(&host, &create("xtask/services/late.json")?, plan)?);
    let echo = create("examples/echo/echo.json")?;
    stage::announce("refusals while every worker spins");
    lines.extend(latency::full(&host, &create("xtask/services/spin.json")?, &echo, plan)?);

    let bare = Bare::start()?;
    for (name, bytes) in [("1 KiB", 1 << 10), ("64 KiB", 64 << 10)] {
        stage::announce(&format!("echo of {name}, beside bare hyper, {} connections", closed::CONNECTIONS));
        lines.extend(compare::side_by_side(&host, &bare, &echo, name, bytes, plan)?);
    }
    stage::announce("echo of 1 KiB, beside the same host without its guard");
    let without = Host::start(unguarded, &directory.join("unguarded"), &Log::Nowhere)?;
    let its_echo = services::create(&without, &root().join("examples/echo/echo.json"))?;
    lines.push(guard::cost(&host, &echo, &without, &its_echo, plan)?);
    without.stop()?;
    stage::announce(&format!("{} requests a second, beside bare hyper", compare::OPEN_RATE));
    lines.push(compare::steady(&host, &bare, &echo, plan)?);

    report::print(&lines);
    let file = directory.join("report.json");
    report::write(&file, &lines, quick, busy)?;
    println!("\n{}", file.display());
    let status = host.stop()?;
    if !status.success() {
        bail!("the host ended with {status}");
    }
    Ok(true)
}

/// Memory of a host that has just started, and nothing to do.
fn idle(host: &Host) -> Result<Vec<Line>> {
    thread::sleep(Duration::from_secs(1));
    let empty = usage::resident_mib(host.pid())?;
    Ok(vec![Line {
        what: "host idle, no services: resident memory".to_owned(),
        target: Some(Target { text: "< 40 MiB", is_met: empty < 40.0 }),
        measured: format!("{empty:.1} MiB"),
        values: json!({ "resident_mib": empty }),
    }])
}

/// Upload, compilation in a child process, `initialize`, warm-up; then bringing it up again, with the compiled code kept.
fn deploy(host: &Host) -> Result<Line> {
    let start = Instant::now();
    let service = services::create(host, &root().join("examples/digits/digits.json"))?;
    let deployed = start.elapsed().as_secs_f64();
    services::stop(host, &service)?;
    let start = Instant::now();
    services::start(host, &service)?;
    let started = start.elapsed().as_secs_f64();
    let resident = usage::resident_mib(host.pid())?;
    Ok(Line {
        what: "deploy of digits (ONNX runtime and model)".to_owned(),
        target: None,
        measured: format!("{deployed:.1} s; stopped and started {started:.2} s; then {resident:.0} MiB"),
        values: json!({ "deploy_s": deployed, "start_s": started, "resident_mib": resident }),
    })
}
