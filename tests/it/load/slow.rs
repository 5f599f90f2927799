//! Clients that send half a head, send half a body, or read nothing of their answer, together with a good client.

use std::io::Write;
use std::net::TcpStream;
use std::time::{Duration, Instant};

use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
use serde_json::json;
use socket2::{Domain, Socket, Type};

use super::percentile;
use super::{millis, rounded};
use crate::figures::{must, rounds, tell};
use crate::host::{Deployed, TestHost};
use crate::http::request;

/// A size above the buffers of the host's system for a client that reads nothing.
const LARGE: usize = 6 << 20;

/// Raises the limit of open files as far as allowed; the host inherits the limit. Returns the new limit.
fn open_files() -> u64 {
    let limit = getrlimit(Resource::Nofile);
    let most = limit.maximum.unwrap_or(u64::MAX);
    let raised = Rlimit { current: limit.maximum, maximum: limit.maximum };
    if setrlimit(Resource::Nofile, raised).is_ok() { most } else { limit.current.unwrap_or(u64::MAX) }
}

/// Makes a connection with a small receive buffer.
fn narrow(host: &TestHost) -> TcpStream {
    let socket = Socket::new(Domain::for_address(host.data), Type::STREAM, None).expect("a socket");
    socket.set_recv_buffer_size(4096).expect("a small buffer");
    socket.connect(&host.data.into()).expect("the host listens");
    socket.into()
}

fn open(host: &TestHost, count: usize, bytes: &[u8]) -> Vec<TcpStream> {
    (0..count)
        .map(|_| {
            let mut stream = narrow(host);
            stream.write_all(bytes).expect("the host takes it");
            stream
        })
        .collect()
}

/// Measures the times of a well-behaved client for two seconds.
fn good_times(host: &TestHost, service: &Deployed) -> Vec<Duration> {
    let (mut client, start, mut times) = (host.client(), Instant::now(), Vec::new());
    while start.elapsed() < Duration::from_secs(2) {
        let sent = Instant::now();
        let response = client.post(service, b"good");
        times.push(sent.elapsed());
        assert_eq!((response.status, response.body.as_slice()), (200, b"good".as_slice()));
    }
    times
}

pub(super) fn resident_kib(host: &TestHost) -> f64 {
    let status = std::fs::read_to_string(format!("/proc/{}/status", host.pid())).expect("it runs");
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:")).expect("a line");
    line.trim().trim_end_matches(" kB").parse().expect("a number")
}

#[test]
fn slow_clients_are_borne_for_their_time_and_leave_the_others_theirs() {
    let (all, files) = (rounds(300, 2000), open_files());
    // The host keeps a large answer as long as its client reads nothing.
    let takers = (all / 10).min(60);
    let each = (all - takers) / 2;
    if files < (2 * all + 200) as u64 {
        let why = format!("skipped: {files} files may be open, {} are needed", 2 * all + 200);
        tell("load.slow.p99_ratio", "at most 2", why, true);
        return;
    }
    // The time for which the host keeps half a request. All half requests must arrive within this time, and the good
    // client must finish.
    let patience = rounds(8, 16);
    let (time, most) = (format!("{patience}s"), (all + 100).to_string());
    // The good client uses one connection for the whole time.
    let args = ["--head-timeout", &time, "--write-timeout", "300", "--max-connections", &most];
    let args = [&args[..], &["--max-requests-per-connection", "1000000"]].concat();
    let host = TestHost::start_with(&args, "");
    let echo = host.deploy("echo", "echo", json!({}));
    let rpc = |seconds: usize| json!({"worker_threads": 2, "max_queue_size": all, "keepalive": seconds * 1000});
    let slow = host.deploy("slow", "faults", json!({"metadata": {"rpc": rpc(patience)}}));
    let large = host.deploy("large", "faults", json!({"metadata": {"rpc": rpc(60)}}));
    let whole = |service: &Deployed, body: &str| {
        request("POST", &service.path, &[("authorization", &service.token)], body.as_bytes())
    };
    let is_open = |count: usize| host.metric("bulkhead_connections") == count as u64;

    let alone = good_times(&host, &echo);
    host.wait_for("the good client to be gone", || is_open(0));
    let unread = open(&host, takers, &whole(&large, &format!(r#"{{"do":"body","bytes":{LARGE}}}"#)));
    host.wait_for("every large answer to be ready", || {
        host.metric("bulkhead_requests_total{service=\"large\",status=\"200\"}") == takers as u64
    });
    let before = resident_kib(&host);
    let heads = open(&host, each, &whole(&slow, "{}")[..40]);
    host.wait_for("every half head to be held", || is_open(takers + each));
    let kib = (resident_kib(&host) - before) / each as f64;
    let half_body = whole(&slow, r#"{"do":"flag"}"#);
    let bodies = open(&host, each, &half_body[..half_body.len() - 5]);
    host.wait_for("all of them to be held", || is_open(takers + 2 * each));

    let among = good_times(&host, &echo);
    let held = host.metric("bulkhead_connections");
    must("load.slow.held", &format!("{all} slow clients while {} good requests are served", among.len()), held, {
        held >= (takers + 2 * each) as u64
    });
    let (quiet, busy) = (percentile(&alone, 99), percentile(&among, 99));
    let ratio = busy.as_secs_f64() / quiet.as_secs_f64();
    tell(
        "load.slow.p50_ms",
        &format!("{} ms without them", millis(percentile(&alone, 50))),
        millis(percentile(&among, 50)),
        true,
    );
    tell("load.slow.p99_ms", &format!("{} ms without them", millis(quiet)), millis(busy), true);
    tell("load.slow.p99_ratio", "at most 2", rounded(ratio), ratio <= 2.0);
    tell("load.slow.kib_per_half_head", "at most 32 KiB", kib.round(), kib <= 32.0);

    host.wait_for("every half request to be sent away", || is_open(takers));
    let sent_away =
        |service: &str| host.metric(&format!("bulkhead_requests_total{{service=\"{service}\",status=\"408\"}}"));
    must("load.slow.half_heads", &format!("{each} answered 408"), sent_away(""), sent_away("") == each as u64);
    must("load.slow.half_bodies", &format!("{each} answered 408"), sent_away("slow"), sent_away("slow") == each as u64);
    drop((heads, bodies, unread));
    host.wait_for("the rest to be gone", || is_open(0));
}
