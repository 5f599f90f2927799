//! The data directory: files named by their hash, and the database.

mod database;
#[cfg(debug_assertions)]
mod elsewhere;

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};

use serde_json::{Value, json};
use sha2::{Digest, Sha256};

use crate::host::{TestHost, project};

fn artifacts(host: &TestHost) -> PathBuf {
    host.dir().join("data/artifacts")
}

/// Checks that every artifact has the hash in its name, and is read-only.
fn assert_whole(host: &TestHost) {
    for entry in fs::read_dir(artifacts(host)).unwrap() {
        let path = entry.unwrap().path();
        let found = bulkhead::hex::hex(&Sha256::digest(fs::read(&path).unwrap()));
        assert_eq!(path.file_name().unwrap().to_str(), Some(found.as_str()), "an artifact has changed");
        assert_eq!(fs::metadata(&path).unwrap().permissions().mode() & 0o222, 0, "an artifact can be written to");
    }
}

/// Changes the bytes of a file without changing its size, through all hard links of the file.
fn rot(path: &Path) {
    fs::set_permissions(path, fs::Permissions::from_mode(0o600)).unwrap();
    let mut bytes = fs::read(path).unwrap();
    let middle = bytes.len() / 2;
    bytes[middle] ^= 1;
    fs::write(path, bytes).unwrap();
}

fn bulkhead(host: &TestHost, args: &[&str]) -> Output {
    let mut command = Command::new(env!("CARGO_BIN_EXE_bulkhead"));
    command.env("BULKHEAD_ADMIN", format!("http://{}", host.admin)).env("BULKHEAD_ADMIN_TOKEN", &host.admin_token);
    command.args(args).output().expect("it runs")
}

fn modify(host: &TestHost, body: &Value) -> crate::http::Response {
    host.call_admin("PUT", "/api/v1/services/svc", body.to_string().as_bytes())
}

fn described(host: &TestHost) -> Value {
    host.call_admin("GET", "/api/v1/services/svc", b"").json()
}

/// Regression test: two entries for one path used to be accepted. The second was written into the artifact of the
/// first, and after a restart a service was answered by another's code.
#[test]
fn a_list_of_files_that_cannot_lie_in_one_directory_is_refused_and_harms_no_artifact() {
    let host = TestHost::start();
    let echo = host.deploy("svc", "echo", json!({}));
    let (processor, a, b) = (host.upload("echo"), host.upload_bytes(b"abc"), host.upload_bytes(b"abd"));
    let spec = json!({"name": "other", "processor_path": "x.wasm", "model_path": "m"});
    let long = "n".repeat(256);
    let cases = [
        (("m", &a), ("m", &a), &["model[0] \"m\"", "model[1] \"m\""][..]),
        (("m", &a), ("m", &b), &["model[0] \"m\"", "model[1] \"m\""]),
        (("a/b", &a), ("a//b", &a), &["model[0] \"a/b\"", "model[1] \"a//b\""]),
        (("a/b", &a), ("./a/b", &b), &["model[0] \"a/b\"", "model[1] \"./a/b\""]),
        (("a", &a), ("a/b", &b), &["model[0] \"a\"", "model[1] \"a/b\""]),
        (("a/b/c", &processor), ("a", &b), &["model[0] \"a/b/c\"", "model[1] \"a\""]),
        (("x", &a), ("a/", &b), &["model[1] \"a/\"", "slash"]),
        (("x", &a), ("", &b), &["model[1] \"\"", "empty"]),
        (("x", &a), ("../y", &b), &["model[1] \"../y\"", "`..`"]),
        (("x", &a), ("/y", &b), &["model[1] \"/y\"", "slash"]),
        (("x", &a), ("y\\z", &b), &["model[1]", "backslash"]),
        (("x", &a), ("y\0", &b), &["model[1]", "control"]),
        (("x", &a), (&long, &b), &["model[1] \"nnn", "255 bytes"]),
    ];
    for ((first, first_sha), (second, second_sha), said) in cases {
        let entry = |path: &str, sha256: &str| json!({"path": path, "sha256": sha256, "size": 3});
        let model = json!([entry(first, first_sha), entry(second, second_sha)]);
        let create = json!({"spec": spec, "processor": processor, "model": model}).to_string();
        let created = host.call_admin("POST", "/api/v1/services", create.as_bytes());
        for answer in [created, modify(&host, &json!({"spec": {"model_path": "m"}, "model": model}))] {
            let problem = answer.assert_problem(400, "bad_request");
            let detail = problem["detail"].as_str().unwrap();
            assert!(said.iter().all(|said| detail.contains(said)), "{model}: {detail}");
            assert!(detail.contains("accepted are"), "{detail}");
        }
        assert_whole(&host);
    }
    assert!(fs::read_dir(host.dir().join("data/models")).unwrap().next().is_none(), "nothing was placed");
    host.kill();
    fs::remove_dir_all(host.dir().join("data/compiled")).unwrap();
    let host = host.kill_and_restart();
    assert_eq!(host.client().post(&echo, b"still echo").text(), "still echo");
}

#[test]
fn names_that_differ_are_different_files() {
    let host = TestHost::start();
    let (a, b) = (host.upload_bytes(b"abc"), host.upload_bytes(b"abd"));
    let paths = [("m", &a), ("M", &b), ("d/m", &a), ("d/M", &b), ("d.x", &a), ("d x/ü", &b)];
    let model: Vec<Value> =
        paths.iter().map(|(path, sha256)| json!({"path": path, "sha256": sha256, "size": 3})).collect();
    let spec = json!({"name": "svc", "processor_path": "x.wasm", "model_path": "m"});
    let body = json!({"spec": spec, "processor": host.upload("echo"), "model": model}).to_string();
    let created = host.call_admin("POST", "/api/v1/services", body.as_bytes());
    assert_eq!(created.status, 201, "{}", created.text());
    let dir = fs::read_dir(host.dir().join("data/models")).unwrap().next().unwrap().unwrap().path();
    for (path, sha256) in paths {
        let found = bulkhead::hex::hex(&Sha256::digest(fs::read(dir.join(path)).unwrap()));
        assert_eq!(&found, sha256, "{path}");
    }
    assert_whole(&host);
}

/// Makes a service with a model of two files, and returns its service file.
fn with_model(host: &TestHost, dir: &Path) -> PathBuf {
    let model = dir.join("model/deep");
    fs::create_dir_all(&model).unwrap();
    fs::write(model.join("weights.bin"), "the weights").unwrap();
    fs::write(dir.join("model/labels.txt"), "the labels").unwrap();
    let keys = json!({"model_path": "model", "model_entry": "labels.txt", "token": "t", "warm_up_data_path": "warm.txt",
        "model_config": {"initialize": "model"}});
    fs::write(dir.join("warm.txt"), r#"{"do":"flag"}"#).unwrap();
    let file = project(dir, "svc", "faults", keys);
    let created = bulkhead(host, &["create", file.to_str().unwrap()]);
    assert!(created.status.success(), "{}", String::from_utf8_lossy(&created.stderr));
    file
}

fn sha256(bytes: &[u8]) -> String {
    bulkhead::hex::hex(&Sha256::digest(bytes))
}

#[test]
fn a_file_that_has_rotted_is_refused_by_its_part_and_uploaded_again_by_the_command_line() {
    let host = TestHost::start();
    let dir = tempfile::tempdir().unwrap();
    let file = with_model(&host, dir.path());
    let service = crate::host::Deployed { path: "/api/predict/svc".into(), token: "t".into() };
    let processor = described(&host)["processor"]["sha256"].as_str().unwrap().to_owned();
    let parts = [
        (sha256(b"the weights"), "model file \"deep/weights.bin\""),
        (sha256(br#"{"do":"flag"}"#), "the warm-up data"),
        (processor, "the processor"),
    ];
    let change = |workers: usize| json!({"spec": {"metadata": {"rpc": {"worker_threads": workers}}}});
    for (number, (damaged, part)) in parts.iter().enumerate() {
        let path = artifacts(&host).join(damaged);
        rot(&path);
        let version = described(&host)["version"].as_u64().unwrap();
        let answer = modify(&host, &change(number + 2));
        let problem = answer.assert_problem(409, "artifact_damaged");
        let detail = problem["detail"].as_str().unwrap();
        assert!(detail.contains(part) && detail.contains(damaged) && detail.contains("upload it again"), "{detail}");
        assert_eq!(described(&host)["version"], version, "the version before goes on");
        assert_eq!(host.client().post(&service, br#"{"do":"flag"}"#).status, 200);
        let asked = host.call_admin("GET", &format!("/api/v1/artifacts/{damaged}"), b"");
        asked.assert_problem(404, "not_found");

        let modified = bulkhead(&host, &["modify", "svc", "-s", file.to_str().unwrap()]);
        assert!(modified.status.success(), "{part}: {}", String::from_utf8_lossy(&modified.stderr));
        assert_whole(&host);
        assert_eq!(modify(&host, &change(number + 2)).status, 200, "{part}");
    }
    let model = fs::read_dir(host.dir().join("data/models")).unwrap();
    let whole = |dir: PathBuf| fs::read(dir.join("deep/weights.bin")).is_ok_and(|bytes| bytes == b"the weights");
    assert!(model.filter(|dir| whole(dir.as_ref().unwrap().path())).count() == 1, "the model directory is whole again");
}

#[test]
fn a_model_that_rots_while_the_host_is_down_is_not_served() {
    let host = TestHost::start();
    let dir = tempfile::tempdir().unwrap();
    let file = with_model(&host, dir.path());
    let service = crate::host::Deployed { path: "/api/predict/svc".into(), token: "t".into() };
    let echo = host.deploy("echo", "echo", json!({}));
    host.kill();
    rot(&artifacts(&host).join(sha256(b"the weights")));
    let host = host.kill_and_restart();
    host.client().post(&service, b"x").assert_problem(503, "no_healthy_upstream");
    let message = described(&host)["message"].as_str().unwrap().to_owned();
    assert!(message.contains("model file \"deep/weights.bin\" is damaged"), "{message}");
    assert_eq!(host.client().post(&echo, b"x").status, 200, "others are served");
    let modified = bulkhead(&host, &["modify", "svc", "-s", file.to_str().unwrap()]);
    assert!(modified.status.success(), "{}", String::from_utf8_lossy(&modified.stderr));
    assert_eq!(host.client().post(&service, br#"{"do":"flag"}"#).status, 200);
}

/// Machine code is stored under the hash of its upload, so it must be compiled from exactly that upload.
#[test]
fn a_processor_that_rots_while_the_host_is_down_is_not_compiled() {
    let host = TestHost::start();
    let echo = host.deploy("svc", "echo", json!({}));
    let processor = described(&host)["processor"]["sha256"].as_str().unwrap().to_owned();
    host.kill();
    rot(&artifacts(&host).join(&processor));
    let host = host.kill_and_restart();
    assert_eq!(host.client().post(&echo, b"x").text(), "x", "its machine code is whole");
    host.kill();
    fs::remove_dir_all(host.dir().join("data/compiled")).unwrap();
    let host = host.kill_and_restart();
    host.client().post(&echo, b"x").assert_problem(503, "no_healthy_upstream");
    let message = described(&host)["message"].as_str().unwrap().to_owned();
    assert!(message.contains("the processor is damaged") && message.contains(&processor), "{message}");
    host.upload("echo");
    assert_eq!(host.call_admin("POST", "/api/v1/services/svc/start", b"").status, 200);
    assert_eq!(host.client().post(&echo, b"x").text(), "x");
}
