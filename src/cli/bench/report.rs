//! The result of a run, as text and as JSON.

mod buckets;
mod results;

use std::fmt::Write;
use std::time::Duration;

use serde_json::{Value, json};

use self::buckets::bars;
pub(super) use self::buckets::buckets;
use super::plan::{Pace, Plan};
use super::results::Results;
use super::tally::{LATE, Tally, Times};
use crate::cli::failure::{Exit, Failure};
use crate::cli::screen::{Screen, duration};

/// The largest share of requests that may be sent late, or not at all, if the rate is to count as kept.
const KEPT: f64 = 0.01;
/// The percentiles of a report, and their names.
pub(super) const SHARES: [(f64, &str); 7] =
    [(50.0, "p50"), (75.0, "p75"), (90.0, "p90"), (95.0, "p95"), (99.0, "p99"), (99.9, "p99.9"), (100.0, "max")];

pub(super) struct Report<'a> {
    pub(super) plan: &'a Plan,
    pub(super) tally: &'a Tally,
    /// The results of the puts, if the service is asynchronous.
    pub(super) results: Option<&'a Results>,
    /// The length of the measurement.
    pub(super) took: Duration,
    /// True if the run was interrupted.
    pub(super) was_stopped: bool,
}

impl Report<'_> {
    /// Requests that were sent and have ended.
    pub(super) fn sent(&self) -> u64 {
        self.tally.answers() + self.tally.faulty()
    }

    pub(super) fn per_second(&self) -> f64 {
        self.tally.answered.len() as f64 / self.took.as_secs_f64().max(1e-9)
    }

    /// True if almost all requests were sent when they were due. It is always true for a closed loop.
    pub(super) fn kept_its_rate(&self) -> bool {
        let behind = self.tally.late + self.tally.unsent;
        behind as f64 <= KEPT * self.due() as f64
    }

    fn is_open(&self) -> bool {
        matches!(self.plan.pace, Pace::Open { .. })
    }

    /// Requests that were due: sent ones, and those that could not be sent.
    fn due(&self) -> u64 {
        self.sent() + self.tally.unsent
    }

    /// The share of the due requests that did not succeed. A put without a result, or with one that is a failure, did
    /// not succeed.
    fn failed_share(&self) -> f64 {
        let later = self.results.map_or(0, |results| results.tally.refused.len() + results.missing);
        let failed = self.due() - self.tally.answered.len() + later;
        (failed as f64 / self.due().max(1) as f64).min(1.0)
    }

    /// True if no request succeeded. It is not known whether a put succeeded whose result did not come.
    fn none_succeeded(&self) -> bool {
        let all_failed = |results: &Results| results.tally.answered.is_empty() && results.count() > 0;
        self.tally.answered.is_empty() || self.results.is_some_and(all_failed)
    }

    /// True if so many requests failed that the run is a failure.
    fn has_failed(&self) -> bool {
        let too_many = self.plan.fail_above.is_some_and(|most| self.failed_share() > most);
        self.none_succeeded() || too_many
    }

    /// The exit code: success, or the most frequent kind of failure.
    pub(super) fn exit(&self) -> Exit {
        // An interrupt in the warm-up: nothing was measured, so the run has neither succeeded nor failed.
        if self.was_stopped && self.due() == 0 {
            return Exit::Interrupted;
        }
        if !self.has_failed() {
            return Exit::Ok;
        }
        let later = self.results.iter().flat_map(|results| &results.tally.statuses);
        let all = self.tally.statuses.iter().chain(later);
        let refusals = all.filter(|((status, _), _)| !(200..300).contains(status));
        let unanswered = self.tally.faulty() + self.results.map_or(0, |results| results.missing);
        match refusals.max_by_key(|(_, count)| **count) {
            Some(((status, _), count)) if *count >= unanswered => Exit::of_status(*status),
            _ => Exit::Unreachable,
        }
    }

    /// Warnings to show with the numbers.
    pub(super) fn warnings(&self) -> Vec<String> {
        let mut warnings = Vec::new();
        if self.was_stopped {
            warnings.push("stopped before its end".to_owned());
        }
        if self.is_open() && !self.kept_its_rate() {
            warnings.push(format!(
                "the rate was not kept: {} of {} requests were sent more than {} ms after they were due, {} never; \
                 the server, or this machine, is too slow for it, or more --connections are needed",
                self.tally.late,
                self.due(),
                LATE.as_millis(),
                self.tally.unsent
            ));
        }
        if let Some(results) = self.results {
            warnings.extend(results::warnings(self, results));
        }
        if self.none_succeeded() {
            warnings.push("no request succeeded".to_owned());
        } else if let Some(most) = self.plan.fail_above.filter(|most| self.failed_share() > *most) {
            let (failed, most) = (100.0 * self.failed_share(), 100.0 * most);
            warnings.push(format!("{failed:.2} % of the requests failed, more than the {most} % of --fail-above"));
        }
        warnings
    }

    pub(super) fn show(&self, screen: &mut Screen) -> Result<(), Failure> {
        if screen.is_json() {
            return screen.json(&self.json());
        }
        screen.line(self.text().trim_end())?;
        for warning in self.warnings() {
            screen.note(format_args!("note: {warning}"));
        }
        Ok(())
    }

    /// The report as text, without the heading, which says what was measured.
    fn text(&self) -> String {
        let Self { tally, took, .. } = self;
        let mut text =
            format!("{} requests in {}, {:.1} successes a second\n", self.sent(), duration(*took), self.per_second());
        kinds(&mut text, tally, self.sent());
        if self.is_open() {
            let _ = writeln!(text, "  {:32} {:>10}\n  {:32} {:>10}", "sent late", tally.late, "not sent", tally.unsent);
        }
        for (what, times) in [("successes", &tally.answered), ("refusals", &tally.refused)] {
            if !times.is_empty() {
                let _ = writeln!(text, "\nlatency of the {what}, {}", self.from());
                percentiles(&mut text, times);
            }
        }
        for (what, times) in [("successes", &tally.answered), ("refusals", &tally.refused)] {
            if !times.is_empty() {
                let _ = writeln!(text, "\nhistogram of the {what}");
                bars(&mut text, times);
            }
        }
        if let Some(results) = self.results {
            text.push_str(&results::text(self, results));
        }
        text
    }

    /// The moment from which times count.
    fn from(&self) -> &'static str {
        if self.is_open() { "from the time each was due" } else { "from the time each was sent" }
    }

    pub(super) fn json(&self) -> Value {
        let Self { plan, tally, took, was_stopped, .. } = self;
        let faults: serde_json::Map<String, Value> =
            tally.faults.iter().map(|(fault, count)| (fault.to_string(), json!(count))).collect();
        json!({
            "url": plan.url,
            "plan": plan.sentence(),
            "rate": match plan.pace { Pace::Closed => None, Pace::Open { rate, .. } => Some(rate) },
            "connections": plan.connections,
            "seconds": took.as_secs_f64(),
            "stopped": was_stopped,
            "requests": self.sent(),
            "succeeded": tally.answered.len(),
            "failed_share": self.failed_share(),
            "fail_above": plan.fail_above,
            "failed": self.has_failed(),
            "per_second": self.per_second(),
            "statuses": statuses(tally),
            "faults": faults,
            "late": tally.late,
            "unsent": tally.unsent,
            "rate_kept": self.is_open().then(|| self.kept_its_rate()),
            "latency_ms": percentiles_of(&tally.answered),
            "refusal_latency_ms": percentiles_of(&tally.refused),
            "results": self.results.map(results::json),
        })
    }
}

/// Writes every kind of outcome with its count and its share of `all`: statuses first, then faults.
fn kinds(text: &mut String, tally: &Tally, all: u64) {
    let statuses = tally.statuses.iter().map(|((status, code), count)| (format!("{status} {code}"), *count));
    let faults = tally.faults.iter().map(|(fault, count)| (fault.to_string(), *count));
    for (kind, count) in statuses.chain(faults) {
        // Writing to a string cannot fail, here and below.
        let _ = writeln!(text, "  {:32} {count:>10}  {:>6.2} %", kind.trim(), 100.0 * count as f64 / all as f64);
    }
}

fn percentiles(text: &mut String, times: &Times) {
    for (share, name) in SHARES {
        let _ = writeln!(text, "  {name:6} {:>10}", duration(at(times, share)));
    }
}

fn statuses(tally: &Tally) -> Vec<Value> {
    let row =
        |((status, code), count): (&(u16, String), &u64)| json!({ "status": status, "code": code, "count": count });
    tally.statuses.iter().map(row).collect()
}

fn percentiles_of(times: &Times) -> Value {
    match times.is_empty() {
        true => Value::Null,
        false => SHARES.iter().map(|(share, name)| ((*name).to_owned(), json!(millis(at(times, *share))))).collect(),
    }
}

/// The time within which `percent` of the answers came.
pub(super) fn at(times: &Times, percent: f64) -> Duration {
    Duration::from_nanos(times.value_at_percentile(percent))
}

fn millis(time: Duration) -> f64 {
    (time.as_secs_f64() * 1e6).round() / 1e3
}

#[cfg(test)]
pub(in crate::cli::bench) mod tests {
    use std::time::Instant;

    use super::super::connection::{Answer, Fault};
    use super::super::plan::Stop;
    use super::*;

    pub(super) fn plan(pace: Pace) -> Plan {
        Plan {
            url: "http://h/x".into(),
            address: "127.0.0.1:1".parse().unwrap(),
            requests: vec![Vec::new()],
            is_head: false,
            pace,
            connections: 4,
            warm_up: Duration::from_secs(1),
            stop: Stop::After(Duration::from_secs(10)),
            timeout: Duration::from_secs(5),
            fail_above: None,
            queue: None,
        }
    }

    pub(super) fn tally(statuses: &[u16]) -> Tally {
        let now = Instant::now();
        let mut tally = Tally::new(now);
        for (index, status) in statuses.iter().enumerate() {
            let answer = Answer { status: *status, excerpt: Vec::new() };
            tally.record(now, now, now + Duration::from_micros(150 + index as u64), Ok(answer));
        }
        tally
    }

    pub(super) fn report<'a>(plan: &'a Plan, tally: &'a Tally) -> Report<'a> {
        Report { plan, tally, results: None, took: Duration::from_secs(2), was_stopped: false }
    }

    const OPEN: Pace = Pace::Open { rate: 100.0, by_chance: false };

    #[test]
    fn a_run_exits_by_what_it_met() {
        let plan = plan(Pace::Closed);
        assert_eq!(report(&plan, &tally(&[450, 200])).exit(), Exit::Ok);
        assert_eq!(report(&plan, &tally(&[450, 450, 503])).exit(), Exit::Refused);
        assert_eq!(report(&plan, &tally(&[500])).exit(), Exit::Failed);
        assert_eq!(report(&plan, &tally(&[])).exit(), Exit::Unreachable);
        for (statuses, exit) in [(&[][..], Exit::Interrupted), (&[200], Exit::Ok)] {
            let tally = tally(statuses);
            let stopped = Report { was_stopped: true, ..report(&plan, &tally) };
            assert_eq!(stopped.exit(), exit, "interrupted in the warm-up, and after it");
        }
    }

    #[test]
    fn more_failures_than_allowed_fail_the_run() {
        let limited = |share| Plan { fail_above: Some(share), ..plan(Pace::Closed) };
        let (none, half, all) = (limited(0.0), limited(0.5), limited(1.0));
        let mut mixed = tally(&[200, 200, 450, 503]);
        assert_eq!(report(&half, &mixed).exit(), Exit::Ok, "exactly as many as allowed");
        assert_eq!(report(&none, &tally(&[200, 200])).exit(), Exit::Ok);
        assert!(report(&half, &mixed).warnings().is_empty());
        mixed.unsent = 1;
        let spoilt = report(&half, &mixed);
        assert_ne!(spoilt.exit(), Exit::Ok, "what was not sent has failed");
        assert_eq!(spoilt.warnings(), ["60.00 % of the requests failed, more than the 50 % of --fail-above"]);
        assert_eq!((&spoilt.json()["failed_share"], &spoilt.json()["failed"]), (&json!(0.6), &json!(true)));
        assert_eq!(report(&half, &tally(&[200, 450, 450])).exit(), Exit::Refused);
        assert_eq!(report(&half, &tally(&[200, 503, 503])).exit(), Exit::Failed);
        assert_eq!(report(&all, &tally(&[450])).exit(), Exit::Refused, "nothing succeeded");
        let mut silent = tally(&[200, 450]);
        let now = Instant::now();
        for _ in 0..3 {
            silent.record(now, now, now, Err(Fault::Closed));
        }
        assert_eq!(report(&half, &silent).exit(), Exit::Unreachable);
    }

    #[test]
    fn a_rate_that_was_not_kept_is_said() {
        let (closed, plan) = (plan(Pace::Closed), plan(OPEN));
        let mut tally = tally(&[200; 100]);
        assert!(report(&plan, &tally).warnings().is_empty());
        tally.unsent = 2;
        let warnings = report(&plan, &tally).warnings();
        assert!(warnings[0].starts_with("the rate was not kept: 0 of 102 requests"), "{warnings:?}");
        assert_eq!(report(&plan, &tally).json()["rate_kept"], false);
        assert!(report(&closed, &tally).warnings().is_empty());
    }

    #[test]
    fn the_text_has_every_count() {
        let plan = plan(OPEN);
        let mut tally = tally(&[200, 200, 422]);
        let now = Instant::now();
        tally.record(now, now, now, Err(Fault::Closed));
        assert_eq!(
            plan.sentence(),
            "open loop, 100 requests a second, over up to 4 connections, for 10s, after a warm-up of 1s"
        );
        let text = report(&plan, &tally).text();
        for line in [
            "4 requests in 2.0 s, 1.0 successes a second",
            "  422                                       1   25.00 %",
            "  closed before an answer                   1   25.00 %",
            "  <   158 µs ████████████████████████████████████████ 2",
        ] {
            assert!(text.lines().any(|found| found.trim_end() == line), "{line:?} in\n{text}");
        }
    }
}
