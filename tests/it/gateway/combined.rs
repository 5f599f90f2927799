//! The gateway in front of real hosts, and within one.

use serde_json::json;

use super::{PATH, config, gateway};
use crate::host::TestHost;
use crate::http::request;

#[test]
fn a_host_behind_the_gateway_answers_as_if_it_were_in_front() {
    let host = TestHost::start();
    let echo = host.deploy("echo", "echo", json!({}));
    let faults = host.deploy("faults", "faults", json!({"metadata": {"rpc": {"keepalive": 300}}}));
    let gateway = gateway(&[host.data], json!({}));
    let mut client = gateway.client();
    for i in 0..20 {
        let response = client.post(&echo, format!("body {i}").as_bytes());
        assert_eq!((response.status, response.text()), (200, format!("body {i}")));
        assert!(response.header("server-timing").is_some());
    }
    client.send("POST", &echo.path, &[("authorization", "wrong")], b"x").assert_problem(401, "unauthorized");
    client.post(&faults, br#"{"do":"panic"}"#).assert_problem(400, "processor_exception");
    client.post(&faults, br#"{"do":"loop"}"#).assert_problem(408, "deadline_exceeded");
    client.send("POST", "/api/predict/none", &[], b"x").assert_problem(404, "service_not_found");
    let response =
        client.send("POST", &echo.path, &[("authorization", &echo.token), ("x-request-id", "both-logs")], b"x");
    assert_eq!(response.header("x-request-id"), Some("both-logs"));
    gateway.wait_for("both logs to name it", || {
        gateway.log().contains("request_id=both-logs") && host.log().contains("request_id=both-logs")
    });
    assert!(gateway.log().contains(&format!("upstream={}", host.data)), "{}", gateway.log());
}

#[test]
fn a_client_that_leaves_is_499_in_both_accounts() {
    let host = TestHost::start();
    let faults = host.deploy("faults", "faults", json!({"metadata": {"rpc": {"keepalive": 60_000}}}));
    let gateway = gateway(&[host.data], json!({"request_timeout_ms": 60_000}));
    let busy = "bulkhead_workers_busy{service=\"faults\",instance=\"0\"}";
    for _ in 0..3 {
        let mut client = gateway.client();
        client.write(&request("POST", &faults.path, &[("authorization", &faults.token)], br#"{"do":"loop"}"#));
        host.wait_for("it to run", || host.metric(busy) == 1);
        drop(client);
        host.wait_for("it to be stopped", || host.metric(busy) == 0);
    }
    host.wait_for("three 499", || host.metric("bulkhead_requests_total{service=\"faults\",status=\"499\"}") == 3);
    gateway.wait_for("three 499", || gateway.metric("bulkhead_requests_total{service=\"*\",status=\"499\"}") == 3);
}

#[test]
fn a_host_answers_for_its_own_services_and_forwards_the_rest() {
    let behind = TestHost::start();
    let theirs = behind.deploy("theirs", "echo", json!({}));
    behind.deploy("both", "echo", json!({"token": "other"}));
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("gateway.json");
    std::fs::write(&file, config(&[behind.data], json!({})).to_string()).unwrap();
    let host = TestHost::start_with(&["--gateway", file.to_str().unwrap()], "");
    let ours = host.deploy("ours", "echo", json!({}));
    let both = host.deploy("both", "echo", json!({"token": "mine"}));
    let mut client = host.client();
    assert_eq!(client.post(&ours, b"near").text(), "near");
    assert_eq!(client.post(&theirs, b"far").text(), "far");
    assert_eq!(client.post(&both, b"near").status, 200, "its own come first");
    client.send("POST", PATH, &[], b"x").assert_problem(404, "service_not_found");
    assert_eq!(behind.metric("bulkhead_requests_total{service=\"theirs\",status=\"200\"}"), 1);
    assert_eq!(host.metric("bulkhead_requests_total{service=\"ours\",status=\"200\"}"), 1);
    assert_eq!(host.metric("bulkhead_requests_total{service=\"*\",status=\"200\"}"), 1);
    let view = host.call_admin("GET", "/api/v1/upstreams", b"").json();
    assert_eq!(view["clusters"][0]["upstreams"][0]["address"], behind.data.to_string(), "{view}");
    assert_eq!(host.get_admin("/api/v1/upstreams").status, 401);
    assert_eq!(host.call_admin("DELETE", "/api/v1/services/ours", b"").status, 200);
    client.post(&ours, b"x").assert_problem(404, "service_not_found");
    assert_eq!(host.metric("bulkhead_requests_total{service=\"*\",status=\"404\"}"), 2, "the next host's 404");
}

/// Signatures cover the target's bytes; they hold behind the gateway.
#[test]
fn http2_clients_are_forwarded_as_well() {
    let host = TestHost::start();
    let echo = host.deploy("echo", "echo", json!({"generate_token": false}));
    let gateway = TestHost::start_gateway(&config(&[host.data], json!({})), &["--http2"]);
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    let body = vec![b'x'; 300_000];
    let answered = runtime.block_on(async {
        let stream = tokio::net::TcpStream::connect(gateway.data).await.unwrap();
        let (mut sender, connection) = h2::client::handshake(stream).await.unwrap();
        tokio::spawn(connection);
        let uri = format!("http://test{}", echo.path);
        let request = http::Request::post(uri).body(()).unwrap();
        let (response, mut sending) = sender.send_request(request, false).unwrap();
        let mut rest = bytes::Bytes::from(body.clone());
        while !rest.is_empty() {
            sending.reserve_capacity(rest.len());
            let room = std::future::poll_fn(|cx| sending.poll_capacity(cx)).await.unwrap().unwrap();
            let piece = rest.split_to(room.min(rest.len()));
            sending.send_data(piece, rest.is_empty()).unwrap();
        }
        let (head, mut incoming) = response.await.unwrap().into_parts();
        assert_eq!(head.status, 200);
        let mut whole = Vec::new();
        while let Some(piece) = incoming.data().await {
            let piece = piece.unwrap();
            incoming.flow_control().release_capacity(piece.len()).unwrap();
            whole.extend_from_slice(&piece);
        }
        whole
    });
    assert!(answered == body, "{} bytes came back", answered.len());
}
