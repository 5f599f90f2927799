//! A full disk: the answer says so, the old version keeps serving, and no files are left behind.

use std::fs::File;
use std::io::Write;
use std::process::{Command, Stdio};

use serde_json::{Value, json};

use super::{marked, rubbish, variant, version_on};
use crate::figures::{must, rounds, tell};
use crate::host::{Deployed, TestHost};
use crate::http::Response;

fn assert_full(answer: &Response) {
    let problem = answer.json();
    assert_eq!((answer.status, problem["code"].as_str()), (507, Some("storage_full")), "{problem}");
    assert!(problem["detail"].as_str().is_some_and(|detail| detail.contains("full")), "{problem}");
}

#[test]
fn an_upload_on_a_full_disk_is_refused_and_leaves_nothing() {
    let host = TestHost::start_with(&[], "upload.write=full");
    let name = "ab".repeat(32);
    for _ in 0..3 {
        assert_full(&host.call_admin("PUT", &format!("/api/v1/artifacts/{name}"), b"bytes"));
    }
    assert!(std::fs::read_dir(host.dir().join("data/artifacts")).unwrap().next().is_none());
    must("deploys.full.upload", "507 storage_full, nothing left", "507", true);
}

/// The CLI is still sending when the host answers and closes the connection.
#[test]
fn the_cli_tells_of_a_full_disk_in_the_middle_of_an_upload() {
    let host = TestHost::start_with(&[], "upload.write=full");
    let file = host.dir().join("large.wasm");
    std::fs::write(&file, vec![0; 8 << 20]).unwrap();
    for _ in 0..rounds(5, 30) {
        let mut command = Command::new(env!("CARGO_BIN_EXE_bulkhead"));
        command.args(["upload", file.to_str().unwrap(), "--admin", &format!("http://{}", host.admin)]);
        let output = command.env("BULKHEAD_ADMIN_TOKEN", &host.admin_token).output().expect("it runs");
        let said = String::from_utf8_lossy(&output.stderr);
        assert_eq!(output.status.code(), Some(1), "{said}");
        assert!(said.contains("storage_full") && !said.contains("cannot reach"), "{said}");
    }
}

/// Makes a change on a disk that is full at `place`. Afterwards version 1 serves, also after a restart.
fn full_at(place: &str, change: impl Fn(&TestHost) -> Value) {
    let host = TestHost::start();
    let keys = json!({"processor_envs": marked(1), "metadata": {"rpc": {"worker_threads": 1}}});
    let service = host.deploy("svc", "faults", keys);
    let body = change(&host).to_string();
    let host = host.kill_and_restart_with(&format!("{place}=full"));
    host.wait_until_ready();
    assert_full(&host.call_admin("PUT", "/api/v1/services/svc", body.as_bytes()));
    assert_eq!(version_on(&mut host.client(), &service), 1);
    let left = rubbish(&host);
    assert!(left.is_empty(), "{left:?}");
    let host = host.kill_and_restart();
    assert_eq!(version_on(&mut host.client(), &service), 1);
    let again = host.call_admin("PUT", "/api/v1/services/svc", body.as_bytes());
    assert_eq!(again.status, 200, "there is room again: {}", again.text());
    must(&format!("deploys.full.{place}"), "507 storage_full, the old version serving", "507", true);
}

#[test]
fn a_record_that_finds_no_room_leaves_the_old_one() {
    full_at("record.full", |_| json!({"spec": {"processor_envs": marked(2)}}));
}

#[test]
fn a_model_that_finds_no_room_leaves_the_old_version() {
    full_at(
        "model.place",
        |host| json!({"spec": {"model_path": "m"}, "model": [{"path": "m.bin", "sha256": host.upload_bytes(b"m"), "size": 1}]}),
    );
}

/// Makes a change whose record the disk fails to confirm. The change has been made, and the answer must not deny it.
fn after_the_commit(failpoints: &str) -> (TestHost, Deployed, Response) {
    let host = TestHost::start();
    let keys = json!({"processor_envs": marked(1), "metadata": {"rpc": {"worker_threads": 1}}});
    let service = host.deploy("svc", "faults", keys);
    // The first commit is that of the start.
    let host = host.kill_and_restart_with(&format!("record.committed=full@2;{failpoints}"));
    host.wait_until_ready();
    let body = json!({"spec": {"processor_envs": marked(2)}}).to_string();
    let answer = host.call_admin("PUT", "/api/v1/services/svc", body.as_bytes());
    (host, service, answer)
}

#[test]
fn a_change_that_was_made_although_the_disk_failed_is_found_and_confirmed() {
    let (host, service, answer) = after_the_commit("");
    assert_eq!(answer.status, 200, "{}", answer.text());
    assert_eq!(version_on(&mut host.client(), &service), 2);
    let host = host.kill_and_restart();
    assert_eq!(version_on(&mut host.client(), &service), 2);
    must("deploys.commit_failed.confirmed", "answered as it is on disk", "200, and served after a restart", true);
}

#[test]
fn a_change_that_nobody_can_be_sure_of_is_told_to_be_so() {
    let (host, service, answer) = after_the_commit("record.again=full");
    let problem = answer.json();
    assert_eq!((answer.status, problem["code"].as_str()), (500, Some("outcome_unknown")), "{problem}");
    assert!(problem["detail"].as_str().is_some_and(|detail| detail.contains("the next start")), "{problem}");
    assert_eq!(version_on(&mut host.client(), &service), 1, "until then the old version serves");
    let host = host.kill_and_restart();
    assert_eq!(version_on(&mut host.client(), &service), 2, "here it was made");
    must("deploys.commit_failed.told", "told, and one of the two served after a restart", "outcome_unknown", true);
}

/// The host compares each change with the revision it knows; here the disk may be one revision ahead.
#[test]
fn a_change_that_nobody_was_sure_of_can_be_made_again() {
    for commits in ["2", "3"] {
        let host = TestHost::start();
        let keys = json!({"processor_envs": marked(1), "metadata": {"rpc": {"worker_threads": 1}}});
        let service = host.deploy("svc", "faults", keys);
        let host = host.kill_and_restart_with(&format!("record.committed=full@{commits};record.again=full"));
        host.wait_until_ready();
        let body = json!({"spec": {"processor_envs": marked(2)}}).to_string();
        let change = || host.call_admin("PUT", "/api/v1/services/svc", body.as_bytes());
        if commits == "3" {
            // The change before the faulty one is an ordinary one.
            assert_eq!(host.call_admin("POST", "/api/v1/services/svc/stop", b"").status, 200);
            assert_eq!(change().status, 500);
            assert_eq!(host.call_admin("DELETE", "/api/v1/services/svc", b"").status, 200);
            host.client().post(&service, b"x").assert_problem(404, "service_not_found");
            assert_eq!(host.deploy("svc", "faults", json!({"processor_envs": marked(3)})).path, service.path);
            continue;
        }
        assert_eq!(change().status, 500);
        let again = change();
        assert_eq!(again.status, 200, "{}", again.text());
        assert_eq!(version_on(&mut host.client(), &service), 2);
        let host = host.kill_and_restart();
        assert_eq!(version_on(&mut host.client(), &service), 2);
    }
}

/// A small file system, unmounted on drop.
struct Mount(tempfile::TempDir);

impl Mount {
    /// Mounts the file system; `None` without the right to mount.
    fn small() -> Option<Self> {
        let dir = tempfile::tempdir().expect("a temporary directory");
        let mut mount = Command::new("mount");
        mount.args(["-t", "tmpfs", "-o", "size=16m", "tmpfs"]).arg(dir.path());
        let mounted = mount.stderr(Stdio::null()).status().is_ok_and(|status| status.success());
        mounted.then(|| Self(dir))
    }

    /// Fills the file system completely.
    fn fill(&self) {
        let mut filler = File::create(self.filler()).expect("a file");
        while filler.write(&[0; 4096]).is_ok_and(|written| written > 0) {}
    }

    fn make_room(&self) {
        std::fs::remove_file(self.filler()).expect("it is there");
    }

    fn filler(&self) -> std::path::PathBuf {
        self.0.path().join("filler")
    }
}

impl Drop for Mount {
    fn drop(&mut self) {
        let _ = Command::new("umount").arg(self.0.path()).status();
    }
}

#[test]
fn a_disk_that_is_really_full() {
    let Some(mount) = Mount::small() else {
        tell(
            "deploys.full.real",
            "every change refused, all requests served",
            "skipped: this user may not mount",
            true,
        );
        return;
    };
    let host = TestHost::start_below(mount.0.path());
    let keys = json!({"processor_envs": marked(1), "metadata": {"rpc": {"worker_threads": 1}}});
    let service = host.deploy("svc", "faults", keys);
    let waiting = json!({"processor": host.upload_bytes(&variant("faults", "waiting"))}).to_string();
    let files = json!([{"path": "deep/m", "sha256": host.upload_bytes(b"m"), "size": 1}]);
    let spec = json!({"name": "model", "processor_path": "x.wasm", "model_path": "m"});
    let with_model = json!({"spec": spec, "processor": host.upload("faults"), "model": files}).to_string().into_bytes();
    let mut client = host.client();
    let modify = |body: &str| host.call_admin("PUT", "/api/v1/services/svc", body.as_bytes());

    mount.fill();
    assert_full(&host.call_admin("PUT", &format!("/api/v1/artifacts/{}", "ab".repeat(32)), &[7; 100_000]));
    assert_full(&modify(&waiting));
    assert_full(&host.call_admin("POST", "/api/v1/services", &with_model));
    let (mut version, mut refused) = (1, 2);
    // A small record may fit into pages that the database already has.
    for _ in 0..20 {
        let answer = modify(&json!({"spec": {"processor_envs": marked(version + 1)}}).to_string());
        if answer.status == 200 {
            version += 1;
        } else {
            assert_full(&answer);
            refused += 1;
        }
        assert_eq!(version_on(&mut client, &service), version);
    }
    mount.make_room();
    let again = modify(&waiting);
    assert_eq!(again.status, 200, "there is room again, without a restart: {}", again.text());
    let host = host.kill_and_restart();
    assert_eq!(version_on(&mut host.client(), &service), version);
    mount.fill();
    let host = host.kill_and_restart();
    assert_eq!(version_on(&mut host.client(), &service), version, "a host starts on a disk that is full");
    mount.make_room();
    must(
        "deploys.full.real",
        "changes refused, every request served, all well once there is room",
        refused,
        refused > 2,
    );
}
