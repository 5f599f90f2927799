//! Randomly damaged requests. The host must answer each itself, in its own form, and must count every request that it
//! answered. A request that the host accepts and hyper refuses would violate both.

use std::sync::atomic::{AtomicU64, Ordering};

use serde_json::json;

use super::{PROBE, accepted, attempt};
use crate::dice::Dice;
use crate::figures::{must, rounds};
use crate::host::TestHost;

const WHOLE: [&str; 4] = [
    "POST /api/predict/open?a=b HTTP/1.1\r\nHost: a\r\nContent-Length: 5\r\nX: y\r\n\r\nhello",
    "POST /api/predict/open HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n5;x=y\r\nhello\r\n0\r\nt: v\r\n\r\n",
    "GET http://a/api/predict/open HTTP/1.1\r\nHost: a\r\nConnection: keep-alive\r\nExpect: 100-continue\r\n\r\n",
    "POST /api/predict/open HTTP/1.0\r\nConnection: keep-alive\r\nContent-Length: 2\r\n\r\nhi",
];

/// Fragments that often confuse parsers.
const PIECES: [&[u8]; 24] = [
    b"\r",
    b"\n",
    b"\r\n",
    b"\r\n\r\n",
    b" ",
    b"\t",
    b"\0",
    b":",
    b";",
    b",",
    b"0",
    b"5",
    b"F",
    b"\xff",
    b"\x7f",
    b"#",
    b"?",
    b"/",
    b"<",
    b"\"",
    b"Host: b\r\n",
    b"Content-Length: 5\r\n",
    b"Transfer-Encoding: chunked\r\n",
    b"HTTP/1.1",
];

fn spoil(dice: &mut Dice) -> Vec<u8> {
    let mut bytes = dice.pick(&WHOLE).as_bytes().to_vec();
    for _ in 0..=dice.roll(3) {
        let at = dice.roll(bytes.len());
        match dice.roll(4) {
            0 => drop(bytes.remove(at)),
            1 => bytes[at] = dice.roll(256) as u8,
            2 => drop(bytes.splice(at..at, dice.pick(&PIECES).iter().copied())),
            _ => {
                let end = (at + 1 + dice.roll(20)).min(bytes.len());
                drop(bytes.splice(at..end, dice.pick(&PIECES).iter().copied()));
            }
        }
    }
    bytes
}

/// Bytes that are not a request, so that the connection ends here at the latest.
const END: &[u8] = b"the end\r\n";

/// Sends damaged bytes followed by the probe, and reads until the connection ends. Returns the number of answers.
fn answers(host: &TestHost, bytes: &[u8]) -> u64 {
    let mut client = host.client();
    client.try_write(&[bytes, PROBE, END].concat());
    let mut count = 0;
    while !client.is_closed() {
        let response = client.read("POST");
        if response.status == 100 {
            continue;
        }
        count += 1;
        let text = bytes.escape_ascii();
        assert!(response.header("x-request-id").is_some(), "not an answer of the host: {response:?} to {text}");
        if response.status != 200 {
            assert_eq!(response.header("content-type"), Some("application/problem+json"), "{text}");
        }
    }
    count
}

#[test]
fn what_is_spoilt_at_random_is_answered_by_the_host_itself_and_counted() {
    const THREADS: usize = 8;
    // Short time limits, because many damaged requests are incomplete heads or bodies.
    let host = TestHost::start_with(&["--head-timeout", "100ms"], "");
    let keys = json!({"generate_token": false, "sandbox": {"methods": ["GET", "POST"]}, "metadata": {"rpc": {"keepalive": 200}}});
    host.deploy("open", "echo", keys);
    let each = rounds(3000, 80_000) / THREADS;
    let answered = AtomicU64::new(0);
    std::thread::scope(|scope| {
        for thread in 0..THREADS as u64 {
            let (host, answered) = (&host, &answered);
            scope.spawn(move || {
                let mut dice = Dice::new(thread);
                for _ in 0..each {
                    let bytes = spoil(&mut dice);
                    let count = attempt(|| answers(host, &bytes));
                    let count = count.unwrap_or_else(|why| panic!("{why}: {}", bytes.escape_ascii()));
                    answered.fetch_add(count, Ordering::Relaxed);
                }
            });
        }
    });
    let (answered, counted) = (answered.into_inner(), accepted(&host));
    let measured = json!({"sent": each * THREADS, "answered": answered, "counted": counted});
    must("http.mutations", "answered = counted", measured, answered == counted);
}
