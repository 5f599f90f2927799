//! Answers that arrive while the request is still being sent. They reach the client, and do not count as failures of
//! the upstream.
//!
//! An upstream that refuses a request before it has read all of it may close at once. The gateway's writes then fail
//! although the answer has arrived in its socket.

use std::io::Write;
use std::net::TcpStream;
use std::thread;

use serde_json::{Value, json};

use super::fake::{Fake, Peer};
use super::{PATH, before, gateway, upstream};
use crate::figures::{must, rounds};
use crate::host::TestHost;
use crate::http::{Client, Response, request};

/// The size of a body that exceeds the buffers between client and upstream, so that writing fails in the middle of it.
const LARGE: usize = 8 << 20;

/// Makes keys with which a single failure ejects an upstream, and all upstreams may be ejected.
fn strict() -> Value {
    json!({"ejection": {"consecutive_failures": 1, "max_share_percent": 100}})
}

/// Answers each connection's request after reading `read` bytes of its body, and resets the connection.
fn refusing(answer: &'static str, read: usize) -> Fake {
    Fake::start(move |mut peer| {
        if peer.head().is_some() {
            peer.take(read);
            peer.say(answer);
            peer.reset();
        }
    })
}

/// Sends a request whose body may not be accepted completely, and reads the answer at the same time, like HTTP
/// libraries.
fn send(client: &mut Client, bytes: &[u8]) -> Response {
    thread::scope(|scope| {
        let mut writer = client.another();
        scope.spawn(move || writer.try_write(bytes));
        client.read("POST")
    })
}

/// Checks that no failure was counted against the upstreams.
fn assert_not_charged(gateway: &TestHost) {
    let view = gateway.get_admin("/api/v1/upstreams").json();
    for upstream in view["clusters"][0]["upstreams"].as_array().expect("upstreams") {
        let failures: u64 = upstream["failures"].as_object().unwrap().values().filter_map(Value::as_u64).sum();
        assert_eq!((&upstream["state"], &upstream["ejections"], failures), (&json!("healthy"), &json!(0), 0), "{view}");
    }
}

#[test]
fn an_upstreams_refusal_is_passed_on_although_it_has_reset_the_connection() {
    for (status, answer) in [
        (401, "HTTP/1.1 401 X\r\ncontent-length: 4\r\nconnection: close\r\n\r\nwhy?"),
        (404, "HTTP/1.1 404 X\r\ntransfer-encoding: chunked\r\n\r\n4\r\nwhy?\r\n0\r\n\r\n"),
        (413, "HTTP/1.1 413 X\r\nconnection: close\r\n\r\nwhy?"),
        (415, "HTTP/1.0 415 X\r\ncontent-length: 4\r\n\r\nwhy?"),
        (429, "HTTP/1.1 429 X\r\ncontent-length: 0\r\n\r\n"),
        (450, "HTTP/1.1 450 X\r\ncontent-length: 4\r\n\r\nwhy?"),
    ] {
        // If the answer ends with its connection, a reset makes it impossible to tell whether the answer is complete.
        let can_be_reset = !answer.starts_with("HTTP/1.1 413");
        for read in [1, 200_000] {
            let fake = if can_be_reset {
                refusing(answer, read)
            } else {
                Fake::start(move |mut peer| {
                    if peer.head().is_some() {
                        peer.take(read);
                        peer.say(answer);
                        peer.finish();
                        peer.wait_until_gone();
                    }
                })
            };
            let gateway = gateway(&[fake.address], strict());
            let whole = request("POST", PATH, &[], &vec![b'x'; LARGE]);
            for round in 0..rounds(8, 100) {
                let response = send(&mut gateway.client(), &whole);
                let text = if status == 429 { "" } else { "why?" };
                assert_eq!((response.status, response.text().as_str()), (status, text), "round {round} after {read}");
                // If the upstream has closed, the client must be told that the rest of its request is not read. An
                // upstream that does not reset the connection may have read the whole request.
                let is_told = can_be_reset && (answer.contains("connection: close") || answer.starts_with("HTTP/1.0"));
                assert!(!is_told || response.closes(), "{response:?}");
            }
            assert_not_charged(&gateway);
        }
    }
}

/// The body arrived completely with its head, so another host can be tried.
#[test]
fn a_full_queue_is_tried_elsewhere_although_the_first_host_has_reset_the_connection() {
    const FULL: &str = "HTTP/1.1 450 Queue Full\r\ncontent-length: 4\r\n\r\nfull";
    let (full, good) = (refusing(FULL, 1), Fake::echo());
    let gateway = gateway(&[full.address, good.address], strict());
    let mut client = gateway.client();
    for i in 0..40 {
        let response = client.send("POST", PATH, &[], format!("body {i}").as_bytes());
        assert_eq!((response.status, response.text()), (200, format!("body {i}")));
    }
    assert!(full.connections() > 0, "by lot, the full one is asked first as often as not");
    assert_not_charged(&gateway);
}

/// The connection has carried a request before, and the refusal is its last answer.
#[test]
fn a_refusal_on_a_connection_that_was_used_before_is_passed_on() {
    let fake = Fake::start(|mut peer| {
        if peer.request().is_some() {
            peer.say("HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nok");
            peer.head();
            peer.take(1000);
            peer.say("HTTP/1.1 401 X\r\ncontent-length: 4\r\n\r\nwhy?");
            peer.reset();
        }
    });
    let gateway = gateway(&[fake.address], strict());
    let whole = request("POST", PATH, &[], &vec![b'x'; LARGE]);
    for round in 1..=rounds(10, 100) {
        let mut client = gateway.client();
        assert_eq!(client.send("POST", PATH, &[], b"x").text(), "ok");
        let response = send(&mut client, &whole);
        assert_eq!((response.status, response.text().as_str()), (401, "why?"));
        assert_eq!(fake.connections(), round, "the connection was used twice");
    }
    assert_not_charged(&gateway);
}

#[test]
fn a_reset_without_an_answer_is_a_failure_of_the_upstream() {
    let fake = Fake::start(|mut peer| {
        if peer.head().is_some() {
            peer.take(1000);
            peer.reset();
        }
    });
    let gateway = before(&fake);
    let response = send(&mut gateway.client(), &request("POST", PATH, &[], &vec![b'x'; LARGE]));
    let problem = response.assert_problem(503, "upstream_failed");
    assert!(problem["detail"].as_str().unwrap().contains("reset reason: connection termination"), "{problem}");
    assert!(response.closes());
    let line = format!(
        "bulkhead_upstream_failures_total{{cluster=\"c\",upstream=\"{}\",reason=\"connection_termination\"}}",
        fake.address
    );
    assert_eq!(gateway.metric(&line), 1);
}

/// A client that aborts its own request is never counted against the upstream.
#[test]
fn a_client_that_breaks_its_request_off_charges_nobody() {
    let fake = Fake::start(|mut peer| {
        peer.head();
        peer.wait_until_gone();
    });
    let gateway = gateway(&[fake.address], strict());
    let forwarded = || gateway.metric(&upstream("active", fake.address)) == 1;
    let over = || gateway.metric(&upstream("active", fake.address)) == 0;
    let (chunked, length) = ("transfer-encoding: chunked", "content-length: 10");
    for (framing, begin, end) in
        [(chunked, "3\r\nabc\r\n", Some("broken\r\n")), (chunked, "3\r\nabc\r\n", None), (length, "half", None)]
    {
        let mut client = gateway.client();
        client.write(format!("POST {PATH} HTTP/1.1\r\nhost: a\r\n{framing}\r\n\r\n{begin}").as_bytes());
        gateway.wait_for("it to be forwarded", forwarded);
        match end {
            Some(end) => {
                client.write(end.as_bytes());
                client.read("POST").assert_problem(400, "bad_request");
            }
            None => client.reset(),
        }
        gateway.wait_for("it to be over", over);
    }
    assert_not_charged(&gateway);
    let status = |status: u16| gateway.metric(&format!("bulkhead_requests_total{{service=\"*\",status=\"{status}\"}}"));
    assert_eq!((status(499), status(400)), (2, 1));
}

/// Answers in part when the request is not yet complete.
fn answering_early(peer: &mut Peer) {
    peer.head();
    peer.take(3);
    peer.say("HTTP/1.1 401 X\r\ncontent-length: 4\r\n\r\nwh");
}

/// The answer is still valid; only the connection cannot be used further.
#[test]
fn malformed_chunks_do_not_spoil_an_answer_that_has_begun() {
    let (go, wait) = std::sync::mpsc::channel::<()>();
    let wait = std::sync::Mutex::new(wait);
    let fake = Fake::start(move |mut peer| {
        answering_early(&mut peer);
        wait.lock().unwrap().recv().unwrap();
        peer.say("y?");
        peer.wait_until_gone();
    });
    let gateway = gateway(&[fake.address], strict());
    let mut client = gateway.client();
    client
        .write(format!("POST {PATH} HTTP/1.1\r\nhost: a\r\ntransfer-encoding: chunked\r\n\r\n3\r\nabc\r\n").as_bytes());
    client.wait_for_bytes();
    client.write(b"broken\r\n");
    go.send(()).unwrap();
    let response = client.read("POST");
    assert_eq!((response.status, response.text().as_str()), (401, "why?"));
    assert!(client.is_closed(), "where the next request begins nobody knows");
    assert_not_charged(&gateway);
}

/// The client has disconnected and its request is lost, although the answer has begun.
#[test]
fn a_client_that_leaves_in_the_middle_of_both_is_499() {
    let (tell, told) = std::sync::mpsc::channel::<()>();
    let tell = std::sync::Mutex::new(tell);
    let fake = Fake::start(move |mut peer| {
        answering_early(&mut peer);
        peer.wait_until_gone();
        tell.lock().unwrap().send(()).unwrap();
    });
    let gateway = gateway(&[fake.address], strict());
    let mut client = gateway.client();
    client.write(format!("POST {PATH} HTTP/1.1\r\nhost: a\r\ncontent-length: 10\r\n\r\nabc").as_bytes());
    client.wait_for_bytes();
    drop(client);
    told.recv_timeout(crate::host::SOON).expect("the upstream is told");
    let line = "bulkhead_requests_total{service=\"*\",status=\"499\"}";
    gateway.wait_for("it to be in the account", || gateway.metric(line) == 1);
    assert_not_charged(&gateway);
}

/// A health check that is answered before it has been read completely.
#[test]
fn a_health_check_is_answered_by_a_host_that_resets_at_once() {
    let fake = Fake::start(|mut peer| {
        peer.read_byte();
        peer.say("HTTP/1.1 200 OK\r\ncontent-length: 0\r\n\r\n");
        peer.reset();
    });
    let gateway = gateway(&[fake.address], json!({"health_check": {"path": "/health", "interval_ms": 3_600_000}}));
    let view = gateway.get_admin("/api/v1/upstreams").json();
    assert_eq!(view["clusters"][0]["upstreams"][0]["state"], "healthy", "{view}");
}

/// Hosts refuse bodies before reading them, on many connections at once. A client without a token must not be able to
/// eject a host.
#[test]
fn refused_bodies_show_the_hosts_own_status_and_charge_nobody() {
    let hosts = [TestHost::start(), TestHost::start()];
    let full =
        json!({"token": "t", "metadata": {"rpc": {"worker_threads": 1, "max_queue_size": 0, "keepalive": 600_000}}});
    for host in &hosts {
        host.deploy("s", "echo", json!({"token": "t"}));
        host.deploy("small", "echo", json!({"token": "t", "sandbox": {"max_request_bytes": 1000}}));
        host.deploy("full", "faults", full.clone());
    }
    let mut busy: Vec<TcpStream> = Vec::new();
    for host in &hosts {
        let mut stream = TcpStream::connect(host.data).unwrap();
        let call = request("POST", "/api/predict/full", &[("authorization", "t")], br#"{"do":"loop"}"#);
        stream.write_all(&call).unwrap();
        host.wait_for("it to run", || host.metric("bulkhead_workers_busy{service=\"full\",instance=\"0\"}") == 1);
        busy.push(stream);
    }
    let gateway = gateway(&[hosts[0].data, hosts[1].data], strict());
    let body = vec![b'x'; 12 << 20];
    let cases = [
        ("/api/predict/s", "wrong", 401, "unauthorized"),
        ("/api/predict/none", "t", 404, "service_not_found"),
        ("/api/predict/small", "t", 413, "body_too_large"),
        ("/api/predict/full", "t", 450, "queue_full"),
    ];
    let (each, threads) = (rounds(6, 80), 4);
    let seen: usize = thread::scope(|scope| {
        let ask = || {
            let mut seen = 0;
            for (path, token, status, code) in cases {
                let whole = request("POST", path, &[("authorization", token)], &body);
                for _ in 0..each {
                    let response = send(&mut gateway.client(), &whole);
                    response.assert_problem(status, code);
                    seen += 1;
                }
            }
            seen
        };
        let asking: Vec<_> = (0..threads).map(|_| scope.spawn(ask)).collect();
        asking.into_iter().map(|asking| asking.join().expect("every refusal is seen")).sum()
    });
    let sent = each * threads * cases.len();
    must("gateway.early_answers_seen", &format!("{sent} of {sent}"), seen, seen == sent);
    assert_not_charged(&gateway);
    let mut client = gateway.client();
    assert_eq!(client.send("POST", "/api/predict/s", &[("authorization", "t")], b"x").text(), "x");
}
