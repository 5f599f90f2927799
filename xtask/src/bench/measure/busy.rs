//! Response times of other requests while guests spin.

use std::net::SocketAddr;
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Result, bail};

use super::open::Caller;
use super::report::{Goal, Line};
use super::stats::{Times, micros, millis};
use super::{Plan, goals};
use crate::host::Host;
use crate::services::Service;
use crate::{http, metrics};

/// `worker_threads` and `max_queue_size` of `services/spin.json`.
const WORKERS: usize = 5;
const QUEUE: usize = 4;

const ENDLESS: &[u8] = br#"{"do": "loop"}"#;
const SHORT: &[u8] = br#"{"do": "body", "bytes": 1024}"#;
const PAUSE: Duration = Duration::from_millis(1);

pub(super) fn lines(host: &Host, spin: &Service, echo: &Service, plan: &Plan) -> Result<Vec<Line>> {
    let mut spinning = Vec::new();
    let mut spin_until = |count| add_and_wait(host, spin, &mut spinning, count);
    spin_until(WORKERS - 1)?;
    let beside = paced(host.data, &spin.request(SHORT), 200, plan.refusals)?;
    spin_until(WORKERS + QUEUE)?;
    let refused = paced(host.data, &spin.request(ENDLESS), 450, plan.refusals)?;
    let health = paced(host.admin, b"GET /healthz HTTP/1.1\r\nhost: localhost\r\n\r\n", 200, plan.refusals)?;
    let short = paced(host.data, &echo.request(&[b'x'; 1024]), 200, plan.refusals)?;
    drop(spinning);
    metrics::wait_for(host.admin, "the spinning guests are stopped when their callers leave", |metrics| {
        metrics.sum("bulkhead_workers_busy", &[("service", "spin")]) == 0.0
    })?;
    let median = |goal: &Goal, times: &Times| goal.bounded(micros(times.p50), times.text(), times.values());
    let late = |goal: &Goal, times: &Times| goal.bounded(millis(times.p99), times.text(), times.values());
    Ok(vec![
        median(&goals::REFUSED, &refused),
        late(&goals::REFUSED_LATE, &refused),
        median(&goals::HEALTH, &health),
        late(&goals::HEALTH_LATE, &health),
        Line::told("echo of another service meanwhile", short.text(), short.values()),
        median(&goals::BESIDE, &beside),
    ])
}

/// Starts spinning guests and waiting callers until there are `count` of both together.
fn add_and_wait(host: &Host, spin: &Service, spinning: &mut Vec<http::Connection>, count: usize) -> Result<()> {
    while spinning.len() < count {
        let mut connection = http::Connection::open(host.data)?;
        connection.send(&spin.request(ENDLESS))?;
        spinning.push(connection);
    }
    let of_spin = [("service", "spin")];
    metrics::wait_for(host.admin, "guests spin, and the rest waits", |metrics| {
        let (busy, waiting) =
            (metrics.sum("bulkhead_workers_busy", &of_spin), metrics.sum("bulkhead_queue_depth", &of_spin));
        busy == count.min(WORKERS) as f64 && waiting == count.saturating_sub(WORKERS) as f64
    })
    .map(drop)
}

/// Measures `count` calls with pauses, so that the caller adds little load of its own.
fn paced(address: SocketAddr, request: &[u8], expected: u16, count: usize) -> Result<Times> {
    let mut caller = Caller::connect(address)?;
    let mut times = Vec::with_capacity(count);
    for _ in 0..count {
        thread::sleep(PAUSE);
        let start = Instant::now();
        let status = caller.call(request)?;
        times.push(start.elapsed());
        if status != expected {
            bail!("an answer {status} instead of {expected}");
        }
    }
    Ok(Times::of(times))
}
