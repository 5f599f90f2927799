//! Group T: clients that are slow, are silent, or disconnect.

use std::time::{Duration, Instant};

use serde_json::json;

use super::accepted;
use crate::figures::rounds;
use crate::host::{Deployed, TestHost};
use crate::http::{Client, request};

/// A scene: a test of client behaviour that a row cannot express.
pub(super) type Scene = (&'static str, fn());

pub(super) fn scenes() -> Vec<Scene> {
    vec![
        ("T1", silent_connection_is_closed_within_ten_seconds),
        ("T2", half_a_head_is_408),
        ("T2", empty_lines_begin_no_request),
        ("T2", an_empty_line_in_two_packets_begins_no_request),
        ("T2", empty_lines_without_end_are_refused),
        ("T3", half_a_body_is_408_at_the_deadline),
        ("T4", end_within_a_head_is_no_request),
        ("T5", end_within_a_body_is_499),
        ("T6", half_close_is_leaving),
        ("T7", leaving_a_running_request_frees_its_worker),
        ("T8", leaving_is_noticed_whatever_lies_unread),
        ("T9", what_came_during_a_slow_request_is_answered_after_it),
        ("T10", what_stands_behind_a_large_answer_waits_for_it),
        ("T12", who_stops_reading_is_cut_off),
        ("T13", the_last_request_of_a_connection_closes_it),
    ]
}

fn silent_connection_is_closed_within_ten_seconds() {
    let host = TestHost::start();
    let began = Instant::now();
    assert!(host.client().is_closed(), "without a word");
    let waited = began.elapsed();
    assert!(waited > Duration::from_secs(9) && waited < Duration::from_secs(15), "{waited:?}");
    assert_eq!(accepted(&host), 0);
}

fn half_a_head_is_408() {
    let host = TestHost::start_with(&["--head-timeout", "300ms"], "");
    let parts = ["G", "GET / HTTP/1.1", "GET / HTTP/1.1\r\nHost: a\r\n", "\r\n\r\nG"];
    let started = started(&host, &parts.map(str::to_owned));
    let halves = started.len() as u64;
    for mut client in started {
        let response = client.read("GET");
        response.assert_problem(408, "deadline_exceeded");
        assert!(response.closes() && client.is_closed());
    }
    let mut trickle = host.client();
    let began = Instant::now();
    let response = loop {
        trickle.try_write(b"x");
        if let Some(response) = trickle.read_within(Duration::from_millis(50)) {
            break response;
        }
    };
    response.assert_problem(408, "deadline_exceeded");
    assert!(began.elapsed() < Duration::from_secs(5), "a byte now and then buys no time");
    assert_eq!(accepted(&host), halves + 1);
}

/// Opens connections that have each sent one of the parts and stay silent; a hundred of them in a long run.
fn started(host: &TestHost, parts: &[String]) -> Vec<Client> {
    let one = |part: &String| {
        let mut client = host.client();
        client.write(part.as_bytes());
        client
    };
    (0..rounds(2, 25)).flat_map(|_| parts.iter().map(one)).collect()
}

fn empty_lines_begin_no_request() {
    let host = TestHost::start_with(&["--head-timeout", "100ms", "--idle-timeout", "500ms"], "");
    let mut client = host.client();
    client.write(b"\r\n\r\n");
    assert!(client.is_closed(), "as one that says nothing is, without a word");
    assert_eq!(accepted(&host), 0);
}

/// Regression test: a carriage return that waited for its line feed was taken for the beginning of a request, which
/// then got 408.
fn an_empty_line_in_two_packets_begins_no_request() {
    let host = TestHost::start_with(&["--head-timeout", "100ms", "--idle-timeout", "1500ms"], "");
    let echo = host.deploy("echo", "echo", json!({}));
    let whole = request("POST", &echo.path, &[("authorization", &echo.token)], b"x");
    let mut client = host.client();
    for _ in 0..3 {
        client.write(b"\r");
        assert!(client.read_within(Duration::from_millis(300)).is_none(), "the head's time has not begun");
        client.write(b"\n\r\n\r");
        client.write(b"\n");
        client.write(&whole);
        assert_eq!(client.read("POST").status, 200);
    }
    client.write(b"\r");
    assert!(client.is_closed(), "it rests, and is closed without a word");
    assert_eq!(accepted(&host), 3);

    let mut other = host.client();
    other.write(b"\r");
    assert!(other.read_within(Duration::from_millis(300)).is_none());
    other.write(&whole);
    let response = other.read("POST");
    response.assert_problem(400, "bad_request");
    assert!(response.closes() && other.is_closed(), "a carriage return alone is no empty line");
}

fn empty_lines_without_end_are_refused() {
    let host = TestHost::start();
    let echo = host.deploy("echo", "echo", json!({}));
    let whole = request("POST", &echo.path, &[("authorization", &echo.token)], b"x");
    let mut client = host.client();
    for _ in 0..2 {
        client.write(&[b"\r\n".repeat(64), whole.clone()].concat());
        assert_eq!(client.read("POST").status, 200, "each request may have as many before it");
    }
    client.write(&[b"\r\n".repeat(65), whole].concat());
    let response = client.read("POST");
    let problem = response.assert_problem(400, "bad_request");
    assert!(problem["detail"].as_str().is_some_and(|detail| detail.contains("64 empty lines")), "{problem}");
    assert!(response.closes() && client.is_closed());
}

fn half_a_body_is_408_at_the_deadline() {
    let host = TestHost::start();
    let echo = host.deploy("echo", "echo", json!({"metadata": {"rpc": {"keepalive": 400}}}));
    let head = |framing: &str| {
        format!("POST {} HTTP/1.1\r\nHost: a\r\nAuthorization: {}\r\n{framing}\r\n\r\n", echo.path, echo.token)
    };
    let parts = [
        head("Content-Length: 10"),
        head("Content-Length: 10") + "123",
        head("Transfer-Encoding: chunked") + "3\r\nab",
        head("Transfer-Encoding: chunked") + "3\r\nabc\r\n0\r\n",
    ];
    for mut client in started(&host, &parts) {
        let response = client.read("POST");
        let problem = response.assert_problem(408, "deadline_exceeded");
        assert!(problem["spent_ms"]["receive"].as_f64().is_some_and(|ms| ms >= 400.0), "{problem}");
        assert!(response.closes() && client.is_closed());
    }
}

fn end_within_a_head_is_no_request() {
    let host = TestHost::start();
    for part in ["", "P", "POST / HTTP/1.1", "POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 3\r\n"] {
        let mut client = host.client();
        client.write(part.as_bytes());
        client.finish();
        assert!(client.is_closed(), "nothing is said to {part:?}");
    }
    assert_eq!(accepted(&host), 0, "there is a request once its head is complete");
}

fn end_within_a_body_is_499() {
    let host = TestHost::start();
    let echo = host.deploy("echo", "echo", json!({}));
    let head = |framing: &str| {
        format!("POST {} HTTP/1.1\r\nHost: a\r\nAuthorization: {}\r\n{framing}\r\n\r\n", echo.path, echo.token)
    };
    let mut sent = 0;
    for (framing, part) in [
        ("Content-Length: 10", ""),
        ("Content-Length: 10", "123"),
        ("Transfer-Encoding: chunked", "3\r\nab"),
        ("Transfer-Encoding: chunked", "3\r\nabc\r\n0\r\n"),
    ] {
        for leave in [Leave::Fin, Leave::Rst] {
            let mut client = host.client();
            client.write((head(framing) + part).as_bytes());
            if matches!(leave, Leave::Rst) {
                // A reset discards bytes that have not been read, the head included.
                host.wait_for("the head to be there", || host.metric(&total("accepted_total", "echo")) == sent + 1);
            }
            leave.now(client);
            sent += 1;
            host.wait_for("the 499", || host.metric(&left("echo")) == sent);
        }
        let mut half = host.client();
        half.write((head(framing) + part).as_bytes());
        half.finish();
        assert!(half.is_closed(), "who closes one side has left, and is told nothing");
        sent += 1;
        host.wait_for("the 499", || host.metric(&left("echo")) == sent);
    }
}

fn total(name: &str, service: &str) -> String {
    format!("bulkhead_requests_{name}{{service=\"{service}\"}}")
}

fn left(service: &str) -> String {
    format!("bulkhead_requests_total{{service=\"{service}\",status=\"499\"}}")
}

/// The ways to disconnect: a normal close or a reset.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Leave {
    Fin,
    Rst,
}

impl Leave {
    pub(crate) fn now(self, client: Client) {
        match self {
            Self::Fin => drop(client),
            Self::Rst => client.reset(),
        }
    }
}

/// Deploys with one worker, and with deadlines after the end of the test.
fn patient(host: &TestHost) -> Deployed {
    host.deploy("faults", "faults", json!({"metadata": {"rpc": {"worker_threads": 1, "keepalive": 60_000}}}))
}

fn is_busy(host: &TestHost) -> bool {
    host.metric("bulkhead_workers_busy{service=\"faults\",instance=\"0\"}") == 1
}

fn endless(service: &Deployed) -> Vec<u8> {
    request("POST", &service.path, &[("authorization", &service.token)], br#"{"do":"loop"}"#)
}

fn half_close_is_leaving() {
    let host = TestHost::start();
    let service = patient(&host);
    let mut client = host.client();
    client.write(&endless(&service));
    host.wait_for("it to run", || is_busy(&host));
    client.finish();
    assert!(client.is_closed(), "there is no answer for who does not wait for it");
    host.wait_for("the 499", || host.metric(&left("faults")) == 1 && !is_busy(&host));
}

fn leaving_a_running_request_frees_its_worker() {
    let host = TestHost::start();
    let service = patient(&host);
    for (count, leave) in (1..).zip([Leave::Fin, Leave::Rst]) {
        let mut client = host.client();
        client.write(&endless(&service));
        host.wait_for("it to run", || is_busy(&host));
        leave.now(client);
        host.wait_for("the 499", || host.metric(&left("faults")) == count && !is_busy(&host));
    }
}

/// Tests bytes after which hyper alone would not look for the end of the stream.
fn leaving_is_noticed_whatever_lies_unread() {
    let host = TestHost::start();
    let service = patient(&host);
    let next = request("POST", &service.path, &[("authorization", &service.token)], &[b'x'; 1000]);
    let mut count = 0;
    for trailing in [b"\r\n".as_slice(), b"G", &next, &next[..200], &next.repeat(60), &next.repeat(100)] {
        for leave in [Leave::Fin, Leave::Rst] {
            let mut client = host.client();
            client.write(&[&endless(&service), trailing].concat());
            host.wait_for("it to run", || is_busy(&host));
            leave.now(client);
            count += 1;
            host.wait_for("the 499", || host.metric(&left("faults")) == count && !is_busy(&host));
        }
    }
    assert_eq!(accepted(&host), count, "what came early was never a request");
}

/// Regression test: hyper, once told that there is nothing to read, does not read again until it is woken. So the
/// second request was forgotten, and so was the idle connection.
fn what_came_during_a_slow_request_is_answered_after_it() {
    let host = TestHost::start_with(&["--idle-timeout", "500ms"], "");
    let service = host.deploy("faults", "faults", json!({}));
    let slow = br#"{"do":"sleep","ms":50}"#.as_slice();
    for behind in [br#"{"do":"body","bytes":3}"#.as_slice(), br#"{"do":"sleep","ms":50}"#] {
        let mut client = host.client();
        let one = |body: &[u8]| request("POST", &service.path, &[("authorization", &service.token)], body);
        client.write(&[one(slow), one(behind), one(behind)].concat());
        for _ in 0..3 {
            assert_eq!(client.read("POST").status, 200);
        }
        client.hurry(Duration::from_secs(5));
        assert!(client.is_closed(), "it has rested long enough");
    }
}

fn what_stands_behind_a_large_answer_waits_for_it() {
    let host = TestHost::start_with(&["--head-timeout", "300ms"], "");
    // A busy machine may take long for so many bytes.
    let patient = json!({"metadata": {"rpc": {"keepalive": 60_000}}});
    let service = host.deploy("faults", "faults", patient);
    let one = |body: &[u8]| request("POST", &service.path, &[("authorization", &service.token)], body);
    for (last, status) in [("GET / HTTP/1.9\r\n\r\n", 505), ("GET / HT", 408)] {
        let mut client = host.client();
        let large = one(br#"{"do":"body","bytes":16777216}"#);
        client.write(&[large, one(br#"{"do":"flag"}"#), last.into()].concat());
        assert_eq!(client.read("POST").body.len(), 16 << 20);
        assert_eq!(client.read("POST").status, 200);
        let refused = client.read("GET");
        assert!(refused.status == status && refused.closes() && client.is_closed(), "{refused:?}");
    }
}

fn who_stops_reading_is_cut_off() {
    let host = TestHost::start_with(&["--write-timeout", "300ms"], "");
    let rpc = json!({"keepalive": 60_000});
    let keys = json!({"sandbox": {"max_response_bytes": 67_108_864}, "metadata": {"rpc": rpc}});
    let service = host.deploy("faults", "faults", keys);
    let mut slow = host.client();
    let body = br#"{"do":"body","bytes":33554432}"#;
    slow.write(&request("POST", &service.path, &[("authorization", &service.token)], body));
    slow.wait_for_bytes();
    host.wait_for("the connection to be cut", || host.metric("bulkhead_connections") == 0);
}

fn the_last_request_of_a_connection_closes_it() {
    let host = TestHost::start_with(&["--max-requests-per-connection", "3"], "");
    let echo = host.deploy("echo", "echo", json!({}));
    let mut client = host.client();
    client.write(&request("POST", &echo.path, &[("authorization", &echo.token)], b"again").repeat(4));
    for last in [false, false, true] {
        let response = client.read("POST");
        assert_eq!((response.status, response.closes()), (200, last));
    }
    assert!(client.is_closed(), "the fourth is for another connection");
    assert_eq!(host.client().post(&echo, b"again").status, 200);
    assert_eq!(accepted(&host), 4);
}
