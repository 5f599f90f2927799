//! Groups B14, B15: processors that leave a canary in every place they can reach. One of them also looks for the
//! canary.

use super::processor;

/// The end of a guest after it has left its canary.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum End {
    Answers,
    Traps,
    Loops,
}

impl End {
    pub const ALL: [Self; 3] = [Self::Answers, Self::Traps, Self::Loops];

    fn text(self) -> &'static str {
        match self {
            Self::Answers => "",
            Self::Traps => "(unreachable)",
            Self::Loops => "(loop $again (br $again))",
        }
    }
}

/// Makes a guest that leaves a canary on a POST. On a GET it answers, as four bytes, the number of places whose value
/// differs from that in a new guest: words of memory before and after growing, table entries, and globals.
pub fn canary(end: End) -> Vec<u8> {
    let end = end.text();
    let globals: String = (0..64).map(|n| format!("(global $g{n} (mut i64) (i64.const 0))\n")).collect();
    let set: String = (0..64).map(|n| format!("(global.set $g{n} {CANARY})")).collect();
    let wrong: String =
        (0..64).map(|n| format!("(drop (call $count (i64.ne (global.get $g{n}) (i64.const 0))))")).collect();
    processor(&format!(
        r#"
        (memory (export "memory") 4 40)
        (table $table 500 1000 funcref)
        {globals}
        (global $found (mut i32) (i32.const 0))
        (func $count (param $wrong i32) (result i32)
            (global.set $found (i32.add (global.get $found) (local.get $wrong)))
            (local.get $wrong))
        ;; Beyond 128 KiB this processor keeps nothing of its own.
        (func $scan (local $at i32)
            (local.set $at (i32.const 131072))
            (loop $again
                (drop (call $count (i64.ne (i64.load (local.get $at)) (i64.const 0))))
                (local.set $at (i32.add (local.get $at) (i32.const 8)))
                (br_if $again (i32.lt_u (local.get $at) (i32.mul (memory.size) (i32.const 65536))))))
        ;; Below, it keeps its arguments and its answer, but never a canary.
        (func $scan_low (local $at i32)
            (loop $again
                (drop (call $count (i64.eq (i64.load (local.get $at)) {CANARY})))
                (local.set $at (i32.add (local.get $at) (i32.const 8)))
                (br_if $again (i32.lt_u (local.get $at) (i32.const 131072)))))
        (func $scan_table (local $at i32)
            (loop $again
                (drop (call $count (i32.eqz (ref.is_null (table.get $table (local.get $at))))))
                (local.set $at (i32.add (local.get $at) (i32.const 1)))
                (br_if $again (i32.lt_u (local.get $at) (table.size $table)))))
        (func $look (result i32)
            (call $scan) (call $scan_low) (call $scan_table) {wrong}
            (drop (call $count (i32.eq (memory.grow (i32.const 36)) (i32.const -1))))
            (drop (call $count (i32.eq (table.grow $table (ref.null func) (i32.const 500)) (i32.const -1))))
            (call $scan) (call $scan_table)
            (memory.fill (i32.const 1024) (i32.const 0) (i32.const 36))
            (i32.store (i32.const 2048) (global.get $found))
            (i32.store (i32.const 1052) (i32.const 2048))
            (i32.store (i32.const 1056) (i32.const 4))
            (i32.const 1024))
        (elem declare func $leave)
        (func $leave (local $at i32)
            (drop (memory.grow (i32.const 36)))
            (drop (table.grow $table (ref.null func) (i32.const 500)))
            (table.fill $table (i32.const 0) (ref.func $leave) (table.size $table))
            {set}
            (loop $again
                (i64.store (local.get $at) {CANARY})
                (local.set $at (i32.add (local.get $at) (i32.const 8)))
                (br_if $again (i32.lt_u (local.get $at) (i32.mul (memory.size) (i32.const 65536))))))
        (func $act (call $leave) {end})
        (func $polite (result i32) (call $look))
        (func $answer (result i32)
            (memory.fill (i32.const 1024) (i32.const 0) (i32.const 36))
            (i32.const 1024))"#
    ))
}

const CANARY: &str = "(i64.const 0x5ca1ab1ec0ffee11)";

/// The word that [`stain`] leaves. The guest computes it at run time, so that it does not occur in its code.
pub const STAIN: u64 = HALVES[0] ^ HALVES[1];
const HALVES: [u64; 2] = [0x0123_4567_89ab_cdef, 0x7a51_c3e0_5d2b_9614];

/// Makes a guest that, on a POST, fills its memory and its deep stack with a word. Globals are left out: they lie in
/// the host's heap, where freed data stays until it is overwritten.
pub fn stain(end: End) -> Vec<u8> {
    let end = end.text();
    let parameters = "i64 ".repeat(20);
    let pass: String = (1..=20).map(|n| format!("(local.get {n})")).collect();
    let first = "(local.get $word)".repeat(20);
    processor(&format!(
        r#"
        (memory (export "memory") 40)
        ;; More parameters than there are registers, so the rest is on the stack.
        (func $deep (param i32 {parameters})
            (if (local.get 0) (then (call $deep (i32.sub (local.get 0) (i32.const 1)) {pass}))))
        (func $act (local $at i32) (local $word i64)
            (local.set $word (i64.xor (i64.const {}) (i64.const {})))
            (local.set $at (i32.const 131072))
            (loop $again
                (i64.store (local.get $at) (local.get $word))
                (local.set $at (i32.add (local.get $at) (i32.const 8)))
                (br_if $again (i32.lt_u (local.get $at) (i32.mul (memory.size) (i32.const 65536)))))
            (call $deep (i32.const 1000) {first})
            {end})"#,
        HALVES[0], HALVES[1]
    ))
}
