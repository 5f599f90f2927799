//! Limits on connections, and answers to the host's own failures and during its start.

use std::process::Command;
use std::time::Instant;

use serde_json::json;

use crate::host::TestHost;
use crate::http::request;

#[test]
fn connections_are_bounded_and_the_next_waits_until_one_ends() {
    let host = TestHost::start_with(&["--max-connections", "2"], "");
    let echo = host.deploy("echo", "echo", json!({}));
    let (mut first, mut second) = (host.client(), host.client());
    assert_eq!((first.post(&echo, b"1").status, second.post(&echo, b"2").status), (200, 200));
    let mut third = host.client();
    third.write(&request("POST", &echo.path, &[("authorization", &echo.token)], b"3"));
    assert_eq!((first.post(&echo, b"1").status, second.post(&echo, b"2").status), (200, 200));
    let served = "bulkhead_requests_total{service=\"echo\",status=\"200\"}";
    assert_eq!((host.metric("bulkhead_connections"), host.metric(served)), (2, 4), "the third is not served yet");
    drop(first);
    assert_eq!(third.read("POST").body, b"3");
}

#[test]
fn one_address_has_its_share_of_the_connections() {
    let host = TestHost::start_with(&["--max-connections-per-address", "2"], "");
    let echo = host.deploy("echo", "echo", json!({}));
    let (mut first, mut second) = (host.client(), host.client());
    assert_eq!((first.post(&echo, b"1").status, second.post(&echo, b"2").status), (200, 200));
    let mut third = host.client();
    let told = third.read("GET");
    assert_eq!((told.status, told.json()["code"].as_str()), (503, Some("too_many_connections")));
    assert!(told.closes() && third.is_closed());
    assert_eq!(host.metric("bulkhead_connections_turned_away_total"), 1);
    drop(first);
    host.wait_for("the first to be gone", || host.metric("bulkhead_connections") == 1);
    assert_eq!(host.client().post(&echo, b"4").status, 200);
}

#[test]
fn a_client_that_takes_nothing_of_its_answer_is_cut_off() {
    let host = TestHost::start_with(&["--write-timeout", "300ms"], "");
    let keys = json!({"sandbox": {"max_response_bytes": 67_108_864}, "metadata": {"rpc": {"worker_threads": 1, "keepalive": 60_000}}});
    let service = host.deploy("faults", "faults", keys);
    let mut stalled = host.client();
    let body = br#"{"do":"body","bytes":33554432}"#;
    let began = Instant::now();
    stalled.write(&request("POST", &service.path, &[("authorization", &service.token)], body));
    let done = "bulkhead_requests_total{service=\"faults\",status=\"200\"}";
    host.wait_for("the answer to be ready", || host.metric(done) == 1);
    assert_eq!(host.client().post(&service, br#"{"do":"flag"}"#).status, 200, "who reads slowly holds no worker");
    host.wait_for("the connection to be cut", || host.metric("bulkhead_connections") == 0);
    assert!(began.elapsed().as_millis() >= 300);
    drop(stalled);
}

/// A client whose link is slow is not one that takes nothing.
#[test]
fn a_client_that_reads_slowly_gets_its_whole_answer() {
    const PIECE: usize = 8 << 10;
    let host = TestHost::start_with(&["--write-timeout", "1s"], "");
    let service = host.deploy("faults", "faults", json!({"sandbox": {"max_response_bytes": 67_108_864}}));
    let body = br#"{"do":"body","bytes":16777216}"#;
    let mut slow = host.client();
    slow.write(&request("POST", &service.path, &[("authorization", &service.token)], body));
    let began = Instant::now();
    while began.elapsed().as_secs() < 6 {
        assert!(slow.read_bytes(PIECE).is_some(), "it is cut off after {:?}", began.elapsed());
        std::thread::sleep(std::time::Duration::from_millis(16));
    }
    let rest = 16_777_216 - usize::try_from(began.elapsed().as_millis()).unwrap() / 16 * PIECE;
    assert!(slow.read_bytes(rest - PIECE).is_some(), "the rest comes as well");
}

#[test]
fn an_idle_connection_is_closed_without_a_word() {
    let host = TestHost::start_with(&["--idle-timeout", "200ms", "--head-timeout", "200ms"], "");
    let echo = host.deploy("echo", "echo", json!({}));
    assert!(host.client().is_closed(), "one that never spoke");
    let mut rested = host.client();
    assert_eq!(rested.post(&echo, b"x").status, 200);
    assert!(rested.is_closed(), "one that has been answered");
    let mut slow = host.client();
    slow.write(b"POST ");
    slow.read("POST").assert_problem(408, "deadline_exceeded");
    assert!(slow.is_closed());
}

/// Clients that read `Keep-Alive` close an idle connection before the host does, and so never send a request on a
/// connection that is being closed.
#[test]
fn a_kept_connection_says_how_long_it_may_rest() {
    let host = TestHost::start();
    let echo = host.deploy("echo", "echo", json!({}));
    let mut client = host.client();
    let refused = client.send("POST", "/api/predict/nobody", &[], b"x");
    for response in [client.post(&echo, b"x"), refused] {
        let said = (response.header("connection"), response.header("keep-alive"));
        assert_eq!(said, (Some("keep-alive"), Some("timeout=74")), "a second less than the host waits");
    }
    let authorization = ("authorization", echo.token.as_str());
    let last = client.send("POST", &echo.path, &[authorization, ("connection", "close")], b"x");
    assert!(last.closes() && last.header("keep-alive").is_none());
    let mut old = host.client();
    let head = format!("POST {} HTTP/1.0\r\nauthorization: {}\r\ncontent-length: 1\r\n", echo.path, echo.token);
    for (connection, said) in [("keep-alive", Some("timeout=74")), ("close", None)] {
        old.write(format!("{head}connection: {connection}\r\n\r\nx").as_bytes());
        assert_eq!(old.read("POST").header("keep-alive"), said);
    }

    // The header is left out if it would be 0 seconds, because some clients take 0 for no limit.
    let hasty = TestHost::start_with(&["--idle-timeout", "1900ms"], "");
    let response = hasty.client().send("GET", "/nothing", &[], b"");
    assert_eq!((response.header("connection"), response.header("keep-alive")), (None, None));
}

#[test]
fn s500_for_a_panic_in_the_handler_costs_one_request() {
    let host = TestHost::start_with(&[], "front.answer=panic");
    let mut client = host.client();
    for _ in 0..3 {
        let response = client.send("POST", "/api/predict/any", &[], b"body");
        let problem = response.assert_problem(500, "internal");
        assert!(!problem.to_string().contains("asked to panic"), "the cause is for the log alone: {problem}");
        assert!(!response.closes());
    }
    let cause = "the host panicked: asked to panic at front.answer";
    host.wait_for("the cause to be in the log", || host.log().contains(cause));
    assert_eq!(host.metric("bulkhead_requests_total{service=\"\",status=\"500\"}"), 3);
}

#[test]
fn s500_for_a_panic_in_a_host_function_costs_one_request_and_its_guest() {
    let host = TestHost::start_with(&[], "host.request_id=panic");
    let service = host.deploy("faults", "faults", json!({"metadata": {"rpc": {"worker_threads": 1}}}));
    let mut client = host.client();
    for _ in 0..3 {
        assert_eq!(client.post(&service, br#"{"do":"flag"}"#).json(), json!({"calls": 1}));
        client.post(&service, br#"{"do":"inspect"}"#).assert_problem(500, "internal");
    }
}

#[test]
fn s503_not_ready_until_the_services_are_up() {
    let host = TestHost::start();
    let echo = host.deploy("echo", "echo", json!({}));
    let fifo = host.dir().join("release");
    assert!(Command::new("mkfifo").arg(&fifo).status().unwrap().success());
    let host = host.kill_and_restart_with(&format!("start=hold:{}", fifo.display()));
    let mut client = host.client();
    let response = client.post(&echo, b"early");
    response.assert_problem(503, "not_ready");
    assert_eq!((response.header("retry-after"), response.closes()), (Some("1"), false));
    assert_eq!((host.get_admin("/readyz").status, host.get_admin("/healthz").status), (503, 200));
    drop(std::fs::File::options().write(true).open(&fifo).unwrap());
    host.wait_until_ready();
    assert_eq!(client.post(&echo, b"now").body, b"now");
}
