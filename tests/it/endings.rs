//! The end of a host: SIGTERM under load, a second SIGTERM, and a request that outlasts the grace period.
//!
//! A request has failed if the host accepted it and its client did not get a complete 200. The host accepts a request
//! when it has read its head; its own account has the number. A kept connection that the drain closes is not a failure.
//! Neither is a request that was sent while the host closed the connection: its first byte was never read, and the
//! client may send it again elsewhere.

use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Instant;

use serde_json::json;

use crate::crowd::Over;
use crate::figures::{must, rounds, tell};
use crate::host::{Deployed, SOON, TestHost, terminate};
use crate::http::request;

/// The outcome of a completely sent request.
#[derive(Debug, PartialEq, Eq)]
enum Sent {
    Answered {
        closes: bool,
    },
    /// The connection ended before the first byte of an answer.
    Cut,
    Failed(String),
}

/// Sends a request on a kept connection; `None` if the connection is closed, so that it could not be sent.
fn send(stream: &mut TcpStream, bytes: &[u8]) -> Option<Sent> {
    stream.write_all(bytes).ok()?;
    let (mut read, mut piece) = (Vec::new(), [0; 4096]);
    loop {
        // A closed connection may also be reset; both end the answer.
        let count = stream.read(&mut piece).unwrap_or(0);
        if count == 0 {
            let what = || Sent::Failed(format!("broken off: {:?}", String::from_utf8_lossy(&read)));
            return Some(if read.is_empty() { Sent::Cut } else { what() });
        }
        read.extend_from_slice(&piece[..count]);
        let text = String::from_utf8_lossy(&read);
        let Some((head, body)) = text.split_once("\r\n\r\n") else { continue };
        let length = head.lines().find_map(|line| line.strip_prefix("content-length: "))?.parse::<usize>().ok()?;
        if body.len() >= length {
            let closes = head.contains("\r\nconnection: close");
            let whole = head.starts_with("HTTP/1.1 200 ");
            return Some(if whole { Sent::Answered { closes } } else { Sent::Failed(text.into_owned()) });
        }
    }
}

#[derive(Default)]
struct Tally {
    answered: u64,
    cut: u64,
    failed: Vec<String>,
}

/// Sends one request after the other until the host closes the connection at its end.
fn drive(address: SocketAddr, bytes: &[u8], answered: &AtomicU64, over: &AtomicBool) -> Tally {
    let (mut tally, patience) = (Tally::default(), Instant::now() + 2 * SOON);
    while !over.load(Ordering::SeqCst) {
        let Ok(mut stream) = TcpStream::connect(address) else { break };
        stream.set_read_timeout(Some(SOON)).expect("a time-out");
        // The host closes the connection. The time limit keeps the test from hanging if it does not.
        while Instant::now() < patience {
            match send(&mut stream, bytes) {
                Some(Sent::Answered { closes }) => {
                    tally.answered += 1;
                    answered.fetch_add(1, Ordering::SeqCst);
                    if closes {
                        break;
                    }
                }
                Some(Sent::Cut) => {
                    tally.cut += 1;
                    break;
                }
                Some(Sent::Failed(what)) => {
                    tally.failed.push(what);
                    break;
                }
                None => break,
            }
        }
    }
    tally
}

/// Returns the numbers of accepted and settled requests from the last line of the log.
fn account(log: &str) -> (u64, u64) {
    let last = log.lines().rfind(|line| line.contains("the host has ended")).expect("a last line");
    let field = |key: &str| last.split(' ').find_map(|word| word.strip_prefix(key)?.parse().ok()).expect("a number");
    (field("accepted="), field("settled="))
}

/// True if a load balancer would send further requests to this host. Without an answer it would not.
fn is_ready(admin: SocketAddr) -> bool {
    let ask = || -> std::io::Result<String> {
        let mut stream = TcpStream::connect(admin)?;
        stream.write_all(&request("GET", "/readyz", &[("connection", "close")], b""))?;
        let mut answer = String::new();
        stream.read_to_string(&mut answer)?;
        Ok(answer)
    };
    ask().is_ok_and(|answer| answer.starts_with("HTTP/1.1 200 "))
}

#[test]
fn sigterm_under_load_costs_no_request() {
    let rounds = rounds(5, 100);
    let mut host = TestHost::start();
    let keys = json!({"token": "t", "metadata": {"rpc": {"worker_threads": 4, "keepalive": 20_000}}});
    let service = host.deploy("faults", "faults", keys);
    let authorization = [("authorization", service.token.as_str())];
    let post = |body: &str| request("POST", &service.path, &authorization, body.as_bytes());
    let (short, long) = (post(r#"{"do":"flag"}"#), post(r#"{"do":"sleep","ms":20}"#));
    let (mut sum, mut slowest_off, mut slowest_end) = (Tally::default(), 0.0_f64, 0.0_f64);
    for round in 0..rounds {
        let (address, pid, answered, over) = (host.data, host.pid(), AtomicU64::new(0), AtomicBool::new(false));
        let tallies: Vec<Tally> = std::thread::scope(|scope| {
            let drivers: Vec<_> = (0..8)
                .map(|i| {
                    let bytes = if i % 2 == 0 { &short } else { &long };
                    scope.spawn(|| drive(address, bytes, &answered, &over))
                })
                .collect();
            let ending = Over(&over);
            host.wait_for("requests to be answered", || answered.load(Ordering::SeqCst) >= 100);
            let told = Instant::now();
            drop(ending);
            terminate(pid);
            host.wait_for("readiness to be off", || !is_ready(host.admin));
            slowest_off = slowest_off.max(told.elapsed().as_secs_f64() * 1e3);
            let tallies = drivers.into_iter().map(|driver| driver.join().expect("it ends")).collect();
            let status = host.end();
            slowest_end = slowest_end.max(told.elapsed().as_secs_f64() * 1e3);
            assert!(status.success(), "round {round}: {status}; log:\n{}", host.log());
            tallies
        });
        let answered: u64 = tallies.iter().map(|tally| tally.answered).sum();
        let log = host.log();
        assert_eq!(account(&log), (answered, answered), "round {round}: accepted and settled; answered {answered}");
        for tally in tallies {
            sum.answered += tally.answered;
            sum.cut += tally.cut;
            sum.failed.extend(tally.failed);
        }
        // Each round has its own log.
        std::fs::write(host.dir().join("log"), "").expect("an empty log");
        host = host.kill_and_restart();
    }
    let target = format!("0 of {} accepted requests in {rounds} endings", sum.answered);
    assert!(sum.failed.is_empty(), "{:?}", sum.failed);
    must("endings.sigterm.failed", &target, sum.failed.len(), true);
    tell("endings.sigterm.crossed", "sent while the drain closed their idle connection, never read", sum.cut, true);
    tell("endings.sigterm.readiness_off_ms", "at most 100 ms", slowest_off.round(), slowest_off <= 100.0);
    tell(
        "endings.sigterm.ended_ms",
        "at most 1000 ms: no request runs longer",
        slowest_end.round(),
        slowest_end <= 1000.0,
    );
}

/// Starts a host with a request that would run for a minute.
fn with_a_long_request(args: &[&str]) -> (TestHost, TcpStream) {
    let host = TestHost::start_with(args, "");
    let service: Deployed = host.deploy("faults", "faults", json!({"metadata": {"rpc": {"keepalive": 90_000}}}));
    let mut stream = TcpStream::connect(host.data).expect("it listens");
    let body = br#"{"do":"sleep","ms":60000}"#;
    stream.write_all(&request("POST", &service.path, &[("authorization", &service.token)], body)).expect("it is sent");
    host.wait_for("it to run", || host.metric("bulkhead_workers_busy{service=\"faults\",instance=\"0\"}") == 1);
    (host, stream)
}

/// A partly received request is answered during the drain. Its answer ends the connection, and idle connections are
/// closed.
#[test]
fn what_has_begun_to_come_is_answered_in_the_drain() {
    let mut host = TestHost::start();
    let echo = host.deploy("echo", "echo", json!({}));
    let whole = request("POST", &echo.path, &[("authorization", &echo.token)], b"in time");
    let mut rested = host.client();
    assert_eq!(rested.post(&echo, b"before").status, 200);
    let cuts = [1, 20, whole.len() - 3];
    let mut begun: Vec<_> = cuts
        .iter()
        .map(|cut| {
            let mut client = host.client();
            client.write(&whole[..*cut]);
            client
        })
        .collect();
    host.wait_for("all to be accepted", || host.metric("bulkhead_connections") == 1 + cuts.len() as u64);
    // The bytes are in the host's sockets. There is no sign that the host has read them, and the test does not depend
    // on it.
    terminate(host.pid());
    host.wait_for("the drain to begin", || host.get_admin("/readyz").status == 503);
    assert!(rested.is_closed(), "one that rests is closed at once");
    for (client, cut) in begun.iter_mut().zip(cuts) {
        client.write(&whole[cut..]);
        let response = client.read("POST");
        assert_eq!((response.status, response.text().as_str()), (200, "in time"), "cut at {cut}");
        assert!(response.closes() && client.is_closed());
    }
    assert!(host.end().success());
    assert_eq!(account(&host.log()), (4, 4));
}

#[test]
fn a_second_sigterm_ends_the_host_at_once() {
    let (mut host, mut stream) = with_a_long_request(&[]);
    terminate(host.pid());
    host.wait_for("the drain to begin", || host.get_admin("/readyz").status == 503);
    let again = Instant::now();
    terminate(host.pid());
    let status = host.end();
    let took = again.elapsed().as_secs_f64() * 1e3;
    assert!(status.success(), "{status}");
    assert_eq!(stream.read(&mut [0; 1]).unwrap_or(0), 0, "its request was given up");
    assert_eq!(account(&host.log()), (1, 1), "and is in the account all the same");
    must("endings.second_sigterm", "ends although a request would run for 60 s more", "ended", true);
    tell("endings.second_sigterm.ms", "at most 500 ms", took.round(), took <= 500.0);
}

#[test]
fn a_drain_is_over_when_its_time_is() {
    let (mut host, mut stream) = with_a_long_request(&["--grace", "300ms"]);
    let told = Instant::now();
    terminate(host.pid());
    assert!(host.end().success());
    assert!(told.elapsed().as_millis() >= 300, "it was given its time");
    assert_eq!(stream.read(&mut [0; 1]).unwrap_or(0), 0, "its request was given up");
    let log = host.log();
    assert!(log.contains("the grace period is over"));
    assert!(log.contains("status=503 code=draining") && !log.contains("client_closed"), "the host's own doing: {log}");
    assert_eq!(account(&log), (1, 1));
}

/// Connections in the listener's backlog when the drain begins: without acceptance, the system would reset them
/// together with their requests.
#[test]
fn who_waits_to_be_accepted_is_answered_in_the_drain() {
    let mut host = TestHost::start_with(&["--max-connections", "2"], "");
    let echo = host.deploy("echo", "echo", json!({}));
    let whole = request("POST", &echo.path, &[("authorization", &echo.token)], b"in time");
    // All places are taken by idle connections, which the drain ends.
    let mut rested = [host.client(), host.client()];
    for client in &mut rested {
        assert_eq!(client.post(&echo, b"before").status, 200);
    }
    let mut waiting = connect_many(&host, &whole);
    terminate(host.pid());
    for client in &mut waiting {
        let response = client.read("POST");
        assert_eq!((response.status, response.text().as_str()), (200, "in time"));
        assert!(response.closes() && client.is_closed());
    }
    assert!(host.end().success());
    let all = 2 + waiting.len() as u64;
    assert_eq!(account(&host.log()), (all, all));
}

#[test]
fn who_waits_to_be_accepted_and_finds_no_place_is_told_of_the_drain() {
    let (mut host, mut busy) = with_a_long_request(&["--max-connections", "1"]);
    let whole = request("POST", "/api/predict/faults", &[], &[b'x'; 100_000]);
    let mut waiting = connect_many(&host, &whole);
    terminate(host.pid());
    for client in &mut waiting {
        let response = client.read("POST");
        assert_eq!((response.status, response.json()["code"].as_str()), (503, Some("draining")));
        assert!(response.closes() && client.is_closed());
    }
    // From now on, the listener is closed.
    host.wait_for("the listener to be closed", || TcpStream::connect(host.data).is_err());
    terminate(host.pid());
    assert!(host.end().success());
    assert_eq!(busy.read(&mut [0; 1]).unwrap_or(0), 0, "its request was given up");
    assert_eq!(account(&host.log()), (1, 1), "what was turned away was never a request");
}

/// Opens connections that each send a request to a host that accepts no further connections.
fn connect_many(host: &TestHost, bytes: &[u8]) -> Vec<crate::http::Client> {
    let connect = |_| {
        let mut client = host.client();
        client.write(bytes);
        client
    };
    (0..rounds(30, 300)).map(connect).collect()
}
