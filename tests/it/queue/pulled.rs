//! Queues without a processor: clients put items in and take them out.

use serde_json::json;

use super::Queue;
use crate::host::{Deployed, TestHost};

fn create(host: &TestHost, name: &str) -> Deployed {
    let body = json!({"spec": {"name": name, "token": "t", "metadata.type": "Async"}}).to_string();
    let created = host.call_admin("POST", "/api/v1/services", body.as_bytes());
    assert_eq!(created.status, 201, "{}", created.text());
    assert_eq!((&created.json()["state"], &created.json()["processor"]), (&json!("stopped"), &json!(null)));
    Deployed { path: format!("/api/predict/{name}"), token: "t".to_owned() }
}

#[test]
fn clients_work_on_the_items_of_a_queue_without_a_processor() {
    let host = TestHost::start();
    let service = create(&host, "pulled");
    let mut input = Queue::input(&host, &service).named("worker");
    assert_eq!(input.put("?n=1", b"one").0, 1);
    let got = input.get("_auto_delete_=false&_timeout_=5s");
    assert_eq!(got[0].data, b"one");
    let mut sink = Queue::sink(&host, &service);
    sink.put("?n=1", b"its result");
    assert_eq!(input.ask("DELETE", "?_indexes_=1", &[], b"").status, 200);

    input.put("?n=2", b"two");
    let host = host.kill_and_restart();
    let mut input = Queue::input(&host, &service);
    assert_eq!(input.get("")[0].data, b"two", "it outlives the host");
    assert_eq!(Queue::sink(&host, &service).get("")[0].data, b"its result");
}

#[test]
fn a_queue_gets_a_processor_and_loses_it_again() {
    let host = TestHost::start();
    let service = create(&host, "grows");
    Queue::input(&host, &service).put("", b"x");
    let started = host.call_admin("POST", "/api/v1/services/grows/start", b"");
    assert_eq!((started.status, &started.json()["code"]), (409, &json!("no_processor")), "{}", started.text());
    let change =
        |body: serde_json::Value| host.call_admin("PUT", "/api/v1/services/grows", body.to_string().as_bytes());
    let lacking = change(json!({"spec": {"processor_path": "echo.wasm"}}));
    assert_eq!((lacking.status, &lacking.json()["code"]), (409, &json!("no_processor")), "{}", lacking.text());

    let echo = host.upload("echo");
    let given = change(json!({"spec": {"processor_path": "echo.wasm"}, "processor": echo}));
    assert_eq!(given.status, 200, "{}", given.text());
    assert_eq!(host.call_admin("POST", "/api/v1/services/grows/start", b"").status, 200);
    assert_eq!(Queue::sink(&host, &service).get("_timeout_=20s")[0].data, b"x", "the item has waited for it");

    let taken = change(json!({"spec": {"processor_path": null}}));
    assert_eq!((taken.status, &taken.json()["state"]), (200, &json!("stopped")), "{}", taken.text());
    Queue::input(&host, &service).put("", b"y");
    assert_eq!(Queue::input(&host, &service).get("")[0].data, b"y", "nothing else works on it");
    let back = host.call_admin("POST", "/api/v1/services/grows/version", br#"{"version": 2}"#);
    assert_eq!(back.status, 200, "{}", back.text());
}

#[test]
fn a_service_without_queues_needs_a_processor() {
    let host = TestHost::start();
    let refused = |body: serde_json::Value, says: &str| {
        let answer = host.call_admin("POST", "/api/v1/services", body.to_string().as_bytes());
        assert_eq!(answer.status, 400, "{}", answer.text());
        assert!(answer.text().contains(says), "{}", answer.text());
    };
    refused(json!({"spec": {"name": "a"}}), "\"path\":\"processor_path\"");
    let queue = json!({"name": "a", "metadata.type": "Async", "model_path": "m"});
    refused(json!({"spec": queue}), "given without processor_path");
    let echo = host.upload("echo");
    refused(
        json!({"spec": {"name": "a", "metadata.type": "Async"}, "processor": echo}),
        "processor: the body needs it",
    );
}
