//! The gateway in front of real hosts, and inside a host.

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
    let late = client.post(&faults, br#"{"do":"loop"}"#);
    late.assert_problem(408, "deadline_exceeded");
    assert!(late.closes(), "as the host itself closes after it");
    let mut client = gateway.client();
    client.send("POST", "/api/predict/none", &[], b"x").assert_problem(404, "service_not_found");
    let response =
        client.send("POST", &echo.path, &[("authorization", &echo.token), ("x-request-id", "both-logs")], b"x");
    assert_eq!(response.header("x-request-id"), Some("both-logs"));
    gateway.wait_for("both logs to name it", || {
        gateway.log().contains("request_id=both-logs") && host.log().contains("request_id=both-logs")
    });
    assert!(gateway.log().contains(&format!("upstream={}", host.data)), "{}", gateway.log());
}

/// The processor gets the whole header in one line, and the address that the gateway has seen is at its end.
#[test]
fn a_processor_sees_where_a_forwarded_request_came_from() {
    let host = TestHost::start();
    let faults = host.deploy("faults", "faults", json!({"token": "t"}));
    let gateway = gateway(&[host.data], json!({}));
    let forged = [("authorization", "t"), ("x-forwarded-for", "1.2.3.4"), ("X-Forwarded-For", "5.6.7.8")];
    let seen = gateway.client().send("POST", &faults.path, &forged, br#"{"do":"inspect"}"#).json();
    let headers = seen["headers"].as_array().unwrap();
    let lines: Vec<_> =
        headers.iter().filter(|header| header[0] == "x-forwarded-for").map(|header| &header[1]).collect();
    assert_eq!(lines, ["1.2.3.4, 5.6.7.8, 127.0.0.1"], "{seen}");
}

/// Headers that the gateway adds do not count against the client's limits: gateway and host accept and refuse the same
/// requests.
#[test]
fn a_request_may_be_as_large_before_the_gateway_as_before_the_host() {
    let host = TestHost::start();
    let echo = host.deploy("echo", "echo", json!({"generate_token": false}));
    let first = gateway(&[host.data], json!({}));
    let second = gateway(&[first.data], json!({}));
    let with_lines =
        |lines: usize, line: &str| format!("GET {} HTTP/1.1\r\nhost: a\r\n{}\r\n", echo.path, line.repeat(lines - 1));
    let with_bytes = |bytes: usize| {
        let before = format!("GET {} HTTP/1.1\r\nhost: a\r\nx: ", echo.path);
        format!("{before}{}\r\n\r\n", "y".repeat(bytes - before.len() - 4))
    };
    let most_lines = |lines: usize| {
        // Nearly the largest allowed head. It grows if a space is added after each colon.
        let line = format!("x:{}\r\n", "y".repeat((32 << 10) / lines - 6));
        with_lines(lines, &line)
    };
    let forwarded_before = "X-Forwarded-For: 1.2.3.4, 5.6.7.8\r\n";
    for (request, status) in [
        (with_lines(98, "x: y\r\n"), 200),
        (with_lines(99, "x: y\r\n"), 200),
        (with_lines(100, "x: y\r\n"), 200),
        (with_lines(101, "x: y\r\n"), 431),
        (with_lines(100, forwarded_before), 200),
        (with_lines(101, forwarded_before), 431),
        (with_bytes(32 << 10), 200),
        (with_bytes((32 << 10) + 1), 431),
        (most_lines(100), 200),
    ] {
        for front in [&host, &first, &second] {
            let mut client = front.client();
            client.write(request.as_bytes());
            let response = client.read("GET");
            assert_eq!(response.status, status, "{} lines, {} bytes", request.lines().count() - 2, request.len());
        }
    }
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

/// Early answers, after which the host closes its connection: the stream gets its answer, and the other streams
/// continue.
#[test]
fn http2_clients_see_answers_that_come_before_their_bodies_were_sent() {
    let host = TestHost::start();
    let echo = host.deploy("echo", "echo", json!({"token": "t"}));
    let gateway = TestHost::start_gateway(&config(&[host.data], json!({})), &["--http2"]);
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    runtime.block_on(async {
        let stream = tokio::net::TcpStream::connect(gateway.data).await.unwrap();
        let (mut sender, connection) = h2::client::handshake(stream).await.unwrap();
        tokio::spawn(connection);
        for round in 0..20 {
            let token = if round % 2 == 0 { "wrong" } else { "t" };
            let uri = format!("http://test{}", echo.path);
            let request = http::Request::post(uri).header("authorization", token).body(()).unwrap();
            sender = sender.ready().await.unwrap();
            let (response, mut sending) = sender.send_request(request, false).unwrap();
            let upload = tokio::spawn(async move {
                let mut left = if round % 2 == 0 { 12 << 20 } else { 100_000 };
                while left > 0 {
                    sending.reserve_capacity(left);
                    // The stream may end before its body does.
                    let Some(Ok(room)) = std::future::poll_fn(|cx| sending.poll_capacity(cx)).await else { return };
                    let piece = bytes::Bytes::from(vec![b'x'; room.min(left)]);
                    left -= piece.len();
                    if sending.send_data(piece, left == 0).is_err() {
                        return;
                    }
                }
            });
            let (head, mut incoming) = response.await.unwrap().into_parts();
            let mut whole = Vec::new();
            while let Some(piece) = incoming.data().await {
                let piece = piece.unwrap();
                incoming.flow_control().release_capacity(piece.len()).unwrap();
                whole.extend_from_slice(&piece);
            }
            upload.await.unwrap();
            let text = String::from_utf8_lossy(&whole);
            if round % 2 == 0 {
                assert!(head.status == 401 && text.contains("unauthorized"), "{} {text}", head.status);
            } else {
                assert_eq!((head.status.as_u16(), whole.len()), (200, 100_000));
            }
        }
    });
    let termination = format!(
        "bulkhead_upstream_failures_total{{cluster=\"c\",upstream=\"{}\",reason=\"connection_termination\"}}",
        host.data
    );
    assert_eq!(gateway.metric(&termination), 0);
}

/// Signatures cover the bytes of the target, and stay valid behind the gateway.
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
