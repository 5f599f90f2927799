//! The frame of all hostile processors, and the conversion of their text to a component.
//!
//! A guest defines the functions in which it misbehaves; the frame adds the missing ones. In the canonical ABI of the
//! world `processor`, `process` takes twelve words (the second is the length of the method's name, which tells a POST
//! from a GET) and returns the address of its result:
//!
//! ```text
//! +0  0 for a response, 1 for a failure
//! +4  status (u16)                                  +4  status (u16)
//! +8  content type: 1 if there is one, +12 address, +16 length      +8  message: address, +12 length
//! +20 headers: address, +24 count (16 bytes each: name, value)
//! +28 body: address, +32 length
//! ```

use wit_component::{ComponentEncoder, StringEncoding, embed_component_metadata};
use wit_parser::Resolve;

/// WASI functions that guests misuse, in addition to the processor's own world.
const WASI: &str = "
package bulkhead:hostile;

world hostile {
    include bulkhead:processor/job-processor@0.1.0;
    import wasi:random/random@0.2.0;
    import wasi:clocks/monotonic-clock@0.2.0;
    import wasi:cli/stdout@0.2.0;
}

package wasi:random@0.2.0 {
    interface random { get-random-bytes: func(len: u64) -> list<u8>; }
}
package wasi:io@0.2.0 {
    interface poll { resource pollable { block: func(); } }
    interface error { resource error; }
    interface streams {
        use error.{error};
        variant stream-error { last-operation-failed(error), closed }
        resource output-stream {
            check-write: func() -> result<u64, stream-error>;
            write: func(contents: list<u8>) -> result<_, stream-error>;
            write-zeroes: func(len: u64) -> result<_, stream-error>;
            blocking-write-and-flush: func(contents: list<u8>) -> result<_, stream-error>;
        }
    }
}
package wasi:clocks@0.2.0 {
    interface monotonic-clock {
        use wasi:io/poll@0.2.0.{pollable};
        subscribe-duration: func(when: u64) -> pollable;
        now: func() -> u64;
    }
}
package wasi:cli@0.2.0 {
    interface stdout { use wasi:io/streams@0.2.0.{output-stream}; get-stdout: func() -> output-stream; }
}
";

/// Imports by the name under which a guest calls them. Imports that a guest does not call are left out.
const IMPORTS: &[(&str, &str)] = &[
    ("$header", r#""bulkhead:processor/call@0.1.0" "header" (func $header (param i32 i32 i32))"#),
    ("$headers", r#""bulkhead:processor/call@0.1.0" "headers" (func $headers (param i32))"#),
    ("$request_id", r#""bulkhead:processor/call@0.1.0" "request-id" (func $request_id (param i32))"#),
    ("$remaining_ms", r#""bulkhead:processor/call@0.1.0" "remaining-ms" (func $remaining_ms (result i64))"#),
    ("$log", r#""bulkhead:processor/call@0.1.0" "log" (func $log (param i32 i32 i32))"#),
    (
        "$report_panic",
        r#""bulkhead:processor/call@0.1.0" "report-panic" (func $report_panic (param i32 i32 i32 i32 i32))"#,
    ),
    ("$report", r#""bulkhead:processor/job@0.1.0" "report" (func $report (param f64 i32 i32))"#),
    ("$keep_partial", r#""bulkhead:processor/job@0.1.0" "keep-partial" (func $keep_partial (param i32 i32 i32))"#),
    ("$random", r#""wasi:random/random@0.2.0" "get-random-bytes" (func $random (param i64 i32))"#),
    ("$now", r#""wasi:clocks/monotonic-clock@0.2.0" "now" (func $now (result i64))"#),
    (
        "$subscribe",
        r#""wasi:clocks/monotonic-clock@0.2.0" "subscribe-duration" (func $subscribe (param i64) (result i32))"#,
    ),
    ("$block", r#""wasi:io/poll@0.2.0" "[method]pollable.block" (func $block (param i32))"#),
    ("$stdout", r#""wasi:cli/stdout@0.2.0" "get-stdout" (func $stdout (result i32))"#),
    (
        "$check_write",
        r#""wasi:io/streams@0.2.0" "[method]output-stream.check-write" (func $check_write (param i32 i32))"#,
    ),
    (
        "$write_unasked",
        r#""wasi:io/streams@0.2.0" "[method]output-stream.write" (func $write_unasked (param i32 i32 i32 i32))"#,
    ),
    (
        "$write_zeroes",
        r#""wasi:io/streams@0.2.0" "[method]output-stream.write-zeroes" (func $write_zeroes (param i32 i64 i32))"#,
    ),
    (
        "$write",
        r#""wasi:io/streams@0.2.0" "[method]output-stream.blocking-write-and-flush" (func $write (param i32 i32 i32 i32))"#,
    ),
];

/// Definitions for items that a guest does not define, keyed by the text that would define them.
const DEFAULTS: &[(&str, &str)] = &[
    ("(memory ", r#"(memory (export "memory") 2)"#),
    // Answers the number of calls of this instance, as four bytes.
    (
        "(func $polite",
        "(func $polite (result i32)
            (memory.fill (i32.const 1024) (i32.const 0) (i32.const 36))
            (i32.store (i32.const 2048) (global.get $calls))
            (i32.store (i32.const 1052) (i32.const 2048))
            (i32.store (i32.const 1056) (i32.const 4))
            (i32.const 1024))",
    ),
    // Misbehaves, then returns.
    ("(func $act", "(func $act)"),
    // Answers after the misbehaviour.
    ("(func $answer", "(func $answer (result i32) (call $polite))"),
    ("(func $init", "(func $init (result i32) (i32.const 1024))"),
    (
        "(func $realloc",
        "(func $realloc (param $old i32) (param i32) (param $align i32) (param $size i32) (result i32)
            (call $bump (local.get $size)))",
    ),
    // Frees the arguments of the call after each answer.
    ("(func $post", "(func $post (param i32) (global.set $next (i32.const 65536)))"),
];

const FRAME: &str = r#"
    (global $calls (mut i32) (i32.const 0))
    (global $next (mut i32) (i32.const 65536))
    (func $bump (param $size i32) (result i32)
        (local $at i32)
        (local.set $at (global.get $next))
        (global.set $next (i32.and (i32.add (i32.add (local.get $at) (local.get $size)) (i32.const 7)) (i32.const -8)))
        (local.get $at))
    (func $process (param i32) (param $method_length i32) (param i32 i32 i32 i32 i32 i32 i32 i32 i32 i32) (result i32)
        (global.set $calls (i32.add (global.get $calls) (i32.const 1)))
        (if (i32.eq (local.get $method_length) (i32.const 4))
            (then (call $act) (return (call $answer))))
        (call $polite))
    (func $initialize (param i32 i32 i32 i32 i32 i32 i32 i32) (result i32) (call $init))
    (export "initialize" (func $initialize))
    (export "process" (func $process))
    (export "cabi_realloc" (func $realloc))
    (export "cabi_post_process" (func $post))
"#;

/// Makes the core module around `text`.
pub fn core_module(text: &str) -> Vec<u8> {
    let mut module = String::from("(module\n");
    for (_, import) in IMPORTS.iter().filter(|(name, _)| calls(text, name)) {
        module.push_str(&format!("(import {import})\n"));
    }
    for (_, default) in DEFAULTS.iter().filter(|(head, _)| !text.contains(head)) {
        module.push_str(default);
        module.push('\n');
    }
    module.push_str(FRAME);
    module.push_str(text);
    module.push(')');
    wat::parse_str(&module).unwrap_or_else(|error| panic!("{error}\n{module}"))
}

/// True if `text` calls the function itself, not one whose name only begins with `name`.
fn calls(text: &str, name: &str) -> bool {
    text.match_indices(name).any(|(at, _)| {
        let next = text[at + name.len()..].chars().next();
        next.is_none_or(|c| !c.is_ascii_alphanumeric() && c != '_')
    })
}

/// Makes the processor around `text`.
///
/// # Panics
/// If `text` is not WebAssembly or not a processor: a guest must be wrong only where it is meant to be.
pub fn processor(text: &str) -> Vec<u8> {
    componentize(core_module(text))
}

/// Converts a core module to a component of the world.
pub(crate) fn componentize(mut module: Vec<u8>) -> Vec<u8> {
    let mut resolve = Resolve::default();
    let (own, job) = (
        include_str!("../../../guest-sdk/wit/processor.wit"),
        include_str!("../../../guest-sdk/wit/job-processor.wit"),
    );
    let (_, job) = job.split_once('\n').expect("its first line names the package, which is the same");
    resolve.push_str("processor.wit", &format!("{own}{job}")).expect("the contract is WIT");
    let package = resolve.push_str("hostile.wit", WASI).expect("this is WIT");
    let world = resolve.select_world(&[package], None).expect("it has one world");
    embed_component_metadata(&mut module, &resolve, world, StringEncoding::UTF8).expect("the world can be embedded");
    let encoded = ComponentEncoder::default().validate(false).module(&module).and_then(|mut encoder| encoder.encode());
    encoded.unwrap_or_else(|error| panic!("{error:?}"))
}
