//! The result of a run as an HTML page with charts.

use std::fmt::Write;
use std::time::SystemTime;

use bulkhead_plots::{Curve, Line, NOTHING, Text, bars, curves, document, grouped, lines, moment, section};

use super::report::{Report, SHARES, at, buckets};
use super::tally::{Slot, SlotTimes, Times};
use crate::cli::screen::duration;

/// The percentiles of the curves. They become denser towards 100.
const CURVE: [f64; 13] = [10.0, 25.0, 50.0, 75.0, 90.0, 95.0, 98.0, 99.0, 99.5, 99.8, 99.9, 99.95, 99.99];

const FROM_DUE: &str = "Times count from the moment a request was due; in a closed loop, from the moment it was sent.";
const BUCKETS: &str = "The scale is logarithmic: each bucket is wider than the one before by the same factor.";

pub(super) fn page(report: &Report<'_>, now: SystemTime) -> String {
    let tally = report.tally;
    let seconds = tally.slots.length.as_secs_f64();
    // A slot that the run did not fill would look like a drop in throughput.
    let whole = ((report.took.as_secs_f64() / seconds) as usize).max(1);
    let course = |name: &str, class, value: &dyn Fn(&Slot) -> Option<f64>| Line {
        name: name.to_owned(),
        class,
        values: tally.slots.slots.iter().take(whole).map(value).collect(),
    };
    // Lines without a value above 0 are left out.
    let throughput: Vec<Line> = [
        course("successes", "good", &|slot| Some(slot.answered as f64 / seconds)),
        course("refusals", "warm dashed", &|slot| Some(slot.refused as f64 / seconds)),
        course("faults", "bad dotted", &|slot| Some(slot.faults as f64 / seconds)),
    ]
    .into_iter()
    .filter(|line| line.values.iter().flatten().any(|value| *value > 0.0))
    .collect();
    let of = |times: &SlotTimes, percent| (!times.is_empty()).then(|| times.value_at_percentile(percent) as f64 / 1e6);
    let answered = |percent| move |slot: &Slot| of(&slot.times, percent);
    let refused = |percent| move |slot: &Slot| of(slot.refused_times.as_deref()?, percent);
    let mut parts = vec![
        head(report, now),
        section("Outcomes of the requests", "", &kinds(report)),
        section("Throughput", "Requests a second, by the time of their end.", &lines(&throughput, seconds, "/s")),
    ];
    let kinds_of_latency = [
        (
            "successes",
            &tally.answered,
            "good",
            [
                course("p50", "good", &answered(50.0)),
                course("p99", "good dashed", &answered(99.0)),
                course("max", "good dotted", &answered(100.0)),
            ],
        ),
        (
            "refusals",
            &tally.refused,
            "warm",
            [
                course("p50", "warm", &refused(50.0)),
                course("p99", "warm dashed", &refused(99.0)),
                course("max", "warm dotted", &refused(100.0)),
            ],
        ),
    ];
    let mut percentiles = Vec::new();
    for (what, times, class, course) in kinds_of_latency {
        // The section of the successes is shown even if there were none.
        if times.is_empty() && what != "successes" {
            continue;
        }
        let histogram: Vec<(String, u64)> =
            buckets(times).into_iter().map(|(bound, count)| (format!("< {}", duration(bound)), count)).collect();
        parts.push(section(&format!("Latency of the {what} over time"), FROM_DUE, &lines(&course, seconds, "ms")));
        parts.push(section(&format!("Latency of the {what}"), BUCKETS, &bars(&histogram, class)));
        if !times.is_empty() {
            percentiles.push(Curve { name: what.to_owned(), class, points: curve(times) });
        }
    }
    parts.push(section("Percentiles", "The time within which this share of the answers came.", &curves(&percentiles)));
    parts.push(section("In numbers", "", &table(report)));
    document("bulkhead bench", &parts)
}

fn curve(times: &Times) -> Vec<(f64, f64)> {
    CURVE.map(|percent| (percent / 100.0, at(times, percent).as_secs_f64() * 1e6)).to_vec()
}

fn head(report: &Report<'_>, now: SystemTime) -> String {
    let seconds = now.duration_since(SystemTime::UNIX_EPOCH).map_or(0, |since| since.as_secs());
    let times = &report.tally.answered;
    let tiles = [
        (grouped(report.per_second()), "successes a second"),
        (if times.is_empty() { "–".to_owned() } else { duration(at(times, 50.0)) }, "p50"),
        (if times.is_empty() { "–".to_owned() } else { duration(at(times, 99.0)) }, "p99"),
        (format!("{:.2} %", 100.0 * times.len() as f64 / (report.sent().max(1)) as f64), "succeeded"),
    ];
    let tile = |(value, name): &(String, &str)| format!("<div class=\"tile\"><b>{}</b> {name}</div>\n", Text(value));
    let warning = |warning: &String| format!("<p class=\"warning\">{}</p>\n", Text(warning));
    format!(
        "<header>\n<h1>{}</h1>\n<p class=\"when\">{}; {}</p>\n<div class=\"tiles\">\n{}</div>\n{}</header>\n",
        Text(&report.plan.url),
        moment(seconds),
        Text(&report.plan.sentence()),
        tiles.iter().map(tile).collect::<String>(),
        report.warnings().iter().map(warning).collect::<String>()
    )
}

/// The table of outcomes: a row for each kind, with a word for it, a colour, and its count.
fn kinds(report: &Report<'_>) -> String {
    if report.sent() == 0 {
        return NOTHING.to_owned();
    }
    let head = "<tr><th>outcome<th>end<th class=\"right\">requests<th>share</tr>";
    let mut table = format!("<table class=\"kinds\">\n{head}\n");
    let statuses = report.tally.statuses.iter().map(|((status, code), count)| {
        let (class, outcome) =
            if (200..300).contains(status) { ("good", "✓ success") } else { ("warm", "✗ refusal") };
        (class, outcome, format!("{status} {code}"), *count)
    });
    let faults = report.tally.faults.iter().map(|(fault, count)| ("bad", "! fault", fault.to_string(), *count));
    for (class, outcome, end, count) in statuses.chain(faults) {
        // Writing to a string cannot fail, here and below.
        let share = 100.0 * count as f64 / report.sent() as f64;
        let bar = format!("<span class=\"{class}\" style=\"width: {share:.2}%\"></span>");
        let _ = writeln!(
            table,
            "<tr><td class=\"{class}\"><b>{outcome}</b><td>{}<td class=\"right\">{count}<td class=\"share\">{bar}</tr>",
            Text(end.trim())
        );
    }
    table.push_str("</table>\n");
    table
}

/// The table of percentiles. Each has a row, so that the table is narrow.
fn table(report: &Report<'_>) -> String {
    let mut table = "<table>\n<tr><th><th class=\"right\">successes<th class=\"right\">refusals</tr>\n".to_owned();
    for (share, name) in SHARES {
        let _ = write!(table, "<tr><td>{name}");
        for times in [&report.tally.answered, &report.tally.refused] {
            let cell = if times.is_empty() { "–".to_owned() } else { duration(at(times, share)) };
            let _ = write!(table, "<td class=\"right\">{cell}");
        }
        table.push_str("</tr>\n");
    }
    table.push_str("</table>\n");
    table
}

#[cfg(test)]
mod tests {
    use std::time::{Duration, Instant};

    use super::super::connection::{Answer, Fault};
    use super::super::plan::{Pace, Plan, Stop};
    use super::super::tally::Tally;
    use super::*;

    #[test]
    fn nothing_that_was_measured_can_become_markup() {
        let plan = Plan {
            url: "http://h/<script>".into(),
            address: "127.0.0.1:1".parse().unwrap(),
            requests: vec![Vec::new()],
            is_head: false,
            pace: Pace::Open { rate: 10.0, by_chance: true },
            connections: 1,
            warm_up: Duration::ZERO,
            stop: Stop::Requests(2),
            timeout: Duration::from_secs(1),
            fail_above: None,
        };
        let now = Instant::now();
        let mut tally = Tally::new(now);
        let empty = Report { plan: &plan, tally: &tally, took: Duration::ZERO, was_stopped: true };
        assert!(page(&empty, SystemTime::UNIX_EPOCH).contains("Nothing was measured"));
        for status in [200, 450] {
            let answer = Answer { status, excerpt: b"{\"code\":\"<b>\"}".to_vec() };
            tally.record(now, now, now + Duration::from_millis(3), Ok(answer));
        }
        tally.record(now, now, now, Err(Fault::Timeout));
        // This request ends after the end of the run, so no slot that is shown contains it.
        tally.record(now, now, now + Duration::from_secs(2), Ok(Answer { status: 200, excerpt: Vec::new() }));
        let report = Report { plan: &plan, tally: &tally, took: Duration::from_secs(1), was_stopped: false };
        let page = page(&report, SystemTime::UNIX_EPOCH);
        for wrong in ["<script", "<b>\"", "NaN", "inf<", "https://"] {
            assert!(!page.contains(wrong), "{wrong}");
        }
        for right in [
            "&lt;script&gt;",
            "1970-01-01",
            "class=\"line good\"",
            "class=\"curve good\"",
            "class=\"curve warm\"",
            "time-out",
        ] {
            assert!(page.contains(right), "{right}");
        }
        // The outcome of a request is shown by a word as well as by its colour.
        for outcome in ["<b>✓ success</b>", "<b>✗ refusal</b>", "<b>! fault</b>"] {
            assert!(page.contains(outcome), "{outcome}");
        }
        let successes = page.find("<h2>Latency of the successes</h2>").expect("successes have a histogram");
        let refusals = page.find("<h2>Latency of the refusals</h2>").expect("refusals have one of their own");
        let histogram = page[successes..refusals].split("</section>").next().unwrap();
        assert!(histogram.contains("<span class=\"good\"") && !histogram.contains("<span class=\"warm\""));
    }
}
