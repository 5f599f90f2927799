//! Group B, second half: processors that allocate wrong memory for their arguments, or free it wrongly.
//!
//! The host calls a guest's `cabi_realloc` for the memory of every argument. A POST's method needs four bytes, and on
//! that size these guests misbehave.

use super::Expect::{Answer, Fault, Overdue};
use super::{Hostile, guest};

pub(crate) fn guests() -> Vec<Hostile> {
    let wrong = |id: &str, title: &'static str, expect, evil: &str| guest(id, title, expect, &realloc(evil));
    vec![
        // Address 0 is ordinary memory.
        wrong("B11-null", "gives 0", Answer, "(i32.const 0)"),
        wrong("B11-minus", "gives -1", Fault("realloc return"), "(i32.const -1)"),
        wrong("B11-end", "gives the last byte", Fault("realloc return"), "(i32.const 131071)"),
        wrong("B11-past", "gives the end", Fault("realloc return"), "(i32.const 131072)"),
        wrong("B11-high", "gives an address near 4 GiB", Fault("realloc return"), "(i32.const 0xfffffffc)"),
        wrong("B11-same", "gives the same place for everything", Answer, "(i32.const 4096)"),
        wrong("B11-answer", "gives the place of its answer", Answer, "(i32.const 1024)"),
        guest(
            "B11-unaligned",
            "gives an unaligned place for a list of headers",
            Fault("aligned"),
            "(func $realloc (param i32 i32 i32 i32) (result i32) (i32.const 4097)) (func $act (call $headers (i32.const 512)))",
        ),
        wrong("B12-loop", "loops", Overdue, "(loop $again (br $again)) (i32.const 4096)"),
        wrong(
            "B12-recurse",
            "recurses",
            Fault("stack"),
            "(call $realloc (i32.const 0) (i32.const 0) (i32.const 1) (i32.const 4))",
        ),
        wrong("B12-trap", "traps", Fault("unreachable"), "(unreachable)"),
        wrong(
            "B12-grow",
            "grows to the limit first",
            Answer,
            "(loop $again (br_if $again (i32.ne (memory.grow (i32.const 1)) (i32.const -1)))) (i32.const 4096)",
        )
        // The guest must stay for the next call, instead of being replaced from a snapshot.
        .under(r#"{"memory_mb": 8, "snapshot": false}"#),
        guest("B13-trap", "traps after a good answer", Fault("unreachable"), &post("(unreachable)")),
        guest("B13-loop", "loops after a good answer", Overdue, &post("(loop $again (br $again))")),
        guest("B13-recurse", "recurses after a good answer", Fault("stack"), &post("(call $post (i32.const 0))")),
        guest(
            "E7",
            "asks the host while the host asks it for memory",
            Fault("leave"),
            &realloc("(drop (call $remaining_ms)) (i32.const 4096)"),
        ),
        guest("E7-post", "asks the host after its answer", Fault("leave"), &post("(drop (call $remaining_ms))")),
    ]
}

fn realloc(evil: &str) -> String {
    format!(
        "(func $realloc (param i32 i32 i32) (param $size i32) (result i32)
            (if (result i32) (i32.eq (local.get $size) (i32.const 4))
                (then {evil})
                (else (call $bump (local.get $size)))))"
    )
}

/// Makes a guest that misbehaves after the answer to a POST has been read.
fn post(evil: &str) -> String {
    format!(
        "(global $acted (mut i32) (i32.const 0))
         (func $act (global.set $acted (i32.const 1)))
         (func $post (param i32)
            (global.set $next (i32.const 65536))
            (if (global.get $acted) (then {evil})))"
    )
}
