//! The limits of a stream, which hold whether or not the client reads.

use std::time::Duration;

use serde_json::json;

use super::{Scene, read_rest, read_stream_head};
use crate::host::TestHost;

#[test]
fn a_stream_that_stands_still_is_cut_off() {
    let scene = Scene::with(json!({"stream_idle_ms": 300}));
    let mut client = scene.ask(&json!({"pieces": 2, "bytes": 4, "pause_ms": 20, "end": "hang"}));
    read_stream_head(&mut client);
    assert_eq!(read_rest(&mut client), (b"aaaabbbb".to_vec(), false));
    let line = scene.logged(408);
    assert!(
        line.contains("the next piece of the answer did not come within 300 ms (sandbox.stream_idle_ms)"),
        "{line}"
    );
    assert!(line.contains(" code=deadline_exceeded ") && line.contains(" cut=true"), "{line}");
    scene.wait_until_idle();
    assert_eq!((scene.counted(408), scene.calls()), (1, 1));
}

#[test]
fn a_stream_that_never_ends_is_cut_off_and_its_neighbours_are_not() {
    let host = TestHost::start();
    let neighbour = host.deploy("echo", "echo", json!({}));
    let scene = Scene::on(host, json!({"stream_total_ms": 500}));
    let mut client = scene.ask(&json!({"pieces": 1_000_000_000, "bytes": 4, "pause_ms": 10}));
    read_stream_head(&mut client);
    let mut other = scene.host.client();
    let mut answered = 0;
    while let Some(chunk) = client.next_chunk() {
        assert!(!chunk.is_empty(), "it must not end as if it were complete");
        assert_eq!(other.post(&neighbour, b"hello").body, b"hello");
        answered += 1;
    }
    assert!(answered > 0, "{answered}");
    let line = scene.logged(408);
    assert!(line.contains("the answer did not end within 500 ms (sandbox.stream_total_ms)"), "{line}");
    scene.wait_until_idle();
}

/// `keepalive` bounds the time to the head only.
#[test]
fn a_stream_may_outlast_the_deadline_of_whole_answers() {
    let host = TestHost::start();
    let rpc = json!({"keepalive": 500});
    let service = host.deploy("faults", "faults", json!({"metadata": {"rpc": rpc}}));
    let scene = Scene { host, service };
    let mut client = scene.ask(&json!({"pieces": 10, "bytes": 1, "pause_ms": 100}));
    read_stream_head(&mut client);
    assert_eq!(read_rest(&mut client), (b"abcdefghij".to_vec(), true));
    let refused = scene.host.client().post(&scene.service, br#"{"do":"sleep","ms":60000}"#);
    refused.assert_problem(408, "deadline_exceeded");
}

/// A guest that is faster than its client waits, and the client's slowness is not the guest's idleness.
#[test]
fn a_client_that_reads_late_gets_everything() {
    const PIECES: usize = 400;
    let scene = Scene::with(json!({"stream_idle_ms": 200}));
    let mut client = scene.ask(&json!({"pieces": PIECES, "bytes": 65_536}));
    read_stream_head(&mut client);
    // The sockets' buffers take a few MiB, and the host 64 KiB.
    std::thread::sleep(Duration::from_millis(1000));
    let (body, is_complete) = read_rest(&mut client);
    assert_eq!((body.len(), is_complete), (PIECES * 65_536, true));
    scene.host.wait_for("it to count", || scene.counted(200) == 1);
}

#[test]
fn a_client_that_reads_nothing_does_not_hold_the_worker_beyond_the_total_time() {
    let scene = Scene::with(json!({"stream_total_ms": 400}));
    let mut client = scene.ask(&json!({"pieces": 1_000_000, "bytes": 65_536}));
    client.wait_for_bytes();
    // The worker is free although the client has not read anything.
    scene.wait_until_idle();
    assert_eq!(scene.calls(), 1);
    read_stream_head(&mut client);
    let (body, is_complete) = read_rest(&mut client);
    assert!(!is_complete && !body.is_empty());
    let line = scene.logged(408);
    assert!(line.contains("sandbox.stream_total_ms") && line.contains(" cut=true"), "{line}");
}

#[test]
fn a_full_queue_and_a_stop_are_the_same_for_streams() {
    let scene = Scene::set();
    let mut streaming = scene.ask(&json!({"pieces": 1, "bytes": 1, "end": "linger", "pause_ms": 20}));
    read_stream_head(&mut streaming);
    assert_eq!(streaming.next_chunk().unwrap(), b"a");
    let waiting: Vec<_> = (0..4).map(|_| scene.ask(&json!({"pieces": 1}))).collect();
    let queued = "bulkhead_queue_depth{service=\"faults\",instance=\"0\"}";
    scene.host.wait_for("the queue to be full", || scene.host.metric(queued) == 4);
    scene.ask(&json!({})).read("POST").assert_problem(450, "queue_full");
    drop(streaming);
    for mut client in waiting {
        assert_eq!(client.read("POST").status, 200);
    }
}

/// A version that was replaced lets its streams go on for its grace period.
#[test]
fn a_stream_of_a_replaced_version_is_cut_off_after_the_grace_period() {
    let host = TestHost::start();
    let metadata = json!({"rpc": {"worker_threads": 1}, "eas": {"termination_grace_period": 1}});
    let service = host.deploy("faults", "faults", json!({"metadata": metadata}));
    let scene = Scene { host, service };
    let mut client = scene.ask(&json!({"pieces": 1_000_000, "bytes": 1, "pause_ms": 20}));
    read_stream_head(&mut client);
    let changed = scene.host.call_admin("PUT", "/api/v1/services/faults", br#"{"spec":{"sandbox":{"memory_mb":64}}}"#);
    assert!(changed.status < 300, "{}", changed.text());
    let (_, is_complete) = read_rest(&mut client);
    assert!(!is_complete);
    let line = scene.logged(503);
    assert!(line.contains(" code=draining ") && line.contains("termination_grace_period"), "{line}");
}

#[test]
fn a_host_that_ends_finishes_its_streams_first() {
    let scene = Scene::set();
    let mut client = scene.ask(&json!({"pieces": 10, "bytes": 1, "pause_ms": 50}));
    read_stream_head(&mut client);
    crate::host::terminate(scene.host.pid());
    assert_eq!(read_rest(&mut client), (b"abcdefghij".to_vec(), true));
    scene.host.wait_until_ended();
}
