//! The ends of items that a processor works on.

use std::time::{Duration, Instant};

use serde_json::{Value, json};

use super::{Got, Queue, deploy};
use crate::host::{Deployed, TestHost};
use crate::http::request;

/// Puts one item, and waits for its result.
fn result_of(host: &TestHost, service: &Deployed, body: &Value) -> Got {
    let (_, id) = Queue::input(host, service).put("?who=test", body.to_string().as_bytes());
    let mut got = Queue::sink(host, service).get(&format!("_timeout_=20s&requestId={id}"));
    assert_eq!(got.len(), 1, "{body} has a result; log:\n{}", host.log());
    got.remove(0)
}

#[test]
fn a_result_has_the_tags_of_its_item_and_the_status_if_it_is_not_200() {
    let host = TestHost::start();
    let service = deploy(&host, "ends", "faults", json!({"sandbox": {"trap_status": 422, "fuel": 2_000_000_000_u64}}));
    for (body, code) in [
        (json!({"do": "status", "status": 404}), Some("404")),
        (json!({"do": "panic"}), Some("422")),
        (json!({"do": "trap"}), Some("422")),
        (json!({"do": "loop"}), Some("400")),
    ] {
        let got = result_of(&host, &service, &body);
        assert_eq!((got.tags["who"].as_str(), got.tags["lastCode"].as_str()), (Some("test"), code), "{body}: {got:?}");
    }
    let mut input = Queue::input(&host, &service);
    input.wait_for(&host, "stream.length", "0");
    assert_eq!(input.attribute("bulkhead.dead"), "0", "these ends are final");
    let echo = deploy(&host, "echoes", "echo", json!({}));
    let (_, id) = Queue::input(&host, &echo).put("/some/path?a=b", b"hello");
    let got = Queue::sink(&host, &echo).get(&format!("_timeout_=20s&requestId={id}"));
    assert_eq!((got[0].data.as_slice(), &got[0].tags["lastCode"]), (&b"hello"[..], &Value::Null));
}

#[test]
fn an_item_that_takes_too_long_is_delivered_again_and_then_dead() {
    let host = TestHost::start();
    let keys = json!({"queue": {"timeout_ms": 1000, "max_delivery": 2}, "sandbox": {"fuel": "unlimited"}});
    let service = deploy(&host, "late", "faults", keys);
    let mut input = Queue::input(&host, &service);
    input.put("", json!({"do": "loop"}).to_string().as_bytes());
    input.wait_for(&host, "bulkhead.delayed", "1");
    let found = input.ask("GET", "?_search_=true&_index_=1", &[], b"").json();
    assert_eq!(found["State"], "delayed", "{found}");
    input.wait_for(&host, "bulkhead.dead", "1");
    assert_eq!(host.metric(r#"bulkhead_queued_items_redelivered_total{service="late",queue="input"}"#), 1);
    assert_eq!(host.metric(r#"bulkhead_queued_items_died_total{service="late",queue="input"}"#), 1);
    assert_eq!(host.metric(r#"bulkhead_requests_total{service="late",status="408"}"#), 2);
    assert_eq!(Queue::sink(&host, &service).get(""), [], "it has no result");
}

#[test]
fn a_full_sink_stops_the_processor_and_loses_nothing() {
    let host = TestHost::start();
    let service = deploy(&host, "full", "echo", json!({"queue": {"length": 3}}));
    let (mut input, mut sink) = (Queue::input(&host, &service), Queue::sink(&host, &service));
    let mut sent = 0;
    while sent < 6 {
        match input.ask("POST", "", &[], format!("{sent}").as_bytes()).status {
            200 => sent += 1,
            // The processor has not taken the items yet.
            450 => {}
            other => panic!("{other}"),
        }
    }
    sink.wait_for(&host, "stream.length", "3");
    assert_eq!(input.attribute("stream.length"), "3", "nothing is taken while there is no room for results");
    let mut results = Vec::new();
    while results.len() < 6 {
        results.extend(sink.get("_timeout_=20s").into_iter().map(|item| item.data));
    }
    results.sort();
    assert_eq!(results, [b"0", b"1", b"2", b"3", b"4", b"5"].map(|data| data.to_vec()));
}

#[test]
fn a_stopped_service_takes_and_gives_items_and_works_on_none() {
    let host = TestHost::start();
    let service = deploy(&host, "stops", "echo", json!({}));
    assert_eq!(host.call_admin("POST", "/api/v1/services/stops/stop", b"").status, 200);
    let (mut input, mut sink) = (Queue::input(&host, &service), Queue::sink(&host, &service));
    input.put("", b"a");
    sink.put("", b"result");
    assert_eq!(sink.get("")[0].data, b"result");
    assert_eq!(input.attribute("bulkhead.ready"), "1");
    let refused = host.call_admin("DELETE", "/api/v1/services/stops", b"");
    assert_eq!((refused.status, &refused.json()["code"]), (409, &json!("queue_not_empty")));
    assert_eq!(host.call_admin("POST", "/api/v1/services/stops/start", b"").status, 200);
    assert_eq!(sink.get("_timeout_=20s")[0].data, b"a");
    input.put("", b"left");
    sink.wait_for(&host, "stream.length", "1");
    assert_eq!(host.call_admin("DELETE", "/api/v1/services/stops?drop_items=true", b"").status, 200);
    assert_eq!(host.client().post(&service, b"x").status, 404);
    let again = deploy(&host, "stops", "echo", json!({"token": service.token}));
    assert_eq!(Queue::sink(&host, &again).attribute("stream.length"), "0", "nothing of the old one is left");
    assert_eq!(Queue::input(&host, &again).put("", b"new").0, 1);
}

#[test]
fn a_host_that_ends_gives_back_what_it_works_on() {
    let host = TestHost::start_with(&["--grace", "1s"], "");
    let keys = json!({
        "queue": {"max_delivery": 1}, "sandbox": {"fuel": "unlimited"},
        "metadata": {"eas": {"termination_grace_period": 1}},
    });
    let service = deploy(&host, "ending", "faults", keys);
    let mut input = Queue::input(&host, &service);
    input.put("", json!({"do": "sleep", "ms": 60_000}).to_string().as_bytes());
    // An item is leased before its call begins.
    host.wait_for("its call to run", || host.metric("bulkhead_workers_busy{service=\"ending\",instance=\"0\"}") == 1);
    let host = host.terminate_and_restart();
    let lines = host.log();
    let mut ended = lines.lines().filter(|line| line.contains("request POST") && line.contains("service=ending"));
    assert!(ended.any(|line| line.contains("status=503") && line.contains("code=draining")), "{lines}");
    let mut input = Queue::input(&host, &service);
    input.wait_for(&host, "bulkhead.leased", "1");
    assert_eq!(input.attribute("bulkhead.dead"), "0", "a stop of the host is no failed delivery");
    assert_eq!(host.call_admin("POST", "/api/v1/services/ending/stop", b"").status, 200);
    input.wait_for(&host, "bulkhead.ready", "1");
}

#[test]
fn an_item_that_kills_the_host_is_dead_after_its_last_delivery() {
    let mut host = TestHost::start();
    let service = deploy(&host, "poison", "faults", json!({"queue": {"max_delivery": 2}}));
    Queue::input(&host, &service).put("", json!({"do": "sleep", "ms": 4_000}).to_string().as_bytes());
    for _ in 0..2 {
        Queue::input(&host, &service).wait_for(&host, "bulkhead.leased", "1");
        host = host.kill_and_restart();
    }
    let mut input = Queue::input(&host, &service);
    input.wait_for(&host, "bulkhead.dead", "1");
    assert_eq!((input.attribute("bulkhead.leased"), input.attribute("stream.length")), ("0".into(), "0".into()));
}

#[test]
fn an_asynchronous_service_stays_one() {
    let host = TestHost::start();
    deploy(&host, "kind", "echo", json!({}));
    let patch = json!({"spec": {"metadata": {"type": "Standard"}}});
    let refused = host.call_admin("PUT", "/api/v1/services/kind", patch.to_string().as_bytes());
    assert_eq!((refused.status, &refused.json()["code"]), (409, &json!("other_type")), "{}", refused.text());
}

#[test]
fn waits_for_items_end_with_the_host() {
    let host = TestHost::start_with(&["--grace", "60s"], "");
    let service = deploy(&host, "waits", "echo", json!({}));
    let ask = |query: &str| {
        let mut client = host.client();
        let path = format!("{}/sink?{query}", service.path);
        client.write(&request("GET", &path, &[("authorization", &service.token)], b""));
        client
    };
    let mut waiting = [ask("_timeout_=600s&_raw_=false"), ask("_timeout_=600s&_auto_delete_=false&_raw_=false")];
    let _watching = ask("_watch_=true");
    Queue::sink(&host, &service).wait_for(&host, "consumers.stats.total", "1");
    let began = Instant::now();
    let host = host.terminate_and_restart();
    assert!(began.elapsed() < Duration::from_secs(30), "{:?} and 60 s of grace", began.elapsed());
    for client in &mut waiting {
        assert_eq!(client.read("GET").status, 204, "an answer without items");
    }
    drop(host);
}

/// A host that is killed while it deletes a service leaves the queues. A new service of that name must not get them.
#[test]
fn a_new_service_does_not_get_the_queues_of_one_that_was_half_deleted() {
    let host = TestHost::start_with(&[], "delete.removed=kill");
    let service = deploy(&host, "again", "echo", json!({}));
    Queue::sink(&host, &service).put("", b"of the old one");
    let killed = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| {
        host.call_admin("DELETE", "/api/v1/services/again?drop_items=true", b"")
    }));
    assert!(killed.is_err(), "the host is killed before it answers");
    let host = host.kill_and_restart();
    assert_eq!(host.client().post(&service, b"x").status, 404);
    let service = deploy(&host, "again", "echo", json!({}));
    let (_, id) = Queue::input(&host, &service).put("", b"of the new one");
    let got = Queue::sink(&host, &service).get("_timeout_=20s&_length_=9");
    assert_eq!(
        (got.len(), got[0].data.as_slice(), got[0].tags["requestId"].as_str()),
        (1, &b"of the new one"[..], Some(&*id))
    );
}

/// A caller's own tag must not pass for the end of a call.
#[test]
fn a_result_of_200_has_no_last_code_whatever_its_caller_has_put() {
    let host = TestHost::start();
    let service = deploy(&host, "tagged", "echo", json!({}));
    Queue::input(&host, &service).put("?lastCode=500&lastError=x&kept=1", b"x");
    let got = Queue::sink(&host, &service).get("_timeout_=20s");
    assert_eq!(
        (&got[0].tags["lastCode"], &got[0].tags["lastError"], &got[0].tags["kept"]),
        (&Value::Null, &Value::Null, &json!("1"))
    );
}

/// An answer that is streamed into the sink is not final before its end.
#[test]
fn an_item_whose_answer_is_cut_off_ends_like_one_without_an_answer() {
    let host = TestHost::start_with(&["--grace", "1s"], "");
    let keys = json!({"queue": {"max_delivery": 1, "timeout_ms": 2000}});
    let service = deploy(&host, "streaming", "faults", keys);
    let mut input = Queue::input(&host, &service);
    let deed = |end: &str| json!({"do": "stream", "pieces": 2, "pause_ms": 20, "end": end}).to_string();
    // A fault of the processor is final.
    input.put("", deed("trap").as_bytes());
    let mut sink = Queue::sink(&host, &service);
    assert!(String::from_utf8_lossy(&sink.get("_timeout_=20s")[0].data).contains("unreachable"));
    // Its time over, the delivery has failed.
    input.put("", deed("hang").as_bytes());
    input.wait_for(&host, "bulkhead.dead", "1");
    assert_eq!(sink.attribute("stream.length"), "0");
    // A host that ends gives the item back.
    let host = host.terminate_and_restart();
    let metadata = json!({"eas": {"termination_grace_period": 1}});
    let service = deploy(&host, "ending", "faults", json!({"queue": {"max_delivery": 1}, "metadata": metadata}));
    let mut input = Queue::input(&host, &service);
    input.put("", deed("hang").as_bytes());
    host.wait_for("its call to run", || host.metric("bulkhead_workers_busy{service=\"ending\",instance=\"0\"}") == 1);
    let host = host.terminate_and_restart();
    let mut input = Queue::input(&host, &service);
    input.wait_for(&host, "bulkhead.leased", "1");
    assert_eq!(
        (input.attribute("bulkhead.dead"), Queue::sink(&host, &service).attribute("stream.length")),
        ("0".into(), "0".into())
    );
    assert_eq!(host.call_admin("POST", "/api/v1/services/ending/stop", b"").status, 200);
    input.wait_for(&host, "bulkhead.ready", "1");
}
