//! The echo, at the maximum rate of each server and at a steady rate.

use std::time::Duration;

use anyhow::{Context, Result, ensure};
use bulkhead_plots::Curve;
use serde_json::json;

use super::bare::Bare;
use super::contest::{self, Runs};
use super::peers;
use super::report::{Goal, Line, Spent};
use super::server::Server;
use super::stats::{CURVE, Spread, micros, percentile};
use super::{Bench, KIB, goals};
use crate::bench::guests;
use crate::host::Host;
use crate::services::{self, Service};
use crate::{metrics, stage};

const HOST: &str = "Bulkhead";
const FRESH: &str = "Bulkhead, a fresh instance each";
const WASI_HTTP: &str = "Bulkhead, a wasi:http component";
const BARE: &str = "bare hyper";
/// The reason given for a peer that did not run; its own reason is printed below the table.
const NOT_HERE: &str = "it did not run, see below";
/// The steady rate as a share of the slower server's maximum.
const STEADY_SHARE: f64 = 0.2;

/// Bulkhead with its echo service, and the bare server.
pub(super) struct Servers<'a> {
    pub(super) host: &'a Host,
    pub(super) echo: &'a Service,
    pub(super) bare: Bare,
}

impl Servers<'_> {
    fn of_body(&self, body: &[u8]) -> [Server; 2] {
        let request = self.echo.request(body);
        [
            Server::new(BARE, self.bare.address, self.bare.pid(), vec![request.clone()]),
            Server::new(HOST, self.host.data, self.host.pid(), vec![request]),
        ]
    }
}

impl Bench {
    /// Measures all servers.
    pub(super) fn echo_1_kib(&mut self, servers: &Servers<'_>) -> Result<()> {
        let body = json_of(KIB);
        let host = servers.host;
        let fresh = json!({
            "name": "fresh",
            "processor_path": bulkhead_artifacts::path("echo"),
            "metadata": { "rpc": { "worker_threads": 5 } },
            "sandbox": { "isolation": "fresh" },
        });
        let fresh = services::create(host, &services::write(&self.directory.join("services"), &fresh)?)?;
        let component = json!({
            "name": "wasi-http",
            "processor_path": guests::http_echo(),
            "metadata": { "rpc": { "worker_threads": 5 } },
            "sandbox": { "isolation": "reuse" },
        });
        let component = services::create(host, &services::write(&self.directory.join("services"), &component)?)?;
        let (peers, skipped) = peers::start(&self.directory.join("peers"), &body, !self.plan.is_quick)?;
        self.report.skipped.extend(skipped);

        let mut all = servers.of_body(&body).to_vec();
        all.push(Server::new(FRESH, host.data, host.pid(), vec![fresh.request(&body)]));
        all.push(Server::new(WASI_HTTP, host.data, host.pid(), vec![component.request(&body)]));
        for peer in &peers {
            self.report.machine.add(&peer.server.name, peer.version);
            all.push(peer.server.clone());
        }
        let runs = contest::hold(&all, self.plan);
        drop(peers);
        self.judge(&runs)?;
        self.report.spent = spent(&runs, host)?;
        self.report.contest = runs;
        Ok(())
    }

    fn judge(&mut self, runs: &[Runs]) -> Result<()> {
        let named = |name: &str| runs.iter().find(|runs| runs.name == name);
        let (host, bare) = (named(HOST).context("no host")?, named(BARE).context("no bare server")?);
        let fresh = named(FRESH).context("no fresh host")?;
        let line = |goal: &Goal, beside: Result<(Spread, String)>| match beside {
            Ok((ratio, text)) => goal.ratio(ratio, text),
            Err(error) => goal.absent(&format!("{error:#}")),
        };
        let mut lines = vec![
            line(&goals::ECHO, contest::throughput(host, bare)),
            line(&goals::ECHO_CPU, contest::cost(host, bare)),
            line(&goals::FRESH, contest::throughput(fresh, bare)),
        ];
        for (name, goal) in peers::GOALS {
            lines.push(match named(name) {
                Some(peer) => line(&goal, contest::throughput(host, peer)),
                None => goal.absent(NOT_HERE),
            });
        }
        let component = named(WASI_HTTP).context("no component of wasi:http")?;
        lines.push(match named(peers::WASI_HTTP) {
            Some(peer) => line(&goals::WASI_HTTP, contest::throughput(component, peer)),
            None => goals::WASI_HTTP.absent(NOT_HERE),
        });
        for (name, what) in peers::STATED {
            let beside = named(name).map(|peer| contest::throughput(host, peer));
            lines.push(match beside {
                Some(Ok((ratio, text))) => Line::ratio(what, ratio, text),
                Some(Err(error)) => Line::absent(what, &format!("{error:#}")),
                None => Line::absent(what, NOT_HERE),
            });
        }
        self.add(lines)
    }

    pub(super) fn echo_64_kib(&mut self, servers: &Servers<'_>) -> Result<()> {
        let runs = contest::hold(&servers.of_body(&json_of(64 * KIB)), self.plan);
        let [bare, host] = &runs[..] else { unreachable!("two servers, two runs") };
        let (ratio, text) = contest::throughput(host, bare)?;
        let (cost, cost_text) = contest::cost(host, bare)?;
        self.add([
            goals::ECHO_64.ratio(ratio, text),
            Line::ratio("echo 64 KiB: server CPU to bare hyper", cost, cost_text),
        ])
    }

    /// Measures latency at a rate that both servers can handle.
    pub(super) fn steady(&mut self, servers: &Servers<'_>) -> Result<()> {
        let most = self.report.contest.iter().filter(|runs| [HOST, BARE].contains(&runs.name.as_str()));
        let most = most.filter_map(|runs| runs.spread(|run| run.per_second)).map(|rate| rate.median);
        let most = most.fold(f64::INFINITY, f64::min);
        ensure!(most.is_finite(), "there is no maximum to take a share of");
        let rate = (most * STEADY_SHARE) as u32;
        stage::announce(&format!("  {rate} requests a second, {:.0} % of the maximum", STEADY_SHARE * 100.0));
        self.report.open_rate = rate;

        let both = servers.of_body(&json_of(KIB));
        let mut rounds = [Vec::new(), Vec::new()];
        for round in 0..self.plan.open_rounds {
            let order = if round % 2 == 0 { [0, 1] } else { [1, 0] };
            for index in order {
                rounds[index].push(both[index].open(rate, self.plan.open_load)?);
            }
        }
        for (share, goal) in goals::STEADY {
            self.report.lines.push(near(&goal, &rounds, share, rate));
        }
        for (server, rounds) in both.iter().zip(&rounds) {
            let point = |share: f64| (share, median_of(rounds, share).median);
            self.report.curves.push(Curve {
                name: server.name.clone(),
                class: if server.name.starts_with(HOST) { "ours" } else { "other" },
                points: CURVE.map(point).into(),
            });
        }
        Ok(())
    }
}

/// Compares one percentile of the second server with the first's.
fn near(goal: &Goal, [bare, host]: &[Vec<Vec<Duration>>; 2], share: f64, rate: u32) -> Line {
    let [theirs, ours] = [bare, host].map(|rounds| median_of(rounds, share));
    let of = |times: &Vec<Duration>| micros(percentile(times, share));
    let ratio = Spread::of(host.iter().zip(bare).map(|(ours, theirs)| of(ours) / of(theirs)));
    goal.ratio(ratio, format!("{:.0} to {:.0} µs at {rate}/s", ours.median, theirs.median))
        .with_values(json!({ "bulkhead_us": ours.values(), "bare_us": theirs.values() }))
}

fn median_of(rounds: &[Vec<Duration>], share: f64) -> Spread {
    Spread::of(rounds.iter().map(|times| micros(percentile(times, share))))
}

/// Splits a request's processor time into parts, as far as the operating system and the host's metrics show them.
fn spent(runs: &[Runs], host: &Host) -> Result<Vec<Spent>> {
    let of = |name: &str, value: fn(&super::closed::Outcome) -> f64| {
        let runs = runs.iter().find(|runs| runs.name == name).with_context(|| format!("no {name}"))?;
        Ok::<_, anyhow::Error>(runs.spread(value).with_context(|| format!("{name} has no rounds"))?.median)
    };
    let [bare_kernel, host_kernel] = [BARE, HOST].map(|name| of(name, |run| run.cpu_micros * run.kernel_share));
    let [bare_all, host_all] = [BARE, HOST].map(|name| of(name, |run| run.cpu_micros));
    let (bare_kernel, host_kernel, bare_all, host_all) = (bare_kernel?, host_kernel?, bare_all?, host_all?);
    let metrics = metrics::Metrics::read(host.admin)?;
    let of_echo = |name: &str| metrics.sum(name, &[("service", "echo")]);
    let guest = of_echo("bulkhead_request_run_seconds_sum") / of_echo("bulkhead_request_run_seconds_count") * 1e6;
    let part = |part, how, bare, bulkhead| Spent { part, how, bare, bulkhead };
    Ok(vec![
        part("kernel: sockets, wake-ups, memory", "system time of the process", Some(bare_kernel), host_kernel),
        part("guest: both copies and the call", "the host's run time, mean; a wall time", None, guest),
        part(
            "server: HTTP, runtime, the line",
            "user time, less the guest's",
            Some(bare_all - bare_kernel),
            host_all - host_kernel - guest,
        ),
        part("all", "the scheduler's account", Some(bare_all), host_all),
    ])
}

/// Makes a JSON document of exactly `bytes` bytes.
pub(super) fn json_of(bytes: usize) -> Vec<u8> {
    const FRAME: usize = r#"{"text":""}"#.len();
    format!(r#"{{"text":"{}"}}"#, "x".repeat(bytes - FRAME)).into_bytes()
}
