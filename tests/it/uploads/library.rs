//! The sandbox as a library: the room that it promises, and the lifetime of its compiling child.

use std::fs;
use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, Instant};

use bulkhead::sandbox::{Capacity, Sandbox};
use bulkhead_hostile::{composed, doubled};
use tokio::runtime::{Builder, Runtime};
use tokio::sync::oneshot;
use tokio::task::block_in_place;
use tokio::time::interval;

use super::children;
use crate::host::{binary, hash};
use crate::library::{Silent, settings};

/// All guests that can be reserved can exist at once, whatever their size.
#[tokio::test(flavor = "multi_thread")]
async fn what_the_host_promises_room_for_it_holds() {
    const PLACES: u32 = 1000;
    let dir = tempfile::tempdir().unwrap();
    let sandbox = Sandbox::new(binary(), dir.path().join("compiled"), Capacity { guests: PLACES, memory: 16 << 20 });
    let eight = doubled(3, "(core module $m (memory 0)) (core instance (instantiate $m))");
    let tables = doubled(3, "(core module $m (table 0 funcref) (table 0 funcref)) (core instance (instantiate $m))");
    let instances = doubled(5, "(core module $m) (core instance (instantiate $m))");
    for (what, further, places) in [
        ("two memories", "", 2),
        ("ten memories", &*eight, 10),
        ("16 tables", &*tables, 6),
        ("36 instances", &*instances, 3),
    ] {
        let wasm = dir.path().join("x.wasm");
        let bytes = composed(further);
        fs::write(&wasm, &bytes).unwrap();
        let prepared = sandbox.prepare(&wasm, &hash(&bytes), settings(16 << 20), Arc::new(Silent)).await;
        let program = Arc::clone(prepared.unwrap_or_else(|error| panic!("{what}: {error}")).program());
        let fitting = (PLACES / places) as usize;
        let refused = program.reserve(fitting + 1).expect_err("there is no room for one more").to_string();
        assert!(refused.contains(&format!("as much as {places} ordinary ones")), "{what}: {refused}");
        let _room = program.reserve(fitting).expect("there is room for them all");
        let mut guests = Vec::new();
        for number in 0..fitting {
            match program.instantiate().await {
                Ok(guest) => guests.push(guest),
                Err(error) => panic!("{what}: guest {number} of {fitting}: {error}"),
            }
        }
    }
}

/// Returns the processes that compile for the sandbox in that directory.
fn compilers(dir: &Path) -> Vec<u32> {
    let dir = dir.to_str().expect("a path in Unicode");
    let is_ours = |pid: &u32| fs::read_to_string(format!("/proc/{pid}/cmdline")).is_ok_and(|line| line.contains(dir));
    children(std::process::id()).into_iter().filter(is_ours).collect()
}

/// True if the process has a raised nice value.
fn is_niced(pid: u32) -> bool {
    let stat = fs::read_to_string(format!("/proc/{pid}/stat")).unwrap_or_default();
    // The name is in parentheses; the 17th field after it is the nice value.
    stat.rsplit_once(')')
        .and_then(|(_, fields)| fields.split_whitespace().nth(16)?.parse::<i32>().ok())
        .is_some_and(|nice| nice > 0)
}

/// Makes a runtime with one worker, whose idle threads end at once.
fn short_lived_threads() -> Runtime {
    let mut builder = Builder::new_multi_thread();
    builder.worker_threads(1).thread_keep_alive(Duration::from_millis(1)).enable_all().build().unwrap()
}

/// Threads end during the compilation: each `block_in_place` moves the worker to another thread, and the old thread
/// ends soon after. The compiler is niced only after it has bound its lifetime to that of a thread.
#[test]
fn a_compilation_outlives_the_threads_of_the_runtime() {
    let dir = tempfile::tempdir().unwrap();
    let wasm = bulkhead_artifacts::guest("echo");
    let sandbox = Sandbox::new(binary(), dir.path().join("compiled"), Capacity { guests: 1, memory: 16 << 20 });
    let sha256 = hash(&fs::read(&wasm).unwrap());
    let runtime = short_lived_threads();
    let of = dir.path().to_owned();
    let prepared = runtime.block_on(async move {
        let work = async move { sandbox.prepare(&wasm, &sha256, settings(16 << 20), Arc::new(Silent)).await.map(drop) };
        let compiling = tokio::spawn(work);
        let replacing = tokio::spawn(async move {
            let mut often = interval(Duration::from_millis(1));
            while !compiling.is_finished() {
                often.tick().await;
                if !compilers(&of).iter().any(|pid| is_niced(*pid)) {
                    continue;
                }
                let (sender, receiver) = oneshot::channel();
                tokio::spawn(async move { sender.send(()) });
                // Only another thread can run the sender.
                block_in_place(|| receiver.blocking_recv()).unwrap();
            }
            compiling.await.unwrap()
        });
        replacing.await.unwrap()
    });
    prepared.unwrap_or_else(|error| panic!("{error}"));
}

#[test]
fn a_compilation_that_nobody_waits_for_any_more_is_ended() {
    let dir = tempfile::tempdir().unwrap();
    let wasm = bulkhead_artifacts::guest("digits");
    let sandbox = Sandbox::new(binary(), dir.path().join("compiled"), Capacity { guests: 1, memory: 16 << 20 });
    let sha256 = hash(&fs::read(&wasm).unwrap());
    let runtime = short_lived_threads();
    let work = runtime
        .spawn(async move { sandbox.prepare(&wasm, &sha256, settings(16 << 20), Arc::new(Silent)).await.map(drop) });
    while compilers(dir.path()).is_empty() {
        assert!(!work.is_finished(), "it is compiled before its compiler was seen");
        std::thread::yield_now();
    }
    // The child would otherwise run for more than ten seconds.
    work.abort();
    let given_up = Instant::now();
    while !compilers(dir.path()).is_empty() {
        assert!(given_up.elapsed() < Duration::from_secs(5), "it goes on");
        std::thread::yield_now();
    }
    let left = fs::read_dir(dir.path().join("compiled")).unwrap().flatten().map(|engine| engine.path());
    let left: Vec<_> =
        left.flat_map(|engine| fs::read_dir(engine).unwrap().flatten()).map(|file| file.path()).collect();
    assert!(left.is_empty(), "{left:?}");
}
