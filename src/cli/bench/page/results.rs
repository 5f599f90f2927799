//! The sections about the results of an asynchronous service.

use bulkhead_plots::section;

use super::super::results::Results;
use super::{Course, Latency, kinds, outcomes, percentiles};

const FROM_PUT: &str = "Times count from the moment a put was due; in a closed loop, from the moment it was sent. They end \
                        when the result has come.";

pub(super) fn sections(results: &Results) -> Vec<String> {
    let mut rows = kinds(&results.tally);
    for row in rows.iter_mut().filter(|row| row.0 == "warm") {
        row.1 = "✗ failure";
    }
    if results.missing > 0 {
        rows.push(("bad", "! missing", "did not come".to_owned(), results.missing));
    }
    let all = results.count() + results.missing;
    let course = Course::new(&results.tally, results.took);
    let latencies = latencies(results);
    let mut parts = vec![
        section("Results", "", &outcomes(rows, all, "results")),
        section(
            "Throughput of the results",
            "Results a second, by the time they came.",
            &course.throughput("failures"),
        ),
    ];
    parts.extend(course.latencies(&latencies));
    let text = "The time within which this share of the results came.";
    parts.push(section("Percentiles of the results", text, &percentiles(&latencies)));
    parts
}

pub(super) fn latencies(results: &Results) -> [Latency<'_>; 2] {
    let (title, failed) = ("Time to the result", "Time to the failed result");
    [
        Latency { name: "results", title, text: FROM_PUT, times: &results.tally.answered },
        Latency { name: "failed results", title: failed, text: FROM_PUT, times: &results.tally.refused },
    ]
}

#[cfg(test)]
mod tests {
    use std::time::{Duration, Instant};

    use super::super::super::tally::Tally;
    use super::*;

    #[test]
    fn results_that_failed_or_did_not_come_are_shown() {
        let began = Instant::now();
        let mut tally = Tally::new(began);
        for (status, code) in [(200, ""), (500, "<b>")] {
            tally.record_result(began, began + Duration::from_millis(30), status, code.to_owned());
        }
        let results = Results { tally, missing: 2, unmatched: 0, took: Duration::from_secs(1), trouble: None };
        let page = sections(&results).concat();
        for right in [
            "<b>✓ success</b>",
            "<b>✗ failure</b>",
            "<b>! missing</b><td>did not come<td class=\"right\">2",
            "<h2>Time to the result</h2>",
            "<h2>Time to the failed result</h2>",
        ] {
            assert!(page.contains(right), "{right} in {page}");
        }
        let empty = Results { tally: Tally::new(began), missing: 0, unmatched: 0, took: Duration::ZERO, trouble: None };
        assert!(sections(&empty).concat().contains("Nothing was measured"));
    }
}
