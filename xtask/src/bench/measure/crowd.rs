//! Many small services on one host: their memory while idle, the start time of a host with all of them, and the
//! throughput when calls are spread over them.

use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use anyhow::{Context, Result};
use bulkhead_artifacts::path;
use serde_json::json;

use super::children;
use super::contest;
use super::report::Line;
use super::server::Server;
use super::usage;
use super::{Plan, goals};
use crate::host::{Host, Log};
use crate::services::{self, Service};
use crate::stage;

/// The number of services that must start within a second.
const SOON: usize = 100;
/// The number of additional guests in one service, to compute the memory of one guest.
const WARM: u32 = 200;
const PROGRESS: usize = 100;
const KIB_PER_MIB: f64 = 1024.0;

/// Measures the memory of a warm guest of a small service. Two services differ only in their number of workers; the
/// difference of their memory is divided by the number of additional guests. Snapshots are off, because with a snapshot
/// only the first guest is made before it is needed.
pub(super) fn warm_guest(binary: &Path, directory: &Path) -> Result<Line> {
    let host = Host::start(binary, &directory.join("warm"), &Log::Nowhere)?;
    let _adopted = children::adopt(host.pid())?;
    let added = |name: &str, workers: u32| {
        let before = usage::proportional_kib(host.pid())?;
        services::create(&host, &service_file(directory, name, workers, false)?)?;
        Ok::<_, anyhow::Error>(usage::proportional_kib(host.pid())? - before)
    };
    // The first service also loads the code, which the others share.
    added("warm-first", 1)?;
    let (one, many) = (added("warm-one", 1)?, added("warm-many", 1 + WARM)?);
    let each = (many - one) / f64::from(WARM);
    host.stop()?;
    Ok(goals::WARM_GUEST.bounded(each, format!("{each:.1} KiB, of {WARM}"), json!({ "kib": each, "guests": WARM })))
}

/// Measures a host with a growing number of services of five workers each. Results from before a failure are kept.
pub(super) fn lines(binary: &Path, directory: &Path, plan: &Plan) -> (Vec<Line>, Result<()>) {
    let mut lines = Vec::new();
    let done = Crowd::start(binary, directory).and_then(|crowd| crowd.measure(plan, &mut lines));
    (lines, done)
}

struct Crowd {
    binary: PathBuf,
    directory: PathBuf,
    host: Host,
    _adopted: children::Adopted,
    services: Vec<Service>,
}

impl Crowd {
    fn start(binary: &Path, directory: &Path) -> Result<Self> {
        let host = Host::start(binary, &directory.join("crowd"), &Log::Nowhere)?;
        let adopted = children::adopt(host.pid())?;
        let (binary, directory) = (binary.to_owned(), directory.to_owned());
        let mut crowd = Self { binary, directory, host, _adopted: adopted, services: Vec::new() };
        // The first service loads the code, which stays in memory for all of them.
        crowd.grow(1)?;
        Ok(crowd)
    }

    fn measure(mut self, plan: &Plan, lines: &mut Vec<Line>) -> Result<()> {
        let first = usage::proportional_kib(self.host.pid())?;
        self.grow(SOON)?;
        let each = (usage::proportional_kib(self.host.pid())? - first) / (SOON - 1) as f64;
        let text = format!("{each:.1} KiB, of {}", SOON - 1);
        lines.push(goals::IDLE_SERVICE.bounded(each, text, json!({ "kib": each })));
        let took;
        (self, took) = self.restart()?;
        let seconds = took.as_secs_f64();
        lines.push(goals::START.bounded(seconds, format!("{seconds:.3} s"), json!({ "s": seconds })));

        let count = plan.services;
        let begin = Instant::now();
        self.grow(count)?;
        let deployed = begin.elapsed().as_secs_f64();
        let mib = usage::proportional_kib(self.host.pid())? / KIB_PER_MIB;
        let each = (mib * KIB_PER_MIB - first) / (count - 1) as f64;
        let text =
            format!("{each:.1} KiB, of {count}: {mib:.0} MiB; the last {} deployed in {deployed:.0} s", count - SOON);
        let values = json!({ "mib": mib, "kib_per_service": each, "services": count });
        lines.push(goals::IDLE_OF_MANY.bounded(each, text, values));
        let took;
        (self, took) = self.restart()?;
        let seconds = took.as_secs_f64();
        let text = format!("{seconds:.2} s with {count}");
        lines.push(Line::told("start with them, until ready", text, json!({ "s": seconds, "services": count })));
        lines.push(self.spread(plan)?);
        self.host.stop().map(drop)
    }

    /// Deploys services until there are `count`.
    fn grow(&mut self, count: usize) -> Result<()> {
        while self.services.len() < count {
            let number = self.services.len() + 1;
            let file = service_file(&self.directory, &format!("small-{number}"), 5, true)?;
            self.services.push(services::create(&self.host, &file).with_context(|| format!("service {number}"))?);
            if number.is_multiple_of(PROGRESS) {
                stage::announce(&format!("  {number} services are deployed"));
            }
        }
        Ok(())
    }

    /// Restarts the host on its data directory. Returns the time from the start until it is ready.
    fn restart(self) -> Result<(Self, Duration)> {
        let Self { binary, directory, host, services, .. } = self;
        host.stop()?;
        let begin = Instant::now();
        let host = Host::resume(&binary, &directory.join("crowd"), &Log::Nowhere, &[])?;
        let adopted = children::adopt(host.pid())?;
        host.wait_until_ready()?;
        let took = begin.elapsed();
        Ok((Self { binary, directory, host, _adopted: adopted, services }, took))
    }

    fn spread(&self, plan: &Plan) -> Result<Line> {
        let requests: Vec<Vec<u8>> = self.services.iter().map(|service| service.request(&[b'x'; 1024])).collect();
        let one = Server::new("one service", self.host.data, self.host.pid(), vec![requests[0].clone()]);
        let all = Server::new("all services", self.host.data, self.host.pid(), requests);
        let runs = contest::hold(&[one, all], plan);
        let (ratio, text) = contest::throughput(&runs[1], &runs[0])?;
        Ok(goals::SPREAD.ratio(ratio, text))
    }
}

fn service_file(directory: &Path, name: &str, workers: u32, snapshot: bool) -> Result<PathBuf> {
    let service = json!({
        "name": name,
        "processor_path": path("echo"),
        "metadata": { "rpc": { "worker_threads": workers } },
        "sandbox": { "snapshot": snapshot },
    });
    services::write(&directory.join("services"), &service)
}
