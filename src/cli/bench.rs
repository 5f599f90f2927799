//! The command `bench`: a load generator for a service, or for any URL.
//!
//! The command line becomes a [`Plan`]. The threads in [`lane`] carry it out; each has connections of its own and
//! shares only a few counters with the others. Their tallies are added up, and [`report`] and [`page`] show the result.
//!
//! The requests to an asynchronous service are puts. Beside the threads, [`sink`] then takes the results, and [`results`]
//! matches them to the puts.

mod arrivals;
mod bodies;
mod connection;
mod drive;
mod lane;
mod page;
mod plan;
mod queue;
mod report;
mod results;
mod sink;
mod tally;

use std::fs;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use anyhow::Context;
use clap::Args;
use http::Method;

use self::drive::Ended;
use self::lane::Run;
use self::plan::{Pace, Plan, Stop, Template};
use self::queue::Queue;
use self::report::Report;
use super::client::AdminArgs;
use super::failure::{Exit, Failure};
use super::screen::Screen;
use super::time::{span, time};
use super::{invoke, payload};

const MAX_CONNECTIONS: u64 = 10_000;

#[derive(Args, Debug)]
#[command(after_help = "\
Two ways to load a service:
  --concurrency C   closed loop: C requests at a time; the next is sent when one is answered. This measures the
                    throughput of the service, but not the latency for independent callers.
  --rate R          open loop: R requests a second, even if earlier ones are not answered. Times count from the moment a
                    request was due, so that a stall shows in every request that was due during it. If the rate was not
                    kept, the report says so.

The load comes from this machine and this process. (EAS's `eascmd bench create|list|…` runs tests in the cloud.)
Ctrl-C ends a run early; the report covers the run until then. In the warm-up nothing has been measured, and the exit
code is 130.

The requests to an asynchronous service are puts into its queue. The command takes their results out of the sink, no
others, and also reports the times from the puts to the results. After the last put it waits for the rest, until none
has come for --result-timeout; Ctrl-C ends the wait. With --concurrency, puts are mostly faster than the processor, so
items wait longer and longer: use --rate to measure the times. A processor that answers with status 200 and an empty
body makes no result.

The exit code is 0 if any request succeeded; with --fail-above, the share of failed requests must also not be above it.
Otherwise it is the code of the most frequent failure: 3 for refusals (4xx), 5 for 404, 1 for 5xx, 4 for no answer. A
request has failed if its answer is not 2xx; with --rate, also if it was due and could not be sent. A put has also
failed if its result has another status than 200. Puts whose results did not come count for --fail-above only.

Examples:
  bulkhead bench echo -d hello                               16 at a time for 10 seconds
  bulkhead bench digits -d @row.json --rate 500 --duration 1m --html report.html
  bulkhead bench digits --lines rows.jsonl --requests 10000 --concurrency 64 --json
  bulkhead bench digits -d @row.json --rate 200 --fail-above 0.1%      for a pipeline
  bulkhead bench resize -d @photo.jpg --rate 20                the queue of an asynchronous service
  bulkhead bench http://10.0.0.7:8080/api/predict/echo --token TOKEN -d hello --rate 100 --poisson")]
pub(super) struct BenchArgs {
    /// A service, whose address and token come from the admin API, or an http URL
    #[arg(value_name = "NAME|URL")]
    target: String,
    /// Requests a second, even if earlier ones are not answered
    #[arg(short, long, value_name = "R", conflicts_with = "concurrency", value_parser = rate, help_heading = "Load")]
    rate: Option<f64>,
    /// Send requests at random times, like independent callers (a Poisson process)
    #[arg(long, requires = "rate", help_heading = "Load")]
    poisson: bool,
    /// Requests at a time; each connection sends its next one when it has its answer [default: 16]
    #[arg(short, long, value_name = "C", value_parser = connections(), help_heading = "Load")]
    concurrency: Option<u64>,
    /// The most connections that --rate may use at once
    #[arg(long, value_name = "N", requires = "rate", default_value = "128", value_parser = connections(), help_heading = "Load")]
    connections: u64,
    /// Length of the measurement
    #[arg(long, value_name = "TIME", default_value = "10s", value_parser = time, help_heading = "Load")]
    duration: Duration,
    /// Number of requests to measure, however long it takes
    #[arg(short = 'n', long, value_name = "N", conflicts_with = "duration", value_parser = clap::value_parser!(u64).range(1..), help_heading = "Load")]
    requests: Option<u64>,
    /// Length of the warm-up, whose requests are not measured
    #[arg(long, value_name = "TIME", default_value = "1s", value_parser = span, help_heading = "Load")]
    warm_up: Duration,
    /// Longest time to wait for an answer
    #[arg(long, value_name = "TIME", default_value = "10s", value_parser = time, help_heading = "Load")]
    timeout: Duration,
    /// Of an asynchronous service: longest time without a result, after the last put
    #[arg(long, value_name = "TIME", default_value = "30s", value_parser = time, help_heading = "Load")]
    result_timeout: Duration,
    /// End with an error if more than this share of the requests fails, such as 0, 0.1% or 5%
    // So that the parser refuses a share below zero, instead of clap taking it for an option.
    #[arg(long, value_name = "SHARE", value_parser = share, allow_hyphen_values = true)]
    fail_above: Option<f64>,
    /// The body: text, @FILE, or - for standard input
    #[arg(short = 'd', long = "body", value_name = "DATA", conflicts_with_all = ["lines", "data_dir"])]
    body: Option<String>,
    /// A file whose lines are the bodies, sent in turn
    #[arg(long, value_name = "FILE", conflicts_with = "data_dir")]
    lines: Option<PathBuf>,
    /// A directory whose files are the bodies, sent in turn
    #[arg(long, value_name = "DIR")]
    data_dir: Option<PathBuf>,
    /// The path after the service's name in the URL
    #[arg(long, value_name = "PATH", default_value = "")]
    path: String,
    /// The method [default: POST with data, GET without]
    #[arg(short = 'X', long = "request", value_name = "METHOD")]
    method: Option<String>,
    /// A header; may be repeated
    #[arg(short = 'H', long = "header", value_name = "NAME: VALUE", value_parser = invoke::header)]
    headers: Vec<(http::HeaderName, http::HeaderValue)>,
    /// The token to send, instead of the service's own
    #[arg(long, value_name = "TOKEN", allow_hyphen_values = true)]
    token: Option<String>,
    /// Write an HTML page with charts to FILE
    #[arg(long, value_name = "FILE")]
    html: Option<PathBuf>,
    #[command(flatten)]
    admin: AdminArgs,
}

pub(super) fn bench(args: &BenchArgs, screen: &mut Screen) -> Result<Exit, Failure> {
    let plan = args.plan()?;
    // A file that cannot be written is an error before the run, not after it.
    if let Some(file) = &args.html {
        write(file, "")?;
    }
    // The heading of the report. It comes before the run, so that a user sees what is being measured.
    if !screen.is_json() {
        screen.line(format_args!("{}\n{}\n", plan.url, plan.sentence()))?;
    }
    let lanes = drive::lanes(plan.connections);
    let run = Arc::new(Run::new(plan, lanes));
    let Ended { tally, results, took, was_stopped } = drive::carry_out(&run, screen)?;
    let report = Report { plan: &run.plan, tally: &tally, results: results.as_ref(), took, was_stopped };
    report.show(screen)?;
    if let Some(file) = &args.html {
        write(file, &page::page(&report, SystemTime::now()))?;
        screen.note(format_args!("{} has the charts", file.display()));
    }
    Ok(report.exit())
}

impl BenchArgs {
    fn plan(&self) -> Result<Plan, Failure> {
        let bodies = self.bodies()?;
        let found = match self.target.contains("://") {
            true => invoke::Found { url: self.target.clone(), token: None, sink_url: None },
            false => {
                let name = self.target.parse().map_err(|error| Failure::Usage(format!("{error}")))?;
                invoke::locate(&self.admin, &name)?
            }
        };
        let url = invoke::joined(&found.url, &self.path);
        let headers = self.headers(found.token.as_ref(), bodies.first())?;
        let (method, target, queue) = match &found.sink_url {
            Some(sink) => {
                let (method, run) = (queue::checked(self.method.as_deref(), &self.headers)?, queue::run_name());
                let target = queue::tagged(&url, &run)?;
                let token = headers.iter().find(|(name, _)| name == "authorization");
                let queue = Queue::new(run, &target, sink, token, self.result_timeout)?;
                (method, target, Some(queue))
            }
            None => (invoke::method(self.method.as_deref(), !bodies.is_empty())?, url.clone(), None),
        };
        let (uri, address) = plan::resolve(&target)?;
        let template = Template { method: &method, uri: &uri, headers: &headers };
        let requests = match bodies.as_slice() {
            [] => vec![template.with_body(b"")],
            bodies => bodies.iter().map(|body| template.with_body(body)).collect(),
        };
        let pace = match self.rate {
            Some(rate) => Pace::Open { rate, by_chance: self.poisson },
            None => Pace::Closed,
        };
        let connections = if self.rate.is_some() { self.connections } else { self.concurrency.unwrap_or(16) };
        Ok(Plan {
            url,
            address,
            requests,
            is_head: method == Method::HEAD,
            pace,
            connections: usize::try_from(connections).unwrap_or(usize::MAX),
            warm_up: self.warm_up,
            stop: self.requests.map_or(Stop::After(self.duration), Stop::Requests),
            timeout: self.timeout,
            fail_above: self.fail_above,
            queue,
        })
    }

    /// The headers of every request. `token` is that of the service.
    fn headers(&self, token: Option<&String>, body: Option<&Vec<u8>>) -> Result<Vec<(String, String)>, Failure> {
        let mut headers: Vec<(String, String)> = Vec::new();
        for (name, value) in &self.headers {
            let value = value.to_str().map_err(|_| Failure::Usage(format!("the header {name} is not text")))?;
            headers.push((name.to_string(), value.to_owned()));
        }
        let has = |headers: &[(String, String)], name: &str| headers.iter().any(|(known, _)| known == name);
        if let Some(token) = self.token.as_ref().or(token)
            && !has(&headers, "authorization")
        {
            if !token.bytes().all(|byte| byte.is_ascii_graphic()) {
                return Err(Failure::Usage("the token has characters that a header cannot have".to_owned()));
            }
            headers.push(("authorization".to_owned(), token.clone()));
        }
        if let Some(body) = body
            && !has(&headers, "content-type")
        {
            headers.push(("content-type".to_owned(), payload::content_type(body).to_owned()));
        }
        Ok(headers)
    }
}

fn write(file: &Path, page: &str) -> Result<(), Failure> {
    Ok(fs::write(file, page).with_context(|| format!("cannot write `{}`", file.display()))?)
}

fn rate(text: &str) -> Result<f64, String> {
    let rate: f64 = text.parse().map_err(|_| "expected a number of requests a second".to_owned())?;
    if (0.001..=1e7).contains(&rate) {
        Ok(rate)
    } else {
        Err("expected 0.001 to 10000000 requests a second".to_owned())
    }
}

/// Parses a percentage into a share of 1.
fn share(text: &str) -> Result<f64, String> {
    // The sign is required, because `1` might mean 1 % or all. `0` is unambiguous.
    let percent = match text {
        "0" => Some(0.0),
        text => text.strip_suffix('%').and_then(|number| number.trim().parse::<f64>().ok()),
    };
    let share = percent.map(|percent| percent / 100.0).filter(|share| (0.0..=1.0).contains(share));
    share.ok_or_else(|| "expected a percentage from 0% to 100%, with its sign, as 0%, 0.1% or 5%".to_owned())
}

fn connections() -> clap::builder::RangedU64ValueParser {
    clap::value_parser!(u64).range(1..=MAX_CONNECTIONS)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_share_is_a_percentage_with_its_sign() {
        for (text, expected) in [("0", 0.0), ("0%", 0.0), ("5%", 0.05), ("0.1 %", 0.001), ("100%", 1.0)] {
            assert!((share(text).unwrap() - expected).abs() < 1e-9, "{text}");
        }
        for text in ["1", "0.1", "-1%", "-1", "101%", "NaN%", "%", "none", ""] {
            assert!(share(text).unwrap_err().contains("with its sign, as 0%, 0.1% or 5%"), "{text}");
        }
    }
}
