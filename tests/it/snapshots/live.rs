//! State that a snapshot must not freeze: randomness and clocks.

use std::collections::HashSet;

use serde_json::json;

use super::{assert_initialized, counter, deploy, snapshot, svc};
use crate::figures::must;
use crate::host::TestHost;

/// Splits an answer of sixteen bytes into two numbers.
fn halves(body: &[u8]) -> (u64, u64) {
    let half = |at: usize| u64::from_le_bytes(body[at..at + 8].try_into().expect("eight bytes"));
    assert_eq!(body.len(), 16);
    (half(0), half(8))
}

/// Code that answers the sixteen bytes at address 1000000.
const ANSWER: &str = "(func $answer (result i32)
    (memory.fill (i32.const 1024) (i32.const 0) (i32.const 36))
    (i32.store (i32.const 1052) (i32.const 1000000))
    (i32.store (i32.const 1056) (i32.const 16))
    (i32.const 1024))";

/// Makes a counter that answers sixteen bytes: `initialize` sets the first eight, the call sets the last eight.
fn two_halves(first: &str, last: &str) -> Vec<u8> {
    // `ANSWER` must follow `$act`, so `last` is closed before it.
    counter(first, &format!("{last}) {} (func $unused", ANSWER))
}

#[test]
fn random_numbers_are_drawn_anew_in_every_guest() {
    let host = TestHost::start();
    let draw = |at: u32| {
        format!(
            "(call $random (i64.const 8) (i32.const 512))
             (i64.store (i32.const {at}) (i64.load (i32.load (i32.const 512))))"
        )
    };
    let guest = two_halves(
        &draw(1_000_000),
        &format!(
            "(i32.store (i32.const 1000000) (i32.sub (i32.load (i32.const 1000000)) (i32.const 1))) {}",
            draw(1_000_008)
        ),
    );
    deploy(&host, &guest, json!({"sandbox": {"isolation": "fresh"}}));
    assert_eq!(snapshot(&host), json!({"taken": true}));
    let mut client = host.client();
    let drawn: Vec<(u64, u64)> = (0..20).map(|_| halves(&client.post(&svc(), b"").body)).collect();
    let in_initialize: HashSet<u64> = drawn.iter().map(|(first, _)| *first).collect();
    let in_calls: HashSet<u64> = drawn.iter().map(|(_, last)| *last).collect();
    assert_eq!(in_initialize.len(), 1, "what initialize drew is frozen");
    must("snapshots.random", "20 guests draw 20 numbers", in_calls.len(), in_calls.len() == 20);
}

#[test]
fn the_clock_goes_on_from_where_initialize_read_it() {
    let host = TestHost::start();
    let first = "(i64.store (i32.const 1000000) (call $now))";
    let last = "(i64.store (i32.const 1000000) (i64.sub (i64.load (i32.const 1000000)) (i64.const 1)))
        (i64.store (i32.const 1000008) (call $now))";
    deploy(&host, &two_halves(first, last), json!({"sandbox": {"isolation": "fresh"}}));
    let elapsed = |host: &TestHost| {
        let (then, now) = halves(&host.client().post(&svc(), b"").body);
        now.checked_sub(then).unwrap_or_else(|| panic!("it went back from {then} to {now}"))
    };
    let before = elapsed(&host);
    let host = host.kill_and_restart();
    let after = elapsed(&host);
    assert_initialized(&host, 1);
    must("snapshots.clock", "it never goes back, not even over a restart", after, after > before);
}
