//! Bulkhead beside bare hyper.

use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context, Result};
use serde_json::json;

use super::Plan;
use super::bare::Bare;
use super::report::{Line, Target};
use super::stats::{Spread, Times, micros};
use super::{closed, open};
use crate::host::Host;
use crate::services::Service;

/// Requests a second for the open loop: what a busy service has to bear, and less than either server can do.
pub(super) const OPEN_RATE: u32 = 10_000;

/// As much as both can do, in turns: what changes on the machine between two turns changes for both.
pub(super) fn side_by_side(
    host: &Host,
    bare: &Bare,
    echo: &Service,
    name: &str,
    bytes: usize,
    plan: &Plan,
) -> Result<Vec<Line>> {
    let request: Arc<[u8]> = echo.request(&vec![b'x'; bytes]).into();
    let on_bare = |time| closed::run(bare.address, bare.pid(), &request, time).context("bare hyper");
    let on_host = |time| closed::run(host.data, host.pid(), &request, time).context("Bulkhead");
    let warm_up = plan.load / 4;
    on_bare(warm_up)?;
    on_host(warm_up)?;
    let mut rounds = Vec::new();
    for round in 0..plan.rounds {
        // Whoever comes first finds a quieter machine, so they take turns in that as well.
        rounds.push(if round % 2 == 0 {
            let bare = on_bare(plan.load)?;
            (bare, on_host(plan.load)?)
        } else {
            let host = on_host(plan.load)?;
            (on_bare(plan.load)?, host)
        });
    }
    let spread = |value: fn(&(closed::Outcome, closed::Outcome)) -> f64| Spread::of(rounds.iter().map(value));
    let (bare_rate, host_rate) = (spread(|(bare, _)| bare.per_second), spread(|(_, host)| host.per_second));
    let (bare_cpu, host_cpu) = (spread(|(bare, _)| bare.cpu_micros), spread(|(_, host)| host.cpu_micros));
    let share = spread(|(bare, host)| host.per_second / bare.per_second);
    let cost = spread(|(bare, host)| host.cpu_micros / bare.cpu_micros);
    // The issue sets a target for 1 KiB alone.
    let target = Target { text: "≥ 0.70", is_met: share.median >= 0.7 };
    Ok(vec![
        Line {
            what: format!("echo {name}: throughput, share of bare hyper"),
            target: (bytes == 1 << 10).then_some(target),
            measured: format!(
                "{:.2} ({:.2}–{:.2}): {:.0} of {:.0} requests/s",
                share.median, share.least, share.most, host_rate.median, bare_rate.median
            ),
            values: json!({ "share": share.values(), "bulkhead_per_s": host_rate.values(), "bare_per_s": bare_rate.values() }),
        },
        Line {
            what: format!("echo {name}: server CPU, multiple of bare"),
            target: None,
            measured: format!(
                "{:.2} ({:.2}–{:.2}): {:.2} to {:.2} µs a request",
                cost.median, cost.least, cost.most, host_cpu.median, bare_cpu.median
            ),
            values: json!({ "multiple": cost.values(), "bulkhead_us": host_cpu.values(), "bare_us": bare_cpu.values() }),
        },
    ])
}

/// What callers wait at a rate that both can bear.
pub(super) fn steady(host: &Host, bare: &Bare, echo: &Service, plan: &Plan) -> Result<Line> {
    let request = echo.request(&[b'x'; 1024]);
    let mut rounds = (Vec::new(), Vec::new());
    for _ in 0..plan.open_rounds {
        let of =
            |address| open::run(address, &request, OPEN_RATE, plan.open_load).map(|times| Times::of_sorted(&times));
        rounds.0.push(of(bare.address).context("bare hyper")?);
        rounds.1.push(of(host.data).context("Bulkhead")?);
    }
    let median = |rounds: &[Times], time: fn(&Times) -> Duration| {
        Spread::of(rounds.iter().map(|times| micros(time(times)))).median
    };
    let medians = |rounds: &[Times]| {
        [median(rounds, |times| times.p50), median(rounds, |times| times.p99), median(rounds, |times| times.p999)]
    };
    let (bare, host) = (medians(&rounds.0), medians(&rounds.1));
    Ok(Line {
        what: format!("echo 1 KiB at {OPEN_RATE}/s: p50, p99, p99.9"),
        target: None,
        measured: format!(
            "{:.0}, {:.0}, {:.0} µs (bare hyper {:.0}, {:.0}, {:.0})",
            host[0], host[1], host[2], bare[0], bare[1], bare[2]
        ),
        values: json!({ "bulkhead_us": host, "bare_us": bare }),
    })
}
