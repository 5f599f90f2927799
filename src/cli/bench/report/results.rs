//! The part of a report that is about the results of an asynchronous service.

use std::fmt::Write;

use serde_json::{Value, json};

use super::super::results::Results;
use super::{Report, bars, kinds, percentiles, percentiles_of, statuses};
use crate::cli::screen::duration;

/// The two kinds of results, and what their times are called.
const KINDS: [&str; 2] = ["time to the result", "time to the failed result"];

pub(super) fn text(report: &Report<'_>, results: &Results) -> String {
    let Results { tally, missing, took, .. } = results;
    let (count, rate) = (results.count(), results.per_second());
    let mut text = match count {
        0 => "\nno results\n".to_owned(),
        _ => format!("\n{count} results in {}, {rate:.1} a second\n", duration(*took)),
    };
    kinds(&mut text, tally, count + missing);
    if *missing > 0 {
        // Writing to a string cannot fail, here and below.
        let share = 100.0 * *missing as f64 / (count + missing) as f64;
        let _ = writeln!(text, "  {:32} {missing:>10}  {share:>6.2} %", "did not come");
    }
    let shown = || KINDS.into_iter().zip([&tally.answered, &tally.refused]).filter(|(_, times)| !times.is_empty());
    for (what, times) in shown() {
        let _ = writeln!(text, "\n{what}, {}", report.from());
        percentiles(&mut text, times);
    }
    for (what, times) in shown() {
        let _ = writeln!(text, "\nhistogram of the {what}");
        bars(&mut text, times);
    }
    text
}

pub(super) fn warnings(report: &Report<'_>, results: &Results) -> Vec<String> {
    let mut warnings = Vec::new();
    let Results { missing, unmatched, trouble, .. } = results;
    if let Some(queue) = report.plan.queue.as_ref().filter(|_| *missing > 0) {
        let bound = match report.was_stopped {
            true => "before the command was stopped".to_owned(),
            false => format!("within {} of the last one", humantime::format_duration(queue.patience)),
        };
        let why = trouble.as_ref().map(|trouble| format!(" (the sink: {trouble})")).unwrap_or_default();
        warnings.push(format!(
            "{missing} results did not come {bound}{why}; those that come later stay in the sink, with the tag bench={}",
            queue.run
        ));
    }
    if results.count() == 0 && *missing > 0 {
        warnings.push("a processor that answers with status 200 and an empty body makes no results".to_owned());
    }
    if *unmatched > 0 {
        warnings.push(format!("{unmatched} results belong to puts that had no answer; they are not counted"));
    }
    warnings
}

pub(super) fn json(results: &Results) -> Value {
    let Results { tally, missing, unmatched, took, .. } = results;
    json!({
        "count": results.count(),
        "succeeded": tally.answered.len(),
        "missing": missing,
        "unmatched": unmatched,
        "seconds": took.as_secs_f64(),
        "per_second": results.per_second(),
        "statuses": statuses(tally),
        "latency_ms": percentiles_of(&tally.answered),
        "failed_latency_ms": percentiles_of(&tally.refused),
    })
}

#[cfg(test)]
mod tests {
    use std::time::{Duration, Instant};

    use super::super::super::plan::{Pace, Plan};
    use super::super::super::queue;
    use super::super::super::tally::Tally;
    use super::super::tests::{plan, report, tally};
    use super::*;
    use crate::cli::failure::Exit;

    fn results(statuses: &[u16], missing: u64) -> Results {
        let began = Instant::now();
        let mut tally = Tally::new(began);
        for status in statuses {
            tally.record_result(began, began + Duration::from_millis(20), *status, String::new());
        }
        Results { tally, missing, unmatched: 0, took: Duration::from_secs(4), trouble: None }
    }

    fn queued(fail_above: Option<f64>) -> Plan {
        Plan { fail_above, queue: Some(queue::tests::queue()), ..plan(Pace::Closed) }
    }

    #[test]
    fn results_have_figures_of_their_own() {
        let (plan, puts, results) = (queued(None), tally(&[200; 4]), results(&[200, 200, 422], 1));
        let report = Report { results: Some(&results), ..report(&plan, &puts) };
        let text = report.text();
        for line in [
            "4 requests in 2.0 s, 2.0 successes a second",
            "3 results in 4.0 s, 0.8 a second",
            "  422                                       1   25.00 %",
            "  did not come                              1   25.00 %",
            "time to the result, from the time each was sent",
            "time to the failed result, from the time each was sent",
        ] {
            assert!(text.lines().any(|found| found.trim_end() == line), "{line:?} in\n{text}");
        }
        let json = &report.json()["results"];
        assert_eq!((&json["count"], &json["succeeded"], &json["missing"]), (&json!(3), &json!(2), &json!(1)));
        let p50 = json["latency_ms"]["p50"].as_f64().unwrap();
        assert!((20.0..20.1).contains(&p50), "{p50}");
        let warning = "1 results did not come within 30s of the last one; those that come later stay in the sink, \
                       with the tag bench=r1";
        assert_eq!(report.warnings(), [warning]);
    }

    #[test]
    fn what_did_not_come_counts_for_the_share_of_failures_only() {
        let puts = tally(&[200; 4]);
        for (fail_above, statuses, missing, exit) in [
            (None, &[200, 500][..], 2, Exit::Ok),
            (None, &[][..], 4, Exit::Ok),
            (Some(0.5), &[200, 500, 200][..], 1, Exit::Ok),
            (Some(0.4), &[200, 200][..], 2, Exit::Unreachable),
            (Some(0.4), &[200, 200, 500, 500][..], 0, Exit::Failed),
            (None, &[422, 422, 500, 422][..], 0, Exit::Refused),
        ] {
            let (plan, results) = (queued(fail_above), results(statuses, missing));
            let report = Report { results: Some(&results), ..report(&plan, &puts) };
            assert_eq!(report.exit(), exit, "{fail_above:?} {statuses:?} {missing}");
            assert_eq!(report.json()["failed"], exit != Exit::Ok);
        }
    }
}
