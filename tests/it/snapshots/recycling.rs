//! Guests that have grown are replaced, if a new guest costs only microseconds.

use serde_json::json;

use super::{LEFT, counter, deploy, number};
use crate::figures::must;
use crate::host::TestHost;

/// Grows by a mebibyte at each call, and traps if that fails.
const GROW: &str = "(if (i32.eq (memory.grow (i32.const 16)) (i32.const -1)) (then (unreachable)))";

#[test]
fn a_guest_that_has_used_half_its_room_is_replaced_between_two_requests() {
    let host = TestHost::start();
    let keys = json!({"metadata": {"rpc": {"worker_threads": 1}}, "sandbox": {"memory_mb": 10}});
    let service = deploy(&host, &counter("", GROW), keys);
    // The guest starts with 1.1 MiB of 10. It may grow by 4.4 MiB, and the call that exceeds that is its last.
    let mut client = host.client();
    let mut answers: Vec<u32> = (0..40).map(|_| number(&client.post(&service, b"")) - LEFT).collect();
    answers.dedup();
    let expected: Vec<u32> = (0..40).map(|n| n % 5 + 1).collect();
    assert_eq!(answers, expected, "nobody notices");
    let recycled = host.metric("bulkhead_guests_recycled_total{service=\"svc\",reason=\"memory\"}");
    must(
        "snapshots.recycled",
        "after every 5th of 40 calls that grow by a tenth of the limit",
        recycled,
        recycled == 8,
    );
    let described = host.call_admin("GET", "/api/v1/services/svc", b"").json();
    assert_eq!(described["recycled"], json!({"memory": 8}), "{described}");
    assert_eq!(described["instances"][0]["restarts"], 0, "{described}");
}

#[test]
fn a_guest_that_must_be_initialised_is_left_to_its_limit() {
    let host = TestHost::start();
    let keys = json!({"metadata": {"rpc": {"worker_threads": 1}}, "sandbox": {"memory_mb": 10, "snapshot": false}});
    let service = deploy(&host, &counter("", GROW), keys);
    let mut client = host.client();
    for call in 1..=8 {
        assert_eq!(number(&client.post(&service, b"")), LEFT + call);
    }
    client.post(&service, b"").assert_problem(400, "processor_exception");
    assert_eq!(host.metric("bulkhead_guests_recycled_total{service=\"svc\",reason=\"memory\"}"), 0);
}

#[test]
fn guests_that_have_answered_enough_are_counted() {
    let host = TestHost::start();
    let keys = json!({"metadata": {"rpc": {"worker_threads": 1}}, "sandbox": {"max_requests_per_instance": 3}});
    let service = deploy(&host, &counter("", ""), keys);
    let mut client = host.client();
    let answers: Vec<u32> = (0..9).map(|_| number(&client.post(&service, b"")) - LEFT).collect();
    assert_eq!(answers, [1, 2, 3, 1, 2, 3, 1, 2, 3]);
    let recycled = host.metric("bulkhead_guests_recycled_total{service=\"svc\",reason=\"requests\"}");
    assert_eq!(recycled, 3);
}
