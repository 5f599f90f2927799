//! A demonstration on real input: builds, deploys and calls the examples, recognises digits, causes every answer that a
//! caller can get, and compares each with the documentation.

mod digits;
mod picture;
mod provoke;
mod table;

use std::fs::{self, File};
use std::path::Path;

use anyhow::{Context, Result, bail};
use bulkhead_artifacts::root;

use crate::host::{Host, Log};
use crate::services::{self, Service};
use crate::{cargo, metrics, stage};

/// The deployed services.
pub(crate) struct Deployed {
    digits: Service,
    echo: Service,
    json_score: Service,
    long_job: Service,
    faults: Service,
    /// `faults` with little fuel, a small body limit and its own status for traps.
    strict: Service,
    /// `echo` with a limit of one request per second.
    limited: Service,
}

pub(crate) fn run(once: bool) -> Result<bool> {
    let binary = cargo::host()?;
    cargo::guests()?;
    let directory = cargo::target_dir().join("demo");
    let _lock = lock(&directory)?;
    stage::announce("starting a host on an empty data directory");
    let log = directory.join("host.log");
    let mut host = Host::start(&binary, &directory.join("data"), &Log::File(&log))?;
    let deployed = Deployed::deploy(&host)?;

    stage::announce("sending requests");
    let recognised = digits::show(&host, &deployed.digits)?;
    let rendered = picture::render(&host, &deployed.long_job, &directory)?;
    let rows = provoke::every_answer(&host, &deployed)?;
    table::print(&rows);
    let unexpected = rows.iter().filter(|row| !row.is_expected).count();
    println!("\n{} of {} answers are as documented.", rows.len() - unexpected, rows.len());
    let balanced = account(&host)?;
    let well = recognised && rendered && unexpected == 0 && balanced;

    if once {
        stage::announce("ending the host: SIGTERM");
        let status = host.stop()?;
        if !status.success() {
            bail!("the host ended with {status}; its log is {}", log.display());
        }
        stage::announce("the host drained and ended with exit code 0");
        return Ok(well);
    }
    if !well {
        return Ok(false);
    }
    invite(&host, &deployed, &log)?;
    // Ctrl-C also reaches the host, which then drains.
    host.wait().map(|status| status.success())
}

impl Deployed {
    fn deploy(host: &Host) -> Result<Self> {
        let root = root();
        let create = |file: &str| {
            stage::announce(&format!("deploying {file}"));
            services::create(host, &root.join(file))
        };
        Ok(Self {
            digits: create("examples/digits/digits.json")?,
            echo: create("examples/echo/echo.json")?,
            json_score: create("examples/json-score/json-score.json")?,
            long_job: create("examples/long-job/long-job.json")?,
            faults: create("examples/faults/faults.json")?,
            strict: create("xtask/services/strict.json")?,
            limited: create("xtask/services/limited.json")?,
        })
    }
}

/// Locks the directory: two demos at the same time would delete each other's data. The lock ends with the process.
fn lock(directory: &Path) -> Result<File> {
    fs::create_dir_all(directory).with_context(|| format!("cannot make {}", directory.display()))?;
    let file = directory.join("lock");
    let lock = File::create(&file).with_context(|| format!("cannot write {}", file.display()))?;
    if lock.try_lock().is_err() {
        bail!("another demo is running in {}", directory.display());
    }
    Ok(lock)
}

/// Checks that every accepted request has exactly one outcome.
fn account(host: &Host) -> Result<bool> {
    let balanced = |metrics: &metrics::Metrics| {
        let (accepted, outcomes) = metrics.account();
        accepted == outcomes
    };
    let (accepted, outcomes) = match metrics::wait_for(host.admin, "accepted = outcomes", balanced) {
        Ok(metrics) => metrics.account(),
        Err(_) => metrics::Metrics::read(host.admin)?.account(),
    };
    let sign = if accepted == outcomes { '=' } else { '≠' };
    println!("Requests accepted {sign} sum of outcomes: {accepted} {sign} {outcomes}.");
    Ok(accepted == outcomes)
}

fn invite(host: &Host, deployed: &Deployed, log: &Path) -> Result<()> {
    let Service { url, token, .. } = &deployed.digits;
    let picture = digits::first_picture()?;
    println!("\nThe host keeps serving; Ctrl-C ends it. Try it:\n");
    println!("  curl -H 'Authorization: {token}' --data '{picture}' \\\n    {url}\n");
    let Service { url, token, .. } = &deployed.faults;
    println!("  curl -i -H 'Authorization: {token}' --data '{{\"do\": \"panic\"}}' \\\n    {url}\n");
    println!("  metrics    http://{}/metrics", host.admin);
    println!("  log        {}", log.display());
    println!(
        "  services   BULKHEAD_ADMIN=http://{} {} list --data {}",
        host.admin,
        host.binary.display(),
        host.directory.display()
    );
    Ok(())
}
