//! Group A: processors that compute for ever, recurse too deeply, or execute trapping operations.

use super::Expect::{Answer, Fault, Fuel, Overdue, Refused};
use super::{Hostile, component, guest};

pub(crate) fn guests() -> Vec<Hostile> {
    let mut guests = vec![
        guest("A1", "an empty loop", Overdue, "(func $act (loop $again (br $again)))"),
        guest(
            "A2",
            "a loop of calls through a table",
            Overdue,
            "(table funcref (elem $one $two))
             (func $one (nop))
             (func $two (call_indirect (i32.const 0)))
             (func $act (loop $again (call_indirect (i32.const 1)) (br $again)))",
        ),
        component(
            "A3",
            "mutual tail calls",
            Refused("tail calls"),
            "(component (core module (func $a (return_call $b)) (func $b (return_call $a))))",
        ),
        guest("A4", "recursion of small frames", Fault("stack"), "(func $act (call $act))"),
        guest("A5", "recursion of frames with a thousand parameters", Fault("stack"), &wide_frames()),
        guest(
            "A6",
            "recursion that asks the host at every depth",
            Fault("stack"),
            "(func $act (drop (call $remaining_ms)) (call $act))",
        ),
        guest(
            "A6-log",
            "recursion that logs at every depth",
            Fault("stack"),
            "(func $act (call $log (i32.const 4) (i32.const 4096) (i32.const 64)) (call $act))",
        ),
        guest(
            "A6-table",
            "mutual recursion through a table",
            Fault("stack"),
            "(table funcref (elem $one $act))
             (func $one (call_indirect (i32.const 1)))
             (func $act (call_indirect (i32.const 0)))",
        ),
        guest(
            "A6-memory",
            "recursion whose variables lie in its memory, below which it goes",
            Fault("call stack exhausted, in "),
            "(global $stack (mut i32) (i32.const 65536))
             (func $act
                (global.set $stack (i32.sub (global.get $stack) (i32.const 1024)))
                (i32.store (global.get $stack) (i32.const 1))
                (call $act)
                (global.set $stack (i32.add (global.get $stack) (i32.const 1024))))",
        ),
        guest(
            "A6-few",
            "recursion whose few large variables lie in its memory, below which it goes",
            Fault("out of bounds memory access just below the beginning of memory"),
            "(global $stack (mut i32) (i32.const 65536))
             (func $act
                (global.set $stack (i32.sub (global.get $stack) (i32.const 16384)))
                (i32.store (global.get $stack) (i32.const 1))
                (call $act)
                (global.set $stack (i32.add (global.get $stack) (i32.const 16384))))",
        ),
        guest(
            "A6-beyond",
            "recursion that reads far beyond its memory in the end",
            Fault("out of bounds memory access"),
            "(func $deep (param $left i32)
                (if (local.get $left) (then (call $deep (i32.sub (local.get $left) (i32.const 1)))))
                (drop (i32.load (i32.const 0x7fff0000))))
             (func $act (call $deep (i32.const 100)))",
        ),
        guest(
            "A6-before",
            "a read just before the beginning of its memory",
            Fault("out of bounds memory access"),
            "(func $act (drop (i32.load (i32.sub (i32.const 0) (i32.const 64)))))",
        ),
        guest("A7", "unreachable", Fault("unreachable"), "(func $act (unreachable))"),
        guest(
            "A9-fill",
            "fills all its memory, for ever",
            Overdue,
            r#"(memory (export "memory") 1024)
             (func $act (loop $again
                (memory.fill (i32.const 65536) (i32.const 7) (i32.const 67043328)) (br $again)))"#,
        ),
        guest(
            "A9-copy",
            "copies all its memory, for ever",
            Overdue,
            r#"(memory (export "memory") 1024)
             (func $act (loop $again
                (memory.copy (i32.const 65536) (i32.const 65544) (i32.const 67043320)) (br $again)))"#,
        ),
        guest(
            "A10-memory",
            "a million growths by nothing of its memory",
            Answer,
            "(func $act (local $left i32) (local.set $left (i32.const 1000000))
                (loop $again
                    (drop (memory.grow (i32.const 0)))
                    (br_if $again (local.tee $left (i32.sub (local.get $left) (i32.const 1))))))",
        ),
        guest(
            "A10-table",
            "a million growths by nothing of its table",
            Answer,
            "(table $table 1 funcref)
             (func $act (local $left i32) (local.set $left (i32.const 1000000))
                (loop $again
                    (drop (table.grow $table (ref.null func) (i32.const 0)))
                    (br_if $again (local.tee $left (i32.sub (local.get $left) (i32.const 1))))))",
        ),
        guest("A11", "a loop that outlasts its fuel", Fuel, "(func $act (loop $again (br $again)))")
            .under(r#"{"fuel": 1000000}"#),
        guest(
            "A11-calls",
            "recursion that outlasts its fuel",
            Fuel,
            "(func $deep (param $left i32) (if (local.get $left) (then
                (call $deep (i32.sub (local.get $left) (i32.const 1)))
                (call $deep (i32.sub (local.get $left) (i32.const 1))))))
             (func $act (call $deep (i32.const 40)))",
        )
        .under(r#"{"fuel": 1000000}"#),
        guest(
            "A11-fill",
            "fills memory past its fuel",
            Fuel,
            "(func $act (loop $again (memory.fill (i32.const 65536) (i32.const 7) (i32.const 65536)) (br $again)))",
        )
        .under(r#"{"fuel": 1000000}"#),
        guest(
            "A12",
            "goes on growing although it is told no",
            Overdue,
            "(func $act (loop $again (drop (memory.grow (i32.const 1))) (br $again)))",
        )
        .under(r#"{"memory_mb": 1}"#),
        guest("A13", "a branch table of 65,520 targets, at random", Answer, &branches()),
        component(
            "A14",
            "throws exceptions for ever",
            Refused("exceptions"),
            "(component (core module (tag $oops) (func (loop $again
                (block $caught (try_table (catch $oops $caught) (throw $oops))) (br $again)))))",
        ),
        component(
            "A15",
            "waits for ever on shared memory",
            Refused("threads"),
            "(component (core module (memory 1 1 shared)
                (func (drop (memory.atomic.wait32 (i32.const 0) (i32.const 0) (i64.const -1))))))",
        ),
    ];
    guests.extend(traps());
    guests
}

/// A8: guests with operations on which WebAssembly traps.
fn traps() -> impl Iterator<Item = Hostile> {
    let traps = [
        ("zero", "divides by zero", "divide by zero", "(drop (i32.div_u (i32.const 1) (global.get $zero)))"),
        (
            "overflow",
            "divides past the largest number",
            "integer overflow",
            "(drop (i32.div_s (i32.const 0x80000000) (i32.sub (global.get $zero) (i32.const 1))))",
        ),
        (
            "float",
            "makes an integer of what is no number",
            "invalid conversion to integer",
            "(drop (i32.trunc_f32_s (f32.div (f32.const 0) (f32.convert_i32_u (global.get $zero)))))",
        ),
        ("null", "calls an empty place of a table", "uninitialized element", "(call_indirect (i32.const 0))"),
        (
            "signature",
            "calls a function by a wrong type",
            "indirect call type mismatch",
            "(call_indirect (param i64) (i64.const 0) (i32.const 1))",
        ),
        ("table", "calls past the end of a table", "undefined element", "(call_indirect (i32.const 1000))"),
        (
            "memory",
            "reads past the end of its memory",
            "out of bounds memory access",
            "(drop (i32.load (i32.const -4)))",
        ),
        (
            "unaligned",
            "writes across the end of its memory",
            "out of bounds memory access",
            "(i64.store (i32.const 131071) (i64.const -1))",
        ),
    ];
    traps.into_iter().map(|(word, title, told, act)| {
        let text = format!(
            "(global $zero (mut i32) (i32.const 0))
             (table 2 funcref) (elem (i32.const 1) $fine) (func $fine)
             (func $act {act})"
        );
        guest(format!("A8-{word}"), title, Fault(told), &text)
    })
}

fn wide_frames() -> String {
    let params = "i64 ".repeat(1000);
    let pass: String = (0..1000).map(|n| format!("(local.get {n})")).collect();
    let zeros = "(i64.const 0)".repeat(1000);
    format!("(func $wide (param {params}) (call $wide {pass})) (func $act (call $wide {zeros}))")
}

fn branches() -> String {
    let targets = "$a $b ".repeat(65_520 / 2);
    format!(
        "(func $act (local $left i32) (local $seed i32) (local.set $left (i32.const 10000))
            (loop $again
                (local.set $seed (i32.add (i32.mul (local.get $seed) (i32.const 1664525)) (i32.const 1013904223)))
                (block $a (block $b
                    (br_table {targets} $a (i32.shr_u (local.get $seed) (i32.const 16)))))
                (br_if $again (local.tee $left (i32.sub (local.get $left) (i32.const 1))))))"
    )
}
