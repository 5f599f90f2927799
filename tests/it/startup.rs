//! The start of a host that must compile what it serves.

use std::process::Command;

use serde_json::json;

use crate::host::TestHost;

/// A copy of a data directory without its machine code takes minutes to come up; without a word, that looks like a host
/// that hangs.
#[test]
fn a_start_that_compiles_tells_how_far_it_is() {
    let host = TestHost::start();
    host.deploy("held", "faults", json!({}));
    host.deploy("other", "echo", json!({}));
    host.deploy("asleep", "echo", json!({}));
    assert_eq!(host.call_admin("POST", "/api/v1/services/asleep/stop", b"").status, 200);
    let dir = host.end_and_keep();
    std::fs::remove_dir_all(dir.path().join("data/compiled")).unwrap();

    // The first of the two that has come so far is held there.
    let fifo = dir.path().join("fifo");
    assert!(Command::new("mkfifo").arg(&fifo).status().unwrap().success());
    let host = TestHost::start_coming_up(dir, &format!("start.brought_up=hold:{}@1", fifo.display()));
    let readiness = || host.get_admin("/readyz");
    host.wait_for("one of them to be up", || readiness().text().contains("1 of 2 services done"));
    assert_eq!((readiness().status, readiness().text().as_str()), (503, "not_ready: 1 of 2 services done\n"));
    let message = |name: &str| {
        let described = host.call_admin("GET", &format!("/api/v1/services/{name}"), b"").json();
        (described["state"].clone(), described["message"].clone())
    };
    let told = ["held", "other"].map(message);
    let waiting = told.iter().find(|(state, _)| *state == "starting").unwrap_or_else(|| panic!("{told:?}"));
    assert!(waiting.1.as_str().is_some_and(|text| text.ends_with("; 1 of 2 services done")), "{told:?}");
    assert_eq!(message("asleep"), (json!("stopped"), json!("")));
    host.wait_for("a line about it", || {
        let tells = |line: &str| line.contains("still bringing up the services done=1 of=2 under_way=");
        host.log().lines().any(tells)
    });

    drop(std::fs::OpenOptions::new().write(true).open(&fifo).unwrap());
    host.wait_until_ready();
    assert!(message("held") == (json!("running"), json!("")) && message("other") == (json!("running"), json!("")));
    host.wait_for("the line that says so", || host.log().contains("the services have been brought up"));
}

/// Such a service never had its turn, and used to be missing among those that are done.
#[test]
fn a_service_that_is_stopped_before_its_turn_is_done() {
    let host = TestHost::start();
    host.deploy("first", "echo", json!({}));
    host.deploy("second", "echo", json!({}));
    let dir = host.end_and_keep();
    let fifo = dir.path().join("fifo");
    assert!(Command::new("mkfifo").arg(&fifo).status().unwrap().success());
    let host = TestHost::start_coming_up(dir, &format!("start=hold:{}", fifo.display()));
    assert_eq!(host.get_admin("/readyz").text(), "not_ready: 0 of 2 services done\n");
    assert_eq!(host.call_admin("POST", "/api/v1/services/first/stop", b"").status, 200);
    assert_eq!(host.get_admin("/readyz").text(), "not_ready: 1 of 2 services done\n");
    drop(std::fs::OpenOptions::new().write(true).open(&fifo).unwrap());
    host.wait_until_ready();
}
