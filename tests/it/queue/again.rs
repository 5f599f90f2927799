//! Work that goes on after an interruption.

use serde_json::json;

use super::{Queue, deploy};
use crate::host::TestHost;

#[test]
fn a_service_that_is_started_again_while_an_item_runs_takes_the_next_ones() {
    let host = TestHost::start();
    let service = deploy(&host, "again", "faults", json!({"queue": {"timeout_ms": 100_000}}));
    let mut input = Queue::input(&host, &service);
    input.put("?n=1", json!({"do": "sleep", "ms": 1500}).to_string().as_bytes());
    input.wait_for(&host, "bulkhead.leased", "1");
    for action in ["stop", "start"] {
        assert_eq!(host.call_admin("POST", &format!("/api/v1/services/again/{action}"), b"").status, 200);
    }
    input.put("?n=2", json!({"do": "flag"}).to_string().as_bytes());
    let mut sink = Queue::sink(&host, &service);
    for number in ["1", "2"] {
        assert_eq!(sink.get(&format!("_timeout_=20s&n={number}")).len(), 1, "item {number}; log:\n{}", host.log());
    }
}

#[test]
fn a_dead_letter_that_is_requeued_in_an_ended_queue_is_worked_on() {
    let host = TestHost::start();
    let keys = json!({"queue": {"timeout_ms": 1000, "max_delivery": 1}, "sandbox": {"fuel": "unlimited"}});
    let service = deploy(&host, "ended", "faults", keys);
    let mut input = Queue::input(&host, &service);
    input.put("", json!({"do": "loop"}).to_string().as_bytes());
    input.wait_for(&host, "bulkhead.dead", "1");
    assert_eq!(input.ask("POST", "?_eos_=true", &[], b"").status, 200);
    let requeue = "/api/v1/services/ended/queue/dead/requeue";
    let requeued = host.call_admin("POST", requeue, br#"{"all": true}"#);
    assert_eq!(requeued.status, 200, "{}", requeued.text());
    input.wait_for(&host, "bulkhead.dead", "1");
    assert_eq!(host.metric(r#"bulkhead_queued_items_died_total{service="ended",queue="input"}"#), 2);
}

#[test]
fn the_workers_are_no_consumer_that_a_client_can_name() {
    let host = TestHost::start();
    let service = deploy(&host, "named", "echo", json!({}));
    let names = [("X-EAS-QueueService-Redis-Gid", "bulkhead"), ("X-EAS-QueueService-Redis-Uid", "processor")];
    let refused = Queue::input(&host, &service).ask("PUT", "?_indexes_=1", &names, b"");
    assert_eq!(refused.status, 400, "{}", refused.text());
}

#[test]
fn a_full_queue_answers_the_repetition_of_an_earlier_put() {
    let host = TestHost::start();
    let service = deploy(&host, "full", "echo", json!({"queue": {"length": 1}}));
    assert_eq!(host.call_admin("POST", "/api/v1/services/full/stop", b"").status, 200);
    let mut input = Queue::input(&host, &service);
    let mut put = |key| {
        let got = input.ask("POST", "", &[("X-Bulkhead-Idempotency-Key", key)], b"x");
        (got.status, got.text())
    };
    let first = put("one");
    assert_eq!((first.0, put("two").0), (200, 450));
    assert_eq!(put("one"), first);
}
