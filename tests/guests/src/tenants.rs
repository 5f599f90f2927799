//! Group S: processors that leave data behind for the next caller.

use super::Expect::{Answer, Fault, Overdue};
use super::{Hostile, guest};

pub(crate) fn guests() -> Vec<Hostile> {
    vec![
        guest(
            "S2-trap",
            "traps while it holds handles",
            Fault("unreachable"),
            "(func $act (drop (call $subscribe (i64.const 60000000000))) (drop (call $stdout)) (unreachable))",
        ),
        guest(
            "S2-loop",
            "loops while it holds handles",
            Overdue,
            "(func $act (drop (call $subscribe (i64.const 60000000000))) (loop $again (br $again)))",
        ),
        guest(
            "S2-keep",
            "keeps one handle more after each call",
            Answer,
            "(func $act (drop (call $subscribe (i64.const 60000000000))))",
        ),
        guest(
            "S1-spoilt",
            "spoils all its memory and its globals, then traps",
            Fault("unreachable"),
            "(func $act
                (global.set $calls (i32.const 77))
                (memory.fill (i32.const 0) (i32.const 0xaa) (i32.const 131072)) (unreachable))",
        ),
        guest(
            "S1-panic",
            "reports a panic, but does not trap",
            Answer,
            "(func $act (call $report_panic (i32.const 4096) (i32.const 0) (i32.const 0) (i32.const 0) (i32.const 0)))",
        ),
    ]
}
