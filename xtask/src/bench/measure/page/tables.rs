//! Tables of the page.

use std::fmt::Write;

use bulkhead_plots::Text;

use super::super::report::{Computed, Report, Skipped, Spent, Verdict};

pub(super) fn targets(report: &Report) -> String {
    let mut table =
        "<table class=\"targets\">\n<tr><th>what<th>target<th>measured<th>ratio<th>verdict</tr>\n".to_owned();
    for line in &report.lines {
        let [what, target, measured, ratio, verdict] = line.cells();
        let class = match line.verdict() {
            Verdict::Told => "told",
            Verdict::Met => "met",
            Verdict::Missed => "missed",
            Verdict::Absent => "absent",
        };
        // Writing to a string cannot fail, here and below.
        let _ = writeln!(
            table,
            "<tr class=\"{class}\"><td>{}<td class=\"tight\">{}<td>{}<td class=\"tight\">{}<td class=\"verdict\"><span>{}</span></tr>",
            Text(&what),
            Text(&target),
            Text(&measured),
            Text(&ratio),
            Text(&verdict.to_lowercase())
        );
    }
    table.push_str("</table>\n");
    table
}

/// Makes a table with a row per kernel and build, and a column per kind of check.
pub(super) fn compute(report: &Report) -> String {
    let cells = &report.compute;
    if cells.is_empty() {
        return "<p class=\"note\">Nothing was measured.</p>\n".to_owned();
    }
    let mut checks: Vec<&str> = Vec::new();
    let mut rows: Vec<(&str, &str)> = Vec::new();
    for cell in cells {
        if !checks.contains(&cell.checks) {
            checks.push(cell.checks);
        }
        if !rows.contains(&(cell.kernel, cell.build)) {
            rows.push((cell.kernel, cell.build));
        }
    }
    let mut table = "<table class=\"compute\">\n<tr><th>kernel<th>compiled with".to_owned();
    for checks in &checks {
        let _ = write!(table, "<th class=\"right\">{}", Text(checks));
    }
    table.push_str("<th class=\"right\">native, µs</tr>\n");
    let mut before = "";
    for (kernel, build) in rows {
        let of = |cell: &&Computed| cell.kernel == kernel && cell.build == build;
        let first = if kernel == before { "" } else { " class=\"first\"" };
        let name = if kernel == before { "" } else { kernel };
        let _ = write!(table, "<tr{first}><td>{}<td>{}", Text(name), Text(build));
        for checks in &checks {
            let relative = cells.iter().filter(of).find(|cell| cell.checks == *checks);
            match relative.map(|cell| cell.relative.median) {
                Some(relative) => {
                    let _ = write!(table, "<td class=\"right {}\">{relative:.2}\u{a0}×", heat(relative));
                }
                None => table.push_str("<td class=\"right\">–"),
            }
        }
        let native = cells.iter().find(of).map_or(f64::NAN, |cell| cell.native_us);
        let _ = writeln!(table, "<td class=\"right\">{native:.1}</tr>");
        before = kernel;
    }
    table.push_str("</table>\n");
    table
}

const fn heat(relative: f64) -> &'static str {
    match relative {
        ..1.5 => "near",
        ..2.5 => "some",
        _ => "far",
    }
}

pub(super) fn spent(report: &Report) -> String {
    if report.spent.is_empty() {
        return "<p class=\"note\">Nothing was measured.</p>\n".to_owned();
    }
    let all = report.spent.iter().map(|spent| spent.bulkhead).fold(0.0, f64::max);
    let mut table =
        "<table class=\"spent\">\n<tr><th>part<th>source<th class=\"right\">bare hyper, µs<th class=\"right\">Bulkhead, µs<th>share</tr>\n"
            .to_owned();
    for Spent { part, how, bare, bulkhead } in &report.spent {
        let bare = bare.map_or("–".to_owned(), |bare| format!("{bare:.2}"));
        let share = 100.0 * (bulkhead / all).clamp(0.0, 1.0);
        let _ = writeln!(
            table,
            "<tr><td>{}<td>{}<td class=\"right\">{bare}<td class=\"right\">{bulkhead:.2}<td class=\"share\">\
             <span style=\"width: {share:.0}%\"></span></tr>",
            Text(part),
            Text(how)
        );
    }
    table.push_str("</table>\n");
    table
}

pub(super) fn machine(report: &Report) -> String {
    let mut table = "<table class=\"machine\">\n".to_owned();
    for (name, fact) in &report.machine.facts {
        let _ = writeln!(table, "<tr><th>{}<td>{}</tr>", Text(name), Text(fact));
    }
    for Skipped { name, why } in &report.skipped {
        let _ = writeln!(table, "<tr><th>{}<td>skipped: {}</tr>", Text(name), Text(why));
    }
    table.push_str("</table>\n");
    table
}
