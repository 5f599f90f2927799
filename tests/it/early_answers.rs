//! Answers that come while the client is still sending: every client sees them.
//!
//! A connection that is closed with input unread is reset, and a reset overtakes the answer (RFC 9112 §9.6). So the host
//! closes its side first, and reads a bounded rest away.

use serde_json::json;

use crate::figures::{must, rounds};
use crate::host::{Deployed, TestHost};
use crate::http::{Client, request};

/// What is sent after the answer is there: less than the host reads away, and more than it ever would.
const BODIES: [usize; 2] = [200 << 10, 8 << 20];

/// A request that is refused before its body is read.
struct Early {
    status: u16,
    code: &'static str,
    head: String,
}

impl Early {
    fn to(path: &str, token: &str, framing: &str, status: u16, code: &'static str) -> Self {
        let head = format!("POST {path} HTTP/1.1\r\nhost: a\r\nauthorization: {token}\r\n{framing}\r\n\r\n");
        Self { status, code, head }
    }

    /// Sends the head and a piece of the body, and when the answer is there, the rest. Whether the answer was seen.
    fn is_seen(&self, host: &TestHost, rest: usize) -> bool {
        let mut client = host.client();
        client.write(self.head.as_bytes());
        client.write(&[b'1'; 1000]);
        client.wait_for_bytes();
        let rest_of_body = vec![b'2'; rest];
        if rest == BODIES[0] {
            // Fails if the host has reset the connection.
            client.write(&rest_of_body);
        } else {
            client.try_write(&rest_of_body);
        }
        let response = client.read("POST");
        response.assert_problem(self.status, self.code);
        response.closes() && client.is_closed()
    }
}

fn endless(service: &Deployed) -> Vec<u8> {
    request("POST", &service.path, &[("authorization", &service.token)], br#"{"do":"loop"}"#)
}

#[test]
fn who_is_still_sending_sees_the_answer() {
    let host = TestHost::start();
    let open = host.deploy("open", "echo", json!({}));
    let slow = host.deploy("slow", "echo", json!({"metadata": {"rpc": {"keepalive": 100}}}));
    let small = host.deploy("small", "echo", json!({"sandbox": {"max_request_bytes": 500}}));
    let rpc = json!({"worker_threads": 1, "max_queue_size": 0, "keepalive": 600_000});
    let full = host.deploy("full", "faults", json!({"metadata": {"rpc": rpc}}));
    let mut busy: Client = host.client();
    busy.write(&endless(&full));
    host.wait_for("it to run", || host.metric("bulkhead_workers_busy{service=\"full\",instance=\"0\"}") == 1);

    let length = "content-length: 9000000";
    let cases = [
        Early::to(&open.path, "wrong", length, 401, "unauthorized"),
        Early::to(&open.path, "wrong", "transfer-encoding: chunked", 401, "unauthorized"),
        Early::to("/api/predict/nobody", "x", length, 404, "service_not_found"),
        Early::to(&small.path, &small.token, length, 413, "body_too_large"),
        Early::to(&full.path, &full.token, length, 450, "queue_full"),
        Early::to(&slow.path, &slow.token, length, 408, "deadline_exceeded"),
        Early::to(&open.path, &open.token, "content-length: 1\r\ncontent-length: 2", 400, "bad_request"),
        Early::to(&open.path, &open.token, "transfer-encoding: chunked", 400, "bad_request"),
        Early::to(&open.path, &open.token, "content-length: 9000000\r\nexpect: a miracle", 417, "expectation_failed"),
    ];
    let (mut sent, mut seen) = (0, 0);
    for case in &cases {
        for round in 0..rounds(10, 100) {
            sent += 1;
            seen += usize::from(case.is_seen(&host, BODIES[round % 2]));
        }
    }
    must("http.early_answers_seen", &format!("{sent} of {sent}"), seen, seen == sent);
}
