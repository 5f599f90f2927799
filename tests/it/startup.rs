//! The start of a host that must compile its services, and of a host on a machine with few resources.

use std::fs::{self, OpenOptions};
use std::process::Command;

use serde_json::json;

use crate::host::{Deployed, TestHost, binary};

/// A copy of a data directory without its machine code takes minutes to start. Without progress messages, the host
/// would seem to hang.
#[test]
fn a_start_that_compiles_tells_how_far_it_is() {
    let host = TestHost::start();
    host.deploy("held", "faults", json!({}));
    host.deploy("other", "echo", json!({}));
    host.deploy("asleep", "echo", json!({}));
    assert_eq!(host.call_admin("POST", "/api/v1/services/asleep/stop", b"").status, 200);
    let dir = host.end_and_keep();
    fs::remove_dir_all(dir.path().join("data/compiled")).unwrap();

    // The failpoint holds the service that finishes its start first.
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

    drop(OpenOptions::new().write(true).open(&fifo).unwrap());
    host.wait_until_ready();
    assert!(message("held") == (json!("running"), json!("")) && message("other") == (json!("running"), json!("")));
    host.wait_for("the line that says so", || host.log().contains("the services have been brought up"));
}

/// Pools share the available address space, whichever kind of guest comes first, and a service that does not fit is
/// refused with that reason.
#[test]
fn a_host_with_little_address_space_says_how_many_guests_it_holds() {
    let host = TestHost::start_within("-v", 100 << 20);
    const ROOM: &str = "the process has address space for 8 guests of each kind, metered and unmetered, instead of 8192; \
        its limit is `ulimit -v`";
    let told = |line: &str| line.contains("fewer guests fit into this host") && line.contains(ROOM);
    host.wait_for("a warning", || host.log().lines().any(told));
    let sha256 = host.upload("echo");
    let create = |name: &str, workers: u32, fuel: serde_json::Value| {
        let rpc = json!({"rpc": {"worker_threads": workers}});
        let spec = json!({"name": name, "processor_path": "x.wasm", "metadata": rpc, "sandbox": {"fuel": fuel}});
        host.call_admin("POST", "/api/v1/services", json!({"spec": spec, "processor": sha256}).to_string().as_bytes())
    };
    for (name, fuel) in [("unmetered", json!("unlimited")), ("metered", json!(1_000_000))] {
        let problem = create(name, 9, fuel.clone()).assert_problem(409, "no_room");
        let detail = problem["detail"].as_str().unwrap_or_default();
        let told = format!(
            "needs room for 9 guests (metadata.instance × metadata.rpc.worker_threads); the host has room for 8, of which 8 are free ({ROOM})"
        );
        assert!(detail.contains(&told), "{detail}");
        let created = create(name, 8, fuel);
        assert_eq!(created.status, 201, "{}", created.text());
        let token = created.json()["token"].as_str().expect("a token").to_owned();
        let service = Deployed { path: format!("/api/predict/{name}"), token };
        assert_eq!(host.client().post(&service, b"it works").body, b"it works");
    }
}

/// Regression test: a service that is stopped before its turn is never started. It was missing from the number of
/// finished services.
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
    drop(OpenOptions::new().write(true).open(&fifo).unwrap());
    host.wait_until_ready();
}

/// The signal SIGXFSZ would by default end the process without a message.
#[test]
fn a_host_that_may_write_no_larger_file_refuses_an_upload_and_lives() {
    // The unit is blocks of 512 bytes. The limit leaves room for a new database.
    let host = TestHost::start_within("-f", 16 << 11);
    let large = vec![7; 20 << 20];
    let path = format!("/api/v1/artifacts/{}", crate::host::hash(&large));
    let problem = host.call_admin("PUT", &path, &large).assert_problem(507, "storage_full");
    assert!(problem["hint"].as_str().unwrap().contains("ulimit -f"), "{problem}");
    assert_eq!(host.get_admin("/healthz").status, 200);
    host.upload_bytes(&large[..1 << 20]);
}

/// Regression test: callers used to have half of the descriptors, shared with operators, so clients without a token
/// could block health checks.
#[test]
fn callers_leave_operators_their_descriptors() {
    let host = TestHost::start_within("-n", 128);
    let told = "room for 35 connections of callers and 21 of operators";
    host.wait_for("a warning", || host.log().contains(told));
    let callers: Vec<_> = (0..100).map(|_| std::net::TcpStream::connect(host.data).unwrap()).collect();
    host.wait_for("the places of callers to be taken", || host.metric("bulkhead_connections") == 35);
    let operators: Vec<_> = (0..50).map(|_| std::net::TcpStream::connect(host.admin).unwrap()).collect();
    for _ in 0..30 {
        assert_eq!(host.get_admin("/healthz").status, 200);
    }
    assert!(host.metric("bulkhead_connections") <= 35, "the others wait");
    assert!(!host.log().contains("Too many open files"), "{}", host.log());
    drop((callers, operators));
}

/// Regression test: the runtime panicked when it got no descriptors of its own.
#[test]
fn a_process_without_descriptors_says_so_and_ends() {
    let dir = tempfile::tempdir().unwrap();
    let gateway = dir.path().join("gateway.json");
    fs::write(&gateway, r#"{"clusters": {"a": {"upstreams": ["127.0.0.1:1"]}}, "routes": {"*": "a"}}"#).unwrap();
    let (data, gateway) = (dir.path().join("data").display().to_string(), gateway.display().to_string());
    for args in [["serve", "--data", data.as_str()], ["gateway", "--config", gateway.as_str()]] {
        for limit in [8, 87] {
            let mut command = Command::new("sh");
            command.args(["-c", &format!(r#"ulimit -n {limit} && exec "$0" "$@""#)]).arg(binary());
            let output =
                command.args(args).args(["--listen", "127.0.0.1:0", "--admin", "127.0.0.1:0"]).output().unwrap();
            let said = String::from_utf8_lossy(&output.stderr);
            assert_eq!(output.status.code(), Some(1), "{said}");
            assert!(said.contains(&format!("may have {limit} files and connections open, and needs 88")), "{said}");
        }
    }
}

/// An upgrade replaces the program's file while the old program still runs and compiles.
#[test]
fn a_host_compiles_after_its_program_file_was_replaced_or_removed() {
    let dir = tempfile::tempdir().unwrap();
    let program = dir.path().join("bulkhead");
    // By a child, because a file that is open for writing anywhere in this process cannot be run.
    assert!(Command::new("cp").arg(binary()).arg(&program).status().unwrap().success());
    let host = TestHost::start_program(&program);
    fs::remove_file(&program).unwrap();
    host.deploy("removed", "echo", json!({}));
    fs::copy("/bin/false", &program).unwrap();
    host.deploy("replaced", "faults", json!({}));
}

/// Without address space for a single guest, no processor can run, and none is at fault.
#[test]
fn a_host_without_address_space_for_guests_refuses_a_deploy_as_its_own_fault() {
    let host = TestHost::start_within("-v", 8 << 20);
    let sha256 = host.upload("echo");
    let body = json!({"spec": {"name": "echo", "processor_path": "x.wasm"}, "processor": sha256});
    let refused = host.call_admin("POST", "/api/v1/services", body.to_string().as_bytes());
    let problem = refused.json();
    assert_eq!((refused.status, problem["code"].as_str()), (503, Some("host_unfit")), "{problem}");
    let told = |member: &str, text: &str| problem[member].as_str().is_some_and(|found| found.contains(text));
    assert!(told("detail", "compiled code cannot be mapped into memory: "), "{problem}");
    assert!(told("hint", "the processor is not at fault"), "{problem}");
}
