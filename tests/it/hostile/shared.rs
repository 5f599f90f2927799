//! Resources that services share: processors, memory, and the moment of a deploy. G3, H13, S5.

use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use serde_json::json;

use super::bombs::neighbour;
use super::deploy_component;
use crate::crowd::Over;
use crate::figures::{must, rounds, tell};
use crate::host::{Deployed, TestHost};
use crate::http::{Client, request};
use crate::load::percentile;

const SPINNERS: usize = 5;

#[test]
fn five_guests_that_spin_leave_their_neighbour_its_answers_and_its_time() {
    let host = TestHost::start_with(&["--max-requests-per-connection", "100000000"], "");
    let echo = host.deploy("echo", "echo", json!({}));
    let spec = json!({"metadata": {"rpc": {"worker_threads": SPINNERS, "keepalive": 300}}});
    let spin = host.deploy("spin", "faults", spec);
    let time = Duration::from_secs(rounds(2, 20) as u64);
    let alone = neighbour(&host, &echo, || thread::sleep(time));
    let over = AtomicBool::new(false);
    let mut late = Vec::new();
    let beside = thread::scope(|scope| {
        let spinners: Vec<_> = (0..SPINNERS).map(|_| scope.spawn(|| spins(&host, &spin, &over))).collect();
        let times = {
            let _over = Over(&over);
            neighbour(&host, &echo, || thread::sleep(time))
        };
        late.extend(spinners.into_iter().flat_map(|spinner| spinner.join().expect("each was a 408")));
        times
    });
    late.sort_unstable();
    let p99 = |times: &[Duration]| (percentile(times, 99).as_secs_f64() * 1e6).round() / 1e3;
    must("hostile.spinning.neighbour_answers", "each byte by byte its own", beside.len(), beside.len() > 100);
    let measured = json!({"alone_ms": p99(&alone), "beside_ms": p99(&beside)});
    tell("hostile.spinning.neighbour_p99", "at most 2 times", measured, p99(&beside) <= 2.0 * p99(&alone));
    must("hostile.spinning.stopped", "every one, 408", late.len(), late.len() >= SPINNERS);
    tell("hostile.spinning.stopped_late_p99_ms", "at most 20 ms", p99(&late), p99(&late) <= 20.0);
}

/// Sends endless loops until `over`. Returns how long after its deadline each was answered.
fn spins(host: &TestHost, service: &Deployed, over: &AtomicBool) -> Vec<Duration> {
    let mut late = Vec::new();
    while !over.load(Ordering::SeqCst) {
        let sent = Instant::now();
        host.client().post(service, br#"{"do":"loop"}"#).assert_problem(408, "deadline_exceeded");
        late.push(sent.elapsed().saturating_sub(Duration::from_millis(300)));
    }
    late
}

/// Clients that request the largest possible answer and read nothing of it. Each costs the host one copy of its answer
/// until the write timeout, and no worker.
#[test]
fn large_answers_that_nobody_takes_are_kept_once_and_hold_no_worker() {
    const SIZE: usize = 32 << 20;
    let takers = rounds(8, 64);
    let host = TestHost::start_with(&["--write-timeout", "8s"], "");
    let keys = json!({
        "metadata": {"rpc": {"worker_threads": 2, "max_queue_size": 100, "keepalive": 60_000}},
        "sandbox": {"max_response_bytes": SIZE},
    });
    let large = host.deploy("large", "faults", keys);
    let ask = |bytes: usize| {
        let body = format!(r#"{{"do":"body","bytes":{bytes}}}"#);
        request("POST", &large.path, &[("authorization", &large.token)], body.as_bytes())
    };
    let mut warm = host.client();
    warm.write(&ask(SIZE));
    assert_eq!(warm.read("POST").body.len(), SIZE);
    drop(warm);
    let before = resident_mib(&host);
    let held: Vec<Client> = (0..takers)
        .map(|_| {
            let mut client = host.client();
            client.write(&ask(SIZE));
            client
        })
        .collect();
    let served = "bulkhead_requests_total{service=\"large\",status=\"200\"}";
    host.wait_for("every answer to be ready", || host.metric(served) == 1 + takers as u64);
    assert_eq!(host.metric("bulkhead_workers_busy{service=\"large\",instance=\"0\"}"), 0, "no worker waits for them");
    let grown = resident_mib(&host).saturating_sub(before);
    let most = (takers * (SIZE >> 20) + 128) as u64;
    let mut another = host.client();
    another.write(&ask(10));
    assert_eq!(another.read("POST").status, 200);
    drop(another);
    must(
        "hostile.large.grown_mib",
        &format!("at most {most} MiB: {takers} answers once, and a part of them in guests"),
        grown,
        grown <= most,
    );
    host.wait_for("those who take nothing to be cut off", || host.metric("bulkhead_connections") == 0);
    drop(held);
    let left = resident_mib(&host).saturating_sub(before);
    tell("hostile.large.left_mib", "what two guests have, 256 MiB", left, left <= 256);
}

fn resident_mib(host: &TestHost) -> u64 {
    let status = std::fs::read_to_string(format!("/proc/{}/status", host.pid())).expect("its status");
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:")).expect("its memory");
    line.trim().trim_end_matches(" kB").parse::<u64>().expect("a number") >> 10
}

/// Makes a processor that is slow to answer a POST, and always answers its version.
fn versioned(version: u8) -> Vec<u8> {
    bulkhead_hostile::processor(&format!(
        r#"(func $act (call $block (call $subscribe (i64.const 4000000000))))
           (func $polite (result i32)
                (memory.fill (i32.const 1024) (i32.const 0) (i32.const 36))
                (i32.store8 (i32.const 2048) (i32.const {version}))
                (i32.store (i32.const 1052) (i32.const 2048))
                (i32.store (i32.const 1056) (i32.const 1))
                (i32.const 1024))"#
    ))
}

#[test]
fn a_request_that_began_on_the_old_version_ends_on_it() {
    let host = TestHost::start();
    let service = deploy_component(&host, "svc", &versioned(1), json!({}), 60_000).unwrap();
    let mut old = host.client();
    old.write(&request("POST", &service.path, &[("authorization", &service.token)], b""));
    let busy = || host.metric("bulkhead_workers_busy{service=\"svc\",instance=\"0\"}");
    host.wait_for("it to run", || busy() == 1);
    let change = json!({"processor": host.upload_bytes(&versioned(2))});
    let answer = host.call_admin("PUT", "/api/v1/services/svc", change.to_string().as_bytes());
    assert_eq!(answer.status, 200, "{}", answer.text());
    let new = host.client().send("GET", &service.path, &[("authorization", &service.token)], b"");
    assert_eq!(new.body, [2], "from now on the new version answers");
    assert!(old.read_within(Duration::from_millis(1)).is_none(), "while the old one is still at it");
    let answer = old.read("POST");
    assert_eq!((answer.status, answer.body.as_slice()), (200, [1].as_slice()), "and the old one ends as it began");
    let is_told = |line: &str| line.contains(" request POST ") && line.contains(" version=1 status=200 ");
    host.wait_for("its line in the log", || host.log().lines().any(is_told));
    must("deploys.long_request", "ends on the version it began on", "version 1", true);
}
