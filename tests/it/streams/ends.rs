//! The ends of a stream, each counted once, with the right status.

use serde_json::json;

use super::{Scene, read_rest, read_stream_head};
use crate::hostile_http::Leave;

#[test]
fn a_stream_comes_piece_by_piece_and_counts_once_it_is_complete() {
    let scene = Scene::set();
    let mut client = scene.host.client();
    // The pauses let each piece go out before the next one is made.
    scene.ask_on(&mut client, &json!({"pieces": 3, "bytes": 5, "pause_ms": 50}));
    read_stream_head(&mut client);
    assert_eq!(client.next_chunk().unwrap(), b"aaaaa");
    assert_eq!(scene.counted(200), 0, "it has not ended");
    assert_eq!(client.next_chunk().unwrap(), b"bbbbb");
    assert_eq!(read_rest(&mut client), (b"ccccc".to_vec(), true));
    scene.host.wait_for("it to count", || scene.counted(200) == 1);
    let line = scene.logged(200);
    assert!(line.contains(" bytes_out=15 ") && line.contains(" chunks=3"), "{line}");
    let head_ms: f64 = line.split(" head_ms=").nth(1).unwrap().split(' ').next().unwrap().parse().unwrap();
    let run_ms: f64 = line.split(" run_ms=").nth(1).unwrap().split(' ').next().unwrap().parse().unwrap();
    assert!(run_ms >= 150.0 && head_ms < run_ms, "{line}");
    assert!(line.contains(" fuel=") && !line.contains("cut="), "{line}");

    // The connection and the guest are used again.
    scene.ask_on(&mut client, &json!({"pieces": 2, "bytes": 1, "pause_ms": 20}));
    read_stream_head(&mut client);
    assert_eq!(read_rest(&mut client), (b"ab".to_vec(), true));
    assert_eq!(scene.calls(), 3);
}

/// An answer that is complete before its head has gone out needs no chunks.
#[test]
fn a_stream_that_ends_at_once_is_a_whole_answer() {
    let scene = Scene::set();
    for (deed, body) in [
        (json!({"pieces": 0}), ""),
        (json!({"pieces": 3, "bytes": 0}), ""),
        (json!({"pieces": 1, "bytes": 3}), "aaa"),
        (json!({"pieces": 3, "bytes": 2}), "aabbcc"),
    ] {
        let answer = scene.ask(&deed).read("POST");
        assert_eq!((answer.status, answer.header("transfer-encoding"), &*answer.text()), (200, None, body), "{deed}");
        assert_eq!(answer.header("content-type"), Some("text/plain; charset=utf-8"));
    }
    scene.host.wait_for("them to count", || scene.counted(200) == 4);
}

/// The ways in which a guest can fail in the middle of an answer, and the outcomes.
#[test]
fn a_stream_whose_guest_fails_is_cut_off_and_counts_with_the_refusal() {
    let scene = Scene::with(json!({"fuel": 2_000_000_000_u64, "fuel_status": 403, "trap_status": 470}));
    for (index, (end, status, cause)) in [
        ("panic", 470, "asked to panic in the middle"),
        ("trap", 470, "unreachable"),
        ("error", 422, "asked to fail in the middle"),
        ("loop", 403, "fuel"),
        ("body", 470, "it has a body, although its answer was streamed"),
        ("twice", 470, "the answer has begun already"),
    ]
    .into_iter()
    .enumerate()
    {
        let mut client = scene.ask(&json!({"pieces": 1, "bytes": 4, "pause_ms": 100, "end": end}));
        read_stream_head(&mut client);
        assert_eq!(read_rest(&mut client), (b"aaaa".to_vec(), false), "{end}");
        assert!(client.is_closed());
        let cut = || {
            scene.host.log().lines().filter(|line| line.contains(" cut=true")).map(str::to_owned).collect::<Vec<_>>()
        };
        scene.host.wait_for("it to be logged", || cut().len() == index + 1);
        let line = cut().pop().unwrap();
        assert!(line.contains(&format!(" status={status} ")) && line.contains(cause), "{end}: {line}");
        assert!(line.contains(" bytes_out=4 ") && line.contains(" chunks=1 "), "{end}: {line}");
    }
    scene.wait_until_idle();
    assert_eq!((scene.counted(470), scene.counted(422), scene.counted(403), scene.counted(200)), (4, 1, 1, 0));
    // Errors leave the guest intact, the other ends do not.
    assert_eq!(scene.calls(), 2);
}

/// The head has not gone out yet, so the caller gets the refusal itself.
#[test]
fn a_guest_that_fails_at_once_is_refused_with_its_status() {
    let scene = Scene::set();
    let mut client = scene.ask(&json!({"pieces": 1, "end": "trap"}));
    client.read("POST").assert_problem(400, "processor_exception");
    let mut client = scene.ask(&json!({"pieces": 1, "end": "error"}));
    assert_eq!(client.read("POST").status, 422);
}

#[test]
fn a_client_that_leaves_stops_the_guest() {
    for (leave, end) in [(Leave::Rst, "hang"), (Leave::Fin, "hang"), (Leave::Rst, "loop"), (Leave::Fin, "loop")] {
        let scene = Scene::set();
        let mut client = scene.ask(&json!({"pieces": 1, "bytes": 4, "end": end, "pause_ms": 20}));
        read_stream_head(&mut client);
        assert_eq!(client.next_chunk().unwrap(), b"aaaa");
        leave.now(client);
        scene.wait_until_idle();
        scene.host.wait_for("it to count", || scene.counted(499) == 1);
        let line = scene.logged(499);
        assert!(line.contains(" bytes_out=4 ") && line.contains(" chunks=1"), "{line}");
        assert_eq!(scene.calls(), 1, "a guest that was stopped is replaced");
    }
}

#[test]
fn a_guest_that_returns_when_its_client_leaves_is_used_again() {
    let scene = Scene::set();
    for round in 1..=3 {
        let mut client = scene.ask(&json!({"pieces": 1, "bytes": 4, "end": "linger", "pause_ms": 20}));
        read_stream_head(&mut client);
        assert_eq!(client.next_chunk().unwrap(), b"aaaa");
        drop(client);
        scene.host.wait_for("it to count", || scene.counted(499) == round);
        scene.wait_until_idle();
    }
    assert_eq!(scene.calls(), 4);
    // A guest that writes notices it as well.
    let mut client = scene.ask(&json!({"pieces": 1_000_000, "bytes": 4, "pause_ms": 1}));
    read_stream_head(&mut client);
    drop(client);
    scene.host.wait_for("it to count", || scene.counted(499) == 4);
    scene.wait_until_idle();
    assert_eq!(scene.calls(), 6);
}
