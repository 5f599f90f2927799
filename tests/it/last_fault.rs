//! The last fault of each instance: information for operators on replaced guests.

use std::process::Command;

use serde_json::{Value, json};

use crate::host::{TestHost, binary};

fn bulkhead(host: &TestHost, args: &[&str]) -> String {
    let mut command = Command::new(binary());
    command.env("BULKHEAD_ADMIN", format!("http://{}", host.admin)).env("BULKHEAD_ADMIN_TOKEN", &host.admin_token);
    let output = command.args(args).output().expect("it runs");
    assert!(output.status.success(), "{args:?}: {}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8(output.stdout).expect("UTF-8")
}

fn instance(host: &TestHost) -> Value {
    host.call_admin("GET", "/api/v1/services/svc/instances", b"").json()["instances"][0].clone()
}

/// Replaced guests leave no visible gap, so only this record explains why there were restarts.
#[test]
fn a_guest_that_was_replaced_leaves_word_of_why() {
    let host = TestHost::start();
    let keys = json!({"sandbox": {"fuel": 50_000_000}, "metadata": {"rpc": {"worker_threads": 1, "keepalive": 2000}}});
    let service = host.deploy("svc", "faults", keys);
    assert_eq!(instance(&host)["last_fault"], Value::Null);
    let mut client = host.client();
    for (id, body, kind, told) in [
        ("r-panic", r#"{"do":"panic","message":"out of cheese"}"#, "panic", "out of cheese"),
        ("r-trap", r#"{"do":"trap"}"#, "trap", "trapped"),
        ("r-fuel", r#"{"do":"loop"}"#, "fuel_exhausted", "fuel of 50000000"),
        ("r-late", r#"{"do":"sleep","ms":60000}"#, "deadline_exceeded", "not answered in time"),
    ] {
        client.send("POST", &service.path, &[("authorization", &service.token), ("x-request-id", id)], body.as_bytes());
        if kind == "deadline_exceeded" {
            // The answer to a request whose deadline has passed closes its connection.
            client = host.client();
        }
        host.wait_for("the fault to be noted", || instance(&host)["last_fault"]["request_id"] == id);
        let fault = instance(&host)["last_fault"].clone();
        assert_eq!(fault["kind"], kind, "{fault}");
        assert!(fault["error"].as_str().is_some_and(|error| error.contains(told)), "{fault}");
        assert!(fault["at"].as_str().is_some_and(|at| at.ends_with('Z')), "{fault}");
        let listed = bulkhead(&host, &["w", "svc"]);
        assert!(listed.contains(kind) && listed.contains(told) && listed.contains(id), "{listed}");
        assert!(bulkhead(&host, &["desc", "svc"]).contains(id));
    }
    // A refusal chosen by the processor is not a fault.
    let declined = br#"{"do":"status","status":422,"message":"no"}"#;
    client.send("POST", &service.path, &[("authorization", &service.token), ("x-request-id", "r-422")], declined);
    assert_eq!(instance(&host)["last_fault"]["request_id"], "r-late");

    // A new instance has no last fault.
    bulkhead(&host, &["dw", "svc", "0"]);
    assert_eq!(instance(&host)["last_fault"], Value::Null);
}

#[test]
fn a_client_that_left_is_named_as_the_reason() {
    let host = TestHost::start();
    let service = host.deploy("svc", "faults", json!({}));
    let mut client = host.client();
    let headers = [("authorization", service.token.as_str()), ("x-request-id", "r-left")];
    client.write(&crate::http::request("POST", &service.path, &headers, br#"{"do":"sleep","ms":60000}"#));
    host.wait_for("it to run", || host.metric("bulkhead_workers_busy{service=\"svc\",instance=\"0\"}") == 1);
    drop(client);
    host.wait_for("the guest to be stopped", || instance(&host)["last_fault"]["kind"] == "client_closed");
    assert_eq!(instance(&host)["last_fault"]["request_id"], "r-left");
}

#[test]
fn a_blocked_worker_shows_its_reason() {
    let host = TestHost::start();
    let service = host.deploy("svc", "faults", json!({"runtime": {"enable_crash_block": true}}));
    let headers = [("authorization", service.token.as_str()), ("x-request-id", "r-block")];
    host.client().send("POST", &service.path, &headers, br#"{"do":"panic","message":"out of cheese"}"#);
    assert_eq!(instance(&host)["last_fault"]["request_id"], "r-block");
    let listed = bulkhead(&host, &["w", "svc"]);
    let row = listed.lines().nth(1).expect("an instance");
    assert!(
        row.contains("Degraded") && row.contains("[4/5]") && row.contains("blocked: the processor panicked"),
        "{row}"
    );
    assert!(row.contains("r-block"), "{row}");
    assert_eq!(host.call_admin("POST", "/api/v1/services/svc/start", b"").status, 200);
    assert_eq!(instance(&host)["last_fault"], Value::Null, "it is healed");
}

#[test]
fn of_a_batch_the_request_at_fault_is_named() {
    let host = TestHost::start();
    let rpc = json!({"worker_threads": 1, "batching": true, "max_batch_size": 4, "max_batch_timeout": 2000});
    let service = host.deploy("svc", "faults", json!({"metadata": {"rpc": rpc}}));
    let send = |id: &str, body: &[u8]| {
        let mut client = host.client();
        let headers = [("authorization", service.token.as_str()), ("x-request-id", id)];
        client.write(&crate::http::request("POST", &service.path, &headers, body));
        client
    };
    let bodies = [("b-1", &br#"{"do":"flag"}"#[..]), ("b-2", br#"{"do":"panic"}"#), ("b-3", br#"{"do":"flag"}"#)];
    let mut clients: Vec<_> = bodies.iter().map(|(id, body)| send(id, body)).collect();
    let statuses: Vec<_> = clients.iter_mut().map(|client| client.read("POST").status).collect();
    assert_eq!(statuses, [200, 400, 200]);
    let fault = instance(&host)["last_fault"].clone();
    assert_eq!((&fault["kind"], &fault["request_id"]), (&json!("panic"), &json!("b-2")), "{fault}");
}

/// Instances show which of two serving versions had the fault.
#[test]
fn instances_of_a_canary_are_told_by_their_version() {
    let host = TestHost::start();
    host.deploy("svc", "faults", json!({}));
    let body = json!({"spec": {"metadata": {"rpc": {"worker_threads": 2}}}, "canary": 10}).to_string();
    assert_eq!(host.call_admin("PUT", "/api/v1/services/svc", body.as_bytes()).status, 200);
    let listed = bulkhead(&host, &["w", "svc"]);
    let versions: Vec<_> = listed.lines().map(|line| line.split_whitespace().last().unwrap_or_default()).collect();
    assert_eq!(versions, ["VERSION", "1", "2"], "{listed}");
}
