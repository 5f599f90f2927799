//! The same host with and without the guard at the socket: what its checks cost.

use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context, Result};
use serde_json::json;

use super::report::{Line, Target};
use super::stats::Spread;
use super::{Plan, closed};
use crate::host::Host;
use crate::services::Service;

/// Of the throughput without it, at 1 KiB.
const MOST_LOST: f64 = 0.03;

/// `without` is a host built with the feature `unguarded`, with the same service.
pub(super) fn cost(host: &Host, echo: &Service, without: &Host, its_echo: &Service, plan: &Plan) -> Result<Line> {
    let request = |service: &Service| -> Arc<[u8]> { service.request(&[b'x'; 1024]).into() };
    let (request, its_request) = (request(echo), request(its_echo));
    let on = |time: Duration| closed::run(host.data, host.pid(), &request, time).context("with the guard");
    let off =
        |time: Duration| closed::run(without.data, without.pid(), &its_request, time).context("without the guard");
    off(plan.load / 4)?;
    on(plan.load / 4)?;
    let mut rounds = Vec::new();
    for round in 0..plan.rounds {
        rounds.push(if round % 2 == 0 {
            let off = off(plan.load)?;
            (on(plan.load)?, off)
        } else {
            (on(plan.load)?, off(plan.load)?)
        });
    }
    let lost = Spread::of(rounds.iter().map(|(on, off)| 1.0 - on.per_second / off.per_second));
    let cpu = Spread::of(rounds.iter().map(|(on, off)| on.cpu_micros - off.cpu_micros));
    Ok(Line {
        what: "guard at the socket, 1 KiB: throughput lost".to_owned(),
        target: Some(Target { text: "< 3 %", is_met: lost.median < MOST_LOST }),
        measured: format!(
            "{:.1} % ({:.1}–{:.1}); {:+.2} µs of server CPU a request",
            100.0 * lost.median,
            100.0 * lost.least,
            100.0 * lost.most,
            cpu.median
        ),
        values: json!({ "lost": lost.values(), "cpu_us": cpu.values() }),
    })
}
