//! Streamed answers: the time from the write of a guest until its client has read, and the memory of open streams.

use std::io::{BufRead, BufReader, Write};
use std::net::TcpStream;
use std::path::Path;
use std::time::{Duration, SystemTime};

use anyhow::{Context, Result, ensure};
use bulkhead_artifacts::path;
use serde_json::json;

use super::report::Line;
use super::stats::{Times, millis};
use super::{Plan, goals, usage};
use crate::host::Host;
use crate::services::{self, Service};

/// The time between two events.
const PAUSE_MS: usize = 2;
/// The longest wait for a piece.
const PATIENCE: Duration = Duration::from_secs(20);
/// The workers of an instance.
const WORKERS: usize = 100;

/// Creates a service that streams, with a guest for every stream. Snapshots are off, so that all guests exist before the
/// first stream.
pub(super) fn service(host: &Host, directory: &Path, plan: &Plan) -> Result<Service> {
    let service = json!({
        "name": "streams",
        "processor_path": path("http-faults"),
        "metadata": { "instance": plan.streams / WORKERS, "rpc": { "worker_threads": WORKERS } },
        "sandbox": { "snapshot": false, "isolation": "reuse", "stream_idle_ms": 600_000 },
    });
    services::create(host, &services::write(&directory.join("services"), &service)?)
}

pub(super) fn lines(host: &Host, service: &Service, plan: &Plan) -> Result<[Line; 2]> {
    Ok([events(host, service, plan)?, memory(host, service, plan)?])
}

fn events(host: &Host, service: &Service, plan: &Plan) -> Result<Line> {
    let count = plan.refusals;
    let mut reader = open(host, service, &format!("/ticks?pieces={count}&pause_ms={PAUSE_MS}"))?;
    let (mut times, mut line) = (Vec::with_capacity(count), String::new());
    while times.len() < count {
        line.clear();
        ensure!(reader.read_line(&mut line)? > 0, "the stream ended after {} events", times.len());
        let Some(written) = line.strip_prefix("data: ") else { continue };
        let written = Duration::from_nanos(written.trim_end().parse().context("a time")?);
        let now = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH)?;
        times.push(now.saturating_sub(written));
    }
    let times = Times::of(times);
    Ok(goals::EVENT.bounded(millis(times.p99), times.text(), times.values()))
}

fn memory(host: &Host, service: &Service, plan: &Plan) -> Result<Line> {
    let before = usage::proportional_kib(host.pid())?;
    let mut streams = Vec::with_capacity(plan.streams);
    for _ in 0..plan.streams {
        let mut reader = open(host, service, "/stream?pieces=1&end=hang")?;
        let mut line = String::new();
        while line.trim_end() != "aaaaa" {
            line.clear();
            ensure!(reader.read_line(&mut line)? > 0, "stream {} ended", streams.len());
        }
        streams.push(reader);
    }
    let each = (usage::proportional_kib(host.pid())? - before) / streams.len() as f64;
    Ok(goals::OPEN_STREAM.bounded(each, format!("{each:.1} KiB, of {}", streams.len()), json!({ "kib": each })))
}

/// Sends a request and skips the head of its answer.
fn open(host: &Host, service: &Service, target: &str) -> Result<BufReader<TcpStream>> {
    let mut stream = TcpStream::connect(host.data)?;
    stream.set_nodelay(true)?;
    stream.set_read_timeout(Some(PATIENCE))?;
    let (path, token) = (service.path(), &service.token);
    write!(stream, "GET {path}{target} HTTP/1.1\r\nhost: bench\r\nauthorization: {token}\r\n\r\n")?;
    let mut reader = BufReader::with_capacity(1 << 10, stream);
    let mut line = String::new();
    reader.read_line(&mut line)?;
    ensure!(line.starts_with("HTTP/1.1 200 "), "{target} was answered with {line:?}");
    while line != "\r\n" {
        line.clear();
        ensure!(reader.read_line(&mut line)? > 0, "the head of the answer broke off");
    }
    Ok(reader)
}
