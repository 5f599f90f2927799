//! Guests that cannot be replaced: `initialize` worked at the deploy, and fails when a new guest is needed.

use std::path::PathBuf;
use std::time::Instant;

use serde_json::{Value, json};

use crate::figures::{must, tell};
use crate::host::{Deployed, TestHost};
use crate::http::request;

/// Deploys a service whose guests start only while this file exists.
fn deploy(host: &TestHost, workers: usize) -> (Deployed, PathBuf) {
    let model = host.upload_bytes(b"model");
    let spec = json!({
        "name": "svc", "processor_path": "x.wasm", "token": "t", "model_path": "m", "model_entry": "m.bin",
        "model_config": {"initialize": "model"},
        "metadata": {"rpc": {"worker_threads": workers, "max_queue_size": 8, "keepalive": 60_000}},
        // Guests that start from a snapshot can always be replaced.
        "sandbox": {"snapshot": false},
    });
    let model = json!([{"path": "m.bin", "sha256": model, "size": 5}]);
    let body = json!({"spec": spec, "processor": host.upload("faults"), "model": model}).to_string();
    let answer = host.call_admin("POST", "/api/v1/services", body.as_bytes());
    assert_eq!(answer.status, 201, "{}", answer.text());
    let models = std::fs::read_dir(host.dir().join("data/models")).expect("a directory");
    let file = models.map(|dir| dir.expect("an entry").path().join("m.bin")).next().expect("one model");
    (Deployed { path: "/api/predict/svc".into(), token: "t".into() }, file)
}

fn described(host: &TestHost) -> Value {
    host.call_admin("GET", "/api/v1/services/svc", b"").json()
}

fn failures(host: &TestHost) -> u64 {
    host.metric("bulkhead_initialize_failures_total{service=\"svc\"}")
}

#[test]
fn a_service_that_cannot_replace_its_guests_backs_off_says_so_and_recovers() {
    let host = TestHost::start();
    let (service, file) = deploy(&host, 1);
    assert_eq!(host.client().post(&service, br#"{"do":"flag"}"#).status, 200);
    std::fs::remove_file(&file).unwrap();
    let began = Instant::now();
    host.client().post(&service, br#"{"do":"trap"}"#).assert_problem(400, "processor_exception");

    host.wait_for("the first attempt to fail", || failures(&host) >= 1);
    let asked = Instant::now();
    let problem = host.client().post(&service, br#"{"do":"flag"}"#).assert_problem(503, "no_healthy_upstream");
    let answered = asked.elapsed().as_secs_f64() * 1e3;
    assert!(problem["detail"].as_str().is_some_and(|detail| detail.starts_with("no healthy upstream")), "{problem}");
    tell("replacements.refused_ms", "at once, not at the deadline of 60 s", answered.round(), answered < 1000.0);

    let described_now = described(&host);
    let instance = &described_now["instances"][0];
    assert_eq!((&instance["state"], &instance["stalled"]), (&json!("degraded"), &json!(1)), "{described_now}");
    assert!(instance["error"].as_str().is_some_and(|error| error.contains("the model cannot be read")), "{instance}");
    assert!(instance["next_attempt_ms"].is_number(), "{instance}");
    let message = described_now["message"].as_str().expect("a message");
    assert!(message.contains("1 of 1 workers cannot be replaced") && message.contains("next attempt in"), "{message}");

    // The first four attempts have pauses of 100, 200 and 400 ms between them.
    host.wait_for("four attempts to fail", || failures(&host) >= 4);
    let took = began.elapsed().as_millis() as u64;
    must("replacements.four_attempts_ms", "at least 700 ms: each pause is twice the last", took, took >= 700);

    std::fs::write(&file, b"model").unwrap();
    let works = || host.client().post(&service, br#"{"do":"flag"}"#).status == 200;
    host.wait_for("the service to be whole", works);
    let healed = described(&host);
    assert_eq!((&healed["message"], &healed["instances"][0]["state"]), (&json!(""), &json!("running")), "{healed}");
}

#[test]
fn who_waits_for_a_guest_that_cannot_be_replaced_is_told_at_once() {
    let host = TestHost::start();
    let (service, file) = deploy(&host, 1);
    let send = |body: &[u8]| {
        let mut client = host.client();
        client.write(&request("POST", &service.path, &[("authorization", "t")], body));
        client
    };
    let holds = send(br#"{"do":"sleep","ms":60000}"#);
    host.wait_for("it to run", || host.metric("bulkhead_workers_busy{service=\"svc\",instance=\"0\"}") == 1);
    let mut waits: Vec<_> = (0..3).map(|_| send(br#"{"do":"flag"}"#)).collect();
    host.wait_for("three to wait", || host.metric("bulkhead_queue_depth{service=\"svc\",instance=\"0\"}") == 3);
    std::fs::remove_file(&file).unwrap();
    drop(holds);
    for client in &mut waits {
        client.read("POST").assert_problem(503, "no_healthy_upstream");
    }
    must("replacements.queue_told", "3 that waited are told at once, their deadline being a minute off", 3, true);
    std::fs::write(&file, b"model").unwrap();
    host.wait_for("the service to be whole", || host.client().post(&service, br#"{"do":"flag"}"#).status == 200);
}

#[test]
fn a_service_with_a_worker_left_goes_on() {
    let host = TestHost::start();
    let (service, file) = deploy(&host, 2);
    std::fs::remove_file(&file).unwrap();
    host.client().post(&service, br#"{"do":"panic"}"#).assert_problem(400, "processor_exception");
    host.wait_for("the first attempt to fail", || failures(&host) >= 1);
    let mut client = host.client();
    for _ in 0..100 {
        assert_eq!(client.post(&service, br#"{"do":"flag"}"#).status, 200);
    }
    let described_now = described(&host);
    assert_eq!(described_now["instances"][0]["stalled"], 1, "{described_now}");
    std::fs::write(&file, b"model").unwrap();
    host.wait_for("the other worker to be back", || described(&host)["instances"][0]["state"] == "running");
}
