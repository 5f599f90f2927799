//! Group A: header lines.

use super::{LOCKED, OPEN, Row, refused, turned_down, understood, understood_once};

pub(super) fn rows() -> Vec<Row> {
    let with = |headers: &[u8]| [format!("GET {OPEN} HTTP/1.1\r\nHost: a\r\n").as_bytes(), headers, b"\r\n"].concat();
    let mut rows = vec![
        understood("A1", b"", with("x: y\r\n".repeat(99).as_bytes())),
        refused("A1", 431, "headers_too_large", with("x: y\r\n".repeat(100).as_bytes())),
        refused("A1", 431, "headers_too_large", with("x: y\r\n".repeat(2000).as_bytes())),
    ];
    let large = |length: usize| with(format!("x: {}\r\n", "y".repeat(length)).as_bytes());
    rows.push(understood("A2", b"", large(31 << 10)));
    for length in [33 << 10, 64 << 10, 400_000, 500_000] {
        rows.push(refused("A2", 431, "headers_too_large", large(length)));
    }
    // A line feed alone does not end a line. RFC 9112 §2.2 allows a host to accept it, but a proxy in front might not
    // accept it.
    for bad in [
        format!("GET {OPEN} HTTP/1.1\nHost: a\n\n"),
        format!("GET {OPEN} HTTP/1.1\r\nHost: a\nx: y\r\n\r\n"),
        format!("GET {OPEN} HTTP/1.1\r\nHost: a\r\n\n"),
        format!("\nGET {OPEN} HTTP/1.1\r\nHost: a\r\n\r\n"),
    ] {
        rows.push(refused("A3", 400, "bad_request", bad));
    }
    for bad in [b"x: a\rb\r\n".as_slice(), b"V: :/\rSmuggled: x\r\n", b"x: y\r\r\n", b"x: y\r\n\r"] {
        rows.push(refused("A4", 400, "bad_request", with(bad)));
    }
    for bad in [
        b"x: \0\r\n".as_slice(),
        b"x: a\r\n b\r\n",
        b"x: a\r\n\tb\r\n",
        b"x : y\r\n",
        b"x\t: y\r\n",
        b": y\r\n",
        b"no colon\r\n",
        b"nocolon\r\n",
        b"\xc3\xa9: x\r\n",
        b"x y: z\r\n",
        b"x(y): z\r\n",
        b"x: \x01\r\n",
        b"x: \x7f\r\n",
    ] {
        rows.push(refused("A5", 400, "bad_request", with(bad)));
    }
    rows.push(refused("A5", 400, "bad_request", format!("GET {OPEN} HTTP/1.1\r\n Host: a\r\n\r\n")));
    // Opaque bytes: they reach the processor and no log.
    rows.push(understood("A6", b"", with(b"x: \xff\xfe \xe9\r\n")));
    rows.push(understood("A6", b"", with(b"x:\ty\t \r\nempty:\r\n")));
    rows.extend(authorization());
    rows.extend(expectations());
    rows.push(understood(
        "A11",
        b"",
        with(b"Connection: Upgrade, HTTP2-Settings\r\nUpgrade: h2c\r\nHTTP2-Settings: AA\r\n"),
    ));
    rows.push(understood(
        "A11",
        b"",
        with(b"Connection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Version: 13\r\n"),
    ));
    // A processor gets the decoded body only, so an undecodable one is the caller's mistake. `codings` tests how far a
    // bomb is decoded.
    rows.push(turned_down(
        "A13",
        400,
        "bad_request",
        [
            format!("POST {OPEN} HTTP/1.1\r\nHost: a\r\nContent-Encoding: gzip\r\nContent-Length: 8\r\n\r\n")
                .as_bytes(),
            b"\x1f\x8b\x08\0bomb",
        ]
        .concat(),
    ));
    rows.push(turned_down(
        "A13",
        415,
        "unsupported_coding",
        format!("POST {OPEN} HTTP/1.1\r\nHost: a\r\nContent-Encoding: br\r\nContent-Length: 4\r\n\r\nbomb"),
    ));
    rows
}

fn authorization() -> Vec<Row> {
    let with = |target: &str, headers: &str| format!("GET {LOCKED}{target} HTTP/1.1\r\nHost: a\r\n{headers}\r\n");
    let refusal = |headers: &str| turned_down("A7", 401, "unauthorized", with("", headers));
    vec![
        refusal(""),
        refusal("Authorization: x\r\nAuthorization: x\r\n"),
        refusal("Authorization:\r\n"),
        refusal("Authorization: Bearer\r\n"),
        refusal("Authorization: EAS x\r\n"),
        // A token in a URL ends up in logs and histories, so it is not accepted there.
        turned_down("A7", 401, "unauthorized", with("?token=x", "")),
        refused("A7", 431, "headers_too_large", with("", &format!("Authorization: {}\r\n", "x".repeat(100_000)))),
    ]
}

fn expectations() -> Vec<Row> {
    let post = |path: &str, version: &str, expect: &str, length: usize| {
        let body = "x".repeat(length.min(5));
        format!("POST {path} HTTP/{version}\r\nHost: a\r\nExpect: {expect}\r\nContent-Length: {length}\r\n\r\n{body}")
    };
    vec![
        understood("A8", b"xxxxx", post(OPEN, "1.1", "100-continue", 5)),
        understood("A8", b"xxxxx", post(OPEN, "1.1", "100-Continue", 5)),
        // Refused without `100 Continue`. The client may send the body or not, so the connection cannot be kept.
        refused("A8", 401, "unauthorized", post(LOCKED, "1.1", "100-continue", 5)),
        refused("A8", 413, "body_too_large", post(super::SMALL, "1.1", "100-continue", 1001)),
        refused("A9", 417, "expectation_failed", post(OPEN, "1.1", "200-ok", 5)),
        understood("A9", b"xxxxx", post(OPEN, "1.1", "", 5)),
        understood("A9", b"xxxxx", post(OPEN, "1.1", ", 100-continue,", 5)),
        refused("A9", 417, "expectation_failed", post(OPEN, "1.1", "100-continue, x", 5)),
        understood_once("A10", b"xxxxx", post(OPEN, "1.0", "100-continue", 5)),
        understood_once("A10", b"xxxxx", post(OPEN, "1.0", "200-ok", 5)),
    ]
}
