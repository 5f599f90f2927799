//! The cost of a call is known even if the call is stopped half-way.

use std::sync::Arc;
use std::time::{Duration, Instant};

use bulkhead::call::{Call, Deadline, RequestId, Spent, Streaming};
use bulkhead::sandbox::{Capacity, Program, Sandbox};
use bytes::Bytes;
use http::{HeaderMap, Method, Uri};
use serde_json::json;

use crate::host::{TestHost, binary, hash};
use crate::library::{Silent, settings};

#[tokio::test(flavor = "multi_thread")]
async fn a_guest_that_is_dropped_leaves_its_fuel_and_memory_behind() {
    let dir = tempfile::tempdir().unwrap();
    let sandbox = Sandbox::new(binary(), dir.path().into(), Capacity { guests: 2, memory: 64 << 20 });
    let guest = bulkhead_artifacts::guest("faults");
    let sha256 = hash(&std::fs::read(&guest).unwrap());
    let program = sandbox.prepare(&guest, &sha256, settings(64 << 20), Arc::new(Silent)).await;
    let program = Arc::clone(program.unwrap().program());
    let first = stopped_after_a_slice(&program).await;
    assert!(first.fuel() > Some(10_000), "{first:?}");
    assert!(first.memory() >= 64 << 10, "{first:?}");

    // The cost is learnt even from a stopped call: the next guest's slice is fitted to it.
    let second = stopped_after_a_slice(&program).await;
    let apart = second.fuel().unwrap().abs_diff(first.fuel().unwrap());
    assert!(apart > first.fuel().unwrap() / 100, "{first:?} {second:?}");
}

/// Returns the cost of a guest that is dropped when it yields for the first time.
async fn stopped_after_a_slice(program: &Arc<Program>) -> Spent {
    let mut guest = program.instantiate().await.unwrap();
    let call = Arc::new(Call {
        method: Method::POST,
        uri: Uri::from_static("/"),
        path_start: 1,
        headers: HeaderMap::new().into(),
        body: Bytes::from_static(br#"{"do":"loop"}"#),
        upload: None,
        request_id: RequestId::generate(),
        deadline: Deadline::new(Instant::now() + Duration::from_secs(20)),
        spent: Spent::default(),
        streaming: Streaming::default(),
        job: None,
    });
    let stopped = tokio::select! {
        biased;
        _ = guest.run(Arc::clone(&call), Instant::now()) => false,
        () = std::future::ready(()) => true,
    };
    assert!(stopped);
    assert_eq!(call.spent.fuel(), None, "not before the guest is gone");
    drop(guest);
    Arc::into_inner(call).unwrap().spent
}

#[test]
fn the_log_tells_the_memory_of_a_request_that_was_stopped() {
    let host = TestHost::start();
    let keys = json!({"metadata": {"rpc": {"worker_threads": 1, "keepalive": 200}}});
    let service = host.deploy("faults", "faults", keys);
    host.client().post(&service, br#"{"do":"loop"}"#).assert_problem(408, "deadline_exceeded");
    let memory = || {
        let log = host.log();
        let line = log.lines().find(|line| line.contains("code=deadline_exceeded"))?;
        line.split(" memory=").nth(1)?.split(' ').next()?.parse::<usize>().ok()
    };
    host.wait_for("the line", || memory().is_some());
    assert!(memory().is_some_and(|bytes| bytes >= 64 << 10), "{}", host.log());
}
