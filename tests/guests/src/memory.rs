//! Group B, first half: processors that take more memory, tables or globals than their limits allow.

use super::Expect::{Answer, Fault, Refused};
use super::random::{push_instance, push_module};
use super::{Hostile, component, guest};

/// Grows to the limit, one page at a time, and writes to every page.
const GROW_AND_TOUCH: &str = "
    (func $grow (result i32) (local $at i32) (local $pages i32)
        (loop $again
            (if (i32.ne (memory.grow (i32.const 1)) (i32.const -1)) (then
                (local.set $pages (i32.add (local.get $pages) (i32.const 1)))
                (i32.store8 (i32.sub (i32.mul (memory.size) (i32.const 65536)) (i32.const 1)) (i32.const 7))
                (br $again))))
        (local.get $pages))";

pub(crate) fn guests() -> Vec<Hostile> {
    let small = r#"{"memory_mb": 8}"#;
    let touch = format!("{GROW_AND_TOUCH} (func $act (drop (call $grow)))");
    let give_up = format!("{GROW_AND_TOUCH} (func $act (drop (call $grow)) (unreachable))");
    vec![
        // Snapshots are off, because a guest that starts from a snapshot is replaced when it has grown this much.
        guest("B1", "grows to its limit and touches every page", Answer, &touch)
            .under(r#"{"memory_mb": 8, "snapshot": false}"#),
        guest("B2", "grows past its limit and gives up", Fault("its limit is 8 MiB"), &give_up).under(small),
        guest("B3", "begins with more memory than it may have", Refused("memory"), r#"(memory (export "memory") 65536)"#),
        component("B4-many", "a hundred memories", Refused("memories"), &format!("(component (core module {}))", "(memory 1)".repeat(100))),
        component("B4-64", "a memory of 64 bits", Refused("memory64"), "(component (core module (memory i64 268435456)))"),
        component("B4-page", "pages of one byte", Refused("custom page sizes"), "(component (core module (memory 100 (pagesize 1))))"),
        beside("B4-instances", "a hundred instances, each with a memory", Refused("memories in one guest, accepted are 16"), "(memory 1)", 100, ""),
        // The limit is 128 pages, of which the other memory has 100, and this memory starts with 2.
        beside(
            "B1-two",
            "takes all memory it may have when another instance in it has most of it",
            Answer,
            "(memory 100)",
            1,
            &format!(
                "{GROW_AND_TOUCH} (global $left (mut i32) (i32.const 26))
                (func $act
                    (if (i32.ne (call $grow) (global.get $left)) (then (unreachable)))
                    (global.set $left (i32.const 0)))"
            ),
        )
        .under(small),
        beside(
            "B1-three",
            "instances that have more memory together than one may have",
            Refused("memory"),
            "(memory 50)",
            3,
            "",
        )
        .under(small),
        component("B5", "a shared memory", Refused("threads"), "(component (core module (memory 1 1 shared)))"),
        guest("B6", "a table of ten million places", Refused(""), "(table 10000000 funcref)"),
        guest(
            "B6-grow",
            "goes on growing its table until it is told no, a million times",
            Answer,
            "(table $table 1 funcref)
             (func $act (local $left i32) (local.set $left (i32.const 1000000))
                (loop $again
                    (drop (table.grow $table (ref.null func) (i32.const 1)))
                    (br_if $again (local.tee $left (i32.sub (local.get $left) (i32.const 1))))))",
        ),
        guest(
            "B6-huge",
            "grows its table by four thousand million places",
            Answer,
            "(table $table 1 funcref)
             (func $act (if (i32.ne (table.grow $table (ref.null func) (i32.const -1)) (i32.const -1)) (then (unreachable))))",
        ),
        guest("B6-many", "a hundred tables", Refused(""), &"(table 1 funcref)".repeat(100)),
        beside("B6-instances", "a hundred instances, each with a table", Refused("tables in one guest, accepted are 32"), "(table 1 funcref)", 100, ""),
        guest("B8", "data beyond the end of its memory", Refused("out of bounds"), r#"(data (i32.const 131070) "beyond")"#),
        guest(
            "B8-over",
            "data over data",
            Answer,
            r#"(data (i32.const 4096) "one") (data (i32.const 4096) "two") (data (i32.const 4097) "three")"#,
        ),
        guest("B9", "elements beyond the end of its table", Refused("out of bounds"), "(table 2 funcref) (elem (i32.const 2) $act)"),
        component("B16", "a structure that needs a garbage collector", Refused("gc"), "(component (core module (type (struct (field i32)))))"),
        component("B16-array", "arrays for ever", Refused("gc"), "(component (core module (type $a (array (mut i8)))
            (func (loop $again (drop (array.new_default $a (i32.const 1000))) (br $again)))))"),
    ]
}

/// Makes a processor with `count` instances of another module in it.
fn beside(id: &str, title: &'static str, expect: super::Expect, module: &str, count: usize, text: &str) -> Hostile {
    let mut guest = guest(id, title, expect, text);
    push_module(&mut guest.component, &wat::parse_str(format!("(module {module})")).expect("a module"));
    (0..count).for_each(|_| push_instance(&mut guest.component, 1, &[]));
    guest
}
