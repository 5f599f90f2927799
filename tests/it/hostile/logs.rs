//! Log lines of guests: limited in bytes, counted beyond the limit, and unable to forge other lines.

use serde_json::{Value, json};

use super::{deploy_component, named};
use crate::figures::must;
use crate::host::TestHost;

/// Counts the log lines written by guests of this service.
fn said(log: &str, service: &str) -> usize {
    let service = format!(" service={service} ");
    log.lines().filter(|line| line.contains(&service) && line.contains(" processor: ")).count()
}

#[test]
fn a_flood_of_log_lines_is_capped_and_the_rest_is_counted() {
    let host = TestHost::start();
    // Each line costs its bytes and 64 for its metadata. A line of a megabyte is first cut to 8 KiB.
    let floods =
        [("E2-lines", 10_000, 65_536 / 84), ("E2-empty", 10_000, 65_536 / 64), ("E2-long", 8, 7), ("E1-log", 0, 7)];
    for (id, lines, kept) in floods {
        let name = id.to_ascii_lowercase();
        let service = deploy_component(&host, &name, &named(id).component, json!({}), 300).unwrap();
        let answer = host.client().post(&service, b"");
        assert_eq!(answer.status, if lines > 0 { 200 } else { 408 }, "{id}: {}", answer.text());
        let dropped = format!("bulkhead_log_dropped_total{{service=\"{name}\"}}");
        if lines > kept {
            host.wait_for("the count of what was dropped", || host.metric(&dropped) == lines - kept);
        }
        // The last kept line is written before the line with the number of dropped lines.
        let all = kept as usize + usize::from(lines > kept);
        host.wait_for("the lines", || said(&host.log(), &name) >= all);
        assert_eq!(said(&host.log(), &name), all, "{id}");
    }
    let bytes = host.log().len() as u64;
    must("hostile.logs.bytes_of_four_floods", "at most 64 KiB each, and what names them", bytes, bytes < 1 << 20);
}

/// A message that imitates the host, hides text, or contains terminal control characters.
const FORGED: &str = r#"(data (i32.const 4096) "one\0a2026-01-01T00:00:00.000000Z ERROR forged: two\0d\0athree\1b[2J\00four\07\c2\85five\e2\80\aesix\e2\80\a8seven\7f\\x\"}")"#;

#[test]
fn what_a_guest_says_stays_on_its_line_in_both_formats() {
    let logs = "(func $act (call $log (i32.const 2) (i32.const 4096) (i32.const 100)))";
    let printed = "(func $act (call $write (call $stdout) (i32.const 4096) (i32.const 100) (i32.const 512)))";
    let panics = "(func $act (call $report_panic (i32.const 4096) (i32.const 100) (i32.const 0) (i32.const 0) (i32.const 0)) (unreachable))";
    for format in ["text", "json"] {
        let host = TestHost::start_with(&["--log-format", format], "");
        for (name, act) in [("logs", logs), ("prints", printed), ("panics", panics)] {
            let component = bulkhead_hostile::processor(&format!("{FORGED} {act}"));
            let service = deploy_component(&host, name, &component, json!({}), 5000).unwrap();
            host.client().post(&service, b"");
            host.wait_for("the guest's words", || host.log().contains("seven"));
        }
        // These components have control characters in a name. The refusal has the name, or the stack has it after a
        // trap.
        for id in ["D10-import", "D10-export", "D10-core", "D10-stack"] {
            let name = id.to_ascii_lowercase();
            if let Ok(service) = deploy_component(&host, &name, &named(id).component, json!({}), 5000) {
                host.client().post(&service, b"");
            }
        }
        host.wait_for("the trap", || host.log().contains("d10-stack"));
        let log = host.log();
        for line in log.lines() {
            assert!(!line.starts_with("2026-01-01T00:00:00.000000Z ERROR forged"), "{format}: a forged line: {line:?}");
            if format == "json" {
                assert!(serde_json::from_str::<Value>(line).is_ok(), "not a line of JSON: {line:?}");
            } else {
                assert!(line.starts_with("20"), "a line without a time: {line:?}");
            }
        }
        let wild = log.chars().find(|c| (c.is_control() && *c != '\n') || ['\u{202e}', '\u{2028}'].contains(c));
        assert_eq!(wild, None, "{format}: {log:?}");
    }
}
