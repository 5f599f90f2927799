//! The delay between a looping guest's deadline and its end.

use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Result, anyhow, bail};

use super::open::Caller;
use super::report::{Goal, Line};
use super::stats::{Times, millis};
use super::{Plan, goals};
use crate::host::Host;
use crate::metrics;
use crate::services::Service;

/// The `metadata.rpc.keepalive` of these services.
const DEADLINE: Duration = Duration::from_millis(250);
/// The `metadata.rpc.worker_threads` of `services/late-all.json`.
const WORKERS: usize = 5;

const ENDLESS: &[u8] = br#"{"do": "loop"}"#;
const SHORT: &[u8] = br#"{"do": "flag"}"#;

/// Measures one looping guest: the time of its caller's answer, and the time at which its worker has answered the next
/// request.
pub(super) fn alone(host: &Host, late: &Service, plan: &Plan) -> Result<Vec<Line>> {
    let (endless, short) = (late.request(ENDLESS), late.request(SHORT));
    let (mut answered, mut free) = (Vec::new(), Vec::new());
    for _ in 0..plan.loops {
        let mut next = Caller::connect(host.data)?;
        let due = Instant::now() + DEADLINE;
        answered.push(lateness(host, &endless)?);
        let status = next.call(&short)?;
        free.push(due.elapsed());
        if status != 200 {
            bail!("the worker of a stopped guest answered {status} instead of 200");
        }
    }
    let free = Times::of(free);
    Ok(vec![
        line(&goals::LATE_ALONE, answered),
        Line::told("its only worker has answered the next request", free.text(), free.values()),
    ])
}

/// Measures with a looping guest in every worker.
pub(super) fn all(host: &Host, late: &Service, plan: &Plan) -> Result<Vec<Line>> {
    let endless = late.request(ENDLESS);
    let mut answered = Vec::new();
    for _ in 0..plan.loops {
        let round = thread::scope(|scope| {
            let callers: Vec<_> = (0..WORKERS).map(|_| scope.spawn(|| lateness(host, &endless))).collect();
            callers
                .into_iter()
                .map(|caller| caller.join().map_err(|_| anyhow!("a caller panicked"))?)
                .collect::<Result<Vec<_>>>()
        })?;
        answered.extend(round);
        // Callers get their answers before the guests' workers are free.
        metrics::wait_for(host.admin, "every looping guest is replaced", |metrics| {
            metrics.sum("bulkhead_workers_busy", &[("service", &late.name)]) == 0.0
        })?;
    }
    Ok(vec![line(&goals::LATE_ALL, answered)])
}

fn lateness(host: &Host, endless: &[u8]) -> Result<Duration> {
    let mut caller = Caller::connect(host.data)?;
    let due = Instant::now() + DEADLINE;
    let status = caller.call(endless)?;
    if status != 408 {
        bail!("a looping guest was answered with {status} instead of 408");
    }
    // The host's clock starts a little later than ours, at the request's first byte.
    Ok(Instant::now().saturating_duration_since(due))
}

fn line(goal: &Goal, times: Vec<Duration>) -> Line {
    let times = Times::of(times);
    goal.bounded(millis(times.p99), times.text(), times.values())
}
