//! Tests that need their own settings or the host's metrics: A8, A12, S7, and the two limits of the core rows.

use serde_json::json;

use super::timing::Scene;
use crate::host::TestHost;
use crate::http::request;

pub(super) fn scenes() -> Vec<Scene> {
    vec![
        ("A8", refusals_come_instead_of_leave_to_send),
        ("A12", nobody_outside_speaks_for_the_host),
        ("S7", an_upload_needs_a_length),
        ("450", a_full_queue),
        ("429", past_the_rate),
    ]
}

fn refusals_come_instead_of_leave_to_send() {
    let host = TestHost::start();
    let echo = host.deploy("echo", "echo", json!({"metadata": {"rpc": {"rate_limit": 1}}}));
    let head = |token: &str| {
        format!(
            "POST {} HTTP/1.1\r\nHost: a\r\nAuthorization: {token}\r\nExpect: 100-continue\r\nContent-Length: 3\r\n\r\n",
            echo.path
        )
    };
    let refused = |token: &str, status, code| {
        let mut client = host.client();
        client.write(head(token).as_bytes());
        let response = client.read("POST");
        response.assert_problem(status, code);
        assert!(response.closes() && client.is_closed(), "{code}");
    };
    refused("wrong", 401, "unauthorized");
    let mut leave = host.client();
    leave.write(head(&echo.token).as_bytes());
    assert_eq!(leave.read_interim(), "HTTP/1.1 100 Continue\r\n\r\n");
    refused(&echo.token, 429, "rate_limited");
    leave.write(b"abc");
    assert_eq!(leave.read("POST").body, b"abc");
}

/// Headers that proxies set about a client are passed on to the processor; the host itself relies only on its sockets.
/// Headers that begin with `x-bulkhead-` would seem to come from the host, so they are removed from requests.
fn nobody_outside_speaks_for_the_host() {
    let host = TestHost::start();
    let service = host.deploy("faults", "faults", json!({}));
    let headers = [
        ("authorization", service.token.as_str()),
        ("x-forwarded-for", "10.0.0.1"),
        ("x-real-ip", "10.0.0.2"),
        ("x-bulkhead-fuel", "1"),
        ("X-Bulkhead-Caller", "root"),
        ("x-bulkhead", "kept"),
    ];
    let seen = host.client().send("POST", &service.path, &headers, br#"{"do":"inspect"}"#).json();
    let seen = seen["headers"].as_array().expect("a list");
    let value = |name: &str| seen.iter().find(|header| header[0] == name).map(|header| header[1].clone());
    assert_eq!(value("x-forwarded-for"), Some("10.0.0.1".into()));
    assert_eq!(value("x-real-ip"), Some("10.0.0.2".into()));
    assert_eq!(value("x-bulkhead"), Some("kept".into()));
    assert_eq!((value("x-bulkhead-fuel"), value("x-bulkhead-caller")), (None, None));
}

fn an_upload_needs_a_length() {
    let host = TestHost::start();
    let path = format!("/api/v1/artifacts/{}", "0".repeat(64));
    let mut client = crate::http::Client::connect(host.admin);
    let head = format!("PUT {path} HTTP/1.1\r\nHost: a\r\nAuthorization: Bearer {}\r\n\r\n", host.admin_token);
    client.write(head.as_bytes());
    let response = client.read("PUT");
    assert_eq!((response.status, response.json()["code"].as_str()), (411, Some("length_required")));
}

fn a_full_queue() {
    let host = TestHost::start();
    let rpc = json!({"worker_threads": 1, "max_queue_size": 0, "keepalive": 60_000});
    let service = host.deploy("faults", "faults", json!({"metadata": {"rpc": rpc}}));
    let mut busy = host.client();
    busy.write(&request("POST", &service.path, &[("authorization", &service.token)], br#"{"do":"loop"}"#));
    host.wait_for("it to run", || host.metric("bulkhead_workers_busy{service=\"faults\",instance=\"0\"}") == 1);
    let mut client = host.client();
    for _ in 0..100 {
        client.post(&service, br#"{"do":"flag"}"#).assert_problem(450, "queue_full");
    }
}

fn past_the_rate() {
    let host = TestHost::start();
    let echo = host.deploy("echo", "echo", json!({"metadata": {"rpc": {"rate_limit": 1}}}));
    let mut client = host.client();
    assert_eq!(client.post(&echo, b"x").status, 200);
    let response = client.post(&echo, b"x");
    response.assert_problem(429, "rate_limited");
    assert_eq!(response.header("retry-after"), Some("1"));
}
