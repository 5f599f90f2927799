//! The text format of Prometheus, version 0.0.4, made from the OpenMetrics text.
//!
//! The samples are the same. In the older format, a counter's family is named like its samples, `…_total`; there are no
//! units and no end mark; and quotation marks in a help text are not escaped.

/// Rewrites the lines about metric families; `openmetrics` is the encoder's output.
pub(super) fn plain(openmetrics: &str) -> String {
    let mut out = String::with_capacity(openmetrics.len());
    let mut help = None;
    for line in openmetrics.lines() {
        if line == "# EOF" || line.starts_with("# UNIT ") {
            continue;
        }
        if let Some(described) = line.strip_prefix("# HELP ") {
            help = described.split_once(' ').map(|(_, text)| text);
        } else if let Some((name, kind)) = line.strip_prefix("# TYPE ").and_then(|typed| typed.split_once(' ')) {
            family(&mut out, name, kind, help.take());
        } else {
            out.push_str(line);
            out.push('\n');
        }
    }
    out
}

fn family(out: &mut String, name: &str, kind: &str, help: Option<&str>) {
    let (suffix, kind) = match kind {
        "counter" => ("_total", "counter"),
        "info" => ("_info", "gauge"),
        "unknown" => ("", "untyped"),
        other => ("", other),
    };
    if let Some(help) = help {
        out.extend(["# HELP ", name, suffix, " ", &help.replace("\\\"", "\""), "\n"]);
    }
    out.extend(["# TYPE ", name, suffix, " ", kind, "\n"]);
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn families_are_named_as_their_samples_and_what_the_format_lacks_is_left_out() {
        let openmetrics = "# HELP a_requests requests, \\\"all\\\" of them\n# TYPE a_requests counter\n\
            a_requests_total{service=\"# EOF\"} 3\n\
            # HELP a_run_seconds time\n# TYPE a_run_seconds histogram\n# UNIT a_run_seconds seconds\n\
            a_run_seconds_bucket{le=\"+Inf\"} 1\n\
            # HELP a_open connections\n# TYPE a_open gauge\na_open 1\n\
            # HELP a_odd x\n# TYPE a_odd unknown\na_odd 2\n# EOF\n";
        let expected = "# HELP a_requests_total requests, \"all\" of them\n# TYPE a_requests_total counter\n\
            a_requests_total{service=\"# EOF\"} 3\n\
            # HELP a_run_seconds time\n# TYPE a_run_seconds histogram\n\
            a_run_seconds_bucket{le=\"+Inf\"} 1\n\
            # HELP a_open connections\n# TYPE a_open gauge\na_open 1\n\
            # HELP a_odd x\n# TYPE a_odd untyped\na_odd 2\n";
        assert_eq!(plain(openmetrics), expected);
    }
}
