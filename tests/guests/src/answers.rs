//! Group H: processors whose answers must not be sent to a caller.

use super::Expect::{Answer, Declines, Fault};
use super::{Hostile, guest};

pub(crate) fn guests() -> Vec<Hostile> {
    let mut guests = vec![
        answers("H1-0", "status 0", Answer, "(i32.store16 (i32.const 1028) (i32.const 0))"),
        guest("H10", "answers from beyond its memory", Fault(""), "(func $answer (result i32) (i32.const 131072))"),
        guest(
            "H10-last",
            "answers from the last bytes of its memory",
            Fault(""),
            "(func $answer (result i32) (i32.const 131068))",
        ),
        guest("H10-minus", "answers from address -4", Fault(""), "(func $answer (result i32) (i32.const -4))"),
        guest(
            "H10-unaligned",
            "answers from an odd address",
            Fault("aligned"),
            "(func $answer (result i32) (i32.const 1025))",
        ),
        answers(
            "H10-case",
            "neither a response nor a failure",
            Fault(""),
            "(i32.store8 (i32.const 1024) (i32.const 2))",
        ),
        answers("H10-option", "a content type of no kind", Fault(""), "(i32.store8 (i32.const 1032) (i32.const 9))"),
        answers("H12", "declines with 422", Declines(422), &failure(422)),
        answers("H12-200", "declines with success", Fault("400 to 599"), &failure(200)),
        answers("H12-101", "declines with a switch of protocols", Fault("400 to 599"), &failure(101)),
        answers(
            "H8",
            "a page with a script in it",
            Answer,
            "(call $type (i32.const 3000) (i32.const 9)) (i32.store (i32.const 1056) (i32.const 4))",
        ),
    ];
    for (id, status) in
        [("99", 99), ("1", 1), ("100", 100), ("101", 101), ("103", 103), ("600", 600), ("999", 999), ("65535", 65_535)]
    {
        let store = format!("(i32.store16 (i32.const 1028) (i32.const {status}))");
        guests.push(answers(&format!("H1-{id}"), "a status that is none of an answer's", Fault("200 to 599"), &store));
    }
    for (id, title, at, length, told) in [
        ("H6-beyond", "a body beyond its memory", "131072", "1", ""),
        ("H6-across", "a body across the end of its memory", "131000", "1000", ""),
        ("H6-minus", "a body of four thousand million bytes", "0", "-1", ""),
        ("H6-half", "a body of 2 GiB", "4096", "0x80000000", ""),
        ("H6-wrap", "a body past the end of all addresses", "0xfffffff0", "0x20", ""),
        ("H6-large", "a body larger than its service may answer", "4096", "100000", "max_response_bytes"),
    ] {
        let store =
            format!("(i32.store (i32.const 1052) (i32.const {at})) (i32.store (i32.const 1056) (i32.const {length}))");
        guests.push(answers(id, title, Fault(told), &store).under(r#"{"max_response_bytes": 65536}"#));
    }
    guests.extend(headers());
    guests
}

/// Answers correctly except for `change`, which modifies the answer at address 1024 (see `frame`).
fn answers(id: &str, title: &'static str, expect: super::Expect, change: &str) -> Hostile {
    let text = format!(
        r#"(data (i32.const 3000) "text/html")
           (func $type (param $at i32) (param $length i32)
                (i32.store (i32.const 1032) (i32.const 1))
                (i32.store (i32.const 1036) (local.get $at)) (i32.store (i32.const 1040) (local.get $length)))
           ;; Headers without names that all have the same value, of a megabyte.
           (func $same (param $at i32) (param $count i32) (param $length i32)
                (i32.store (i32.const 1044) (local.get $at)) (i32.store (i32.const 1048) (local.get $count))
                (loop $again
                    (i32.store offset=8 (local.get $at) (i32.const 8192))
                    (i32.store offset=12 (local.get $at) (local.get $length))
                    (local.set $at (i32.add (local.get $at) (i32.const 16)))
                    (br_if $again (local.tee $count (i32.sub (local.get $count) (i32.const 1))))))
           (func $answer (result i32) (drop (call $polite)) {change} (i32.const 1024))"#
    );
    guest(id, title, expect, &text)
}

fn failure(status: u32) -> String {
    format!(
        "(i32.store8 (i32.const 1024) (i32.const 1)) (i32.store16 (i32.const 1028) (i32.const {status}))
         (i32.store (i32.const 1032) (i32.const 3000)) (i32.store (i32.const 1036) (i32.const 9))"
    )
}

/// H2 to H5: guests with one header each that could split the answer or affect the connection.
fn headers() -> Vec<Hostile> {
    let split = Fault("one line of text");
    let name = Fault("is not a header name");
    let wrong = [
        ("H2-crlf", "x", "a\\0d\\0aset-cookie: x=1", split),
        ("H2-lf", "x", "a\\0ab", split),
        ("H2-cr", "x", "a\\0db", split),
        ("H2-nul", "x", "a\\00b", split),
        ("H2-del", "x", "a\\7fb", split),
        ("H3-empty", "", "v", name),
        ("H3-space", "a b", "v", name),
        ("H3-colon", "a:", "v", name),
        ("H3-crlf", "a\\0d\\0ab", "v", name),
        ("H3-unicode", "\\c3\\a4", "v", name),
        ("H3-upper", "X-Upper", "v", Answer),
        ("H4-length", "Content-Length", "1", Answer),
        ("H4-length-text", "content-length", "abc", Answer),
        ("H4-chunked", "transfer-encoding", "chunked", Answer),
        ("H4-gzip", "transfer-encoding", "gzip", Answer),
        ("H4-close", "connection", "close", Answer),
        ("H4-upgrade", "upgrade", "websocket", Answer),
        ("H4-trailer", "trailer", "x", Answer),
        ("H4-keep-alive", "keep-alive", "timeout=1", Answer),
        ("H4-date", "date", "yesterday", Answer),
        ("H4-server", "server", "other", Answer),
        ("H4-cookie", "set-cookie", "a=b", Answer),
        ("H4-authenticate", "www-authenticate", "Basic", Answer),
        ("H4-alt-svc", "alt-svc", "h3=\\22:1\\22", Answer),
        ("H4-id", "x-request-id", "forged", Answer),
        ("H4-ours", "x-bulkhead-fuel", "0", Answer),
    ];
    let mut guests: Vec<Hostile> = wrong
        .into_iter()
        .map(|(id, name, value, expect)| {
            let (name_length, value_length) = (length(name), length(value));
            let text = format!(
                r#"(data (i32.const 5000) "{name}") (data (i32.const 6000) "{value}")
                   (func $answer (result i32) (drop (call $polite))
                        (i32.store (i32.const 4000) (i32.const 5000)) (i32.store (i32.const 4004) (i32.const {name_length}))
                        (i32.store (i32.const 4008) (i32.const 6000)) (i32.store (i32.const 4012) (i32.const {value_length}))
                        (i32.store (i32.const 1044) (i32.const 4000)) (i32.store (i32.const 1048) (i32.const 1))
                        (i32.const 1024))"#
            );
            guest(id, "a header that is not its own to set", expect, &text)
        })
        .collect();
    guests.extend([
        answers("H5-many", "forty thousand headers", Fault("40000 headers"),
            "(i32.store (i32.const 1044) (i32.const 131072)) (i32.store (i32.const 1048) (i32.const 40000)) (drop (memory.grow (i32.const 20)))"),
        answers("H5-count", "more headers than there is memory", Fault(""),
            "(i32.store (i32.const 1044) (i32.const 65536)) (i32.store (i32.const 1048) (i32.const -1))"),
        answers("H5-wrap", "as many headers as wrap around all addresses", Fault(""),
            "(i32.store (i32.const 1044) (i32.const 65536)) (i32.store (i32.const 1048) (i32.const 0x10000001))"),
        answers("H5-long", "one header of ten megabytes", Fault("its headers have"),
            "(drop (memory.grow (i32.const 200)))
             (i32.store (i32.const 4000) (i32.const 3000)) (i32.store (i32.const 4004) (i32.const 4))
             (i32.store (i32.const 4008) (i32.const 65536)) (i32.store (i32.const 4012) (i32.const 10000000))
             (i32.store (i32.const 1044) (i32.const 4000)) (i32.store (i32.const 1048) (i32.const 1))"),
        answers("H5-shared", "sixty-four thousand headers of one megabyte, all the same megabyte", Fault(""),
            "(drop (memory.grow (i32.const 200)))
             (call $same (i32.const 2000000) (i32.const 64000) (i32.const 1000000))"),
    ]);
    guests
}

/// Returns the number of bytes of a WebAssembly string literal.
fn length(text: &str) -> usize {
    text.len() - 2 * text.matches('\\').count()
}
