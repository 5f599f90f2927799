//! The report as one self-contained page: no scripts, no fonts, no external pictures.

mod chart;
mod tables;

use std::fs;
use std::path::Path;

use anyhow::{Context, Result};
use bulkhead_plots::{curves, document, moment, section};

use self::chart::Bar;
use super::contest::{Runs, ranked};
use super::report::{Report, Verdict};
use super::stats::Spread;

/// The prefix of the names of servers that are Bulkhead.
const OURS: &str = "Bulkhead";

pub(super) fn write(file: &Path, report: &Report) -> Result<()> {
    fs::write(file, page(report)).with_context(|| format!("cannot write {}", file.display()))
}

fn page(report: &Report) -> String {
    let sections = [
        section(
            "Targets",
            "Medians; in parentheses the minimum and maximum of all rounds. Ratios compare with the server that the line names, or with the target if that is a bound.",
            &tables::targets(report),
        ),
        section(
            "Throughput",
            "Echo of 1 KiB of JSON on 64 connections that each wait for their answer; the servers take turns. Bars are medians, thin lines show minimum to maximum.",
            &bars(report, "requests/s", true, |runs| runs.spread(|run| run.per_second)),
        ),
        section(
            "Processor time of the server for one request",
            "The same runs, from the scheduler's statistics of all processes of the server. Less is better. Other work on the machine affects this value least.",
            &bars(report, "µs", false, |runs| runs.spread(|run| run.cpu_micros)),
        ),
        section(
            "Latency at a steady rate",
            &format!(
                "{} requests per second, a fifth of the slower server's maximum. Times count from the moment a request was due, so a stall shows in every request due during it.",
                report.open_rate
            ),
            &curves(&report.curves),
        ),
        section(
            "Programs that compute",
            "Time relative to the same source built natively with the same compiler. Metered guests count fuel, unmetered guests only check a clock from time to time.",
            &tables::compute(report),
        ),
        section("Where the time goes", "Processor time of the server for one echo of 1 KiB.", &tables::spent(report)),
        section("Machine and versions", "", &tables::machine(report)),
    ];
    document("Bulkhead bench", &[[head(report)].as_slice(), &sections].concat())
}

fn head(report: &Report) -> String {
    let count = |verdict| report.lines.iter().filter(|line| line.verdict() == verdict).count();
    let kind = if report.quick { "a quick run" } else { "a full run" };
    let busy = match report.busy_cores {
        busy if busy > 0.1 => format!(
            "<p class=\"warning\">Other processes kept {busy:.1} cores of this machine busy before the run, which affects the numbers.</p>\n"
        ),
        _ => String::new(),
    };
    format!(
        "<header>\n<h1>Bulkhead bench</h1>\n<p class=\"when\">{}, {kind}</p>\n<div class=\"tiles\">\n\
         <div class=\"tile met\"><b>{}</b> targets met</div>\n<div class=\"tile missed\"><b>{}</b> missed</div>\n\
         <div class=\"tile\"><b>{}</b> not measured</div>\n</div>\n{busy}</header>\n",
        moment(report.unix_seconds),
        count(Verdict::Met),
        count(Verdict::Missed),
        count(Verdict::Absent)
    )
}

/// Draws a bar for every server, the best first.
fn bars(report: &Report, unit: &'static str, most_first: bool, value: impl Fn(&Runs) -> Option<Spread>) -> String {
    let bar =
        |runs: &Runs| Some(Bar { name: runs.name.clone(), spread: value(runs)?, is_ours: runs.name.starts_with(OURS) });
    let mut bars: Vec<Bar> = ranked(&report.contest).into_iter().filter_map(bar).collect();
    let key = |bar: &Bar| if most_first { -bar.spread.median } else { bar.spread.median };
    bars.sort_by(|a, b| key(a).total_cmp(&key(b)));
    chart::bars(&bars, unit)
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use bulkhead_plots::Curve;

    use super::super::report::{Computed, Line, Skipped, Spent};
    use super::*;

    #[test]
    fn nothing_that_was_measured_can_become_markup() {
        let mut report = Report::new(true, 0.5);
        report.lines.push(Line::absent("<script>", "<i>"));
        report.lines.push(Line::told("a", "1".into(), json!({})));
        report.skipped.push(Skipped { name: "<p>".into(), why: "<q>".into() });
        report.curves.push(Curve { name: "<c>".into(), class: "ours", points: vec![(0.5, 90.0), (0.99, 300.0)] });
        report.compute.push(Computed {
            kernel: "k",
            build: "b",
            checks: "metered",
            relative: Spread { median: 1.5, least: 1.0, most: 2.0 },
            native_us: 3.0,
        });
        report.spent.push(Spent { part: "p", how: "h", bare: None, bulkhead: 1.0 });
        let page = page(&report);
        for wrong in ["<script", "<i>", "<q>", "<c>", "http://", "https://", "NaN", "inf"] {
            assert!(!page.contains(wrong), "{wrong}");
        }
        assert!(page.contains("prefers-color-scheme: dark"));
    }

    #[test]
    fn an_empty_report_is_a_page_too() {
        assert!(page(&Report::new(false, 0.0)).contains("</html>"));
    }
}
