//! Group E: processors whose host calls are too large, too frequent or invalid.

use super::Expect::{Answer, Fault, Overdue};
use super::{Hostile, guest};

pub(crate) fn guests() -> Vec<Hostile> {
    let log = |id: &str, title: &'static str, count: u64, length: u64| {
        let text = format!(
            r#"(memory (export "memory") 64) (func $act {})"#,
            times(count, &format!("(call $log (i32.const 2) (i32.const 4096) (i32.const {length}))"))
        );
        guest(id, title, Answer, &text)
    };
    let mut guests = vec![
        guest(
            "E1",
            "asks the host for the time, for ever",
            Overdue,
            "(func $act (loop $again (drop (call $remaining_ms)) (br $again)))",
        ),
        guest(
            "E1-headers",
            "asks for its headers, for ever",
            Overdue,
            "(func $act (loop $again (call $headers (i32.const 512)) (global.set $next (i32.const 65536)) (br $again)))",
        ),
        guest(
            "E1-clock",
            "asks WASI for the time, for ever",
            Overdue,
            "(func $act (loop $again (drop (call $now)) (br $again)))",
        ),
        guest(
            "E1-log",
            "logs a megabyte, for ever",
            Overdue,
            r#"(memory (export "memory") 64)
             (func $act (loop $again (call $log (i32.const 2) (i32.const 4096) (i32.const 1048576)) (br $again)))"#,
        ),
        guest(
            "E1-header",
            "asks for a header with a name of a megabyte, for ever",
            Overdue,
            r#"(memory (export "memory") 64)
             (func $act (loop $again (call $header (i32.const 4096) (i32.const 1048576) (i32.const 512)) (br $again)))"#,
        ),
        guest(
            "E1-panic",
            "reports panics of a megabyte, for ever",
            Overdue,
            r#"(memory (export "memory") 64)
             (func $act (loop $again
                (call $report_panic (i32.const 4096) (i32.const 1048576) (i32.const 0) (i32.const 0) (i32.const 0)) (br $again)))"#,
        ),
        guest(
            "E1-report",
            "reports progress with a note of a megabyte, for ever",
            Overdue,
            r#"(memory (export "memory") 64)
             (func $act (loop $again (call $report (f64.const nan) (i32.const 4096) (i32.const 1048576)) (br $again)))"#,
        ),
        guest(
            "E1-keep",
            "keeps partial results of a megabyte, for ever",
            Overdue,
            r#"(memory (export "memory") 64)
             (func $act (loop $again
                (call $keep_partial (i32.const 4096) (i32.const 1048576) (i32.const 512))
                (global.set $next (i32.const 65536)) (br $again)))"#,
        ),
        guest(
            "E1-random",
            "asks for randomness, for ever",
            Overdue,
            r#"(memory (export "memory") 3)
             (func $act (loop $again (call $random (i64.const 65536) (i32.const 512)) (global.set $next (i32.const 65536)) (br $again)))"#,
        ),
        guest(
            "E1-print",
            "prints, for ever",
            Overdue,
            &format!("{STDOUT} (func $act (loop $again (call $print (i32.const 4096) (i32.const 4096)) (br $again)))"),
        ),
        guest(
            "E1-lines",
            "prints empty lines without asking how much it may, for ever",
            Fault("more than it was allowed"),
            r#"(memory (export "memory") 4)
             (func $act (local $out i32)
                (local.set $out (call $stdout))
                (memory.fill (i32.const 131072) (i32.const 10) (i32.const 65536))
                (loop $again
                    (call $write_unasked (local.get $out) (i32.const 131072) (i32.const 65536) (i32.const 512))
                    (br $again)))"#,
        ),
        guest(
            "E8-zeroes",
            "prints more zeroes than there are addresses",
            Fault("check_write"),
            "(func $act (call $write_zeroes (call $stdout) (i64.const 0x400000000000) (i32.const 512)))",
        ),
        log("E2-lines", "logs ten thousand short lines", 10_000, 20),
        log("E2-empty", "logs ten thousand empty lines", 10_000, 0),
        log("E2-long", "logs lines of a megabyte", 8, 1 << 20),
        guest(
            "E2-stdout",
            "prints without a line end",
            Answer,
            &format!("{STDOUT} (func $act {})", times(1000, "(call $print (i32.const 4096) (i32.const 4096))")),
        ),
        guest(
            "E4",
            "sleeps past its deadline",
            Overdue,
            "(func $act (call $block (call $subscribe (i64.const 60000000000))))",
        ),
        guest(
            "E6",
            "asks for four thousand million random bytes",
            Fault(""),
            "(func $act (call $random (i64.const 0xffffffff) (i32.const 512)))",
        ),
        guest(
            "E6-all",
            "asks for more random bytes than there are addresses",
            Fault(""),
            "(func $act (call $random (i64.const -1) (i32.const 512)))",
        ),
        guest(
            "E6-more",
            "asks for one random byte more than one call may give",
            Fault(""),
            r#"(memory (export "memory") 4) (func $act (call $random (i64.const 65537) (i32.const 512)))"#,
        ),
        guest(
            "E6-most",
            "asks for as many random bytes as one call may give",
            Answer,
            r#"(memory (export "memory") 4) (func $act (call $random (i64.const 65536) (i32.const 512)))"#,
        ),
        guest(
            "S3",
            "opens handles for ever",
            Fault(""),
            "(func $act (loop $again (drop (call $subscribe (i64.const 60000000000))) (br $again)))",
        ),
        guest("S3-foreign", "uses a handle it was never given", Fault(""), "(func $act (call $block (i32.const 77)))"),
    ];
    guests.extend(pointers());
    guests
}

const STDOUT: &str = "
    (global $out (mut i32) (i32.const 0))
    (func $print (param $at i32) (param $length i32)
        (if (i32.eqz (global.get $out)) (then (global.set $out (call $stdout))))
        (call $write (global.get $out) (local.get $at) (local.get $length) (i32.const 512)))";

/// E8: guests that pass strings outside their memory.
fn pointers() -> impl Iterator<Item = Hostile> {
    let log = |at: &str, length: &str| format!("(call $log (i32.const 2) (i32.const {at}) (i32.const {length}))");
    let pointers = [
        ("E8-beyond", "logs from beyond its memory", "out of bounds", log("131072", "1")),
        ("E8-across", "logs across the end of its memory", "out of bounds", log("131000", "1000")),
        ("E8-minus", "logs four thousand million bytes", "out of bounds", log("0", "-1")),
        ("E8-half", "logs 2 GiB", "out of bounds", log("4096", "0x80000000")),
        ("E8-wrap", "logs past the end of all addresses", "out of bounds", log("0xfffffff0", "0x20")),
        (
            "E8-text",
            "logs what is not text",
            "utf-8",
            format!("(i32.store (i32.const 4096) (i32.const -1)) {}", log("4096", "4")),
        ),
        (
            "E8-level",
            "logs at a level that is none",
            "",
            "(call $log (i32.const 99) (i32.const 4096) (i32.const 4))".into(),
        ),
        ("E8-result", "wants a result beyond its memory", "", "(call $request_id (i32.const 131070))".into()),
        ("E8-result-end", "wants a result at the end of all addresses", "", "(call $request_id (i32.const -1))".into()),
        (
            "E8-result-unaligned",
            "wants a result at an odd address",
            "aligned",
            "(call $request_id (i32.const 513))".into(),
        ),
        (
            "E8-option",
            "reports a panic at a place of no kind",
            "",
            "(call $report_panic (i32.const 4096) (i32.const 4) (i32.const 7) (i32.const 0) (i32.const 0))".into(),
        ),
    ];
    pointers.into_iter().map(|(id, title, told, act)| guest(id, title, Fault(told), &format!("(func $act {act})")))
}

/// Repeats `body` `count` times.
fn times(count: u64, body: &str) -> String {
    format!(
        "(local $left i32) (local.set $left (i32.const {count}))
         (loop $again {body} (br_if $again (local.tee $left (i32.sub (local.get $left) (i32.const 1)))))"
    )
}
