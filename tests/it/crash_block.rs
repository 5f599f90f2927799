//! `runtime.enable_crash_block`: crashed guests are kept for inspection.

use serde_json::{Value, json};

use crate::host::{Deployed, TestHost};

fn deploy(host: &TestHost, instances: usize, workers: usize) -> Deployed {
    let rpc = json!({"worker_threads": workers, "max_queue_size": 0});
    let keys = json!({
        "runtime": {"enable_crash_block": true}, "metadata": {"instance": instances, "rpc": rpc},
        "sandbox": {"fuel": 50_000_000},
    });
    host.deploy("svc", "faults", keys)
}

fn described(host: &TestHost) -> Value {
    host.call_admin("GET", "/api/v1/services/svc", b"").json()
}

fn restarts(host: &TestHost, fault: &str) -> u64 {
    host.metric(&format!("bulkhead_instance_restarts_total{{service=\"svc\",fault=\"{fault}\"}}"))
}

/// Returns the metric of the service's readiness, and the number of its stalled workers.
fn readiness(host: &TestHost) -> (u64, u64) {
    let stalled = "bulkhead_workers_stalled{service=\"svc\",instance=\"0\"}";
    (host.metric("bulkhead_service_ready{service=\"svc\"}"), host.metric(stalled))
}

#[test]
fn a_crashed_guest_leaves_its_place_empty_until_the_service_is_started_again() {
    let host = TestHost::start();
    let service = deploy(&host, 1, 2);
    let mut client = host.client();
    let headers = [("authorization", service.token.as_str()), ("x-request-id", "the-first")];
    let body = br#"{"do":"panic","message":"out of cheese"}"#;
    client.send("POST", &service.path, &headers, body).assert_problem(400, "processor_exception");
    let now = described(&host);
    let instance = &now["instances"][0];
    assert_eq!((&instance["blocked"], &instance["state"]), (&json!(1), &json!("degraded")), "{now}");
    let listed = host.call_admin("GET", "/api/v1/services", b"").json();
    assert_eq!(listed["services"][0]["degraded"], 1, "{listed}");
    let crash = &instance["crashes"][0];
    assert_eq!(crash["request_id"], "the-first");
    assert!(crash["error"].as_str().is_some_and(|error| error.contains("out of cheese")), "{crash}");
    assert!(crash["stack"].as_str().is_some_and(|stack| stack.contains("faults")), "{crash}");
    assert!(crash["at"].as_str().is_some_and(|at| at.ends_with('Z')), "{crash}");
    let message = now["message"].as_str().expect("a message");
    assert!(message.contains("1 workers are blocked since") && message.contains("out of cheese"), "{message}");

    // The other worker continues, and guests lost for another reason than a crash are replaced as usual.
    for _ in 0..10 {
        assert_eq!(client.post(&service, br#"{"do":"flag"}"#).status, 200);
    }
    client.post(&service, br#"{"do":"loop"}"#).assert_problem(400, "fuel_exhausted");
    client.post(&service, br#"{"do":"status","status":500,"message":"no"}"#);
    assert_eq!(client.post(&service, br#"{"do":"flag"}"#).status, 200);
    assert_eq!((restarts(&host, "fuel_exhausted"), restarts(&host, "panic")), (1, 0));
    assert_eq!(readiness(&host), (1, 1), "one of two workers is left");

    client.post(&service, br#"{"do":"trap"}"#).assert_problem(400, "processor_exception");
    let problem = client.post(&service, br#"{"do":"flag"}"#).assert_problem(503, "no_healthy_upstream");
    assert!(problem["detail"].as_str().is_some_and(|detail| detail.contains("enable_crash_block")), "{problem}");
    assert_eq!(described(&host)["instances"][0]["crashes"].as_array().map(Vec::len), Some(2));
    assert_eq!(readiness(&host), (0, 2), "nobody answers");

    assert_eq!(host.call_admin("POST", "/api/v1/services/svc/start", b"").status, 200);
    assert_eq!(client.post(&service, br#"{"do":"flag"}"#).json(), json!({"calls": 1}));
    assert_eq!(readiness(&host), (1, 0));
    let healed = described(&host);
    assert_eq!((&healed["message"], &healed["instances"][0]["blocked"]), (&json!(""), &json!(0)), "{healed}");
}

#[test]
fn an_instance_that_is_left_takes_the_requests() {
    let host = TestHost::start();
    let service = deploy(&host, 2, 1);
    let mut client = host.client();
    client.post(&service, br#"{"do":"recurse"}"#).assert_problem(400, "processor_exception");
    for _ in 0..10 {
        assert_eq!(client.post(&service, br#"{"do":"flag"}"#).status, 200);
    }
    client.post(&service, br#"{"do":"panic"}"#).assert_problem(400, "processor_exception");
    client.post(&service, br#"{"do":"flag"}"#).assert_problem(503, "no_healthy_upstream");
    assert_eq!(host.call_admin("POST", "/api/v1/services/svc/start", b"").status, 200);
    assert_eq!(client.post(&service, br#"{"do":"flag"}"#).status, 200);
}
