//! Persistence: a killed host comes back with all confirmed changes.

use std::fs;
use std::path::PathBuf;
use std::time::{Instant, SystemTime};

use serde_json::{Value, json};

use crate::figures::{must, rounds, tell};
use crate::host::{TestHost, terminate};
use crate::http::request;

#[test]
fn services_come_back_after_a_kill_with_tokens_versions_and_states() {
    let host = TestHost::start();
    let echo = host.deploy("echo", "echo", json!({}));
    host.deploy("stopped", "echo", json!({}));
    assert_eq!(host.call_admin("POST", "/api/v1/services/stopped/stop", b"").status, 200);
    let body = json!({"spec": {"metadata": {"rpc": {"worker_threads": 2}}}}).to_string();
    assert_eq!(host.call_admin("PUT", "/api/v1/services/echo", body.as_bytes()).json()["version"], 2);
    let token = host.admin_token.clone();

    let host = host.kill_and_restart();
    assert_eq!(host.admin_token, token);
    assert_eq!(host.client().post(&echo, b"back").text(), "back");
    let described = host.call_admin("GET", "/api/v1/services/echo", b"").json();
    assert_eq!((&described["version"], &described["instances"][0]["workers"]), (&json!(2), &json!(2)));
    assert_eq!(host.call_admin("GET", "/api/v1/services/stopped", b"").json()["state"], "stopped");
}

/// Returns all that the control API reports about every service, except values that belong to one run of the host.
fn told(host: &TestHost) -> Vec<Value> {
    let listed = host.call_admin("GET", "/api/v1/services", b"").json();
    let names = listed["services"].as_array().unwrap().iter().map(|row| row["name"].as_str().unwrap());
    names
        .map(|name| {
            let mut service = host.call_admin("GET", &format!("/api/v1/services/{name}"), b"").json();
            service["url"] = Value::Null;
            for instance in service["instances"].as_array_mut().unwrap() {
                instance["address"] = Value::Null;
                instance["started_at"] = Value::Null;
            }
            service
        })
        .collect()
}

#[test]
fn a_restart_changes_nothing_however_the_host_ended() {
    let mut host = TestHost::start();
    let (model, warm_up) = (host.upload_bytes(b"model"), host.upload_bytes(br#"{"do":"flag"}"#));
    let spec = json!({"name": "whole", "processor_path": "x.wasm", "model_path": "m", "model_entry": "m.bin",
        "model_config": {"initialize": "model"}, "processor_envs": [{"name": "A", "value": "b"}],
        "metadata": {"instance": 2, "cpu": 1, "rpc": {"worker_threads": 1}}});
    let files = json!([{"path": "m.bin", "sha256": model, "size": 5}]);
    let body = json!({"spec": spec, "processor": host.upload("faults"), "model": files, "warm_up": warm_up});
    let created = host.call_admin("POST", "/api/v1/services", body.to_string().as_bytes());
    assert_eq!(created.status, 201, "{}", created.text());
    host.deploy("open", "echo", json!({"generate_token": false}));
    host.deploy("stopped", "echo", json!({}));
    assert_eq!(host.call_admin("POST", "/api/v1/services/stopped/stop", b"").status, 200);
    let modify = json!({"spec": {"sandbox": {"memory_mb": 64}}}).to_string();
    assert_eq!(host.call_admin("PUT", "/api/v1/services/whole", modify.as_bytes()).status, 200);

    let before = told(&host);
    assert_eq!(before.len(), 3);
    host = host.kill_and_restart();
    assert_eq!(told(&host), before, "after kill -9");
    terminate(host.pid());
    assert!(host.end().success());
    host = host.kill_and_restart();
    assert_eq!(told(&host), before, "after SIGTERM");
}

/// Returns the files of machine code of a host with one service: its processor's, and that of the image that its guests
/// start from.
fn compiled(host: &TestHost) -> Vec<PathBuf> {
    let engine = fs::read_dir(host.dir().join("data/compiled")).unwrap().next().unwrap().unwrap().path();
    let files = fs::read_dir(engine).unwrap().map(|entry| entry.unwrap().path());
    let mut files: Vec<PathBuf> = files.filter(|path| path.extension().is_some_and(|e| e == "cwasm")).collect();
    files.sort();
    files
}

#[test]
fn compiled_code_is_used_again_and_made_anew_when_it_is_not_what_was_written() {
    let host = TestHost::start();
    let echo = host.deploy("echo", "echo", json!({}));
    let times = |host: &TestHost| -> Vec<SystemTime> {
        compiled(host).iter().map(|code| fs::metadata(code).unwrap().modified().unwrap()).collect()
    };
    let written = times(&host);
    assert_eq!(written.len(), 2);
    let host = host.kill_and_restart();
    assert_eq!(times(&host), written, "nothing is compiled again");

    for damaged in compiled(&host) {
        let mut bytes = fs::read(&damaged).unwrap();
        let middle = bytes.len() / 2;
        bytes[middle] ^= 0xff;
        // The running host has the old file mapped, so it is replaced by a new file.
        fs::remove_file(&damaged).unwrap();
        fs::write(&damaged, &bytes).unwrap();
    }
    let damaged: Vec<Vec<u8>> = compiled(&host).iter().map(|code| fs::read(code).unwrap()).collect();
    let host = host.kill_and_restart();
    assert_eq!(host.client().post(&echo, b"whole").text(), "whole");
    host.wait_for("the log to tell of both", || host.log().matches("does not match its hash").count() == 2);
    for (code, damaged) in compiled(&host).iter().zip(damaged) {
        assert_ne!(fs::read(code).unwrap(), damaged);
    }
}

#[test]
fn a_service_that_cannot_come_back_says_so_and_the_others_do() {
    let host = TestHost::start();
    let echo = host.deploy("echo", "echo", json!({}));
    let lost = host.deploy("lost", "faults", json!({}));
    let sha256 =
        host.call_admin("GET", "/api/v1/services/lost", b"").json()["processor"]["sha256"].as_str().unwrap().to_owned();
    fs::remove_file(host.dir().join("data/artifacts").join(&sha256)).unwrap();
    let host = host.kill_and_restart();
    assert_eq!(host.client().post(&echo, b"x").status, 200);
    host.client().post(&lost, b"x").assert_problem(503, "no_healthy_upstream");
    let described = host.call_admin("GET", "/api/v1/services/lost", b"").json();
    assert_eq!(described["state"], "failed");
    assert!(described["message"].as_str().unwrap().contains(&sha256), "{described}");
}

#[test]
fn sigterm_finishes_what_is_running() {
    let host = TestHost::start();
    let service = host.deploy("faults", "faults", json!({}));
    let mut client = host.client();
    let body = br#"{"do":"sleep","ms":600}"#;
    client.write(&request("POST", &service.path, &[("authorization", &service.token)], body));
    host.wait_for("it to run", || host.metric("bulkhead_workers_busy{service=\"faults\",instance=\"0\"}") == 1);
    terminate(host.pid());
    host.wait_for("readiness to be off", || host.get_admin("/readyz").status == 503);
    assert!(std::net::TcpStream::connect(host.data).is_err() || host.get_admin("/readyz").text() == "draining\n");
    assert_eq!(client.read("POST").json(), json!({"slept_ms": 600}));
    assert!(client.is_closed());
    host.wait_until_ended();
}

#[test]
fn many_services_come_back_together() {
    let host = TestHost::start();
    let count = rounds(30, 100);
    for n in 0..count {
        host.deploy(&format!("svc-{n}"), "echo", json!({"token": "t", "metadata": {"rpc": {"worker_threads": 5}}}));
    }
    let began = Instant::now();
    let host = host.kill_and_restart();
    let took = began.elapsed().as_millis() as u64;
    let services = host.call_admin("GET", "/api/v1/services", b"").json();
    let running = services["services"].as_array().unwrap().iter().filter(|row| row["state"] == "running").count();
    must("restart.services", "every one that was there", running, running == count);
    tell("restart.ready_ms", &format!("{count} services ready in under 1000 ms"), took, took < 1000);
}
