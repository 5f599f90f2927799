//! The report as one page that needs nothing else: no scripts, no fonts, no pictures from elsewhere.

mod chart;
mod curves;
mod tables;

use std::fmt::{Display, Formatter, Result as Formatted};
use std::fs;
use std::path::Path;

use anyhow::{Context, Result};

use self::chart::Bar;
use super::contest::{Runs, ranked};
use super::report::{Report, Verdict};
use super::stats::Spread;

const STYLE: &str = include_str!("page/style.css");
/// Names of servers that are Bulkhead begin so.
const OURS: &str = "Bulkhead";

pub(super) fn write(file: &Path, report: &Report) -> Result<()> {
    fs::write(file, page(report)).with_context(|| format!("cannot write {}", file.display()))
}

fn page(report: &Report) -> String {
    let sections = [
        section(
            "Targets",
            "Medians, in parentheses the least and the most of all rounds. A ratio is to what the line names, or to the target where that is a bound.",
            &tables::targets(report),
        ),
        section(
            "Throughput",
            "Echo of 1 KiB of JSON, 64 connections that each wait for their answer; the servers take turns. Bars are medians, the fine lines least to most.",
            &bars(report, "requests/s", true, |runs| runs.spread(|run| run.per_second)),
        ),
        section(
            "Processor time of the server for one request",
            "The same runs, from the scheduler's account of all its processes. Less is better, and other work on the machine disturbs it least.",
            &bars(report, "µs", false, |runs| runs.spread(|run| run.cpu_micros)),
        ),
        section(
            "Latency at a steady rate",
            &format!(
                "{} requests a second, a fifth of what the slower of both can bear. Times count from when a request was due, so a stall shows in all that were due meanwhile.",
                report.open_rate
            ),
            &curves::chart(&report.curves),
        ),
        section(
            "Programs that compute",
            "Time relative to the same source built natively with the same compiler. Metered guests count fuel, unmetered ones only look at a clock now and then.",
            &tables::compute(report),
        ),
        section("Where the time goes", "Processor time of the server for one echo of 1 KiB.", &tables::spent(report)),
        section("Machine and versions", "", &tables::machine(report)),
    ];
    format!(
        "<!doctype html>\n<html lang=\"en\">\n<head>\n<meta charset=\"utf-8\">\n\
         <meta name=\"viewport\" content=\"width=device-width, initial-scale=1\">\n<meta name=\"color-scheme\" content=\"light dark\">\n\
         <title>Bulkhead bench</title>\n<style>\n{STYLE}</style>\n</head>\n<body>\n<main>\n{}{}</main>\n</body>\n</html>\n",
        head(report),
        sections.concat()
    )
}

fn head(report: &Report) -> String {
    let count = |verdict| report.lines.iter().filter(|line| line.verdict() == verdict).count();
    let kind = if report.quick { "a quick run" } else { "a full run" };
    let busy = match report.busy_cores {
        busy if busy > 0.1 => format!(
            "<p class=\"warning\">Others kept {busy:.1} cores of this machine busy before the run: the numbers tell of them as well.</p>\n"
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

fn section(title: &str, note: &str, content: &str) -> String {
    let note = if note.is_empty() { String::new() } else { format!("<p class=\"note\">{}</p>\n", Text(note)) };
    format!("<section>\n<h2>{}</h2>\n{note}{content}</section>\n", Text(title))
}

/// Of every server, the best first.
fn bars(report: &Report, unit: &'static str, most_first: bool, value: impl Fn(&Runs) -> Option<Spread>) -> String {
    let bar =
        |runs: &Runs| Some(Bar { name: runs.name.clone(), spread: value(runs)?, is_ours: runs.name.starts_with(OURS) });
    let mut bars: Vec<Bar> = ranked(&report.contest).into_iter().filter_map(bar).collect();
    let key = |bar: &Bar| if most_first { -bar.spread.median } else { bar.spread.median };
    bars.sort_by(|a, b| key(a).total_cmp(&key(b)));
    chart::bars(&bars, unit)
}

/// Text that may hold what HTML takes for markup.
struct Text<'a>(&'a str);

impl Display for Text<'_> {
    fn fmt(&self, f: &mut Formatter<'_>) -> Formatted {
        self.0.chars().try_for_each(|character| match character {
            '&' => f.write_str("&amp;"),
            '<' => f.write_str("&lt;"),
            '>' => f.write_str("&gt;"),
            '"' => f.write_str("&quot;"),
            other => write!(f, "{other}"),
        })
    }
}

/// `2026-11-24 18:50 UTC`. Years begin in March here, so that a leap day is the last of one.
fn moment(unix_seconds: u64) -> String {
    let (days, seconds) = (unix_seconds / 86_400, unix_seconds % 86_400);
    let day = days + 719_468; // since the first of March of the year 0
    let (era, of_era) = (day / 146_097, day % 146_097);
    let year = (of_era - of_era / 1460 + of_era / 36_524 - of_era / 146_096) / 365;
    let of_year = of_era - (365 * year + year / 4 - year / 100);
    let month = (5 * of_year + 2) / 153;
    let day = of_year - (153 * month + 2) / 5 + 1;
    let (month, next) = if month < 10 { (month + 3, 0) } else { (month - 9, 1) };
    let (hour, minute) = (seconds / 3600, seconds / 60 % 60);
    format!("{}-{month:02}-{day:02} {hour:02}:{minute:02} UTC", year + era * 400 + next)
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::super::report::{Computed, Curve, Line, Skipped, Spent};
    use super::*;

    #[test]
    fn dates_are_those_of_the_calendar() {
        assert_eq!(moment(0), "1970-01-01 00:00 UTC");
        assert_eq!(moment(951_782_400), "2000-02-29 00:00 UTC");
        assert_eq!(moment(1_795_546_259), "2026-11-24 18:50 UTC");
    }

    #[test]
    fn nothing_that_was_measured_can_become_markup() {
        assert_eq!(Text("a <b> & \"c\"").to_string(), "a &lt;b&gt; &amp; &quot;c&quot;");
        let mut report = Report::new(true, 0.5);
        report.lines.push(Line::absent("<script>", "<i>"));
        report.lines.push(Line::told("a", "1".into(), json!({})));
        report.skipped.push(Skipped { name: "<p>".into(), why: "<q>".into() });
        report.curves.push(Curve { name: "<c>".into(), points: vec![(0.5, 90.0), (0.99, 300.0)] });
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
