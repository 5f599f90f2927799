//! The admin API of queues: the state, dead letters, and the cancelling of items.

use serde_json::{Value, json};

use crate::host::{Deployed, TestHost};
use crate::http::{Response, request};

/// Never ends by itself.
const LOOP: &[u8] = br#"{"do":"loop"}"#;
const FLAG: &[u8] = br#"{"do":"flag"}"#;

fn service(host: &TestHost, queue: Value) -> Deployed {
    let rpc = json!({"worker_threads": 1});
    host.deploy("svc", "faults", json!({"metadata": {"type": "Async", "rpc": rpc}, "queue": queue}))
}

/// Puts an item; returns its request id.
fn put(host: &TestHost, service: &Deployed, query: &str, body: &[u8]) -> String {
    let headers = [("authorization", service.token.as_str()), ("content-type", "application/json")];
    let answer = host.client().send("POST", &format!("{}{query}", service.path), &headers, body);
    assert_eq!(answer.status, 200, "{}", answer.text());
    answer.header("x-eas-queueservice-request-id").expect("an id").to_owned()
}

/// Gets the result of a request; waits for it.
fn result(host: &TestHost, service: &Deployed, request_id: &str) -> Response {
    let path = format!("{}/sink?requestId={request_id}&_timeout_=20s", service.path);
    host.client().send("GET", &path, &[("authorization", service.token.as_str())], b"")
}

fn ask(host: &TestHost, method: &str, place: &str, body: Value) -> Response {
    let body = if body.is_null() { String::new() } else { body.to_string() };
    host.call_admin(method, &format!("/api/v1/services/svc/queue{place}"), body.as_bytes())
}

fn status(host: &TestHost) -> Value {
    ask(host, "GET", "", Value::Null).json()
}

fn stop(host: &TestHost) {
    assert_eq!(host.call_admin("POST", "/api/v1/services/svc/stop", b"").status, 200);
}

/// The outcomes of changes in the audit log, newest first.
fn audited(host: &TestHost) -> Vec<(String, String)> {
    let page = host.call_admin("GET", "/api/v1/audit?service=svc&limit=1000", b"").json();
    let text = |entry: &Value, key: &str| entry[key].as_str().unwrap_or_default().to_owned();
    let entries = page["entries"].as_array().expect("entries").iter();
    let pairs = entries.map(|entry| (text(entry, "action"), text(entry, "outcome")));
    pairs.filter(|(action, _)| action.starts_with("queue_")).collect()
}

fn pair(action: &str, outcome: &str) -> (String, String) {
    (action.to_owned(), outcome.to_owned())
}

#[test]
fn the_state_of_both_queues_is_shown_while_the_service_stands_still() {
    let host = TestHost::start();
    let service = service(&host, json!({"length": 50, "max_payload_bytes": 4096}));
    stop(&host);
    for query in ["", "?_priority_=7", "?_priority_=7&kind=a"] {
        put(&host, &service, query, FLAG);
    }
    let told = status(&host);
    let input = &told["input"];
    assert_eq!((&told["name"], &input["length"], &input["leased"]), (&json!("svc"), &json!(3), &json!(0)), "{told}");
    assert_eq!(input["ready"], json!([{"priority": 7, "items": 2}, {"priority": 0, "items": 1}]));
    assert_eq!(input["limits"], json!({"length": 50, "payload": 4096}));
    assert_eq!((&input["first"], &input["last"], &input["ended"]), (&json!(1), &json!(3), &json!(false)));
    assert!(input["oldest_age_s"].as_u64().is_some_and(|age| age < 20), "{told}");
    assert_eq!((&told["sink"]["length"], &told["sink"]["limits"]["length"]), (&json!(0), &json!(50)));
    assert_eq!(host.call_admin("DELETE", "/api/v1/services/svc?drop_items=true", b"").status, 200);
}

#[test]
fn the_workers_of_a_service_are_a_consumer() {
    let host = TestHost::start();
    let service = service(&host, json!({}));
    let id = put(&host, &service, "", LOOP);
    host.wait_for("the item to be delivered", || status(&host)["input"]["leased"] == 1);
    let consumers = status(&host)["input"]["consumers"].clone();
    let running = consumers.as_array().expect("consumers").iter().find(|consumer| consumer["status"] == "running");
    assert_eq!(running.map(|consumer| (&consumer["index"], &consumer["pending"])), Some((&json!(1), &json!(1))));
    assert_eq!(ask(&host, "POST", "/cancel", json!({"request_id": id})).status, 200);
}

#[test]
fn a_running_item_is_stopped_and_a_waiting_one_removed() {
    let host = TestHost::start();
    let service = service(&host, json!({}));
    let running = put(&host, &service, "", LOOP);
    host.wait_for("the item to be delivered", || status(&host)["input"]["leased"] == 1);
    let waiting = put(&host, &service, "", LOOP);
    let cancel = |id: &str| ask(&host, "POST", "/cancel", json!({"request_id": id}));

    // The first one keeps the only worker busy.
    assert_eq!(cancel(&waiting).json(), json!({"cancelled": "waiting", "index": 2}));
    assert_eq!(cancel(&waiting).assert_problem(404, "item_not_found")["title"], "Not Found");
    assert_eq!(cancel(&running).json(), json!({"cancelled": "running", "index": 1}));
    let told = result(&host, &service, &running);
    assert_eq!((told.status, told.header("x-eas-queueservice-tag-lastcode")), (200, Some("499")), "{}", told.text());
    // The worker is free for the next one.
    let next = put(&host, &service, "", FLAG);
    assert_eq!(result(&host, &service, &next).header("x-eas-queueservice-tag-lastcode"), None);
    assert_eq!(status(&host)["sink"]["last"], 2, "the removed item has no result");
    for body in [json!({}), json!({"request_id": ""}), json!({"request_id": "x".repeat(257)})] {
        ask(&host, "POST", "/cancel", body).assert_problem(400, "bad_request");
    }
    let outcomes = ["bad_request", "bad_request", "bad_request", "done", "item_not_found", "done"];
    assert_eq!(audited(&host), outcomes.map(|outcome| pair("queue_cancel", outcome)));
}

#[test]
fn dead_letters_are_listed_read_requeued_and_purged() {
    let host = TestHost::start();
    let service = service(&host, json!({"max_delivery": 1, "timeout_ms": 1000}));
    let first = put(&host, &service, "?kind=a&_priority_=3", LOOP);
    for _ in 0..2 {
        put(&host, &service, "", LOOP);
    }
    host.wait_for("all items to be dead", || status(&host)["input"]["dead"] == 3);
    stop(&host);

    let page = ask(&host, "GET", "/dead?limit=2", Value::Null).json();
    let dead = &page["dead"][0];
    assert_eq!(
        (&dead["index"], &dead["request_id"], &dead["priority"], &dead["bytes"], &dead["deliveries"]),
        (&json!(1), &json!(first), &json!(3), &json!(LOOP.len()), &json!(1)),
        "{page}"
    );
    assert_eq!((&dead["tags"]["kind"], &dead["reason"]["code"]), (&json!("a"), &json!("408")));
    assert!(dead["reason"]["text"].as_str().is_some_and(|text| text.contains("1000 ms")), "{dead}");
    assert!(dead["died_at"].as_str() >= dead["put_at"].as_str(), "{dead}");
    assert_eq!((page["dead"].as_array().map(Vec::len), &page["next"]), (Some(2), &json!("3")));
    let rest = ask(&host, "GET", "/dead?limit=2&cursor=3", Value::Null).json();
    assert_eq!((&rest["dead"][0]["index"], &rest["next"]), (&json!(3), &Value::Null), "{rest}");

    let data = ask(&host, "GET", "/dead/2", Value::Null);
    assert_eq!((data.header("content-type"), data.body.as_slice()), (Some("application/json"), LOOP));
    assert_eq!(data.header("content-disposition"), Some("attachment"));
    ask(&host, "GET", "/dead/4", Value::Null).assert_problem(404, "item_not_found");
    ask(&host, "GET", "/dead/x", Value::Null).assert_problem(400, "bad_request");

    let requeue = |body: Value| ask(&host, "POST", "/dead/requeue", body);
    assert_eq!(requeue(json!({"indexes": [2, 2, 9]})).json(), json!({"requeued": 1}));
    assert_eq!(requeue(json!({"indexes": [2]})).json(), json!({"requeued": 0}));
    assert_eq!(status(&host)["input"]["ready"], json!([{"priority": 0, "items": 1}]));
    for body in [json!({}), json!({"indexes": []}), json!({"indexes": [1], "all": true}), json!({"all": false})] {
        requeue(body).assert_problem(400, "bad_request");
    }
    assert_eq!(ask(&host, "DELETE", "/dead?indexes=1", Value::Null).json(), json!({"purged": 1}));
    for query in ["", "?indexes=", "?indexes=1,x", "?all=false", "?indexes=1&all=true"] {
        ask(&host, "DELETE", &format!("/dead{query}"), Value::Null).assert_problem(400, "bad_request");
    }
    assert_eq!(requeue(json!({"all": true})).json(), json!({"requeued": 1}));
    assert_eq!(ask(&host, "DELETE", "/dead?all=true", Value::Null).json(), json!({"purged": 0}));
    let told = status(&host);
    assert_eq!((&told["input"]["length"], &told["input"]["dead"]), (&json!(2), &json!(0)), "{told}");
    assert!(audited(&host).starts_with(&[pair("queue_purge", "unchanged"), pair("queue_requeue", "done")]));
    assert_eq!(host.call_admin("DELETE", "/api/v1/services/svc", b"").json()["code"], "queue_not_empty");
    assert_eq!(host.call_admin("DELETE", "/api/v1/services/svc?drop_items=true", b"").status, 200);
}

/// Results that a consumer does not finish would fill the sink for good.
#[test]
fn the_sink_has_dead_letters_of_its_own() {
    let host = TestHost::start();
    let service = service(&host, json!({"max_delivery": 1}));
    put(&host, &service, "", FLAG);
    host.wait_for("the result", || status(&host)["sink"]["length"] == 1);
    let headers = [("authorization", service.token.as_str())];
    let mut watch = host.client();
    watch.write(&request("GET", &format!("{}/sink?_watch_=true", service.path), &headers, b""));
    host.wait_for("the delivery", || status(&host)["sink"]["leased"] == 1);
    // A delivery to a client that has left before the item is sent would not count. So read the head, and the first byte
    // of the item.
    let mut got = Vec::new();
    while !got.ends_with(b"\r\n\r\n") {
        got.extend(watch.read_bytes(1).expect("the head of the answer"));
    }
    watch.read_bytes(1).expect("the item");
    watch.reset();
    host.wait_for("the dead letter", || status(&host)["sink"]["dead"] == 1);
    let dead = ask(&host, "GET", "/dead?queue=sink", Value::Null).json();
    assert_eq!(dead["dead"][0]["reason"]["code"], "ConsumerLeft", "{dead}");
    assert_eq!(ask(&host, "GET", "/dead", Value::Null).json()["dead"], json!([]));
    assert_eq!(ask(&host, "GET", "/dead/1?queue=sink", Value::Null).status, 200);
    assert_eq!(ask(&host, "POST", "/dead/requeue", json!({"all": true})).json(), json!({"requeued": 0}));
    assert_eq!(ask(&host, "POST", "/dead/requeue?queue=sink", json!({"all": true})).json(), json!({"requeued": 1}));
    assert_eq!(ask(&host, "DELETE", "/dead?all=true&queue=sink", Value::Null).json(), json!({"purged": 0}));
    assert_eq!(status(&host)["sink"]["length"], 1);
    assert_eq!(host.call_admin("DELETE", "/api/v1/services/svc?drop_items=true", b"").status, 200);
}

#[test]
fn a_service_without_queues_is_told_so() {
    let host = TestHost::start();
    host.deploy("svc", "echo", json!({}));
    for (method, place, body) in [
        ("GET", "", Value::Null),
        ("GET", "/dead", Value::Null),
        ("GET", "/dead/1", Value::Null),
        ("POST", "/dead/requeue", json!({"all": true})),
        ("DELETE", "/dead?all=true", Value::Null),
        ("POST", "/cancel", json!({"request_id": "x"})),
    ] {
        ask(&host, method, place, body.clone()).assert_problem(409, "not_asynchronous");
        let of_nobody = format!("/api/v1/services/nobody/queue{place}");
        let body = if body.is_null() { String::new() } else { body.to_string() };
        host.call_admin(method, &of_nobody, body.as_bytes()).assert_problem(404, "service_not_found");
    }
}

#[test]
fn a_change_of_items_is_made_only_if_the_service_has_the_tag() {
    let host = TestHost::start();
    service(&host, json!({}));
    let path = "/api/v1/services/svc/queue/dead?all=true";
    let described = host.call_admin("GET", "/api/v1/services/svc", b"");
    let tag = described.header("etag").expect("a tag").to_owned();
    assert_eq!(host.ask_admin("DELETE", path, &[("if-match", &tag)], b"").status, 200);
    host.ask_admin("DELETE", path, &[("if-match", "\"1000000\"")], b"").assert_problem(412, "precondition_failed");
}

#[test]
fn an_asynchronous_service_is_described_as_one() {
    let host = TestHost::start();
    service(&host, json!({}));
    host.deploy("echo", "echo", json!({}));
    let url = format!("http://{}/api/predict/svc", host.data);
    let described = host.call_admin("GET", "/api/v1/services/svc", b"").json();
    assert_eq!(
        (&described["type"], &described["url"], &described["sink_url"]),
        (&json!("Async"), &json!(url), &json!(format!("{url}/sink")))
    );
    let list = host.call_admin("GET", "/api/v1/services", b"").json();
    let types = [&list["services"][0]["type"], &list["services"][1]["type"], &list["services"][0]["sink_url"]];
    assert_eq!(types, [&json!("Standard"), &json!("Async"), &Value::Null], "{list}");
}

#[test]
fn neither_end_of_a_mirror_can_be_asynchronous() {
    let host = TestHost::start();
    service(&host, json!({}));
    host.deploy("echo", "echo", json!({}));
    for (source, target) in [("svc", "echo"), ("echo", "svc")] {
        let body = json!({"target": target, "ratio": 100}).to_string();
        let refused = host.call_admin("PUT", &format!("/api/v1/services/{source}/mirror"), body.as_bytes());
        let problem = refused.assert_problem(409, "mirror_refused");
        let detail = problem["detail"].as_str().unwrap_or_default();
        assert!(detail.starts_with("service \"svc\" is asynchronous"), "{problem}");
    }
    // The service file's own mirror goes through the same check.
    let keys = json!({"metadata": {"rpc": {"mirror": {"target": "svc", "ratio": 10}}}});
    host.try_deploy("copied", "echo", keys).assert_problem(409, "mirror_refused");
}
