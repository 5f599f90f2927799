//! Group C: chunks, and bodies that a refusal leaves unread.

use super::{LOCKED, OPEN, Row, SMALL, refused, turned_down, understood};

fn chunked(path: &str, chunks: &[u8]) -> Vec<u8> {
    let head = format!("POST {path} HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n");
    [head.as_bytes(), chunks].concat()
}

pub(super) fn rows() -> Vec<Row> {
    let bad = |id: &'static str, chunks: &[u8]| refused(id, 400, "bad_request", chunked(OPEN, chunks));
    let fine = |id: &'static str, chunks: &[u8]| understood(id, b"abc", chunked(OPEN, chunks));
    let mut rows = Vec::new();
    for chunks in [
        "3\nabc\r\n0\r\n\r\n",
        "3\r\nabc\r\n0\n\r\n",
        "3\r\nabc\r\n0\r\n\n",
        "3\r\nabc\n0\r\n\r\n",
        "3\r\nabc0\r\n\r\n",
        "3\r\nabcd\r\n0\r\n\r\n",
        "0x3\r\nabc\r\n0\r\n\r\n",
        "0_3\r\nabc\r\n0\r\n\r\n",
        "+3\r\nabc\r\n0\r\n\r\n",
        "-3\r\nabc\r\n0\r\n\r\n",
        " 3\r\nabc\r\n0\r\n\r\n",
        "\r\nabc\r\n0\r\n\r\n",
        ";x\r\nabc\r\n0\r\n\r\n",
        "10000000000000003\r\nabc\r\n0\r\n\r\n",
        "00000000000000003\r\nabc\r\n0\r\n\r\n",
        "3\r\nabc\r\n0\r\n\rX",
        "3\rX",
        "3\r\nabc\rX",
    ] {
        rows.push(bad("C1", chunks.as_bytes()));
    }
    // White space is allowed before an extension and around its parts (RFC 9112 §7.1.1), and nowhere else. Elsewhere
    // some parsers take it for the end of the size, and others for an error; here it is an error.
    for bad_space in ["3 ", "3\t", "3 x", " 3;x", "3\x0b;x", "3 \x0c;x"] {
        rows.push(bad("C2", format!("{bad_space}\r\nabc\r\n0\r\n\r\n").as_bytes()));
    }
    for extension in [" ;x=y", "\t;x", " \t ; x = y ;z", "; x=\"a;b\"", ";x=\"a\\\"b\"", ";x=\"\t\"\t"] {
        rows.push(fine("C2", format!("3{extension}\r\nabc\r\n0{extension}\r\n\r\n").as_bytes()));
    }
    rows.push(fine("C3", b"3;a=b;c=\"d\"\r\nabc\r\n0;x\r\n\r\n"));
    for quoted in ["3;a=\"b", "3;a=\"b\\", "3;a=\"b\nc\"", "3;a=\"b\rc\"", "3;a=\x01", "3 ;a=\x7f"] {
        rows.push(bad("C3", format!("{quoted}\r\nabc\r\n0\r\n\r\n").as_bytes()));
    }
    rows.push(bad("C3", format!("3{};x\r\nabc\r\n0\r\n\r\n", " ".repeat(20 << 10)).as_bytes()));
    rows.push(bad("C3", b"3;a\nb\r\nabc\r\n0\r\n\r\n"));
    rows.push(bad("C3", b"3;a\rb\r\nabc\r\n0\r\n\r\n"));
    rows.push(bad("C3", format!("3;{}\r\nabc\r\n0\r\n\r\n", "x".repeat(20 << 10)).as_bytes()));
    rows.push(bad("C3", "1;xxxxxxxx\r\na\r\n".repeat(3000).as_bytes()));
    rows.push(fine("C4", b"3\r\nabc\r\n0\r\nx: y\r\n\r\n"));
    // Trailers are skipped and never become headers.
    rows.push(fine("C4", b"3\r\nabc\r\n0\r\nContent-Length: 999\r\nTransfer-Encoding: chunked\r\nHost: b\r\n\r\n"));
    rows.push(bad("C4", b"3\r\nabc\r\n0\r\nx: y\n\r\n"));
    rows.push(bad("C4", format!("3\r\nabc\r\n0\r\nx: {}\r\n\r\n", "y".repeat(20 << 10)).as_bytes()));
    // A declared chunk size does not count against the limit of received bytes; 413 is sent as soon as these exceed the
    // limit.
    let endless = [b"FFFFFFFFFFFFFFFF\r\n".as_slice(), &[b'x'; 1001]].concat();
    rows.push(refused("C5", 413, "body_too_large", chunked(SMALL, &endless)));
    rows.push(bad("C6", b"XYZ\r\nGET /smug HTTP/1.1\r\nHost: a\r\n\r\n"));
    rows.push(bad("C6", b"0\r\nGET /smug HTTP/1.1\r\nHost: a\r\n\r\n"));
    let pieces = "64\r\n".to_owned() + &"x".repeat(100) + "\r\n";
    rows.push(refused(
        "C7",
        413,
        "body_too_large",
        chunked(SMALL, (pieces.repeat(10) + "1\r\nx\r\n0\r\n\r\n").as_bytes()),
    ));
    const FULL: &[u8] = &[b'x'; 1000];
    rows.push(understood("C7", FULL, chunked(SMALL, (pieces.repeat(10) + "0\r\n\r\n").as_bytes())));
    rows.push(fine("C7", b"1\r\na\r\n0002\r\nbc\r\n000\r\n\r\n"));
    let get = |method: &str| format!("{method} {OPEN} HTTP/1.1\r\nHost: a\r\nContent-Length: 3\r\n\r\nabc");
    for method in ["GET", "DELETE", "PATCH"] {
        rows.push(understood("C8", b"abc", get(method)));
    }
    let smug = "GET /smug HTTP/1.1\r\nHost: a\r\n\r\n";
    let head = format!("POST {LOCKED} HTTP/1.1\r\nHost: a\r\nContent-Length: {}\r\n\r\n{smug}", smug.len());
    rows.push(turned_down("C9", 401, "unauthorized", head));
    let hidden = format!("{:x}\r\n{smug}\r\n0\r\n\r\n", smug.len());
    rows.push(turned_down("C9", 401, "unauthorized", chunked(LOCKED, hidden.as_bytes())));
    rows.push(refused(
        "C9",
        401,
        "unauthorized",
        chunked(LOCKED, (hidden + "x").replace("\r\n0\r\n", "\r\nX\r\n").as_bytes()),
    ));
    let large = smug.repeat(5000);
    let head = format!("POST {LOCKED} HTTP/1.1\r\nHost: a\r\nContent-Length: {}\r\n\r\n{large}", large.len());
    rows.push(refused("C10", 401, "unauthorized", head));
    rows
}
