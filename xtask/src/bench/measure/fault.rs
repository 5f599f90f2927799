//! The cost of a fault for the next caller.
//!
//! Three calls on one connection to a service with one worker: an ordinary call, a call that ends the guest, and a
//! third one that waits for the guest's replacement. The target applies to the extra time of the third call over the
//! first.

use std::time::{Duration, Instant};

use anyhow::{Result, bail};
use serde_json::json;

use super::open::Caller;
use super::report::{Goal, Line};
use super::stats::{Times, micros};
use crate::host::Host;
use crate::services::Service;

/// Two request bodies: one ends the guest, the other is answered.
pub(super) struct Ways {
    pub(super) fatal: &'static [u8],
    pub(super) ordinary: &'static [u8],
}

pub(super) const OF_FAULTS: Ways = Ways { fatal: br#"{"do": "trap"}"#, ordinary: br#"{"do": "flag"}"# };
pub(super) const OF_LARGE: Ways = Ways { fatal: b"abort", ordinary: b"a" };

pub(super) fn line(goal: &Goal, host: &Host, service: &Service, ways: &Ways, rounds: usize) -> Result<Line> {
    let (fatal, ordinary) = (service.request(ways.fatal), service.request(ways.ordinary));
    let mut caller = Caller::connect(host.data)?;
    let mut timed = |request: &[u8], expected: u16| -> Result<Duration> {
        let start = Instant::now();
        let status = caller.call(request)?;
        let took = start.elapsed();
        if status != expected {
            bail!("an answer {status} instead of {expected}");
        }
        Ok(took)
    };
    let (mut before, mut faults, mut after) = (Vec::new(), Vec::new(), Vec::new());
    timed(&ordinary, 200)?;
    for _ in 0..rounds {
        before.push(timed(&ordinary, 200)?);
        faults.push(timed(&fatal, 400)?);
        after.push(timed(&ordinary, 200)?);
    }
    let [before, faults, after] = [before, faults, after].map(Times::of);
    let extra = micros(after.p50) - micros(before.p50);
    Ok(goal.bounded(
        extra,
        format!(
            "{extra:.0} µs more: {:.0} after {:.0}, p99 {:.0}; the fault itself {:.0}",
            micros(after.p50),
            micros(before.p50),
            micros(after.p99),
            micros(faults.p50)
        ),
        json!({
            "extra_us": extra,
            "ordinary": before.values(),
            "fault": faults.values(),
            "after_fault": after.values(),
        }),
    ))
}
