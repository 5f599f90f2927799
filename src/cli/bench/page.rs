//! The result of a run as an HTML page with charts.

mod results;

use std::fmt::Write;
use std::time::{Duration, SystemTime};

use bulkhead_plots::{Curve, Line, NOTHING, Text, bars, curves, document, grouped, moment, section};

use super::report::{Report, SHARES, at, buckets};
use super::tally::{Slot, SlotTimes, Tally, Times};
use crate::cli::screen::duration;

/// The percentiles of the curves. They become denser towards 100.
const CURVE: [f64; 13] = [10.0, 25.0, 50.0, 75.0, 90.0, 95.0, 98.0, 99.0, 99.5, 99.8, 99.9, 99.95, 99.99];

const FROM_DUE: &str = "Times count from the moment a request was due; in a closed loop, from the moment it was sent.";
const BUCKETS: &str = "The scale is logarithmic: each bucket is wider than the one before by the same factor.";

pub(super) fn page(report: &Report<'_>, now: SystemTime) -> String {
    let tally = report.tally;
    let course = Course::new(tally, report.took);
    let mut parts = vec![
        head(report, now),
        section("Outcomes of the requests", "", &outcomes(kinds(tally), report.sent(), "requests")),
        section("Throughput", "Requests a second, by the time of their end.", &course.throughput("refusals")),
    ];
    let latencies = [
        Latency { name: "successes", title: "Latency of the successes", text: FROM_DUE, times: &tally.answered },
        Latency { name: "refusals", title: "Latency of the refusals", text: FROM_DUE, times: &tally.refused },
    ];
    parts.extend(course.latencies(&latencies));
    let text = "The time within which this share of the answers came.";
    parts.push(section("Percentiles", text, &percentiles(&latencies)));
    let mut columns = latencies.to_vec();
    if let Some(results) = report.results {
        parts.extend(results::sections(results));
        columns.extend(results::latencies(results));
    }
    parts.push(section("In numbers", "", &table(&columns)));
    document("bulkhead bench", &parts)
}

/// The latency of one kind of answers.
#[derive(Clone, Copy)]
struct Latency<'a> {
    name: &'static str,
    /// The title of the histogram, and the text below the chart over time.
    title: &'static str,
    text: &'static str,
    times: &'a Times,
}

/// The course of a run or of its results.
struct Course<'a> {
    slots: &'a [Slot],
    /// The length of a slot, in seconds.
    seconds: f64,
}

impl<'a> Course<'a> {
    fn new(tally: &'a Tally, took: Duration) -> Self {
        let seconds = tally.slots.length.as_secs_f64();
        // A slot that the run did not fill would look like a drop in throughput.
        let whole = ((took.as_secs_f64() / seconds) as usize).max(1);
        Self { slots: &tally.slots.slots[..whole.min(tally.slots.slots.len())], seconds }
    }

    fn line(&self, name: &str, class: &'static str, value: impl Fn(&Slot) -> Option<f64>) -> Line {
        Line { name: name.to_owned(), class, values: self.slots.iter().map(value).collect() }
    }

    /// Answers a second. `refusals` is the name of those that are no success. Lines without a value above 0 are left out.
    fn throughput(&self, refusals: &str) -> String {
        let lines: Vec<Line> = [
            self.line("successes", "good", |slot| Some(slot.answered as f64 / self.seconds)),
            self.line(refusals, "warm dashed", |slot| Some(slot.refused as f64 / self.seconds)),
            self.line("faults", "bad dotted", |slot| Some(slot.faults as f64 / self.seconds)),
        ]
        .into_iter()
        .filter(|line| line.values.iter().flatten().any(|value| *value > 0.0))
        .collect();
        bulkhead_plots::lines(&lines, self.seconds, "/s")
    }

    /// The sections of the latencies of successes and of other answers. The first is shown even if there were none.
    fn latencies(&self, [successes, others]: &[Latency<'_>; 2]) -> Vec<String> {
        let of =
            |times: &SlotTimes, percent| (!times.is_empty()).then(|| times.value_at_percentile(percent) as f64 / 1e6);
        let answered = |percent| move |slot: &Slot| of(&slot.times, percent);
        let refused = |percent| move |slot: &Slot| of(slot.refused_times.as_deref()?, percent);
        let mut parts = self.latency(
            successes,
            "good",
            &[
                self.line("p50", "good", answered(50.0)),
                self.line("p99", "good dashed", answered(99.0)),
                self.line("max", "good dotted", answered(100.0)),
            ],
        );
        if !others.times.is_empty() {
            parts.extend(self.latency(
                others,
                "warm",
                &[
                    self.line("p50", "warm", refused(50.0)),
                    self.line("p99", "warm dashed", refused(99.0)),
                    self.line("max", "warm dotted", refused(100.0)),
                ],
            ));
        }
        parts
    }

    fn latency(&self, latency: &Latency<'_>, class: &'static str, lines: &[Line]) -> Vec<String> {
        let Latency { title, text, times, .. } = latency;
        let histogram: Vec<(String, u64)> =
            buckets(times).into_iter().map(|(bound, count)| (format!("< {}", duration(bound)), count)).collect();
        vec![
            section(&format!("{title} over time"), text, &bulkhead_plots::lines(lines, self.seconds, "ms")),
            section(title, BUCKETS, &bars(&histogram, class)),
        ]
    }
}

/// The curves of the percentiles of successes and of other answers.
fn percentiles(latencies: &[Latency<'_>; 2]) -> String {
    let shown = latencies.iter().zip(["good", "warm"]).filter(|(latency, _)| !latency.times.is_empty());
    let curve = |(latency, class): (&Latency<'_>, _)| Curve {
        name: latency.name.to_owned(),
        class,
        points: curve(latency.times),
    };
    curves(&shown.map(curve).collect::<Vec<_>>())
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

/// A row of the table of outcomes: a colour, a word, the kind of end, and the number.
type Row = (&'static str, &'static str, String, u64);

fn kinds(tally: &Tally) -> Vec<Row> {
    let statuses = tally.statuses.iter().map(|((status, code), count)| {
        let (class, outcome) =
            if (200..300).contains(status) { ("good", "✓ success") } else { ("warm", "✗ refusal") };
        (class, outcome, format!("{status} {code}"), *count)
    });
    let faults = tally.faults.iter().map(|(fault, count)| ("bad", "! fault", fault.to_string(), *count));
    statuses.chain(faults).collect()
}

/// The table of outcomes: a row for each kind, with its share of `all`. `what` is what is counted.
fn outcomes(rows: Vec<Row>, all: u64, what: &str) -> String {
    if all == 0 {
        return NOTHING.to_owned();
    }
    let head = format!("<tr><th>outcome<th>end<th class=\"right\">{what}<th>share</tr>");
    let mut table = format!("<table class=\"kinds\">\n{head}\n");
    for (class, outcome, end, count) in rows {
        // Writing to a string cannot fail, here and below.
        let share = 100.0 * count as f64 / all as f64;
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
fn table(columns: &[Latency<'_>]) -> String {
    let mut table = "<table>\n<tr><th>".to_owned();
    for column in columns {
        let _ = write!(table, "<th class=\"right\">{}", column.name);
    }
    table.push_str("</tr>\n");
    for (share, name) in SHARES {
        let _ = write!(table, "<tr><td>{name}");
        for Latency { times, .. } in columns {
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
    use std::time::Instant;

    use super::super::connection::{Answer, Fault};
    use super::super::plan::{Pace, Plan, Stop};
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
            queue: None,
        };
        let now = Instant::now();
        let mut tally = Tally::new(now);
        let empty = Report { plan: &plan, tally: &tally, results: None, took: Duration::ZERO, was_stopped: true };
        assert!(page(&empty, SystemTime::UNIX_EPOCH).contains("Nothing was measured"));
        for status in [200, 450] {
            let answer = Answer { status, excerpt: b"{\"code\":\"<b>\"}".to_vec() };
            tally.record(now, now, now + Duration::from_millis(3), Ok(answer));
        }
        tally.record(now, now, now, Err(Fault::Timeout));
        // This request ends after the end of the run, so no slot that is shown contains it.
        tally.record(now, now, now + Duration::from_secs(2), Ok(Answer { status: 200, excerpt: Vec::new() }));
        let report =
            Report { plan: &plan, tally: &tally, results: None, took: Duration::from_secs(1), was_stopped: false };
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
