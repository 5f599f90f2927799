//! Group S: the end of the body, which is also the start of the next request; and T9 to T11, pipelined requests.

use super::{Expected, OPEN, Row, SMALL, Then, refused, understood, understood_once};

fn post(headers: &str, body: &str) -> String {
    format!("POST {OPEN} HTTP/1.1\r\nHost: a\r\n{headers}\r\n{body}")
}

pub(super) fn rows() -> Vec<Row> {
    let mut rows = Vec::new();
    let bad = |id: &'static str, headers: &str| refused(id, 400, "bad_request", post(headers, "3\r\nabc\r\n0\r\n\r\n"));
    for both in [
        "Transfer-Encoding: chunked\r\nContent-Length: 3\r\n",
        "Content-Length: 3\r\nTransfer-Encoding: chunked\r\n",
        "Content-Length: 0\r\nTransfer-Encoding: chunked\r\n",
        "content-length: 3\r\nX: y\r\ntRANSFER-eNCODING:chunked\r\n",
    ] {
        rows.push(bad("S1", both));
    }
    // Two equal lengths are harmless here, but not for a proxy in front that reads only one of them.
    rows.push(bad("S2", "Content-Length: 3\r\nContent-Length: 3\r\n"));
    for length in [
        "Content-Length: 3\r\nContent-Length: 4\r\n",
        "Content-Length: 3, 3\r\n",
        "Content-Length: -1\r\n",
        "Content-Length: +1\r\n",
        "Content-Length: 0x1\r\n",
        "Content-Length: 1e1\r\n",
        "Content-Length: 3.0\r\n",
        "Content-Length: 3 3\r\n",
        "Content-Length: ٣\r\n",
        "Content-Length:\r\n",
    ] {
        rows.push(bad("S3", length));
    }
    let too_large =
        |id, length: &str| refused(id, 413, "body_too_large", post(&format!("Content-Length: {length}\r\n"), ""));
    rows.push(too_large("S3", "99999999999999999999"));
    rows.push(too_large("S4", "18446744073709551615"));
    rows.push(too_large("S4", "18446744073709551616"));
    rows.push(too_large("S4", "18446744073709551614"));
    rows.push(too_large("S4", &"9".repeat(1000)));
    rows.push(understood(
        "S6",
        b"0123456789",
        post(&format!("Content-Length: {}10\r\n", "0".repeat(100)), "0123456789"),
    ));
    rows.push(too_large("S5", "1073741824"));
    rows.push(refused(
        "S5",
        413,
        "body_too_large",
        format!("POST {SMALL} HTTP/1.1\r\nHost: a\r\nContent-Length: 1001\r\n\r\n"),
    ));
    // Lengths are decimal digits (RFC 9110 §8.6), so every parser reads ten.
    rows.push(understood("S6", b"0123456789", post("Content-Length: 010\r\n", "0123456789")));
    rows.push(understood("S6", b"", post("Content-Length: 000\r\n", "")));
    // A processor may get a request without a body. For an upload, which needs one, the admin listener answers 411.
    rows.push(understood("S7", b"", post("", "")));
    for twice in [
        "Transfer-Encoding: chunked\r\nTransfer-Encoding: chunked\r\n",
        "Transfer-Encoding: chunked, chunked\r\n",
        "Transfer-Encoding: ,chunked\r\n",
        "Transfer-Encoding: chunked,\r\n",
        "Transfer-Encoding: gzip\r\nTransfer-Encoding: chunked\r\n",
    ] {
        rows.push(bad("S8", twice));
    }
    for unknown in ["gzip, chunked", "identity, chunked", "xchunked,chunked"] {
        rows.push(refused(
            "S9",
            501,
            "not_implemented",
            post(&format!("Transfer-Encoding: {unknown}\r\n"), "3\r\nabc\r\n0\r\n\r\n"),
        ));
    }
    // If the last coding is not chunked, the end of the body is unknown (RFC 9112 §6.3): 400, and not 501.
    for coding in [
        "gzip",
        "identity",
        "xchunked",
        "chunked, identity",
        "\x0bchunked",
        "chunked;q=1",
        "\"chunked\"",
        "",
        "chunked\0",
    ] {
        rows.push(bad("S10", &format!("Transfer-Encoding: {coding}\r\n")));
    }
    rows.push(understood("S10", b"abc", post("Transfer-Encoding:\t CHUNKED \r\n", "3\r\nabc\r\n0\r\n\r\n")));
    rows.push(refused(
        "S11",
        400,
        "bad_request",
        format!("POST {OPEN} HTTP/1.0\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n0\r\n\r\n"),
    ));
    rows.extend(behind_each_other());
    rows
}

fn behind_each_other() -> Vec<Row> {
    let one = |body: &str| post(&format!("Content-Length: {}\r\n", body.len()), body);
    vec![
        Row {
            id: "T9",
            bytes: [one("first"), one(""), post("Transfer-Encoding: chunked\r\n", "5\r\nthird\r\n0\r\n\r\n")]
                .concat()
                .into_bytes(),
            answers: vec![Expected::Echo(b"first"), Expected::Echo(b""), Expected::Echo(b"third")],
            then: Then::GoesOn,
        },
        Row {
            id: "T10",
            bytes: [one("first"), "GET / HTTP/1.1\r\nHost: a\r\nHost: b\r\n\r\n".into()].concat().into_bytes(),
            answers: vec![Expected::Echo(b"first"), Expected::Refused(400, "bad_request")],
            then: Then::Closes,
        },
        Row {
            id: "T10",
            bytes: [one("first"), "GET / HTTP/1.9\r\nHost: a\r\n\r\n".into()].concat().into_bytes(),
            answers: vec![Expected::Echo(b"first"), Expected::Refused(505, "http_version_not_supported")],
            then: Then::Closes,
        },
        understood_once("T11", b"abc", post("Connection: close\r\nContent-Length: 3\r\n", "abc")),
        understood_once("T11", b"abc", post("Connection: x, cLose\r\nContent-Length: 3\r\n", "abc")),
    ]
}
