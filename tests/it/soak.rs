//! A host under mixed traffic for a chosen time: good requests, hostile ones and deploys, and its use of memory and
//! descriptors. `cargo xtask chaos --hours N` runs it for hours.

use std::io::Write;
use std::net::TcpStream;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::{Duration, Instant};

use serde_json::json;

use crate::crowd::Over;
use crate::figures::{must, rounds, tell};
use crate::host::{Deployed, SOON, TestHost};

/// The hostile requests, each with its expected status.
const HOSTILE: [(&str, u16); 7] = [
    (r#"{"do":"panic"}"#, 400),
    (r#"{"do":"trap"}"#, 400),
    (r#"{"do":"recurse"}"#, 400),
    (r#"{"do":"alloc"}"#, 400),
    (r#"{"do":"loop"}"#, 408),
    (r#"{"do":"sleep","ms":60000}"#, 408),
    (r#"{"do":"log","lines":500,"bytes":200}"#, 200),
];

/// The least length of a run whose memory growth is judged: by half of it, after about two thousand deploys, memory has
/// reached its plateau.
const SETTLED: Duration = Duration::from_secs(3600);

fn rounded(value: f64) -> f64 {
    (value * 100.0).round() / 100.0
}

fn length() -> Duration {
    let asked = std::env::var("BULKHEAD_SOAK_SECONDS").ok().and_then(|seconds| seconds.parse().ok());
    Duration::from_secs(asked.unwrap_or(rounds(4, 120) as u64))
}

/// Returns the resident memory in KiB, and the number of open descriptors.
fn usage(pid: u32) -> (u64, u64) {
    let status = std::fs::read_to_string(format!("/proc/{pid}/status")).expect("it runs");
    let rss = status.lines().find_map(|line| line.strip_prefix("VmRSS:")?.trim().strip_suffix(" kB")?.parse().ok());
    let descriptors = std::fs::read_dir(format!("/proc/{pid}/fd")).expect("it runs").count();
    (rss.expect("a number"), descriptors as u64)
}

fn keys(version: u64) -> serde_json::Value {
    json!({"token": "t", "processor_envs": [{"name": "VERSION", "value": version.to_string()}],
        "metadata": {"rpc": {"worker_threads": 2, "keepalive": 300}}, "sandbox": {"memory_mb": 32}})
}

/// Requests by how they ended.
struct Counts {
    good: AtomicU64,
    hostile: AtomicU64,
    wrong: AtomicU64,
}

#[test]
fn soak() {
    let host = TestHost::start();
    let good = host.deploy("good", "echo", json!({"token": "t", "metadata": {"rpc": {"keepalive": 20_000}}}));
    let hostile = host.deploy("hostile", "faults", keys(1));
    let counts = Counts { good: AtomicU64::new(0), hostile: AtomicU64::new(0), wrong: AtomicU64::new(0) };
    // Descriptors that are opened only once, such as those of the engines, are open after the first call.
    be_good(&host, &good, &counts);
    be_hostile(&host, &hostile, &counts);
    let quiet = || {
        host.wait_for("every connection to be gone", || host.metric("bulkhead_connections") == 0);
        usage(host.pid()).1
    };
    let descriptors = quiet();
    let (over, length) = (AtomicBool::new(false), length());
    let (first, last) = std::thread::scope(|scope| {
        scope.spawn(|| while_not(&over, || be_good(&host, &good, &counts)));
        scope.spawn(|| while_not(&over, || be_hostile(&host, &hostile, &counts)));
        scope.spawn(|| while_not(&over, || leave_early(&host, &hostile)));
        let _over = Over(&over);
        let (start, mut version, mut first) = (Instant::now(), 1, None);
        while start.elapsed() < length {
            version += 1;
            let body = json!({"spec": keys(version)}).to_string();
            assert_eq!(host.call_admin("PUT", "/api/v1/services/hostile", body.as_bytes()).status, 200);
            // The first half is a warm-up: pools, caches and the allocator grow to their final size.
            if first.is_none() && start.elapsed() > length / 2 {
                first = Some((Instant::now(), usage(host.pid())));
            }
            // Five deploys per second are enough; the requests should take most of the time.
            std::thread::sleep(Duration::from_millis(200).min(length / 20));
        }
        tell("soak.deploys", "as many as went in", version - 1, true);
        (first.expect("half of the time has passed"), usage(host.pid()))
    });
    let hours = first.0.elapsed().as_secs_f64() / 3600.0;
    let grown = last.0 as f64 / 1024.0 - first.1.0 as f64 / 1024.0;
    let count = |counter: &AtomicU64| counter.load(Ordering::SeqCst);
    let (good, hostile) = (count(&counts.good), count(&counts.hostile));
    must("soak.wrong", &format!("0 of {good} good and {hostile} hostile requests"), count(&counts.wrong), {
        count(&counts.wrong) == 0 && good > 0 && hostile > 0
    });
    // Memory of ended guests is kept for the next ones: up to 256 of them with 2 MiB each, in addition to running ones.
    let mib = last.0 / 1024;
    tell("soak.rss_mib", "at most 768 MiB: half a GiB of warm guests, and the host", mib, mib <= 768);
    // In a shorter run the kept memory is still growing, so its growth proves nothing.
    if length >= SETTLED {
        let target = format!("under 8 MiB in the second half of {} s", length.as_secs());
        tell("soak.rss_growth_mib", &target, rounded(grown), grown < 8.0);
        let slope = grown / hours;
        tell("soak.rss_growth_mib_per_hour", "under 1 MiB", rounded(slope), slope < 1.0);
    }
    // The last admin connections are closed shortly after their answers.
    let end = Instant::now() + SOON;
    let mut more = quiet().saturating_sub(descriptors);
    while more > 0 && Instant::now() < end {
        more = quiet().saturating_sub(descriptors);
    }
    must("soak.fd_growth", &format!("0 after {} s", length.as_secs()), more, more == 0);
}

fn while_not(over: &AtomicBool, mut work: impl FnMut()) {
    while !over.load(Ordering::SeqCst) {
        work();
    }
}

/// Sends a hundred requests on one connection.
fn be_good(host: &TestHost, service: &Deployed, counts: &Counts) {
    let mut client = host.client();
    for _ in 0..100 {
        let response = client.post(service, b"as it should be");
        let right = response.status == 200 && response.body == b"as it should be";
        (if right { &counts.good } else { &counts.wrong }).fetch_add(1, Ordering::SeqCst);
    }
}

/// Sends every hostile request once, each on its own connection, because some of them close it.
fn be_hostile(host: &TestHost, service: &Deployed, counts: &Counts) {
    for (deed, status) in HOSTILE {
        let response = host.client().post(service, deed.as_bytes());
        // Requests of clients that disconnected may occupy both workers until the host has noticed the disconnect. A
        // request that waits for them is answered 408 or 450.
        let right = response.status == status || matches!(response.status, 408 | 450);
        if !right {
            println!("{deed} was answered {}: {}", response.status, response.text());
        }
        (if right { &counts.hostile } else { &counts.wrong }).fetch_add(1, Ordering::SeqCst);
    }
}

/// Sends half a request, or a whole one, and disconnects without reading the answer.
fn leave_early(host: &TestHost, service: &Deployed) {
    let whole = crate::http::request("POST", &service.path, &[("authorization", "t")], br#"{"do":"loop"}"#);
    for length in [10, whole.len() - 3, whole.len()] {
        let mut stream = TcpStream::connect(host.data).expect("it listens");
        stream.write_all(&whole[..length]).expect("it is sent");
    }
    std::thread::sleep(Duration::from_millis(20));
}
