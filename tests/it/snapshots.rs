//! Guests that start from a snapshot of an initialised guest: the state that they share, and the state that they do
//! not.

mod canary;
mod fallbacks;
mod images;
mod live;
mod recycling;

use std::path::PathBuf;
use std::time::Instant;

use serde_json::{Value, json};

use crate::figures::{must, rounds, tell};
use crate::host::{Deployed, TestHost};
use crate::http::{Client, Response, request};

/// The number that `initialize` of a [`counter`] leaves in memory.
const LEFT: u32 = 7000;

/// Makes a processor whose `initialize` logs a line, runs `further`, and leaves a number far up in grown memory. A POST
/// adds one to the number, runs `act`, and answers the number; a GET answers it unchanged.
fn counter(further: &str, act: &str) -> Vec<u8> {
    counter_in("2", further, act)
}

/// Makes a [`counter`] in a memory of these limits.
fn counter_in(limits: &str, further: &str, act: &str) -> Vec<u8> {
    bulkhead_hostile::processor(&format!(
        r#"(memory (export "memory") {limits})
        (data (i32.const 4096) "initialized")
        (global $kept (mut i64) (i64.const 0))
        (func $init (result i32)
            (call $log (i32.const 2) (i32.const 4096) (i32.const 11))
            (drop (memory.grow (i32.const 16)))
            (i32.store (i32.const 1000000) (i32.const {LEFT}))
            (global.set $kept (i64.const 1))
            {further}
            (i32.const 1024))
        (func $act
            (i32.store (i32.const 1000000)
                (i32.add (i32.load (i32.const 1000000)) (i32.wrap_i64 (global.get $kept))))
            {act})
        (func $polite (result i32)
            (memory.fill (i32.const 1024) (i32.const 0) (i32.const 36))
            (i32.store (i32.const 1052) (i32.const 1000000))
            (i32.store (i32.const 1056) (i32.const 4))
            (i32.const 1024))"#
    ))
}

/// Deploys an uploaded component with these keys of the service file and these model files.
fn try_deploy(host: &TestHost, processor: &str, keys: Value, model: Value) -> Response {
    let mut spec = json!({"name": "svc", "processor_path": "x.wasm", "token": "t"});
    for (key, value) in keys.as_object().expect("an object") {
        spec[key] = value.clone();
    }
    let body = json!({"spec": spec, "processor": processor, "model": model}).to_string();
    host.call_admin("POST", "/api/v1/services", body.as_bytes())
}

fn deploy(host: &TestHost, component: &[u8], keys: Value) -> Deployed {
    let answer = try_deploy(host, &host.upload_bytes(component), keys, json!([]));
    assert_eq!(answer.status, 201, "{}", answer.text());
    svc()
}

fn svc() -> Deployed {
    Deployed { path: "/api/predict/svc".into(), token: "t".into() }
}

fn modify(host: &TestHost, body: Value) {
    let answer = host.call_admin("PUT", "/api/v1/services/svc", body.to_string().as_bytes());
    assert_eq!(answer.status, 200, "{}", answer.text());
}

fn number(answer: &Response) -> u32 {
    assert_eq!(answer.status, 200, "{}", answer.text());
    u32::from_le_bytes(answer.body.as_slice().try_into().expect("four bytes"))
}

fn look(host: &TestHost) -> u32 {
    number(&host.client().send("GET", "/api/predict/svc", &[("authorization", "t")], b""))
}

/// Checks that `initialize` has run `times` times since the log began. Its lines may reach the log a little later.
#[track_caller]
fn assert_initialized(host: &TestHost, times: usize) {
    let count = || host.log().matches(" processor: initialized ").count();
    host.wait_for("initialize to be in the log", || count() >= times);
    assert_eq!(count(), times, "initialize ran that often");
}

fn snapshot(host: &TestHost) -> Value {
    host.call_admin("GET", "/api/v1/services/svc", b"").json()["snapshot"].clone()
}

/// Returns the files of machine code.
fn code_files(host: &TestHost) -> Vec<PathBuf> {
    let engines = std::fs::read_dir(host.dir().join("data/compiled")).expect("a directory");
    let files = engines.flat_map(|engine| std::fs::read_dir(engine.expect("an entry").path()).expect("a directory"));
    let mut files: Vec<PathBuf> = files.map(|file| file.expect("an entry").path()).collect();
    files.retain(|path| path.extension().is_some_and(|extension| extension == "cwasm"));
    files.sort();
    files
}

/// Sends `count` requests at once, and reads their answers when all of them are running.
fn together(host: &TestHost, count: usize) -> Vec<u32> {
    let body = request("POST", "/api/predict/svc", &[("authorization", "t")], b"");
    let mut clients: Vec<Client> = (0..count)
        .map(|_| {
            let mut client = host.client();
            client.write(&body);
            client
        })
        .collect();
    host.wait_for("all to be at work", || {
        let busy = |instance| host.metric(&format!("bulkhead_workers_busy{{service=\"svc\",instance=\"{instance}\"}}"));
        busy(0) + busy(1) == count as u64
    });
    clients.iter_mut().map(|client| number(&client.read("POST"))).collect()
}

#[test]
fn initialize_runs_once_for_all_workers_and_never_again() {
    let host = TestHost::start();
    let sleep = "(call $block (call $subscribe (i64.const 1500000000)))";
    let keys = json!({"metadata": {"instance": 2, "rpc": {"worker_threads": 5, "keepalive": 60_000}}});
    deploy(&host, &counter("", sleep), keys);
    assert_eq!(snapshot(&host), json!({"taken": true}));
    // Each of the ten guests has the state that `initialize` left, and changes only its own copy.
    let answers = together(&host, 10);
    must("snapshots.shared", "0 of 10 guests saw what another wrote", 0, answers == [LEFT + 1; 10]);
    assert_initialized(&host, 1);
    must("snapshots.initialized", "once for 2 instances of 5 workers", 1, true);

    let host = host.kill_and_restart();
    assert_eq!(snapshot(&host), json!({"taken": true}));
    assert_eq!(together(&host, 10), [LEFT + 1; 10]);
    assert_initialized(&host, 1);
    must("snapshots.initialized_again", "0 times at a restart", 0, true);
}

#[test]
fn fresh_isolation_meets_the_image_every_time() {
    let host = TestHost::start();
    let service = deploy(&host, &counter("", ""), json!({"sandbox": {"isolation": "fresh"}}));
    let rounds = rounds(10_000, 100_000);
    let mut client = host.client();
    for round in 0..rounds {
        assert_eq!(number(&client.post(&service, b"")), LEFT + 1, "request {round}");
    }
    must("snapshots.fresh", "every request meets what initialize left, and nothing else", rounds, true);
    assert_initialized(&host, 1);
}

#[test]
fn a_guest_that_failed_is_made_anew_without_initialize() {
    let host = TestHost::start();
    let keys = json!({"metadata": {"rpc": {"worker_threads": 1, "max_queue_size": 0}}});
    let service = deploy(&host, &counter("", "(unreachable)"), keys);
    let mut client = host.client();
    // Without a queue, any answer but 450 means that a worker was free, and so a guest was ready.
    for _ in 0..100 {
        client.post(&service, b"").assert_problem(400, "processor_exception");
        assert_eq!(look(&host), LEFT);
    }
    assert_initialized(&host, 1);
    must("snapshots.replaced", "100 of 100 after a trap, initialize never run again", 100, true);
}

/// Measures the cost of a fault for the next request, with a nearly empty image and with 50 MiB.
#[test]
fn a_large_image_costs_a_replacement_no_more_than_a_small_one() {
    let fill = "(drop (memory.grow (i32.const 800)))
        (memory.fill (i32.const 1200000) (i32.const 7) (i32.const 52000000))";
    for (size, further) in [("small", ""), ("50_mib", fill)] {
        let host = TestHost::start();
        let keys = json!({"metadata": {"rpc": {"worker_threads": 1, "max_queue_size": 0}}});
        let service = deploy(&host, &counter(further, "(unreachable)"), keys);
        assert_eq!(snapshot(&host), json!({"taken": true}));
        let mut client = host.client();
        let mut times: Vec<f64> = (0..200)
            .map(|_| {
                assert_eq!(client.post(&service, b"").status, 400);
                let began = Instant::now();
                let answer = client.send("GET", &service.path, &[("authorization", "t")], b"");
                let took = began.elapsed().as_secs_f64() * 1e6;
                assert_eq!(number(&answer), LEFT);
                took
            })
            .collect();
        times.sort_by(f64::total_cmp);
        assert_initialized(&host, 1);
        let median = times[times.len() / 2].round();
        tell(&format!("snapshots.after_a_fault_us.{size}"), "at most 100 us, as any request", median, median <= 100.0);
    }
}
