//! Clients that are refused and keep their connections: they occupy no more than their share of the host, and only
//! briefly.

use std::io::{Read, Write};
use std::net::TcpStream;
use std::time::{Duration, Instant};

use serde_json::json;

use super::{millis, percentile};
use crate::figures::{must, rounds, tell};
use crate::host::{Deployed, TestHost};

/// The number of connections. A quarter of them may have a refused body read in full at the same time.
const CONNECTIONS: usize = 64;
/// The number of clients that are refused and stay connected. It is larger than the number of places.
const DROPPERS: usize = 40;

/// Makes the head of a refused request with a body of this length.
fn refused_head(service: &Deployed, length: u64) -> Vec<u8> {
    let path = &service.path;
    format!("POST {path} HTTP/1.1\r\nhost: a\r\nauthorization: wrong\r\ncontent-length: {length}\r\n\r\n").into_bytes()
}

fn refuse(host: &TestHost, service: &Deployed) -> TcpStream {
    let mut stream = TcpStream::connect(host.data).expect("it listens");
    stream.write_all(&refused_head(service, 1 << 40)).expect("it is taken");
    let mut status = [0; 12];
    stream.read_exact(&mut status).expect("an answer at once");
    assert_eq!(&status, b"HTTP/1.1 401");
    stream
}

/// Returns the host's user and system time so far.
fn cpu_time(host: &TestHost) -> Duration {
    let stat = std::fs::read_to_string(format!("/proc/{}/stat", host.pid())).expect("it runs");
    let (_, fields) = stat.rsplit_once(") ").expect("a name in parentheses");
    let ticks: u64 = fields.split(' ').skip(11).take(2).map(|field| field.parse::<u64>().expect("ticks")).sum();
    // Linux reports times in hundredths of a second, independent of its own clock.
    Duration::from_millis(ticks * 10)
}

#[test]
fn who_was_refused_and_stays_is_let_go_and_costs_the_others_nothing() {
    let host = TestHost::start_with(&["--max-connections", &CONNECTIONS.to_string()], "");
    let echo = host.deploy("echo", "echo", json!({}));
    assert_eq!(host.client().post(&echo, b"warm").status, 200);
    host.wait_for("no connection to be open", || host.metric("bulkhead_connections") == 0);
    let before = super::slow::resident_kib(&host);
    let began = Instant::now();
    let mut droppers: Vec<TcpStream> = (0..DROPPERS).map(|_| refuse(&host, &echo)).collect();
    let kib = (super::slow::resident_kib(&host) - before) / DROPPERS as f64;
    tell("load.lingering.kib_each", "at most 32 KiB", kib.round(), kib <= 32.0);

    let mut times = Vec::new();
    for _ in 0..rounds(100, 1000) {
        let sent = Instant::now();
        assert_eq!(host.client().post(&echo, b"good").status, 200);
        times.push(sent.elapsed());
    }
    times.sort_unstable();
    let p99 = percentile(&times, 99);
    tell("load.lingering.others_p99_ms", "at most 20 ms", millis(p99), p99 <= Duration::from_millis(20));
    // All places are taken. A refusal still reaches its client if the body is not large.
    for _ in 0..10 {
        let mut client = host.client();
        client.write(&refused_head(&echo, 200_000));
        client.write(&[b'x'; 200_000]);
        let response = client.read("POST");
        assert!(response.status == 401 && response.closes() && client.is_closed(), "{response:?}");
    }

    // Half of them stay silent; the others send a byte now and then, which does not extend their time.
    host.wait_for("every one to be let go", || {
        for stream in &mut droppers[..DROPPERS / 2] {
            let _ = stream.write(b"x");
        }
        host.metric("bulkhead_connections") == 0
    });
    let held = began.elapsed();
    tell("load.lingering.held_ms", "at most 6000 ms", millis(held).round(), held <= Duration::from_secs(6));
}

#[test]
fn who_never_ends_its_refused_body_is_cut_off_at_a_bound() {
    let host = TestHost::start();
    let echo = host.deploy("echo", "echo", json!({}));
    let mut stream = refuse(&host, &echo);
    let (piece, mut sent) = (vec![b'x'; 1 << 20], 0_u64);
    while let Ok(count) = stream.write(&piece) {
        sent += count as u64;
        assert!(sent < 1 << 30, "it reads on and on");
    }
    // The system buffers some bytes more than the host reads.
    must("load.lingering.bytes_read_away", "64 MiB to 128 MiB", sent, (64 << 20..128 << 20).contains(&sent));
    host.wait_for("the connection to be gone", || host.metric("bulkhead_connections") == 0);
}

#[test]
fn what_a_large_refused_body_costs() {
    let host = TestHost::start();
    let echo = host.deploy("echo", "echo", json!({}));
    let (count, body) = (rounds(50, 500) as u64, vec![b'x'; 12 << 20]);
    let before = cpu_time(&host);
    for _ in 0..count {
        let mut client = host.client();
        client.write(&refused_head(&echo, body.len() as u64));
        client.write(&body);
        assert_eq!(client.read("POST").status, 401);
    }
    let each = (cpu_time(&host) - before) / u32::try_from(count).expect("few");
    let micros = u64::try_from(each.as_micros()).unwrap_or(u64::MAX);
    tell("load.lingering.cpu_us_of_12_mib", "at most 10000 µs", micros, micros <= 10_000);
}
