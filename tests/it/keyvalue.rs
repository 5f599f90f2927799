//! The key-value store of a service, as components of `wasi:keyvalue` use it.

use std::thread;

use redb::{ReadableDatabase, ReadableTable};
use serde_json::json;

use crate::host::{Deployed, TestHost};

fn deploy(host: &TestHost) -> Deployed {
    host.deploy("parts", "http-faults", json!({"metadata": {"rpc": {"worker_threads": 4, "keepalive": 20_000}}}))
}

/// Has a guest do the operations of a text, and returns their outcomes.
fn run(host: &TestHost, service: &Deployed, text: &str) -> Vec<String> {
    let path = format!("{}/values", service.path);
    let answer = host.client().send("POST", &path, &[("authorization", &service.token)], text.as_bytes());
    assert_eq!(answer.status, 200, "{}", answer.text());
    answer.text().lines().map(str::to_owned).collect()
}

/// Returns the names of the services that have a store on disk.
fn stores(host: &TestHost) -> Vec<String> {
    let dir = tempfile::tempdir().unwrap();
    let copy = dir.path().join("keyvalue.redb");
    std::fs::copy(host.dir().join("data/keyvalue.redb"), &copy).unwrap();
    let database = redb::Database::open(copy).unwrap();
    let usage = redb::TableDefinition::<&str, (u64, u64, u64)>::new("usage");
    let stores = database.begin_read().unwrap().open_table(usage).unwrap();
    let service = |store: &str| store.split(' ').next().unwrap().to_owned();
    stores.iter().unwrap().map(|entry| service(entry.unwrap().0.value())).collect()
}

#[test]
fn every_operation_has_its_outcome() {
    let host = TestHost::start();
    let service = deploy(&host);
    for (operation, outcome) in [
        ("get a", "none"),
        ("count", "0 keys to \"\" in 1 pages"),
        ("set a 1", "set"),
        ("get a", "1"),
        ("exists a", "true"),
        ("exists b", "false"),
        ("add n 5", "5"),
        ("add n -7", "-2"),
        ("get n", "-2"),
        ("set t text", "set"),
        ("add t 1", "Error::Other(\"the value is not an integer in decimal digits\")"),
        ("swap a 2 -", "swapped"),
        ("swap a 3 between", "swapped after between"),
        ("read a n b", "a=3 n=-2 b=none"),
        ("open ", "opened"),
        ("open other", "Error::NoSuchStore"),
        ("count", "3 keys to \"t\" in 1 pages"),
        ("delete a", "deleted"),
        ("delete n t b", "deleted"),
        ("many k 1001", "Error::Other(\"there are 1001 keys, and may be 1000 in one call\")"),
        ("many k 1000", "set"),
        ("many l 1000", "set"),
        ("many m 500", "set"),
        ("count", "2500 keys to \"m000499\" in 3 pages"),
    ] {
        assert_eq!(run(&host, &service, operation), [outcome], "{operation}");
    }
}

#[test]
fn a_store_outlives_versions_and_hosts_and_ends_with_its_service() {
    let host = TestHost::start();
    let service = deploy(&host);
    assert_eq!(run(&host, &service, "set a 1\nadd n 1"), ["set", "1"]);
    let changed = host.call_admin("PUT", "/api/v1/services/parts", br#"{"spec":{"sandbox":{"memory_mb":64}}}"#);
    assert!(changed.status < 300, "{}", changed.text());
    assert_eq!(run(&host, &service, "get a\nadd n 1"), ["1", "2"]);
    let host = host.kill_and_restart();
    assert_eq!(run(&host, &service, "get a\nadd n 1"), ["1", "3"]);
    let other = host.deploy("other", "http-faults", json!({}));
    assert_eq!(run(&host, &other, "get a\nset a 2"), ["none", "set"]);

    assert_eq!(stores(&host), ["other", "parts"]);
    assert_eq!(host.call_admin("DELETE", "/api/v1/services/parts", b"").status, 200);
    assert_eq!(stores(&host), ["other"], "nothing of it is on disk any more");
    let service = deploy(&host);
    assert_eq!(run(&host, &service, "get a\ncount"), ["none", "0 keys to \"\" in 1 pages"]);
    assert_eq!(run(&host, &other, "get a"), ["2"]);
}

/// `initialize` has written before the warm-up fails.
#[test]
fn a_service_that_is_refused_leaves_no_store() {
    let host = TestHost::start();
    let service = deploy(&host);
    assert_eq!(run(&host, &service, "set a 1"), ["set"]);
    let spec = json!({
        "name": "refused", "processor_path": "x.wasm", "warm_up_data_path": "warm.txt",
        "model_config": json!({"initialize": "count"}).to_string(),
    });
    let (processor, warm_up) = (host.upload("faults"), host.upload_bytes(br#"{"do":"trap"}"#));
    let body = json!({"spec": spec, "processor": processor, "warm_up": warm_up}).to_string();
    let refused = host.call_admin("POST", "/api/v1/services", body.as_bytes());
    assert!(refused.status >= 400 && refused.text().contains("warm"), "{}", refused.text());
    assert_eq!(stores(&host), ["parts"]);
}

#[test]
fn additions_of_many_workers_are_all_counted() {
    let host = TestHost::start();
    let service = deploy(&host);
    thread::scope(|scope| {
        for _ in 0..8 {
            scope.spawn(|| {
                for _ in 0..10 {
                    assert_eq!(run(&host, &service, "add n 1\nadd n 1").len(), 2);
                }
            });
        }
    });
    assert_eq!(run(&host, &service, "get n"), ["160"]);
}

#[test]
fn a_full_store_takes_nothing_more_and_goes_on() {
    let host = TestHost::start();
    let service = deploy(&host);
    let fill = (0..64).map(|index| format!("fill {index:02} 1048576\n")).collect::<String>();
    let told = run(&host, &service, &fill);
    let full = "Error::Other(\"the store would have more than 67108864 bytes\")";
    assert!(told[..63].iter().all(|outcome| outcome == "set") && told[63] == full, "{told:?}");
    assert_eq!(
        run(&host, &service, "fill big 1048577")[0],
        "Error::Other(\"the value has 1048577 bytes, and may have 1048576\")"
    );
    let long = format!("set {} 1", "k".repeat(1025));
    assert_eq!(run(&host, &service, &long), ["Error::Other(\"the key has 1025 bytes, and may have 1024\")"]);
    assert_eq!(run(&host, &service, "delete 00\nfill 63 1048576\nadd n 1"), ["deleted", "set", "1"]);
    let told = "an operation on the key-value store failed: the store would have more than 67108864 bytes";
    host.wait_for("it to be logged", || host.log().contains(told));
}
