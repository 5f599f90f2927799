//! A run's result, for people and for scripts.

use std::fmt::Write;
use std::time::Duration;

use serde_json::{Value, json};

use super::plan::{Pace, Plan};
use super::tally::{LATE, Tally, Times};
use crate::cli::failure::{Exit, Failure};
use crate::cli::screen::{Screen, duration};

/// A rate counts as kept if no more than this part of the requests was sent late or not at all.
const KEPT: f64 = 0.01;
/// The shares that are told, and their names.
pub(super) const SHARES: [(f64, &str); 7] =
    [(50.0, "p50"), (75.0, "p75"), (90.0, "p90"), (95.0, "p95"), (99.0, "p99"), (99.9, "p99.9"), (100.0, "max")];
const BAR: usize = 40;

pub(super) struct Report<'a> {
    pub(super) plan: &'a Plan,
    pub(super) tally: &'a Tally,
    /// From the end of the warm-up to the last answer.
    pub(super) took: Duration,
    /// Whether somebody ended it early.
    pub(super) was_stopped: bool,
}

impl Report<'_> {
    /// Requests that were sent and have come to an end.
    pub(super) fn sent(&self) -> u64 {
        self.tally.answers() + self.tally.faulty()
    }

    pub(super) fn per_second(&self) -> f64 {
        self.tally.answered.len() as f64 / self.took.as_secs_f64().max(1e-9)
    }

    /// Whether requests went out when they were due. Of a closed loop nothing else can be said.
    pub(super) fn kept_its_rate(&self) -> bool {
        let behind = self.tally.late + self.tally.unsent;
        behind as f64 <= KEPT * (self.sent() + self.tally.unsent) as f64
    }

    fn is_open(&self) -> bool {
        matches!(self.plan.pace, Pace::Open { .. })
    }

    /// 0 if anything succeeded; else what the requests mostly met.
    pub(super) fn exit(&self) -> Exit {
        if !self.tally.answered.is_empty() {
            return Exit::Ok;
        }
        let most = self.tally.statuses.iter().max_by_key(|(_, count)| **count);
        most.map_or(Exit::Unreachable, |((status, _), _)| Exit::of_status(*status))
    }

    /// What people should know before they believe the numbers.
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
                self.sent() + self.tally.unsent,
                LATE.as_millis(),
                self.tally.unsent
            ));
        }
        if self.tally.answered.is_empty() {
            warnings.push("no request succeeded".to_owned());
        }
        warnings
    }

    /// Every kind of end with its number: statuses first, then faults.
    pub(super) fn kinds(&self) -> Vec<(String, u64)> {
        let statuses = self
            .tally
            .statuses
            .iter()
            .map(|((status, code), count)| (format!("{status} {code}").trim().to_owned(), *count));
        let faults = self.tally.faults.iter().map(|(fault, count)| (fault.to_string(), *count));
        statuses.chain(faults).collect()
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

    fn text(&self) -> String {
        let Self { plan, tally, took, .. } = self;
        // Writing to a string cannot fail, here and below.
        let mut text = format!("{}\n{}\n\n", plan.url, plan.sentence());
        let _ = writeln!(
            text,
            "{} requests in {}, {:.1} successes a second",
            self.sent(),
            duration(*took),
            self.per_second()
        );
        for (kind, count) in self.kinds() {
            let _ = writeln!(text, "  {kind:32} {count:>10}  {:>6.2} %", 100.0 * count as f64 / self.sent() as f64);
        }
        if self.is_open() {
            let _ = writeln!(text, "  {:32} {:>10}\n  {:32} {:>10}", "sent late", tally.late, "not sent", tally.unsent);
        }
        let from = if self.is_open() { "from when each was due" } else { "from when each was sent" };
        for (what, times) in [("successes", &tally.answered), ("refusals", &tally.refused)] {
            if !times.is_empty() {
                let _ = writeln!(text, "\nlatency of the {what}, {from}");
                for (share, name) in SHARES {
                    let _ = writeln!(text, "  {name:6} {:>10}", duration(at(times, share)));
                }
            }
        }
        if !tally.answered.is_empty() {
            text.push('\n');
            bars(&mut text, &tally.answered);
        }
        text
    }

    pub(super) fn json(&self) -> Value {
        let Self { plan, tally, took, was_stopped } = self;
        let times = |times: &Times| match times.is_empty() {
            true => Value::Null,
            false => {
                SHARES.iter().map(|(share, name)| ((*name).to_owned(), json!(millis(at(times, *share))))).collect()
            }
        };
        let statuses: Vec<Value> = tally
            .statuses
            .iter()
            .map(|((status, code), count)| json!({ "status": status, "code": code, "count": count }))
            .collect();
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
            "per_second": self.per_second(),
            "statuses": statuses,
            "faults": faults,
            "late": tally.late,
            "unsent": tally.unsent,
            "rate_kept": self.is_open().then(|| self.kept_its_rate()),
            "latency_ms": times(&tally.answered),
            "refusal_latency_ms": times(&tally.refused),
        })
    }
}

/// The time within which `percent` of all were done.
pub(super) fn at(times: &Times, percent: f64) -> Duration {
    Duration::from_nanos(times.value_at_percentile(percent))
}

fn millis(time: Duration) -> f64 {
    (time.as_secs_f64() * 1e6).round() / 1e3
}

/// Bounds that grow as 1, 2, 5, 10, and how many lie between each and the one before: from the first that is needed to the
/// last.
pub(super) fn buckets(times: &Times) -> Vec<(Duration, u64)> {
    let bounds: Vec<u64> =
        (3..13_u32).flat_map(|power| [1, 2, 5].map(|step| step * 10_u64.pow(power))).chain([u64::MAX]).collect();
    let mut counts = vec![0; bounds.len()];
    for time in times.iter_recorded() {
        let least = times.lowest_equivalent(time.value_iterated_to());
        counts[bounds.partition_point(|bound| *bound <= least).min(bounds.len() - 1)] += time.count_at_value();
    }
    let first = counts.iter().position(|count| *count > 0).unwrap_or(0);
    let last = counts.iter().rposition(|count| *count > 0).map_or(0, |last| last + 1);
    let bounds = bounds.into_iter().map(Duration::from_nanos);
    bounds.zip(counts).take(last).skip(first).collect()
}

fn bars(text: &mut String, times: &Times) {
    let buckets = buckets(times);
    let most = buckets.iter().map(|(_, count)| *count).max().unwrap_or(0).max(1);
    for (bound, count) in buckets {
        // Whatever is there shows, however little it is.
        let width = (count as f64 / most as f64 * BAR as f64).round() as usize;
        let bar = "█".repeat(if count > 0 { width.max(1) } else { 0 });
        let _ = writeln!(text, "  < {:>8} {bar:BAR$} {count}", duration(bound));
    }
}

#[cfg(test)]
mod tests {
    use std::time::Instant;

    use super::super::connection::{Answer, Fault};
    use super::super::plan::Stop;
    use super::*;

    fn plan(pace: Pace) -> Plan {
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
        }
    }

    fn tally(statuses: &[u16]) -> Tally {
        let now = Instant::now();
        let mut tally = Tally::new(now);
        for (index, status) in statuses.iter().enumerate() {
            let answer = Answer { status: *status, excerpt: Vec::new() };
            tally.record(now, now, now + Duration::from_micros(150 + index as u64), Ok(answer));
        }
        tally
    }

    fn report<'a>(plan: &'a Plan, tally: &'a Tally) -> Report<'a> {
        Report { plan, tally, took: Duration::from_secs(2), was_stopped: false }
    }

    const OPEN: Pace = Pace::Open { rate: 100.0, by_chance: false };

    #[test]
    fn a_run_exits_by_what_it_met() {
        let plan = plan(Pace::Closed);
        assert_eq!(report(&plan, &tally(&[450, 200])).exit(), Exit::Ok);
        assert_eq!(report(&plan, &tally(&[450, 450, 503])).exit(), Exit::Refused);
        assert_eq!(report(&plan, &tally(&[500])).exit(), Exit::Failed);
        assert_eq!(report(&plan, &tally(&[])).exit(), Exit::Unreachable);
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
        let text = report(&plan, &tally).text();
        for line in [
            "open loop, 100 requests a second, over up to 4 connections, for 10s, after a warm-up of 1s",
            "4 requests in 2.0 s, 1.0 successes a second",
            "  422                                       1   25.00 %",
            "  closed before an answer                   1   25.00 %",
            "  <   200 µs ████████████████████████████████████████ 2",
        ] {
            assert!(text.lines().any(|found| found.trim_end() == line), "{line:?} in\n{text}");
        }
    }

    #[test]
    fn buckets_hold_everything_once() {
        let mut times = tally(&[200; 50]).answered;
        for nanos in [1_000, 999_999, 1_000_000, 7_000_000_000] {
            times.saturating_record(nanos);
        }
        let buckets = buckets(&times);
        assert_eq!(buckets.iter().map(|(_, count)| count).sum::<u64>(), times.len());
        assert_eq!(buckets.last().unwrap().0, Duration::from_secs(10));
    }
}
