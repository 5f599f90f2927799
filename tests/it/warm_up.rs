//! Warm-up requests, which a version answers before all others.

use std::process::Command;

use serde_json::{Value, json};

use crate::host::{Deployed, TestHost, binary, project};
use crate::http::Response;

const FLAG: &str = r#"{"do":"flag"}"#;

/// Makes the body of a creation or change with this warm-up file.
fn body(host: &TestHost, name: &str, file: &str, keys: Value) -> String {
    let mut spec = json!({
        "name": "svc", "processor_path": "x.wasm", "token": "t", "warm_up_data_path": name,
        "metadata": {"rpc": {"worker_threads": 1, "keepalive": 5000}},
    });
    for (key, value) in keys.as_object().expect("an object") {
        spec[key] = value.clone();
    }
    let (processor, warm_up) = (host.upload("faults"), host.upload_bytes(file.as_bytes()));
    json!({"spec": spec, "processor": processor, "warm_up": warm_up}).to_string()
}

fn create(host: &TestHost, name: &str, file: &str, keys: Value) -> Response {
    host.call_admin("POST", "/api/v1/services", body(host, name, file, keys).as_bytes())
}

/// Returns the number of calls of the guest that answers, including this one.
fn calls(host: &TestHost) -> u64 {
    let service = Deployed { path: "/api/predict/svc".into(), token: "t".into() };
    let response = host.client().post(&service, FLAG.as_bytes());
    assert_eq!(response.status, 200, "{}", response.text());
    response.json()["calls"].as_u64().expect("a number")
}

fn switch(host: &TestHost, to: &str) {
    assert_eq!(host.call_admin("POST", &format!("/api/v1/services/svc/{to}"), b"").status, 200);
}

#[test]
fn the_first_worker_of_every_instance_answers_each_line_five_times() {
    let host = TestHost::start();
    let keys = json!({"metadata": {"instance": 2, "rpc": {"worker_threads": 1}}});
    let created = create(&host, "warm.txt", &format!("{FLAG}\n\n{FLAG}\r\n{FLAG}"), keys);
    assert_eq!(created.status, 201, "{}", created.text());
    let (first, second) = (calls(&host), calls(&host));
    assert_eq!([first, second], [16, 16], "of either instance");
    assert_eq!(host.metric("bulkhead_requests_accepted_total{service=\"svc\"}"), 2, "the others were nobody's");
    assert_eq!(host.metric("bulkhead_request_run_seconds_count{service=\"svc\"}"), 2);

    let host = host.kill_and_restart();
    assert_eq!(calls(&host), 16, "also at the start of the host");
    switch(&host, "stop");
    switch(&host, "start");
    assert_eq!(calls(&host), 16, "and of the service");
}

#[test]
fn a_binary_file_is_one_request() {
    let host = TestHost::start();
    let created = create(&host, "warm.bin", "{\"do\":\n\"flag\"}", json!({}));
    assert_eq!(created.status, 201, "{}", created.text());
    assert_eq!(calls(&host), 6);
}

#[test]
fn a_version_that_cannot_be_warmed_up_is_refused_and_the_old_one_goes_on() {
    let host = TestHost::start();
    assert_eq!(create(&host, "warm.txt", FLAG, json!({})).status, 201);
    let before = calls(&host);
    let refused = |name: &str, file: &str, keys: Value, says: &[&str]| {
        let answer = host.call_admin("PUT", "/api/v1/services/svc", body(&host, name, file, keys).as_bytes());
        let problem = answer.json();
        assert_eq!((answer.status, problem["code"].as_str()), (400, Some("processor_refused")), "{problem}");
        let detail = problem["detail"].as_str().expect("a sentence");
        assert!(says.iter().all(|text| detail.contains(text)), "{says:?} in {detail}");
    };
    let status = r#"{"do":"status","status":422,"message":"too cold","as":"response"}"#;
    let says = ["in line 3", "the first time", "status 422", "too cold"];
    refused("warm.txt", &format!("{FLAG}\n\n{status}\n"), json!({}), &says);
    let declined = r#"{"do":"status","status":503,"message":"not yet"}"#;
    refused("warm.txt", declined, json!({}), &["in line 1", "status 503", "not yet"]);
    refused("warm.txt", r#"{"do":"panic","message":"brr"}"#, json!({}), &["in line 1", "status 400", "panicked: brr"]);
    let quick = json!({"metadata": {"rpc": {"keepalive": 100}}});
    refused("warm.txt", r#"{"do":"sleep","ms":60000}"#, quick.clone(), &["line 1", "not answered in time: 200 ms"]);
    refused("warm.txt", r#"{"do":"loop"}"#, quick, &["line 1", "not answered in time: 200 ms"]);
    refused("warm.bin", "no JSON", json!({}), &["the warm-up request, sent", "status 4"]);
    refused("warm.txt", "\n \n", json!({}), &["no request in it"]);
    let small = json!({"sandbox": {"max_request_bytes": 8}});
    refused("warm.txt", FLAG, small, &["in line 1", "13 bytes", "max_request_bytes"]);
    assert_eq!(calls(&host), before + 1, "the same guest answers");
    let described = host.call_admin("GET", "/api/v1/services/svc", b"").json();
    assert_eq!((&described["version"], &described["instances"][0]["restarts"]), (&json!(1), &json!(0)), "{described}");
}

#[test]
fn at_the_start_of_the_host_a_failure_is_a_warning() {
    let host = TestHost::start();
    assert_eq!(create(&host, "warm.txt", FLAG, json!({})).status, 201);
    let described = host.call_admin("GET", "/api/v1/services/svc/versions", b"").json();
    let warm_up = described["versions"][0]["warm_up"].as_str().expect("a digest");
    std::fs::remove_file(host.dir().join("data/artifacts").join(warm_up)).unwrap();
    let host = host.kill_and_restart();
    assert_eq!(calls(&host), 1);
    host.wait_for("the log to tell", || host.log().contains("the warm-up failed") && host.log().contains(warm_up));
}

#[test]
fn the_file_is_uploaded_with_the_service_and_its_step_is_shown() {
    let host = TestHost::start();
    let dir = tempfile::tempdir().unwrap();
    std::fs::write(dir.path().join("warm.txt"), FLAG).unwrap();
    let keys = json!({"token": "t", "warm_up_data_path": "warm.txt", "metadata": {"rpc": {"worker_threads": 1}}});
    let file = project(dir.path(), "svc", "faults", keys);
    let ran = Command::new(binary())
        .env("BULKHEAD_ADMIN", format!("http://{}", host.admin))
        .env("BULKHEAD_ADMIN_TOKEN", &host.admin_token)
        .arg("create")
        .arg(&file)
        .output()
        .expect("it runs");
    assert!(ran.status.success(), "{}", String::from_utf8_lossy(&ran.stderr));
    assert_eq!(calls(&host), 6);

    let change = json!({"spec": {"metadata": {"rpc": {"keepalive": 4000}}}}).to_string();
    let headers = [("accept", "application/x-ndjson")];
    let told = host.ask_admin("PUT", "/api/v1/services/svc", &headers, change.as_bytes()).text();
    let steps: Vec<Value> = told.lines().map(|line| serde_json::from_str(line).expect("JSON")).collect();
    let steps: Vec<&str> = steps.iter().filter_map(|event| event["step"].as_str()).collect();
    assert_eq!(steps, ["check", "compile", "warm_up", "swap"]);
}
