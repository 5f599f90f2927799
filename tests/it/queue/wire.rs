//! Every operation of the protocol, and every refusal, on the wire.

use serde_json::json;

use super::{Queue, deploy_stopped};
use crate::host::TestHost;

#[test]
fn every_operation_answers_as_clients_of_eas_expect() {
    let host = TestHost::start();
    let service = deploy_stopped(&host, "wire", json!({}));
    let mut queue = Queue::input(&host, &service);

    // Put: a decimal index and nothing else, and the request id.
    let answer = queue.ask("POST", "?t=v&_priority_=1", &[], b"first");
    assert_eq!((answer.status, answer.body.as_slice()), (200, &b"1"[..]));
    let id = answer.header("x-eas-queueservice-request-id").expect("an id").to_owned();
    assert_eq!(answer.header("x-request-id"), Some(id.as_str()));
    assert_eq!(queue.put("/sub/path?u=w", b"second").0, 2);
    let by_header = queue.ask("POST", "", &[("X-EAS-QueueService-Priority", "7")], b"third");
    assert_eq!(by_header.text(), "3");

    // Count and search.
    assert_eq!(queue.ask("GET", "?_count_=true", &[], b"").text(), "3");
    assert_eq!(queue.ask("GET", "?_count_=true&_priority_=1", &[], b"").text(), "1");
    assert_eq!(queue.ask("GET", "?_count_=true&t=v", &[], b"").text(), "1");
    for (index, ahead) in [(3, 0), (1, 1), (2, 2)] {
        let found = queue.ask("GET", &format!("?_search_=true&_index_={index}"), &[], b"").json();
        assert_eq!((&found["IsPending"], &found["WaitCount"]), (&json!(false), &json!(ahead)), "item {index}");
    }

    // Get without removing, by index, tag and request id; in the order of the indexes.
    let read = |queue: &mut Queue, query: &str| -> Vec<u64> {
        queue.get(&format!("_auto_delete_=false&{query}")).iter().map(|item| item.index).collect()
    };
    assert_eq!(read(&mut queue, "_length_=9"), [1, 2, 3]);
    assert_eq!(read(&mut queue, "_length_=9&_index_=2"), [2, 3]);
    assert_eq!(read(&mut queue, "_index_=-1"), [3]);
    assert_eq!(read(&mut queue, "u=w"), [2]);
    assert_eq!(read(&mut queue, &format!("requestId={id}")), [1]);
    assert_eq!(read(&mut queue, "u=other"), [0_u64; 0]);
    let raw = queue.ask("GET", "", &[], b"");
    assert_eq!((raw.status, raw.body.as_slice()), (200, &b"first"[..]), "a GET without parameters removes nothing");

    // Protobuf: a list; an empty one where JSON has 204.
    let protobuf = [("accept", "application/vnd.google.protobuf")];
    let listed = queue.ask("GET", "?_raw_=false&_index_=2&_auto_delete_=false&u=w", &protobuf, b"");
    assert_eq!(listed.header("content-type"), Some("application/vnd.google.protobuf"));
    assert!(listed.body.windows(6).any(|part| part == b"second"), "{:?}", listed.body);
    let none = queue.ask("GET", "?_raw_=false&t=none", &protobuf, b"");
    assert_eq!((none.status, none.body.len()), (200, 0));
    assert_eq!(queue.ask("GET", "?_raw_=false&t=none", &[], b"").status, 204);

    // Attributes, in JSON and in Protobuf.
    for (name, value) in [
        ("meta.name", "wire"),
        ("meta.header.user", "X-EAS-QueueService-Redis-Uid"),
        ("meta.header.group", "X-EAS-QueueService-Redis-Gid"),
        ("meta.header.priority", "X-EAS-QueueService-Priority"),
        ("meta.maxPayloadBytes", "8388608"),
        ("stream.length", "3"),
        ("stream.firstEntry", "1"),
        ("stream.lastEntry", "3"),
    ] {
        assert_eq!(queue.attribute(name), value, "{name}");
    }
    assert!(queue.ask("GET", "?_attrs_=true", &protobuf, b"").body.windows(9).any(|part| part == b"meta.name"));

    // Get with removing: the highest priority first.
    let taken: Vec<u64> = queue.get("_length_=2&_timeout_=1s").iter().map(|item| item.index).collect();
    assert_eq!(taken, [3, 1]);
    assert_eq!(queue.attribute("stream.length"), "1");

    // Delete, truncate, end.
    assert_eq!(queue.ask("DELETE", "?_indexes_=2%2C9", &[], b"").text(), "OK");
    assert_eq!(queue.attribute("stream.length"), "0");
    for _ in 0..3 {
        queue.put("", b"x");
    }
    assert_eq!(queue.ask("DELETE", "?_index_=6&_trunc_=true", &[], b"").text(), "OK");
    assert_eq!(queue.get("_length_=9&_auto_delete_=false").len(), 1, "6 is not below 6");
    assert_eq!(queue.ask("POST", "?_eos_=true", &[], b"").text(), "OK");
    let refused = queue.ask("POST", "", &[], b"late");
    assert_eq!((refused.status, &refused.json()["code"]), (409, &json!("queue_ended")));
    assert_eq!(queue.get("").len(), 1, "what is left can be taken");
    assert_eq!(queue.attribute("meta.state"), "End");
}

#[test]
fn the_sink_is_a_queue_of_its_own() {
    let host = TestHost::start();
    let service = deploy_stopped(&host, "own", json!({}));
    let (mut input, mut sink) = (Queue::input(&host, &service), Queue::sink(&host, &service));
    assert_eq!(sink.put("", b"result").0, 1);
    assert_eq!((input.attribute("stream.length"), sink.attribute("stream.length")), ("0".into(), "1".into()));
    assert_eq!(sink.attribute("meta.name"), "own/sink");
    // A path that only begins like it is the processor's.
    assert_eq!(input.put("/sinkhole", b"x").0, 1);
    assert_eq!(sink.get("")[0].data, b"result");
}

#[test]
fn a_put_that_is_repeated_is_one_item() {
    let host = TestHost::start();
    let service = deploy_stopped(&host, "twice", json!({}));
    let mut queue = Queue::input(&host, &service);
    let key = [("X-Bulkhead-Idempotency-Key", "order-7")];
    let first = queue.ask("POST", "?t=1", &key, b"body");
    let again = queue.ask("POST", "?t=1", &key, b"body");
    assert_eq!((first.text(), again.text()), ("1".into(), "1".into()));
    assert_eq!((first.header("x-bulkhead-repeated"), again.header("x-bulkhead-repeated")), (None, Some("true")));
    let id = "x-eas-queueservice-request-id";
    assert_eq!((first.header(id), again.header(id)), (Some("order-7"), Some("order-7")), "both name the item");
    for (query, body) in [("?t=2", &b"body"[..]), ("?t=1", b"other"), ("/path?t=1", b"body")] {
        let refused = queue.ask("POST", query, &key, body);
        assert_eq!((refused.status, &refused.json()["code"]), (409, &json!("key_reused")), "{query}");
    }
    // The header of the SDKs does the same, and the item may be gone by then.
    let named = [("X-Eas-Queueservice-Request-Id", "r-1")];
    assert_eq!(queue.ask("POST", "", &named, b"x").text(), "2");
    assert_eq!(queue.get("_length_=5").len(), 2);
    assert_eq!(queue.ask("POST", "", &named, b"x").text(), "2");
    assert_eq!(queue.attribute("stream.length"), "0");
    let host = host.kill_and_restart();
    let mut queue = Queue::input(&host, &service);
    assert_eq!(queue.ask("POST", "", &named, b"x").text(), "2", "the key survives the host");
}

#[test]
fn what_is_wrong_is_refused_with_a_sentence() {
    let host = TestHost::start();
    let limits = json!({"queue": {"max_payload_bytes": 10, "length": 2}});
    let service = deploy_stopped(&host, "wrong", limits);
    let mut queue = Queue::input(&host, &service);
    for (method, query, body, status, code, says) in [
        ("GET", "?_timout_=5s", &b""[..], 400, "bad_request", "_timout_"),
        ("GET", "?_timeout_=-5s", b"", 400, "bad_request", "_timeout_"),
        ("GET", "?_timeout_=soon", b"", 400, "bad_request", "soon"),
        ("GET", "?_length_=0", b"", 400, "bad_request", "_length_"),
        ("GET", "?_length_=1001&_raw_=false", b"", 400, "bad_request", "_length_"),
        ("GET", "?_index_=x", b"", 400, "bad_request", "_index_"),
        ("GET", "?_search_=true&_index_=7", b"", 404, "item_not_found", "7"),
        ("GET", "?_search_=true", b"", 400, "bad_request", "_index_"),
        ("GET", "?a=%zz", b"", 400, "bad_request", "%"),
        ("POST", "?_tag=x", b"", 400, "bad_request", "_tag"),
        ("POST", "?_priority_=101", b"", 400, "bad_request", "_priority_"),
        ("POST", "", b"eleven byte", 413, "body_too_large", "queue.max_payload_bytes"),
        ("PUT", "?_indexes_=1", b"", 409, "lease_lost", "1"),
        ("PUT", "", b"", 400, "bad_request", "_indexes_"),
        ("PUT", "?_indexes_=1&_negative_=true", b"_code_=no%20code", 400, "bad_request", "code"),
        ("DELETE", "?_indexes_=0", b"", 400, "bad_request", "_indexes_"),
        ("DELETE", "", b"", 400, "bad_request", "_indexes_"),
        ("PATCH", "", b"", 405, "method_not_allowed", "POST"),
        ("GET", "/sub/path", b"", 405, "method_not_allowed", "POST"),
    ] {
        let form = [("content-type", "application/x-www-form-urlencoded")];
        let mut fresh = Queue::input(&host, &service);
        let answer = fresh.ask(method, query, &form, body);
        let problem = answer.json();
        let told = problem["detail"].as_str().unwrap_or_default();
        assert_eq!((answer.status, &problem["code"]), (status, &json!(code)), "{method} {query}: {told}");
        assert!(told.contains(says), "{method} {query}: {told}");
    }
    for _ in 0..2 {
        queue.put("", b"x");
    }
    let full = queue.ask("POST", "", &[], b"x");
    assert_eq!((full.status, full.reason.as_str(), &full.json()["code"]), (450, "Queue Full", &json!("queue_full")));
    assert_eq!(queue.get("").len(), 1);
    assert_eq!(queue.put("", b"x").0, 3, "there is room again");
    let without = host.client().send("GET", &service.path, &[], b"");
    assert_eq!(without.status, 401);
}

#[test]
fn a_get_waits_for_an_item_and_no_longer() {
    let host = TestHost::start();
    let service = deploy_stopped(&host, "waits", json!({}));
    let mut waiting = Queue::sink(&host, &service);
    let asking = std::thread::spawn(move || waiting.get("_timeout_=20s&requestId=wanted"));
    let mut sink = Queue::sink(&host, &service);
    sink.put("?requestId=other", b"no");
    sink.put("?requestId=wanted", b"yes");
    assert_eq!(asking.join().expect("it ends")[0].data, b"yes");
    let mut peeking = Queue::sink(&host, &service);
    let asking = std::thread::spawn(move || peeking.get("_timeout_=20&_auto_delete_=false&_index_=3"));
    sink.put("", b"third");
    assert_eq!(asking.join().expect("it ends")[0].index, 3);
    assert_eq!(sink.get("_timeout_=10ms&t=none"), [], "nothing comes");
}
