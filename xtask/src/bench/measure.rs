//! The measurements and their order.

mod bare;
mod busy;
mod children;
mod closed;
mod compute;
mod contest;
mod crowd;
mod door;
mod echo;
mod fault;
mod gateway;
mod goals;
mod http2;
mod late;
mod open;
mod page;
mod peers;
mod queue;
mod report;
mod response;
mod server;
mod stats;
mod streams;
mod train;
mod usage;

use std::path::{Path, PathBuf};
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Result, bail};
use bulkhead_artifacts::root;
use serde_json::json;

use self::bare::Bare;
pub(crate) use self::bare::serve as bare_server;
use self::report::{Goal, Line, Report};
pub(crate) use self::train::{bare as train_bare, run as train};
use super::guests;
use crate::host::{Host, Log};
use crate::{cargo, services, stage};

/// Cores used by other processes, above which the results are unreliable.
const QUIET: f64 = 0.1;
const KIB: usize = 1 << 10;

/// The size of each measurement.
struct Plan {
    is_quick: bool,
    rounds: usize,
    load: Duration,
    open_rounds: usize,
    open_load: Duration,
    /// The number of calls while guests spin.
    refusals: usize,
    /// The number of guests that loop until their deadline.
    loops: usize,
    faults: usize,
    services: usize,
    /// The number of streams that are open at the same time.
    streams: usize,
}

const FULL: Plan = Plan {
    is_quick: false,
    rounds: 7,
    load: Duration::from_secs(4),
    open_rounds: 5,
    open_load: Duration::from_secs(4),
    refusals: 2000,
    loops: 40,
    faults: 500,
    services: 1000,
    streams: 1000,
};
const QUICK: Plan = Plan {
    is_quick: true,
    rounds: 3,
    load: Duration::from_millis(1000),
    open_rounds: 3,
    open_load: Duration::from_millis(1500),
    refusals: 500,
    loops: 10,
    faults: 100,
    services: 200,
    streams: 1000,
};

/// The state of a run: the host's binary, the directory to write to, the results.
struct Bench {
    plan: &'static Plan,
    binary: PathBuf,
    directory: PathBuf,
    report: Report,
}

/// Measures the host `binary`. `plain` is true if host and bare server were built without a profile.
/// `queues` measures only the queues.
pub(crate) fn run(binary: &Path, quick: bool, plain: bool, queues: bool) -> Result<bool> {
    children::end_with_us()?;
    let busy = usage::busy_cores()?;
    if busy > QUIET {
        stage::announce(&format!(
            "other processes keep {busy:.1} cores of this machine busy, which affects the results"
        ));
    }
    let plan = if quick { &QUICK } else { &FULL };
    let mut bench = Bench {
        plan,
        binary: binary.to_owned(),
        directory: cargo::target_dir().join("bench"),
        report: Report::new(quick, busy),
    };
    let build = if plain { "cargo build --release" } else { "cargo xtask release: each with a profile" };
    bench.report.machine.add("host and bare server", build);
    if !queues {
        bench.one_host()?;
        bench.many_services();
    }
    bench.stage("durable queues, beside Redis Streams", &goals::QUEUES, |bench| bench.queues());
    bench.report.print();
    bench.write()
}

impl Bench {
    /// Runs the measurements that need one host with a few services.
    fn one_host(&mut self) -> Result<()> {
        let plan = self.plan;
        let host = Host::start(&self.binary, &self.directory.join("data"), &Log::Nowhere)?;
        let _adopted = children::adopt(host.pid())?;
        self.report.lines.push(idle(&host)?);
        let create = |file: &str| services::create(&host, &root().join(file));

        let echo = create("examples/echo/echo.json")?;
        let servers = echo::Servers { host: &host, echo: &echo, bare: Bare::start()? };
        self.stage("echo of 1 KiB, in turns", &goals::CONTEST, |bench| bench.echo_1_kib(&servers));
        self.stage("echo of 64 KiB, in turns", &[goals::ECHO_64], |bench| bench.echo_64_kib(&servers));
        let percentiles = goals::STEADY.map(|(_, goal)| goal);
        self.stage("a steady rate, in turns", &percentiles, |bench| bench.steady(&servers));
        self.stage("the gateway beside Envoy, in turns", &[goals::GATEWAY], |bench| bench.gateway(&host, servers.echo));

        self.stage("refusals and short calls while guests spin", &goals::BUSY, |bench| {
            bench.add(busy::lines(&host, &create("xtask/services/spin.json")?, servers.echo, plan)?)
        });
        self.stage("streamed answers", &goals::STREAMS, |bench| {
            let service = streams::service(&host, &bench.directory, plan)?;
            bench.add(streams::lines(&host, &service, plan)?)
        });
        self.stage("signatures and refusals, in turns", &goals::DOOR, |bench| {
            let (limited, full) = (create("xtask/services/limited.json")?, create("xtask/services/full.json")?);
            let doors = door::Doors { echo: servers.echo, limited: &limited, full: &full };
            bench.add(door::lines(&host, &servers.bare, &doors, plan)?)
        });
        drop(servers);
        self.stage("a looping guest's deadline", &[goals::LATE_ALONE], |bench| {
            bench.add(late::alone(&host, &create("xtask/services/late.json")?, plan)?)
        });
        self.stage("the deadline of looping guests in every worker", &[goals::LATE_ALL], |bench| {
            bench.add(late::all(&host, &create("xtask/services/late-all.json")?, plan)?)
        });
        self.stage("faults of a small guest", &[goals::FAULT], |bench| {
            let service = create("xtask/services/fault.json")?;
            bench.add([fault::line(&goals::FAULT, &host, &service, &fault::OF_FAULTS, plan.faults)?])
        });
        self.stage("faults of a large guest", &[goals::FAULT_LARGE], |bench| {
            let large = json!({
                "name": "large",
                "processor_path": guests::large(),
                "metadata": { "rpc": { "worker_threads": 1 } },
                "sandbox": { "memory_mb": 128 },
            });
            let large = services::create(&host, &services::write(&bench.directory.join("services"), &large)?)?;
            // Without a snapshot, every replacement would build its 50 MiB again.
            bench.add([fault::line(&goals::FAULT_LARGE, &host, &large, &fault::OF_LARGE, plan.loops * 2)?])
        });
        self.stage("kernels, in the sandbox and natively", &[], |bench| {
            bench.report.compute.extend(compute::kernels(&host, &bench.directory, plan)?);
            Ok(())
        });
        self.stage("the digits model, in the sandbox and natively", &[goals::DIGITS], |bench| {
            bench.add([deploy_digits(&host)?])?;
            let (table, lines) = compute::digits(&host, &bench.directory, plan)?;
            bench.report.compute.extend(table);
            bench.add(lines)
        });
        let status = host.stop()?;
        if !status.success() {
            bail!("the host ended with {status}");
        }
        Ok(())
    }

    fn many_services(&mut self) {
        self.stage("memory of warm guests", &[goals::WARM_GUEST], |bench| {
            bench.add([crowd::warm_guest(&bench.binary, &bench.directory)?])
        });
        self.stage("many small services", &goals::CROWD, |bench| {
            let (lines, done) = crowd::lines(&bench.binary, &bench.directory, bench.plan);
            bench.add(lines)?;
            done
        });
    }

    /// Runs a part of the measurements, which serves the given goals. If it fails, goals without a result are reported
    /// as not measured, and the run continues.
    fn stage(&mut self, what: &str, goals: &[Goal], measure: impl FnOnce(&mut Self) -> Result<()>) {
        stage::announce(what);
        let Err(error) = measure(self) else { return };
        let why = format!("{error:#}");
        stage::announce(&format!("{what}: {why}"));
        let lines = &mut self.report.lines;
        let left: Vec<&Goal> = goals.iter().filter(|goal| lines.iter().all(|line| line.what != goal.what)).collect();
        if left.is_empty() {
            lines.push(Line::absent(what, &why));
        }
        lines.extend(left.iter().map(|goal| goal.absent(&why)));
    }

    fn add(&mut self, lines: impl IntoIterator<Item = Line>) -> Result<()> {
        self.report.lines.extend(lines);
        Ok(())
    }

    fn write(&self) -> Result<bool> {
        let (values, page) = (self.directory.join("report.json"), self.directory.join("report.html"));
        self.report.write(&values)?;
        page::write(&page, &self.report)?;
        println!("\n{}\n{}", values.display(), page.display());
        Ok(true)
    }
}

/// Measures the memory of a host that has just started and has no services.
fn idle(host: &Host) -> Result<Line> {
    thread::sleep(Duration::from_secs(1));
    let empty = usage::resident_mib(host.pid())?;
    Ok(goals::IDLE_HOST.bounded(empty, format!("{empty:.1} MiB"), json!({ "resident_mib": empty })))
}

/// Measures a deploy (upload, compilation in a child process, `initialize`, warm-up), and then a start from the
/// compiled code.
fn deploy_digits(host: &Host) -> Result<Line> {
    let start = Instant::now();
    let service = services::create(host, &root().join("examples/digits/digits.json"))?;
    let deployed = start.elapsed().as_secs_f64();
    services::stop(host, &service)?;
    let start = Instant::now();
    services::start(host, &service)?;
    let started = start.elapsed().as_secs_f64();
    services::stop(host, &service)?;
    Ok(Line::told(
        "deploy of digits (ONNX runtime and model)",
        format!("{deployed:.1} s; stopped and started {started:.2} s"),
        json!({ "deploy_s": deployed, "start_s": started }),
    ))
}
