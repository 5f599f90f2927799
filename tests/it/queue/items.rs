//! Items on their way through the processor.

use serde_json::json;

use super::{Queue, deploy};
use crate::host::TestHost;

/// The processor sees the path, the query without parameters of the protocol, and the headers of the put.
#[test]
fn a_processor_sees_the_request_that_put_the_item() {
    let host = TestHost::start();
    let service = deploy(&host, "sees", "faults", json!({}));
    let mut input = Queue::input(&host, &service);
    let headers = [("content-type", "application/json"), ("x-tenant", "blue"), ("X-EAS-QueueService-Priority", "3")];
    let body = json!({"do": "inspect"}).to_string();
    let put = input.ask("POST", "/v1/things?kind=red&_priority_=3", &headers, body.as_bytes());
    assert_eq!(put.status, 200, "{}", put.text());
    let id = put.header("x-eas-queueservice-request-id").expect("an id").to_owned();
    let got = Queue::sink(&host, &service).get(&format!("_timeout_=20s&requestId={id}"));
    let seen: serde_json::Value = serde_json::from_slice(&got[0].data).expect("JSON");
    let text = seen.to_string();
    for part in ["/v1/things", "kind=red", "x-tenant", "blue", id.as_str(), "POST"] {
        assert!(text.contains(part), "{part} is not in {text}");
    }
    for part in ["_priority_", "x-eas-queueservice", service.token.as_str()] {
        assert!(!text.to_lowercase().contains(part), "{part} is in {text}");
    }
}

/// Each item has one result, whatever the number of workers and of callers.
#[test]
fn many_items_have_one_result_each() {
    let host = TestHost::start();
    let service = deploy(&host, "many", "echo", json!({"metadata": {"rpc": {"worker_threads": 4}, "type": "Async"}}));
    const CALLERS: usize = 8;
    const EACH: usize = 50;
    std::thread::scope(|scope| {
        for caller in 0..CALLERS {
            let (host, service) = (&host, &service);
            scope.spawn(move || {
                let mut input = Queue::input(host, service);
                for number in 0..EACH {
                    input.put("", format!("{caller}-{number}").as_bytes());
                }
            });
        }
    });
    let mut sink = Queue::sink(&host, &service);
    let mut results = Vec::new();
    while results.len() < CALLERS * EACH {
        let got = sink.get("_timeout_=20s&_length_=100");
        assert!(!got.is_empty(), "{} results", results.len());
        results.extend(got.into_iter().map(|item| String::from_utf8(item.data).expect("text")));
    }
    results.sort();
    let mut expected: Vec<String> =
        (0..CALLERS).flat_map(|caller| (0..EACH).map(move |number| format!("{caller}-{number}"))).collect();
    expected.sort();
    assert_eq!(results, expected);
    let put = host.metric(r#"bulkhead_queued_items_put_total{service="many",queue="input"}"#);
    let finished = host.metric(r#"bulkhead_queued_items_finished_total{service="many",queue="input"}"#);
    assert_eq!((put, finished), (400, 400));
}
