//! Answers sent while the client is still sending: every client must see them.
//!
//! If a connection is closed with unread input, it is reset, and the reset overtakes the answer (RFC 9112 §9.6). So the
//! host closes its sending side first, and reads and discards the rest within limits. The clients here are as strict as
//! real ones. Most send their whole body before they read an answer, and some give up at a failed write, even if an
//! answer has arrived.

use serde_json::{Value, json};

use crate::figures::{must, rounds};
use crate::host::{Deployed, TestHost};
use crate::http::{Client, request};

/// The sizes of bodies: more than the system buffers for a connection, near a service's default limit, and above that
/// limit.
const BODIES: [usize; 3] = [300 << 10, 16_000_000, 20 << 20];

/// The order of a client's steps.
#[derive(Clone, Copy, Debug)]
enum ClientOrder {
    /// The client sends everything, and then reads.
    SendsFirst,
    /// The answer has arrived in the client's socket before the client sends the rest.
    IsAnsweredFirst,
}

/// A request that is refused before its body has been read.
struct Early {
    status: u16,
    code: &'static str,
    /// The request head, in which `LENGTH` is replaced by the body's length.
    head: String,
}

impl Early {
    fn new(status: u16, code: &'static str, head: String) -> Self {
        Self { status, code, head }
    }

    fn to(path: &str, token: &str, framing: &str, status: u16, code: &'static str) -> Self {
        let head = format!("POST {path} HTTP/1.1\r\nhost: a\r\nauthorization: {token}\r\n{framing}\r\n\r\n");
        Self::new(status, code, head)
    }

    /// Sends the request with a body of this length. Returns true if every byte was accepted, and the answer and then
    /// the end of the connection were seen.
    fn is_seen(&self, host: &TestHost, length: usize, order: ClientOrder) -> bool {
        let mut client = host.client();
        client.write(self.head.replace("LENGTH", &length.to_string()).as_bytes());
        // The body is also a chunk size with more digits than allowed.
        let body = vec![b'1'; length];
        let (first, rest) = body.split_at(1000);
        client.write(first);
        if let ClientOrder::IsAnsweredFirst = order {
            client.wait_for_bytes();
        }
        client.write(rest);
        let response = client.read("POST");
        response.assert_problem(self.status, self.code);
        response.closes() && client.is_closed()
    }
}

fn endless(service: &Deployed) -> Vec<u8> {
    request("POST", &service.path, &[("authorization", &service.token)], br#"{"do":"loop"}"#)
}

/// Deploys a service whose only place is taken for the whole test. Returns the service and the client that holds the
/// place.
fn occupied(host: &TestHost, name: &str, keys: Value) -> (Deployed, Client) {
    let service = host.deploy(name, "faults", keys);
    let mut busy: Client = host.client();
    busy.write(&endless(&service));
    let line = format!("bulkhead_workers_busy{{service=\"{name}\",instance=\"0\"}}");
    host.wait_for("it to run", || host.metric(&line) == 1);
    (service, busy)
}

#[test]
fn who_is_still_sending_sees_the_answer() {
    let host = TestHost::start();
    // This service accepts all of these body sizes, so its refusals have other reasons.
    let open = host.deploy("open", "echo", json!({"sandbox": {"max_request_bytes": 32 << 20}}));
    let slow = host.deploy("slow", "echo", json!({"metadata": {"rpc": {"keepalive": 1}}}));
    let small = host.deploy("small", "echo", json!({"sandbox": {"max_request_bytes": 500}}));
    let gets = host.deploy("gets", "echo", json!({"sandbox": {"methods": ["GET"]}}));
    let stopped = host.deploy("stopped", "echo", json!({}));
    assert_eq!(host.call_admin("POST", "/api/v1/services/stopped/stop", b"").status, 200);
    let rpc = json!({"worker_threads": 1, "max_queue_size": 0, "keepalive": 600_000});
    let (full, _busy) = occupied(&host, "full", json!({"metadata": {"rpc": rpc}}));
    let one = json!({"gateway_policy": {"concurrency_limit": {"enable": true, "limit": 1}}});
    let (limited, _alone) =
        occupied(&host, "limited", json!({"metadata": {"rpc": {"keepalive": 600_000}}, "networking": one}));

    let (length, chunked) = ("content-length: LENGTH", "transfer-encoding: chunked");
    let headers = format!("content-length: LENGTH{}", "\r\nx: y".repeat(100));
    let cases = [
        Early::to(&open.path, "wrong", length, 401, "unauthorized"),
        Early::to(&open.path, "wrong", chunked, 401, "unauthorized"),
        Early::to("/api/predict/nobody", "x", length, 404, "service_not_found"),
        Early::to("/elsewhere", "x", length, 404, "not_found"),
        Early::to(&gets.path, &gets.token, length, 405, "method_not_allowed"),
        Early::to(&slow.path, &slow.token, "content-length: 99999999", 413, "body_too_large"),
        Early::to(&slow.path, &slow.token, "content-length: 16777216", 408, "deadline_exceeded"),
        Early::to(&small.path, &small.token, length, 413, "body_too_large"),
        Early::to(
            &open.path,
            &open.token,
            "content-length: LENGTH\r\ncontent-encoding: rot13",
            415,
            "unsupported_coding",
        ),
        Early::to(&open.path, &open.token, "content-length: LENGTH\r\nexpect: a miracle", 417, "expectation_failed"),
        Early::to(&limited.path, &limited.token, length, 429, "rate_limited"),
        Early::to(&open.path, &open.token, &headers, 431, "headers_too_large"),
        Early::to(&full.path, &full.token, length, 450, "queue_full"),
        Early::to(&full.path, &full.token, chunked, 450, "queue_full"),
        Early::to(&stopped.path, &stopped.token, length, 503, "no_healthy_upstream"),
        Early::to(&open.path, &open.token, "content-length: 1\r\ncontent-length: 2", 400, "bad_request"),
        Early::to(&open.path, &open.token, chunked, 400, "bad_request"),
        Early::to(&format!("/{}", "a".repeat(9000)), "x", length, 414, "target_too_long"),
        Early::new(501, "not_implemented", "BREW / HTTP/1.1\r\nhost: a\r\ncontent-length: LENGTH\r\n\r\n".into()),
        Early::new(505, "http_version_not_supported", "POST / HTTP/1.9\r\ncontent-length: LENGTH\r\n\r\n".into()),
    ];
    let (mut sent, mut seen) = (0, 0);
    for case in &cases {
        for round in 0..rounds(4, 60) {
            let order = [ClientOrder::SendsFirst, ClientOrder::IsAnsweredFirst][round % 2];
            sent += 1;
            seen += usize::from(case.is_seen(&host, BODIES[round % 3], order));
        }
    }
    must("http.early_answers_seen", &format!("{sent} of {sent}"), seen, seen == sent);
}

/// The last answer on a connection also leaves input unread if further requests were sent after it.
#[test]
fn who_has_sent_more_requests_than_a_connection_takes_sees_the_last_answer() {
    let host = TestHost::start_with(&["--max-requests-per-connection", "2"], "");
    let echo = host.deploy("echo", "echo", json!({}));
    let one = request("POST", &echo.path, &[("authorization", &echo.token)], &[b'x'; 10_000]);
    let mut client = host.client();
    client.write(&one.repeat(400));
    for closes in [false, true] {
        let response = client.read("POST");
        assert_eq!((response.status, response.body.len(), response.closes()), (200, 10_000, closes));
    }
    assert!(client.is_closed());
}
