//! Work that goes on after an interruption.

use std::sync::atomic::{AtomicU64, Ordering};
use std::thread;

use serde_json::json;

use super::{Queue, deploy, deploy_stopped};
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

#[test]
fn a_service_whose_deletion_has_failed_works_on() {
    let host = TestHost::start();
    let service = deploy(&host, "kept", "echo", json!({}));
    let host = host.kill_and_restart_with("record.full=full");
    host.wait_until_ready();
    let failed = host.call_admin("DELETE", "/api/v1/services/kept", b"");
    assert_eq!((failed.status, &failed.json()["code"]), (507, &json!("storage_full")), "{}", failed.text());
    Queue::input(&host, &service).put("", b"x");
    assert_eq!(Queue::sink(&host, &service).get("_timeout_=20s")[0].data, b"x");
}

/// A put that is acknowledged while the service is deleted keeps it from being deleted.
#[test]
fn no_acknowledged_item_is_lost_to_a_deletion() {
    /// More items than there are before any deletion.
    const MOST: u64 = 20_000;
    let host = TestHost::start();
    let mut refused = 0;
    for round in 0..8 {
        let service = deploy_stopped(&host, &format!("race-{round}"), json!({}));
        let mut queue = Queue::input(&host, &service);
        let taken = AtomicU64::new(0);
        thread::scope(|scope| {
            scope.spawn(|| {
                while queue.ask("POST", "", &[], b"x").status == 200 {
                    assert_eq!(queue.get("_timeout_=0").len(), 1, "an acknowledged item of round {round} is lost");
                    assert!(taken.fetch_add(1, Ordering::Relaxed) < MOST, "it is never deleted");
                }
            });
            host.wait_for("the first items", || taken.load(Ordering::Relaxed) > 5);
            let path = format!("/api/v1/services/race-{round}");
            host.wait_for("the deletion", || match host.call_admin("DELETE", &path, b"") {
                done if done.status == 200 => true,
                other => {
                    assert_eq!(other.json()["code"], "queue_not_empty", "{}", other.text());
                    refused += 1;
                    false
                }
            });
        });
    }
    println!("8 deletions, {refused} refused because of an item");
}
