//! Group D: processors that cannot be started, and files with imports that the host does not offer.

use super::Expect::{Answer, Fault, Refused};
use super::{Hostile, component, guest};

pub(crate) fn guests() -> Vec<Hostile> {
    let quick = r#"{"initialize_timeout_ms": 300}"#;
    let mut guests = vec![
        guest(
            "D1",
            "a start function that traps",
            Refused("unreachable"),
            "(start $begin) (func $begin (unreachable))",
        ),
        guest(
            "D2-start",
            "a start function that never returns",
            Refused("did not return within 300 ms"),
            "(start $begin) (func $begin (loop $again (br $again)))",
        )
        .under(quick),
        guest(
            "D2",
            "an initialize that never returns",
            Refused("did not return within 300 ms"),
            &init("(loop $again (br $again)) (unreachable)"),
        )
        .under(quick),
        guest(
            "D2-sleep",
            "an initialize that sleeps",
            Refused("did not return within 300 ms"),
            &init("(call $block (call $subscribe (i64.const 60000000000))) (unreachable)"),
        )
        .under(quick),
        guest("D3", "an initialize that traps", Refused("unreachable"), &init("(unreachable)")),
        guest("D3-recurse", "an initialize that recurses", Refused("stack"), &init("(call $init)")),
        guest(
            "D4",
            "an initialize that says no",
            Refused("initialize failed: broken"),
            &format!(r#"{} (data (i32.const 600) "broken")"#, init(&result("(i32.const 600)", "(i32.const 6)"))),
        ),
        guest(
            "D4-pointer",
            "an initialize whose result lies beyond its memory",
            Refused("initialize failed"),
            &init("(i32.const -4)"),
        ),
        guest(
            "D4-unaligned",
            "an initialize whose result is not aligned",
            Refused("aligned"),
            &init("(i32.const 1025)"),
        ),
        guest(
            "D4-length",
            "an initialize whose reason has four thousand million bytes",
            Refused("initialize failed"),
            &init(&result("(i32.const 600)", "(i32.const -1)")),
        ),
        guest(
            "D4-text",
            "an initialize whose reason is not text",
            Refused("utf-8"),
            &format!(r#"{} (data (i32.const 600) "\ff\fe")"#, init(&result("(i32.const 600)", "(i32.const 2)"))),
        ),
        guest(
            "D4-case",
            "an initialize whose result is of no kind",
            Refused("initialize failed"),
            &init("(i32.store8 (i32.const 512) (i32.const 9)) (i32.const 512)"),
        ),
        guest(
            "D5",
            "an initialize that takes all memory it can get",
            Answer,
            &init("(loop $again (br_if $again (i32.ne (memory.grow (i32.const 1)) (i32.const -1)))) (i32.const 1024)"),
        )
        .under(r#"{"memory_mb": 8}"#),
        guest(
            "D5-trap",
            "an initialize that gives up without memory",
            Refused("out of memory: its limit is 8 MiB"),
            &init("(if (i32.eq (memory.grow (i32.const 16000)) (i32.const -1)) (then (unreachable))) (i32.const 1024)"),
        )
        .under(r#"{"memory_mb": 8}"#),
        guest("D7", "always traps", Fault("unreachable"), "(func $act (unreachable))"),
        guest(
            "D11",
            "an initialize that logs a hundred thousand lines",
            Answer,
            &init(
                "(local $left i32) (local.set $left (i32.const 100000))
             (loop $again
                (call $log (i32.const 2) (i32.const 4096) (i32.const 8))
                (br_if $again (local.tee $left (i32.sub (local.get $left) (i32.const 1)))))
             (i32.const 1024)",
            ),
        ),
    ];
    guests.extend(imports());
    guests.extend(exports());
    guests.push(component(
        "D10-import",
        "an import whose name would forge a line of the log",
        Refused(r#"it imports "x\u{1b}[2J\n2026-01-01T00:00:00.000000Z ERROR forged\u{202e}""#),
        &format!(r#"(component (import "x{WILD}" (func)))"#),
    ));
    guests.push(component(
        "D10-export",
        "an export whose name would forge a line of the log",
        Refused(""),
        &format!(r#"(component (import "a" (func $f)) (export "x{WILD}" (func $f)))"#),
    ));
    guests.push(guest(
        "D10-core",
        "exports of a core module, of such names, and long ones",
        Answer,
        &format!(
            r#"(func (export "x{WILD}")) (func (export "\u{{1f980}}")) (func (export "{}"))"#,
            "n".repeat(100_000)
        ),
    ));
    guests.push(guest(
        "D10-stack",
        "a trap in functions of such names",
        Fault("unreachable"),
        &format!(r#"(func $act (call $"x{WILD}")) (func $"x{WILD}" (unreachable))"#),
    ));
    guests
}

/// WebAssembly text of characters that would clear a terminal, begin a line, and reverse the direction of the rest.
const WILD: &str = r"\1b[2J\n2026-01-01T00:00:00.000000Z ERROR forged\u{202e}";

fn init(body: &str) -> String {
    format!("(func $init (result i32) {body})")
}

/// Makes a failure of `initialize` whose reason lies at `at`.
fn result(at: &str, length: &str) -> String {
    format!(
        "(i32.store (i32.const 512) (i32.const 1)) (i32.store (i32.const 516) {at}) (i32.store (i32.const 520) {length})
         (i32.const 512)"
    )
}

/// D8: guests that import something that is not offered; the refusal names the import.
fn imports() -> impl Iterator<Item = Hostile> {
    let imports = [
        (
            "D8-unknown",
            "a function nobody knows",
            "acme:secrets/vault",
            r#"(import "acme:secrets/vault" (instance (export "open" (func))))"#,
        ),
        (
            "D8-plain",
            "a function without an interface",
            "system",
            r#"(import "system" (func (param "command" string)))"#,
        ),
        (
            "D8-sockets",
            "a part of the sockets nobody offers",
            "wasi:sockets/raw",
            r#"(import "wasi:sockets/raw@0.2.0" (instance (export "open" (func))))"#,
        ),
        (
            "D8-http",
            "outbound HTTP",
            "wasi:http/outgoing-handler",
            r#"(import "wasi:http/outgoing-handler@0.2.0" (instance (export "handle" (func))))"#,
        ),
        (
            "D8-type",
            "a function of the host by a wrong type",
            "remaining-ms",
            r#"(import "bulkhead:processor/call@0.1.0" (instance (export "remaining-ms" (func (param "x" u32)))))"#,
        ),
        (
            "D8-missing",
            "a function its interface does not have",
            "stop-host",
            r#"(import "bulkhead:processor/call@0.1.0" (instance (export "stop-host" (func))))"#,
        ),
        (
            "D8-version",
            "a later version of the contract",
            "bulkhead:processor/call@9.0.0",
            r#"(import "bulkhead:processor/call@9.0.0" (instance (export "remaining-ms" (func (result u64)))))"#,
        ),
        (
            "D8-module",
            "a core module with a memory",
            "memory-of-the-host",
            r#"(import "memory-of-the-host" (core module (export "memory" (memory 1))))"#,
        ),
    ];
    imports
        .into_iter()
        .map(|(id, title, told, import)| component(id, title, Refused(told), &format!("(component {import})")))
}

/// D9, D10: guests whose expected export is missing or is something else.
fn exports() -> impl Iterator<Item = Hostile> {
    let long = "a-".repeat(50_000) + "z";
    let number = r#"(core module $m (func (export "f") (result i32) (i32.const 1))) (core instance $i (instantiate $m))
        (func $f (result u32) (canon lift (core func $i "f")))"#;
    let exports = [
        ("D9-empty", "nothing at all", "initialize", String::new()),
        ("D9-half", "another export alone", "initialize", format!(r#"{number} (export "other" (func $f))"#)),
        (
            "D9-type",
            "a process of another type",
            "initialize",
            format!(r#"{number} (export "process" (func $f)) (export "initialize" (func $f))"#),
        ),
        (
            "D9-instance",
            "a process that is no function",
            "initialize",
            r#"(instance $i) (export "process" (instance $i)) (export "initialize" (instance $i))"#.into(),
        ),
        (
            "D10-long",
            "an export with a name of a hundred thousand bytes",
            "",
            format!(r#"{number} (export "{long}" (func $f))"#),
        ),
    ];
    exports
        .into_iter()
        .map(|(id, title, told, text)| component(id, title, Refused(told), &format!("(component {text})")))
}
