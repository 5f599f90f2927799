//! `kill -9` at each step of each change. The host comes back with the old version or the new one, and without leftover
//! files.

use serde_json::{Value, json};

use super::{marked, rubbish, variant, version_on};
use crate::figures::must;
use crate::host::{Deployed, TestHost};
use crate::http::{Client, request};

/// A step at which the process is killed. `done` is true if the change must have taken effect at this step.
struct Step {
    place: &'static str,
    done: bool,
}

const fn step(place: &'static str, done: bool) -> Step {
    Step { place, done }
}

/// The steps of an upload. In all lists, `@2` is the second time that the process reaches the step; the first time is
/// during the start.
const UPLOAD: [Step; 3] = [step("upload.written", false), step("upload.synced", false), step("upload.kept", true)];
const CREATE: [Step; 11] = [
    step("model.linked", false),
    step("compile.renamed", false),
    step("deploy.compiled@2", false),
    step("snapshot.taken", false),
    step("snapshot.compiled", false),
    step("compile.renamed@2", false),
    step("deploy.initialized@2", false),
    step("deploy.warmed", false),
    step("record.commit", false),
    step("deploy.kept", true),
    step("sweep.artifacts@2", true),
];
/// The steps of a modify. Two services are started before it.
const MODIFY: [Step; 11] = [
    step("model.linked", false),
    step("compile.renamed", false),
    step("deploy.compiled@3", false),
    step("snapshot.taken", false),
    step("snapshot.compiled", false),
    step("compile.renamed@2", false),
    step("deploy.initialized@3", false),
    step("deploy.warmed@2", false),
    step("record.commit", false),
    step("deploy.kept", true),
    step("sweep.artifacts@2", true),
];
const DELETE: [Step; 4] = [
    step("record.commit", false),
    step("delete.removed", true),
    step("delete.forgotten", true),
    step("sweep.artifacts@2", true),
];
const STOP: [Step; 2] = [step("record.commit", false), step("deploy.kept", true)];

/// The steps of starting a stopped service. One other service is started before it.
const START: [Step; 5] = [
    step("deploy.compiled@2", false),
    step("deploy.initialized@2", false),
    step("deploy.warmed", false),
    step("record.commit", false),
    step("deploy.kept", true),
];

/// The steps of a return to an earlier version. Two services are started before it.
const RETURN: [Step; 5] = [
    step("deploy.compiled@3", false),
    step("deploy.initialized@3", false),
    step("deploy.warmed@2", false),
    step("record.commit", false),
    step("deploy.kept", true),
];
const CANARY: [Step; 5] = [
    step("deploy.compiled@3", false),
    step("deploy.initialized@3", false),
    step("deploy.warmed@2", false),
    step("record.commit", false),
    step("deploy.kept", true),
];
/// The steps of a release. Both versions are running already, so none is started.
const RELEASE: [Step; 2] = [step("record.commit", false), step("deploy.kept", true)];

impl Step {
    /// Restarts the host with a failpoint that kills it at this step.
    fn arm(&self, host: TestHost) -> TestHost {
        let place = match self.place.split_once('@') {
            Some((place, time)) => format!("{place}=kill@{time}"),
            None => format!("{}=kill", self.place),
        };
        let host = host.kill_and_restart_with(&place);
        host.wait_until_ready();
        host
    }

    fn tell(&self, change: &str, outcome: &str) {
        let figure = format!("deploys.killed.{change}.{}", self.place.split('@').next().unwrap_or_default());
        must(&figure, "old or new, never none; nothing left over", outcome, true);
    }
}

/// Sends a change during which the host is killed, and restarts the host.
fn killed_by(mut host: TestHost, method: &str, path: &str, body: &[u8]) -> TestHost {
    let authorization = format!("Bearer {}", host.admin_token);
    let mut client = Client::connect(host.admin);
    client.try_write(&request(method, path, &[("authorization", &authorization)], body));
    let status = host.end();
    assert_eq!(std::os::unix::process::ExitStatusExt::signal(&status), Some(9), "{status}; log:\n{}", host.log());
    assert!(client.is_closed(), "nothing was promised");
    host.kill_and_restart()
}

/// Makes a service with a model, in a version that its guests report.
fn deployment(host: &TestHost, version: u64, mark: &str) -> Value {
    let processor = host.upload_bytes(&variant("faults", mark));
    let model = host.upload_bytes(mark.as_bytes());
    json!({
        "spec": {"name": "svc", "processor_path": "x.wasm", "token": "t", "processor_envs": marked(version),
            "model_path": "model", "metadata": {"rpc": {"worker_threads": 1}}},
        "processor": processor,
        "model": [{"path": "m.bin", "sha256": model, "size": mark.len()}],
        "warm_up": host.upload_bytes(br#"{"do":"flag"}"#),
    })
}

fn svc() -> Deployed {
    Deployed { path: "/api/predict/svc".into(), token: "t".into() }
}

fn deploy(host: &TestHost, version: u64, mark: &str) {
    let answer = host.call_admin("POST", "/api/v1/services", deployment(host, version, mark).to_string().as_bytes());
    assert_eq!(answer.status, 201, "{}", answer.text());
}

/// Checks that the host serves this version, that its control API agrees, and that there are no leftover files.
fn assert_whole(host: &TestHost, step: &Step, version: u64) {
    let described = host.call_admin("GET", "/api/v1/services/svc", b"").json();
    assert_eq!(described["state"], "running", "{}: {described}", step.place);
    // The latest log entry belongs to the change that made the present state.
    let log = host.call_admin("GET", "/api/v1/audit?service=svc&limit=1", b"").json();
    let (latest, state) = (&log["entries"][0], &described["revision"]);
    assert_eq!((&latest["number"], &latest["outcome"]), (state, &Value::from("done")), "{}: {log}", step.place);
    assert_eq!(version_on(&mut host.client(), &svc()), version, "{}: {described}", step.place);
    assert_tidy(host, step);
}

fn assert_tidy(host: &TestHost, step: &Step) {
    let left = rubbish(host);
    assert!(left.is_empty(), "{}: {left:?}", step.place);
    let bystander = Deployed { path: "/api/predict/bystander".into(), token: "b".into() };
    assert_eq!(host.client().post(&bystander, b"here").text(), "here", "{}", step.place);
}

/// Starts a host with a service that is not changed.
fn start() -> TestHost {
    let host = TestHost::start();
    host.deploy("bystander", "echo", json!({"token": "b", "metadata": {"rpc": {"worker_threads": 1}}}));
    host
}

#[test]
fn killed_at_each_step_of_an_upload() {
    let mut host = start();
    for step in UPLOAD {
        host = step.arm(host);
        let bytes = format!("held by {}", step.place);
        let sha256 = bulkhead::hex::hex(&<sha2::Sha256 as sha2::Digest>::digest(bytes.as_bytes()));
        let path = format!("/api/v1/artifacts/{sha256}");
        host = killed_by(host, "PUT", &path, bytes.as_bytes());
        let there = host.call_admin("GET", &path, b"").status == 200;
        assert_eq!(there, step.done, "{}", step.place);
        assert_tidy(&host, &step);
        assert_eq!(host.upload_bytes(bytes.as_bytes()), sha256, "it can be uploaded again");
        step.tell("upload", if there { "new" } else { "old" });
    }
}

#[test]
fn killed_at_each_step_of_a_create() {
    let mut host = start();
    for step in CREATE {
        host = step.arm(host);
        let body = deployment(&host, 1, step.place).to_string();
        host = killed_by(host, "POST", "/api/v1/services", body.as_bytes());
        if step.done {
            assert_whole(&host, &step, 1);
        } else {
            assert_eq!(host.call_admin("GET", "/api/v1/services/svc", b"").status, 404, "{}", step.place);
            assert_tidy(&host, &step);
            // The upload is still there, so that the same deploy can be tried again.
            let again = host.call_admin("POST", "/api/v1/services", body.as_bytes());
            assert_eq!(again.status, 201, "{}: {}", step.place, again.text());
        }
        assert_eq!(host.call_admin("DELETE", "/api/v1/services/svc", b"").status, 200);
        assert_tidy(&host, &step);
        step.tell("create", if step.done { "new" } else { "old" });
    }
}

#[test]
fn killed_at_each_step_of_a_modify() {
    let mut host = start();
    deploy(&host, 1, "first");
    let mut version = 1;
    for step in MODIFY {
        host = step.arm(host);
        let body = deployment(&host, version + 1, step.place).to_string();
        host = killed_by(host, "PUT", "/api/v1/services/svc", body.as_bytes());
        version += u64::from(step.done);
        assert_whole(&host, &step, version);
        step.tell("modify", if step.done { "new" } else { "old" });
        let again = host.call_admin("PUT", "/api/v1/services/svc", body.as_bytes());
        assert_eq!(again.status, 200, "{}: {}", step.place, again.text());
        version = again.json()["version"].as_u64().expect("a number");
        let marker = json!({"spec": {"processor_envs": marked(version + 1)}}).to_string();
        assert_eq!(host.call_admin("PUT", "/api/v1/services/svc", marker.as_bytes()).status, 200);
        version += 1;
    }
}

#[test]
fn killed_at_each_step_of_a_delete() {
    let mut host = start();
    for step in DELETE {
        if host.call_admin("GET", "/api/v1/services/svc", b"").status == 404 {
            deploy(&host, 1, step.place);
        }
        host = step.arm(host);
        host = killed_by(host, "DELETE", "/api/v1/services/svc", b"");
        if step.done {
            assert_eq!(host.call_admin("GET", "/api/v1/services/svc", b"").status, 404, "{}", step.place);
            host.client().post(&svc(), b"{}").assert_problem(404, "service_not_found");
            assert_tidy(&host, &step);
        } else {
            assert_whole(&host, &step, 1);
        }
        step.tell("delete", if step.done { "new" } else { "old" });
    }
}

#[test]
fn killed_at_each_step_of_a_stop() {
    let mut host = start();
    deploy(&host, 1, "stopped");
    for step in STOP {
        host = step.arm(host);
        host = killed_by(host, "POST", "/api/v1/services/svc/stop", b"");
        let state = host.call_admin("GET", "/api/v1/services/svc", b"").json()["state"].clone();
        assert_eq!(state, if step.done { "stopped" } else { "running" }, "{}", step.place);
        step.tell("stop", if step.done { "new" } else { "old" });
    }
}

#[test]
fn killed_at_each_step_of_a_start() {
    let mut host = start();
    deploy(&host, 1, "started");
    assert_eq!(host.call_admin("POST", "/api/v1/services/svc/stop", b"").status, 200);
    for step in START {
        host = step.arm(host);
        host = killed_by(host, "POST", "/api/v1/services/svc/start", b"");
        let state = host.call_admin("GET", "/api/v1/services/svc", b"").json()["state"].clone();
        assert_eq!(state, if step.done { "running" } else { "stopped" }, "{}", step.place);
        step.tell("start", if step.done { "new" } else { "old" });
    }
    assert_whole(&host, &START[4], 1);
}

#[test]
fn killed_at_each_step_of_going_back() {
    let mut host = start();
    deploy(&host, 1, "first");
    let body = deployment(&host, 2, "second").to_string();
    assert_eq!(host.call_admin("PUT", "/api/v1/services/svc", body.as_bytes()).status, 200);
    for step in RETURN {
        host = step.arm(host);
        host = killed_by(host, "POST", "/api/v1/services/svc/version", br#"{"version":1}"#);
        assert_whole(&host, &step, if step.done { 1 } else { 2 });
        let described = host.call_admin("GET", "/api/v1/services/svc", b"").json();
        assert_eq!(described["latest_version"], 2, "{}", step.place);
        step.tell("version", if step.done { "new" } else { "old" });
    }
    let again = host.call_admin("POST", "/api/v1/services/svc/version", br#"{"version":2}"#);
    assert_eq!(again.status, 200, "{}", again.text());
    assert_whole(&host, &RETURN[4], 2);
}

/// Returns the version and the weight of the canary, if there is one.
fn canary(host: &TestHost) -> Value {
    host.call_admin("GET", "/api/v1/services/svc", b"").json()["canary"].clone()
}

#[test]
fn killed_at_each_step_of_a_canarys_life() {
    let mut host = start();
    deploy(&host, 1, "first");
    for step in CANARY {
        host = step.arm(host);
        let mut body = deployment(&host, 2, "second");
        body["canary"] = 0.into();
        host = killed_by(host, "PUT", "/api/v1/services/svc", body.to_string().as_bytes());
        let expected = if step.done { json!({"version": 2, "weight": 0}) } else { Value::Null };
        assert_eq!(canary(&host), expected, "{}", step.place);
        assert_whole(&host, &step, 1);
        step.tell("canary", if step.done { "new" } else { "old" });
    }
    let release = "/api/v1/services/svc/release";
    for step in RELEASE {
        host = step.arm(host);
        host = killed_by(host, "POST", release, br#"{"weight":100}"#);
        assert_eq!(canary(&host).is_null(), step.done, "{}", step.place);
        assert_whole(&host, &step, if step.done { 2 } else { 1 });
        step.tell("promote", if step.done { "new" } else { "old" });
    }
    let mut body = deployment(&host, 3, "third");
    body["canary"] = 0.into();
    assert_eq!(host.call_admin("PUT", "/api/v1/services/svc", body.to_string().as_bytes()).status, 200);
    for step in RELEASE {
        host = step.arm(host);
        host = killed_by(host, "POST", release, br#"{"abort":true}"#);
        assert_eq!(canary(&host).is_null(), step.done, "{}", step.place);
        assert_whole(&host, &step, 2);
        step.tell("abort", if step.done { "new" } else { "old" });
    }
}

#[test]
fn killed_while_the_compiler_runs() {
    let host = start();
    deploy(&host, 1, "first");
    let body = deployment(&host, 2, "second").to_string();
    let authorization = format!("Bearer {}", host.admin_token);
    let mut client = Client::connect(host.admin);
    client.write(&request("PUT", "/api/v1/services/svc", &[("authorization", &authorization)], body.as_bytes()));
    host.wait_for("the compiler to run", || half_compiled(&host));
    let host = host.kill_and_restart();
    let step = step("compiling", false);
    // On a busy machine, the deploy may have ended before the kill.
    let version = host.call_admin("GET", "/api/v1/services/svc", b"").json()["version"].as_u64().expect("a number");
    assert!(matches!(version, 1 | 2), "{version}");
    assert_whole(&host, &step, version);
    step.tell("modify", if version == 1 { "old" } else { "new" });
}

fn half_compiled(host: &TestHost) -> bool {
    let engines = std::fs::read_dir(host.dir().join("data/compiled")).expect("a directory");
    let mut names =
        engines.flat_map(|engine| std::fs::read_dir(engine.expect("an entry").path()).expect("a directory"));
    names.any(|name| name.expect("an entry").file_name().to_string_lossy().starts_with(".compiling-"))
}

/// Kills the host a second time while it recovers from the first kill.
#[test]
fn killed_again_while_it_comes_back() {
    let mut host = start();
    deploy(&host, 1, "first");
    let step = step("start twice", false);
    for place in ["start=kill", "deploy.compiled=kill", "deploy.initialized=kill@2"] {
        host = host.kill_and_restart_with(place);
        assert!(!host.end().success(), "it is killed at {place}");
    }
    host = host.kill_and_restart();
    assert_whole(&host, &step, 1);
    must("deploys.killed.start", "old, after a kill at each of 3 steps of the start", "old", true);
}
