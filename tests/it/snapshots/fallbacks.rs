//! Processors of which no snapshot can be taken: they are deployed without one, and the reason is reported.

use std::sync::Arc;

use bulkhead::sandbox::{Capacity, Prepared, Sandbox, Settings};
use serde_json::{Value, json};

use super::{LEFT, assert_initialized, counter, counter_in, deploy, look, snapshot, svc, try_deploy};
use crate::figures::must;
use crate::host::{TestHost, binary, hash};
use crate::library::{Silent, settings};
use crate::uploads::children;

fn reason(host: &TestHost) -> String {
    let snapshot = snapshot(host);
    assert_eq!(snapshot["taken"], false, "{snapshot}");
    snapshot["reason"].as_str().expect("a reason").to_owned()
}

/// Checks the fallback: five workers, each with its own `initialize`. One more run is expected if a guest was used for
/// the attempt.
fn falls_back(what: &str, component: &[u8], keys: Value, because: &str, initialized: usize) {
    let host = TestHost::start();
    let service = deploy(&host, component, keys);
    assert!(reason(&host).contains(because), "{what}: {}", reason(&host));
    assert_initialized(&host, initialized);
    assert_eq!(look(&host), LEFT);
    assert_eq!(super::number(&host.client().post(&service, b"")), LEFT + 1);
    let host = host.kill_and_restart();
    assert!(reason(&host).contains(because), "{what}: {}", reason(&host));
    assert_eq!(look(&host), LEFT);
    must(
        &format!("snapshots.fallback.{what}"),
        "deployed, initialised for each worker, and the reason told",
        because,
        true,
    );
}

#[test]
fn a_guest_that_keeps_a_handle() {
    falls_back("handle", &counter("(drop (call $stdout))", ""), json!({}), "keeps 1 handle open", 5);
}

#[test]
fn a_service_that_wants_none() {
    falls_back("unwanted", &counter("", ""), json!({"sandbox": {"snapshot": false}}), "sandbox.snapshot is false", 5);
}

#[test]
fn a_guest_whose_table_may_have_changed() {
    // The text ends `$act` and begins a function that is not called.
    let sets = ") (table $t 1 funcref) (func $set (table.set $t (i32.const 0) (ref.null func))";
    falls_back("table", &counter("", sets), json!({}), "table.set", 5);
}

#[test]
fn a_guest_whose_memory_is_spread_too_far() {
    // One byte at the bottom, and one 200 MiB above it.
    let spread = "(drop (memory.grow (i32.const 3200))) (i32.store8 (i32.const 209715200) (i32.const 1))";
    falls_back("spread", &counter(spread, ""), json!({}), "spans more than 128 MiB", 6);
}

#[test]
fn a_guest_whose_memory_cannot_grow_by_a_page() {
    let all = "(loop $again (br_if $again (i32.ne (memory.grow (i32.const 1)) (i32.const -1))))";
    // A memory may have the size of its own maximum. Then it cannot grow by the page through which its state is read.
    falls_back("full", &counter_in("2 40", all, ""), json!({}), "its state cannot be read", 6);
}

/// Services with the same processor and the same settings start from one image, which must not have what one of them
/// has read.
#[test]
fn a_guest_that_has_learned_what_is_of_its_service_alone() {
    let host = TestHost::start();
    for (act, because) in [("count", "used the key-value store"), ("ask", "sent a request")] {
        // A request that is denied tells the guest something as well.
        for (name, allowed) in
            [("one", json!(["localhost:1"])), ("another", json!(["localhost:1"])), ("denied", json!([]))]
        {
            let name = format!("{act}-{name}");
            let config = json!({"initialize": act}).to_string();
            host.deploy(&name, "faults", json!({"model_config": config, "sandbox": {"allow_hosts": allowed}}));
            let shown = host.call_admin("GET", &format!("/api/v1/services/{name}"), b"").json();
            let snapshot = &shown["snapshot"];
            assert_eq!(snapshot["taken"], false, "{snapshot}");
            assert!(snapshot["reason"].as_str().is_some_and(|reason| reason.contains(because)), "{snapshot}");
        }
    }
}

#[test]
fn a_disk_without_room_for_it() {
    let host = TestHost::start_with(&[], "snapshot.write=full");
    deploy(&host, &counter("", ""), json!({}));
    assert!(reason(&host).contains("cannot be written"), "{}", reason(&host));
    assert_eq!(look(&host), LEFT);
    // The disk was full, and may have room at the next start.
    let host = host.kill_and_restart();
    assert_eq!((snapshot(&host), look(&host)), (json!({"taken": true}), LEFT));
}

#[test]
fn a_compiler_that_dies_over_the_image() {
    let host = TestHost::start();
    // The image is large, so that its compiler can be caught while it runs.
    let fill = "(drop (memory.grow (i32.const 1600)))
        (memory.fill (i32.const 1200000) (i32.const 7) (i32.const 100000000))";
    let component = counter(fill, "");
    std::thread::scope(|scope| {
        let deployed = scope.spawn(|| deploy(&host, &component, json!({})));
        let mut killed = false;
        host.wait_for("the image to be compiled", || {
            for child in children(host.pid()) {
                let command = std::fs::read(format!("/proc/{child}/cmdline")).unwrap_or_default();
                if command.windows(7).any(|word| word == b"--state") {
                    let pid = rustix::process::Pid::from_raw(i32::try_from(child).expect("a pid")).expect("a pid");
                    killed |= rustix::process::kill_process(pid, rustix::process::Signal::KILL).is_ok();
                }
            }
            killed
        });
        deployed.join().expect("it is deployed all the same");
    });
    let because = reason(&host);
    assert!(because.contains("compilation was stopped"), "{because}");
    assert_eq!(look(&host), LEFT);
    // An image that has killed a compiler is not compiled again at every start.
    let host = host.kill_and_restart();
    assert_eq!((reason(&host), look(&host)), (because, LEFT));
    assert_eq!(host.log().matches("image compiled").count(), 0);
    must("snapshots.fallback.compiler", "deployed, told why, and not tried again", "killed", true);
}

#[test]
fn the_operator_is_told_while_the_deploy_is_under_way() {
    let host = TestHost::start();
    let spec = json!({"name": "svc", "processor_path": "x.wasm", "token": "t"});
    let processor = host.upload_bytes(&counter("(drop (call $stdout))", ""));
    let body = json!({"spec": spec, "processor": processor}).to_string();
    let answer = host.ask_admin("POST", "/api/v1/services", &[("accept", "application/x-ndjson")], body.as_bytes());
    let told: Vec<Value> = answer.text().lines().map(|line| serde_json::from_str(line).expect("JSON")).collect();
    let notice = told.iter().find(|line| line["event"] == "notice").unwrap_or_else(|| panic!("{told:?}"));
    assert!(notice["text"].as_str().expect("text").contains("keeps 1 handle open"), "{notice}");
    assert_eq!(told.last().expect("a line")["event"], "done", "{told:?}");
    assert_eq!(host.client().post(&svc(), b"").status, 200);
}

/// A full pool makes `instantiate_at_once` return no guest, without further effects.
#[tokio::test(flavor = "multi_thread")]
async fn a_pool_without_room_makes_no_guest_at_once() {
    let dir = tempfile::tempdir().unwrap();
    let sandbox = Sandbox::new(binary(), dir.path().join("compiled"), Capacity { guests: 1, memory: 16 << 20 });
    let (wasm, bytes) = (dir.path().join("x.wasm"), counter("", ""));
    std::fs::write(&wasm, &bytes).unwrap();
    let sha256 = hash(&bytes);
    let settings = Settings { image: Some("image".into()), ..settings(16 << 20) };
    let prepared = sandbox.prepare(&wasm, &sha256, settings.clone(), Arc::new(Silent)).await.expect("a processor");
    let Prepared::ToInitialize(uninitialized) = prepared else { panic!("there is an image already") };
    assert!(uninitialized.program().instantiate_at_once().is_none(), "it must be initialised first");
    let first = uninitialized.program().instantiate().await.expect("there is room");
    let ready = sandbox.make_ready(uninitialized, first).await;
    assert_eq!(ready.no_snapshot, None);
    drop(ready.first);
    let image = ready.program;
    // The pool has a few more places than the one that may be reserved.
    let guests: Vec<_> = std::iter::from_fn(|| image.instantiate_at_once()).take(1000).collect();
    assert!((1..1000).contains(&guests.len()), "{}", guests.len());
    assert!(image.instantiate().await.is_err());
    drop(guests);
    assert!(image.instantiate_at_once().is_some());

    let room = image.reserve(1).expect("there is room for one");
    let refused = image.reserve(1).expect_err("and no more").to_string();
    assert!(refused.contains("the host has room for 1, of which 0 are free"), "{refused}");
    drop(room);
    assert!(image.reserve(1).is_ok());
    let again = sandbox.prepare(&wasm, &sha256, settings, Arc::new(Silent)).await.expect("a processor");
    assert!(matches!(again, Prepared::FromImage(_)));
}

/// A promised guest that cannot be made is the host's fault: one request fails, and the next one has a guest again.
#[test]
fn a_promise_that_cannot_be_kept_costs_one_request() {
    let host = TestHost::start();
    let model = json!([{"path": "m.bin", "sha256": host.upload_bytes(b"one"), "size": 3}]);
    let keys =
        json!({"model_path": "m", "sandbox": {"isolation": "fresh"}, "metadata": {"rpc": {"worker_threads": 1}}});
    let answer = try_deploy(&host, &host.upload_bytes(&counter("", "")), keys, model);
    assert_eq!(answer.status, 201, "{}", answer.text());
    let (service, mut client) = (svc(), host.client());
    assert_eq!(client.post(&service, b"").status, 200);

    let (models, away) = (host.dir().join("data/models"), host.dir().join("away"));
    std::fs::rename(&models, &away).unwrap();
    for _ in 0..2 {
        client.post(&service, b"").assert_problem(500, "internal");
    }
    host.wait_for("the cause in the log", || host.log().contains("cause=\"no guest could be made: "));
    std::fs::rename(&away, &models).unwrap();
    assert_eq!(client.post(&service, b"").status, 200);
    assert_eq!(host.metric("bulkhead_initialize_failures_total{service=\"svc\"}"), 2);
}
