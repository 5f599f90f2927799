//! Every way in which a request can end, row by row of the status contract: status, code, body, headers, connection.

use serde_json::json;

use crate::host::{Deployed, TestHost};
use crate::http::{Client, Response, request};

/// Sends raw bytes on a new connection.
fn raw(host: &TestHost, bytes: &[u8]) -> (Response, Client) {
    let mut client = host.client();
    client.try_write(bytes);
    let method = if bytes.starts_with(b"HEAD") { "HEAD" } else { "GET" };
    let response = client.read(method);
    (response, client)
}

/// Checks that the next request is answered after a refusal that keeps the connection.
fn assert_goes_on(client: &mut Client, service: &Deployed) {
    let next = client.post(service, b"next");
    assert_eq!((next.status, next.body.as_slice()), (200, b"next".as_slice()));
}

#[test]
fn s200_echo_answers_what_it_got_with_its_type() {
    let host = TestHost::start();
    let echo = host.deploy("echo", "echo", json!({}));
    let mut client = host.client();
    let headers = [("authorization", echo.token.as_str()), ("content-type", "text/x-mine"), ("x-request-id", "mine-1")];
    let response = client.send("POST", "/api/predict/echo/v1?x=y", &headers, b"\x00\xffbytes");
    assert_eq!((response.status, response.body.as_slice()), (200, b"\x00\xffbytes".as_slice()));
    assert_eq!(response.header("content-type"), Some("text/x-mine"));
    assert_eq!(response.header("x-request-id"), Some("mine-1"));
    assert!(response.header("server-timing").is_some_and(|timing| timing.starts_with("receive;dur=")));
    assert!(!response.closes());
    let large = vec![b'x'; 3 << 20];
    assert_eq!(client.post(&echo, &large).body, large);
    client.write(b"POST /api/predict/echo HTTP/1.1\r\nhost: a\r\nauthorization: Bearer ");
    client.write(echo.token.as_bytes());
    client.write(b"\r\ntransfer-encoding: chunked\r\n\r\n3\r\nabc\r\n2;x=y\r\nde\r\n0\r\nt: v\r\n\r\n");
    assert_eq!(client.read("POST").body, b"abcde");
    assert_goes_on(&mut client, &echo);
}

#[test]
fn s400_malformed_http_is_refused_with_a_body_and_the_connection_closed() {
    let host = TestHost::start();
    for bytes in [
        "GET / HTTP/1.1\r\n\r\n",
        "GET / HTTP/1.1\r\nHost: a\r\nHost: a\r\n\r\n",
        "GET / HTTP/1.1\nHost: a\n\n",
        "GET /\r\n",
        "GET / HTTP/1.1\r\nHost: a\r\nx : y\r\n\r\n",
        "POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 1\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
        "POST / HTTP/1.1\r\nHost: a\r\nContent-Length: -1\r\n\r\n",
        "\x16\x03\x01\x02\x00\x01\x00\x01",
    ] {
        let (response, mut client) = raw(&host, bytes.as_bytes());
        response.assert_problem(400, "bad_request");
        assert!(response.closes() && client.is_closed(), "{bytes:?}");
    }
    assert_eq!(host.metric("bulkhead_requests_total{service=\"\",status=\"400\"}"), 8);
}

#[test]
fn s400_malformed_chunks() {
    let host = TestHost::start();
    let echo = host.deploy("echo", "echo", json!({}));
    let head = format!(
        "POST {} HTTP/1.1\r\nhost: a\r\nauthorization: {}\r\ntransfer-encoding: chunked\r\n\r\n",
        echo.path, echo.token
    );
    for chunks in [
        "0x3\r\nabc\r\n0\r\n\r\n",
        "3\nabc\r\n0\r\n\r\n",
        "3\r\nabcX\r\n0\r\n\r\n",
        "3\r\nabc\r\n0\r\nGET /smuggled HTTP/1.1\n\r\n",
    ] {
        let (response, mut client) = raw(&host, format!("{head}{chunks}").as_bytes());
        response.assert_problem(400, "bad_request");
        assert!(response.closes() && client.is_closed(), "{chunks:?}");
    }
}

#[test]
fn s401_without_the_right_token() {
    let host = TestHost::start();
    let echo = host.deploy("echo", "echo", json!({"token": "right"}));
    let mut client = host.client();
    for headers in [
        vec![],
        vec![("authorization", "wrong")],
        vec![("authorization", "Bearer wrong")],
        vec![("authorization", "EAS d3Jvbmc=")],
    ] {
        let response = client.send("POST", &echo.path, &headers, b"body");
        response.assert_problem(401, "unauthorized");
        assert_eq!(response.header("www-authenticate"), Some("Bearer"));
        assert!(!response.closes());
    }
    assert_goes_on(&mut client, &echo);
}

#[test]
fn s200_signed_by_an_sdk() {
    let host = TestHost::start();
    host.deploy("echo", "echo", json!({"token": "tok"}));
    // Captured from the official Python SDK.
    let headers = [
        ("content-md5", "5d41402abc4b2a76b9719d911017c592"),
        ("date", "Mon, 23 Nov 2026 07:21:57 GMT"),
        ("content-type", "application/octet-stream"),
        ("authorization", "EAS 98ZXWMZr3a7S6FTWB4jut+xabjQ="),
    ];
    let response = host.client().send("POST", "/api/predict/echo", &headers, b"hello");
    assert_eq!((response.status, response.body.as_slice()), (200, b"hello".as_slice()));
}

#[test]
fn s200_public_service() {
    let host = TestHost::start();
    host.deploy("open", "echo", json!({"generate_token": false}));
    assert_eq!(host.client().send("POST", "/api/predict/open", &[], b"x").status, 200);
}

#[test]
fn s404_and_s405() {
    let host = TestHost::start();
    let echo = host.deploy("echo", "echo", json!({"sandbox": {"methods": ["POST"]}}));
    let mut client = host.client();
    client.send("POST", "/api/predict/nobody", &[], b"body").assert_problem(404, "service_not_found");
    for path in ["/", "/api/predict", "/api/predict/", "/healthz", "/api/v1/services"] {
        client.send("GET", path, &[], b"").assert_problem(404, "not_found");
    }
    for method in ["GET", "DELETE", "TRACE", "PATCH"] {
        let response = client.send(method, &echo.path, &[("authorization", &echo.token)], b"");
        response.assert_problem(405, "method_not_allowed");
        assert_eq!(response.header("allow"), Some("POST"));
    }
    assert_goes_on(&mut client, &echo);
}

#[test]
fn s408_slow_head_and_slow_body() {
    let host = TestHost::start();
    let echo = host.deploy("echo", "echo", json!({"metadata": {"rpc": {"keepalive": 200}}}));
    let mut head = host.client();
    head.write(b"POST /api/predict/echo HTTP/1.1\r\nhost: a\r\n");
    let mut body = host.client();
    let whole = request("POST", &echo.path, &[("authorization", &echo.token)], b"0123456789");
    body.write(&whole[..whole.len() - 3]);
    for (mut client, what) in [(body, "receive"), (head, "receive")] {
        let response = client.read("POST");
        let problem = response.assert_problem(408, "deadline_exceeded");
        assert!(problem["spent_ms"][what].as_f64().is_some_and(|ms| ms >= 200.0), "{problem}");
        assert!(response.closes() && client.is_closed());
    }
}

#[test]
fn s413_declared_and_discovered() {
    let host = TestHost::start();
    let echo = host.deploy("echo", "echo", json!({"sandbox": {"max_request_bytes": 1000}}));
    let headers = [("authorization", echo.token.as_str())];
    let mut declared = host.client();
    let whole = request("POST", &echo.path, &headers, &[b'x'; 1001]);
    declared.write(&whole[..whole.len() - 500]);
    let mut discovered = host.client();
    let head = format!(
        "POST {} HTTP/1.1\r\nhost: a\r\nauthorization: {}\r\ntransfer-encoding: chunked\r\n\r\n",
        echo.path, echo.token
    );
    discovered.write(head.as_bytes());
    discovered.write(format!("3E9\r\n{}", "x".repeat(1001)).as_bytes());
    for mut client in [declared, discovered] {
        let response = client.read("POST");
        response.assert_problem(413, "body_too_large");
        assert!(response.closes() && client.is_closed());
    }
    // Lengths that overflow the host's number type are refused with the service's limit, like other lengths.
    let to = |path: &str, length: &str| {
        let head = format!("POST {path} HTTP/1.1\r\nhost: a\r\nauthorization: {}\r\n", echo.token);
        raw(&host, format!("{head}content-length: {length}\r\n\r\n").as_bytes()).0
    };
    for absurd in ["18446744073709551613", "18446744073709551616", &"9".repeat(20_000), &("0".repeat(5000) + "1001")] {
        let problem = to(&echo.path, absurd).assert_problem(413, "body_too_large");
        assert_eq!(problem["detail"], "the body is larger than 1000 bytes (sandbox.max_request_bytes)");
        to("/api/predict/nobody", absurd).assert_problem(404, "service_not_found");
    }
    assert_eq!(host.client().post(&echo, &[b'x'; 1000]).status, 200);
}

#[test]
fn s413_comes_before_leave_to_send() {
    let host = TestHost::start();
    let echo = host.deploy("echo", "echo", json!({"sandbox": {"max_request_bytes": 10}}));
    let head = |length: usize| {
        format!(
            "POST {} HTTP/1.1\r\nhost: a\r\nauthorization: {}\r\nexpect: 100-continue\r\ncontent-length: {length}\r\n\r\n",
            echo.path, echo.token
        )
    };
    let (refused, _) = raw(&host, head(11).as_bytes());
    refused.assert_problem(413, "body_too_large");
    let (leave, mut client) = raw_continue(&host, head(3).as_bytes());
    assert_eq!(leave, "HTTP/1.1 100 Continue\r\n\r\n");
    client.write(b"abc");
    assert_eq!(client.read("POST").body, b"abc");
}

/// Sends a head and reads the interim response.
fn raw_continue(host: &TestHost, head: &[u8]) -> (String, Client) {
    let mut client = host.client();
    client.write(head);
    (client.read_interim(), client)
}

#[test]
fn s414_s417_s431_s501_s505() {
    let host = TestHost::start();
    let long = "a".repeat(9000);
    let many = "x: y\r\n".repeat(101);
    let large = "y".repeat(33 << 10);
    for (bytes, status, code) in [
        (format!("GET /{long} HTTP/1.1\r\nHost: a\r\n\r\n"), 414, "target_too_long"),
        ("POST / HTTP/1.1\r\nHost: a\r\nExpect: 200-ok\r\n\r\n".into(), 417, "expectation_failed"),
        (format!("GET / HTTP/1.1\r\nHost: a\r\n{many}\r\n"), 431, "headers_too_large"),
        (format!("GET / HTTP/1.1\r\nHost: a\r\nx: {large}\r\n\r\n"), 431, "headers_too_large"),
        ("FROB / HTTP/1.1\r\nHost: a\r\n\r\n".into(), 501, "not_implemented"),
        ("CONNECT a:443 HTTP/1.1\r\nHost: a\r\n\r\n".into(), 501, "not_implemented"),
        (
            "POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: gzip, chunked\r\n\r\n0\r\n\r\n".into(),
            501,
            "not_implemented",
        ),
        ("GET / HTTP/1.2\r\nHost: a\r\n\r\n".into(), 505, "http_version_not_supported"),
        ("PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n".into(), 505, "http_version_not_supported"),
    ] {
        let (response, mut client) = raw(&host, bytes.as_bytes());
        response.assert_problem(status, code);
        assert!(response.closes() && client.is_closed(), "{status} {code}");
    }
}

#[test]
fn s505_on_a_connection_that_was_fine_before() {
    let host = TestHost::start();
    let echo = host.deploy("echo", "echo", json!({}));
    let mut client = host.client();
    let mut two = request("POST", &echo.path, &[("authorization", &echo.token)], b"one");
    two.extend_from_slice(b"GET / HTTP/1.9\r\nHost: a\r\n\r\n");
    client.write(&two);
    assert_eq!(client.read("POST").body, b"one");
    client.read("GET").assert_problem(505, "http_version_not_supported");
    assert!(client.is_closed());
}

#[test]
fn s429_past_the_rate() {
    let host = TestHost::start();
    let echo = host.deploy("echo", "echo", json!({"metadata": {"rpc": {"rate_limit": 1}}}));
    let mut client = host.client();
    assert_eq!(client.post(&echo, b"1").status, 200);
    let response = client.post(&echo, b"2");
    response.assert_problem(429, "rate_limited");
    assert_eq!(response.header("retry-after"), Some("1"));
    assert!(!response.closes());
}

#[test]
fn s503_when_stopped_and_200_when_started_again() {
    let host = TestHost::start();
    let echo = host.deploy("echo", "echo", json!({}));
    let mut client = host.client();
    assert_eq!(host.call_admin("POST", "/api/v1/services/echo/stop", b"").status, 200);
    let problem = client.post(&echo, b"x").assert_problem(503, "no_healthy_upstream");
    assert!(problem["detail"].as_str().unwrap().contains("no healthy upstream"));
    assert_eq!(host.call_admin("POST", "/api/v1/services/echo/start", b"").status, 200);
    assert_goes_on(&mut client, &echo);
}

#[test]
fn head_has_headers_and_no_body() {
    let host = TestHost::start();
    host.deploy("echo", "echo", json!({"generate_token": false, "sandbox": {"methods": ["HEAD", "POST"]}}));
    let mut client = host.client();
    let response = client.send("HEAD", "/api/predict/echo", &[], b"");
    assert_eq!((response.status, response.body.len()), (200, 0));
    let refused = client.send("HEAD", "/api/predict/nobody", &[], b"");
    assert_eq!((refused.status, refused.body.len()), (404, 0));
    assert_eq!(client.send("POST", "/api/predict/echo", &[], b"x").body, b"x");
}

#[test]
fn pipelined_requests_are_answered_in_order() {
    let host = TestHost::start();
    let echo = host.deploy("echo", "echo", json!({}));
    let mut client = host.client();
    let mut all = Vec::new();
    for i in 0..50 {
        all.extend(request("POST", &echo.path, &[("authorization", &echo.token)], format!("body {i}").as_bytes()));
    }
    client.write(&all);
    for i in 0..50 {
        assert_eq!(client.read("POST").text(), format!("body {i}"));
    }
}
