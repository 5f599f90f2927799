//! How soon the host acts: on a deadline that passed, and on callers for whom there is no room.

use std::net::SocketAddr;
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Result, bail};

use super::Plan;
use super::open::Caller;
use super::report::{Line, Target};
use super::stats::Times;
use crate::host::Host;
use crate::services::Service;
use crate::{http, metrics};

/// `metadata.rpc.keepalive` of `services/late.json`.
const DEADLINE: Duration = Duration::from_millis(250);

/// How long after its deadline a looping guest is answered, and its worker works again.
pub(super) fn late(host: &Host, late: &Service, plan: &Plan) -> Result<Vec<Line>> {
    let (endless, quick) = (late.request(br#"{"do": "loop"}"#), late.request(br#"{"do": "flag"}"#));
    let (mut answered, mut free) = (Vec::new(), Vec::new());
    for _ in 0..plan.loops {
        let (mut looping, mut next) = (Caller::connect(host.data)?, Caller::connect(host.data)?);
        let due = Instant::now() + DEADLINE;
        let status = looping.call(&endless)?;
        answered.push(due.elapsed());
        if status != 408 {
            bail!("a looping guest was answered with {status} instead of 408");
        }
        let status = next.call(&quick)?;
        free.push(due.elapsed());
        if status != 200 {
            bail!("the worker of a stopped guest answered {status} instead of 200");
        }
    }
    let (answer, free) = (Times::of(answered), Times::of(free));
    Ok(vec![
        Line {
            what: "a looping guest's 408, after its deadline".to_owned(),
            target: Some(Target { text: "< 20 ms", is_met: answer.most < Duration::from_millis(20) }),
            measured: answer.text(),
            values: answer.values(),
        },
        Line {
            what: "its only worker has answered the next request".to_owned(),
            target: None,
            measured: free.text(),
            values: free.values(),
        },
    ])
}

/// Every worker spins and the queue is full: how soon further callers are told, and how others fare.
pub(super) fn full(host: &Host, spin: &Service, echo: &Service, plan: &Plan) -> Result<Vec<Line>> {
    let endless = spin.request(br#"{"do": "loop"}"#);
    let mut spinning = Vec::new();
    for _ in 0..9 {
        let mut connection = http::Connection::open(host.data)?;
        connection.send(&endless)?;
        spinning.push(connection);
    }
    let of_spin = [("service", "spin")];
    metrics::wait_for(host.admin, "five workers spin, four requests wait", |metrics| {
        metrics.sum("bulkhead_workers_busy", &of_spin) == 5.0 && metrics.sum("bulkhead_queue_depth", &of_spin) == 4.0
    })?;
    let refused = paced(host.data, &endless, 450, plan.refusals)?;
    let short = paced(host.data, &echo.request(&[b'x'; 1024]), 200, plan.refusals)?;
    let health = paced(host.admin, b"GET /healthz HTTP/1.1\r\nhost: localhost\r\n\r\n", 200, plan.refusals)?;
    drop(spinning);
    metrics::wait_for(host.admin, "the spinning guests are stopped when their callers leave", |metrics| {
        metrics.sum("bulkhead_workers_busy", &of_spin) == 0.0
    })?;
    let line = |what: &str, target, times: &Times| Line {
        what: what.to_owned(),
        target,
        measured: times.text(),
        values: times.values(),
    };
    let target = Target { text: "p99 < 5 ms", is_met: refused.p99 < Duration::from_millis(5) };
    Ok(vec![
        line("450 while five workers spin", Some(target), &refused),
        line("echo of 1 KiB meanwhile", None, &short),
        line("/healthz meanwhile", None, &health),
    ])
}

/// Calls with a pause in between, so that the caller is one among others and not a load of its own.
fn paced(address: SocketAddr, request: &[u8], expected: u16, count: usize) -> Result<Times> {
    let mut caller = Caller::connect(address)?;
    let mut times = Vec::with_capacity(count);
    for _ in 0..count {
        thread::sleep(Duration::from_millis(1));
        let start = Instant::now();
        let status = caller.call(request)?;
        times.push(start.elapsed());
        if status != expected {
            bail!("an answer {status} instead of {expected}");
        }
    }
    Ok(Times::of(times))
}
