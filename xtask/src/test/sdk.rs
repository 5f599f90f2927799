//! Runs the official Python SDK against a host, if Python is available.

use std::fs;
use std::io::{BufRead, BufReader};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::mpsc;
use std::thread;
use std::time::Duration;

use anyhow::{Context, Result, bail};
use bulkhead_artifacts::root;

use super::Tally;
use crate::host::{Host, Log};
use crate::setup::Python;
use crate::{cargo, services};

/// The longest time without output. All cases together take a few seconds; a case that hangs must not block the suite.
const SILENCE: Duration = Duration::from_secs(60);
const SERVICES: &[&str] = &[
    "examples/digits/digits.json",
    "examples/echo/echo.json",
    "tests/python/faults.json",
    "tests/python/digits-snappy.json",
    "tests/python/limited.json",
    "tests/python/custom.json",
    "tests/python/guest.json",
    "tests/python/get-only.json",
    "tests/python/spent.json",
    "tests/python/snappy.json",
    "tests/python/stopped.json",
    "tests/python/queue.json",
    "tests/python/queue-idle.json",
];
/// The services that are stopped after their deployment. Callers get the answer of a stopped service; the items of a
/// stopped asynchronous service stay where they are put.
const STOPPED: &[&str] = &["sdk-stopped", "sdk-queue-idle"];

/// Returns the names of the cases without running Python.
pub(crate) fn cases() -> Result<Vec<String>> {
    let name = |line: &str| {
        let named = line.strip_prefix("@case(\"").or_else(|| line.strip_prefix("@row(\""))?;
        Some(named.split_once('"')?.0.to_owned())
    };
    let mut cases = Vec::new();
    for script in [script(), script().with_file_name("queues.py")] {
        let text = fs::read_to_string(&script).with_context(|| format!("cannot read {}", script.display()))?;
        cases.extend(text.lines().filter_map(name));
    }
    Ok(cases)
}

pub(crate) fn run(python: &Python) -> Result<Tally> {
    let mut tally = Tally::default();
    let cases = cases()?;
    let python = match python {
        Python::Ready(python) => python,
        Python::Missing(why) => {
            for name in cases {
                tally.skip(format!("SDK: {name}: {why}"));
            }
            return Ok(tally);
        }
    };
    // `cargo test` has built this binary for the integration tests, with the same features.
    let binary = cargo::target_dir().join("debug/bulkhead");
    let directory = cargo::target_dir().join("sdk-test");
    fs::create_dir_all(&directory)?;
    componentize(python, &directory.join("guest.wasm"))?;
    let log = directory.join("host.log");
    let host = Host::start(&binary, &directory.join("data"), &Log::File(&log))?;
    let root = root();
    let deployed = SERVICES.iter().map(|file| services::create(&host, &root.join(file))).collect::<Result<Vec<_>>>()?;
    for name in STOPPED {
        let stopped = deployed.iter().find(|service| service.name == *name).context("no service to stop")?;
        services::stop(&host, stopped)?;
    }

    let mut child = Command::new(python)
        .arg(script())
        .args([host.data, host.admin].map(|address| format!("http://{address}")))
        .arg(&log)
        .args(deployed.iter().map(|service| format!("{}={}", service.name, service.token)))
        // A proxy cannot reach this machine's loopback.
        .env("NO_PROXY", "*")
        .stdout(Stdio::piped())
        .spawn()
        .with_context(|| format!("cannot run {}", python.display()))?;
    let output = child.stdout.take().context("python has no output")?;
    let (sender, lines) = mpsc::channel();
    let reader = thread::spawn(move || {
        BufReader::new(output).lines().map_while(Result::ok).try_for_each(|line| sender.send(line))
    });
    loop {
        match lines.recv_timeout(SILENCE) {
            Ok(line) => {
                println!("{line}");
                tally.sdk(&line);
            }
            Err(mpsc::RecvTimeoutError::Disconnected) => break,
            Err(mpsc::RecvTimeoutError::Timeout) => {
                child.kill()?;
                tally.fail(format!("SDK: no output from the script for {} s", SILENCE.as_secs()));
            }
        }
    }
    let _ = reader.join();
    let status = child.wait()?;
    let told = tally.passed + tally.failed;
    if told < cases.len() as u64 || (!status.success() && tally.failed == 0) {
        tally.fail(format!("SDK: {told} of {} cases reported, and the script ended with {status}", cases.len()));
    }
    let ended = host.stop()?;
    if !ended.success() {
        bail!("the host ended with {ended}; its log is {}", log.display());
    }
    Ok(tally)
}

/// Makes a component of the processor in `tests/python/guest`.
fn componentize(python: &Path, output: &Path) -> Result<()> {
    let root = root();
    let done = Command::new(python.with_file_name("componentize-py"))
        .arg("--wit-path")
        .arg(root.join("guest-sdk/wit"))
        .args(["--world", "processor", "componentize", "--python-path"])
        .arg(root.join("tests/python/guest"))
        .args(["app", "--output"])
        .arg(output)
        .output()
        .context("componentize-py cannot be run")?;
    if !done.status.success() {
        bail!("componentize-py failed: {}", String::from_utf8_lossy(&done.stderr).trim());
    }
    Ok(())
}

fn script() -> PathBuf {
    root().join("tests/python/sdk.py")
}
