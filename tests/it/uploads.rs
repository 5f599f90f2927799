//! The compilation of uploads: one child process at a time, without the host's environment, and never longer than the
//! host lives.

mod composed;
mod library;
mod sizes;

use std::fs;
use std::path::PathBuf;
use std::thread;

use serde_json::json;

use crate::host::TestHost;

/// Returns the children of a process, as the system lists them.
pub(crate) fn children(pid: u32) -> Vec<u32> {
    let tasks = fs::read_dir(format!("/proc/{pid}/task")).into_iter().flatten().flatten();
    let lists = tasks.filter_map(|task| fs::read_to_string(task.path().join("children")).ok());
    lists.flat_map(|list| list.split_whitespace().filter_map(|pid| pid.parse().ok()).collect::<Vec<_>>()).collect()
}

/// Returns the files of compiled code.
fn compiled(host: &TestHost) -> impl Iterator<Item = PathBuf> {
    let engines = fs::read_dir(host.dir().join("data/compiled")).unwrap().map(|engine| engine.unwrap().path());
    engines.flat_map(|engine| fs::read_dir(engine).unwrap()).map(|file| file.unwrap().path())
}

/// Returns the example with an extra custom section, so that each number makes a different upload.
fn variant(guest: &str, number: u8) -> Vec<u8> {
    let mut wasm = fs::read(bulkhead_artifacts::guest(guest)).unwrap();
    wasm.extend_from_slice(&[0, 3, 1, b'n', number]);
    wasm
}

fn create(host: &TestHost, name: &str, sha256: &str) -> u16 {
    let spec = json!({"name": name, "processor_path": "x.wasm", "metadata": {"rpc": {"worker_threads": 1}}});
    let body = json!({"spec": spec, "processor": sha256}).to_string();
    host.call_admin("POST", "/api/v1/services", body.as_bytes()).status
}

#[test]
fn uploads_are_compiled_one_at_a_time_in_an_empty_environment() {
    let host = TestHost::start();
    let uploads: Vec<String> = (0..4).map(|number| host.upload_bytes(&variant("faults", number))).collect();
    let (most, environments) = thread::scope(|scope| {
        let host = &host;
        let deploys: Vec<_> = uploads
            .iter()
            .enumerate()
            .map(|(number, sha256)| scope.spawn(move || create(host, &format!("f{number}"), sha256)))
            .collect();
        let (mut most, mut environments) = (0, Vec::new());
        while !deploys.iter().all(|deploy| deploy.is_finished()) {
            let children = children(host.pid());
            most = most.max(children.len());
            for pid in children {
                // Until it executes the compiler, a child is still a copy of the host.
                let is_compiler = fs::read(format!("/proc/{pid}/cmdline")).is_ok_and(|line| line.contains(&0));
                let command = fs::read_to_string(format!("/proc/{pid}/cmdline")).unwrap_or_default();
                if is_compiler && command.split('\0').nth(1) == Some("compile") {
                    environments.extend(fs::read(format!("/proc/{pid}/environ")));
                }
            }
        }
        assert!(deploys.into_iter().all(|deploy| deploy.join().unwrap() == 201));
        (most, environments)
    });
    assert_eq!(most, 1, "children at once");
    assert!(!environments.is_empty() && environments.iter().all(Vec::is_empty), "{environments:?}");
}

#[test]
fn a_compilation_ends_with_the_host() {
    let host = TestHost::start();
    let sha256 = host.upload("digits");
    let child = thread::scope(|scope| {
        let deploy = scope.spawn(|| {
            // The host is killed during the request, so the client gets no answer.
            let _ = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| create(&host, "digits", &sha256)));
        });
        host.wait_for("the compiler to run", || !children(host.pid()).is_empty());
        let child = children(host.pid())[0];
        host.kill();
        deploy.join().unwrap();
        child
    });
    let is_gone = || {
        // A zombie counts as ended.
        let status = fs::read_to_string(format!("/proc/{child}/status")).unwrap_or_default();
        status.is_empty() || status.contains("State:\tZ")
    };
    host.wait_for("the compiler to be gone", is_gone);
    // The compiler writes its result at the very end, so the files are still empty.
    let left: Vec<u64> = compiled(&host).map(|path| fs::metadata(path).unwrap().len()).collect();
    assert_eq!(left, [0, 0], "its result and what it has learnt, begun and empty");
    let host = host.kill_and_restart();
    assert_eq!(compiled(&host).count(), 0, "the start sweeps it away");
    assert!(!host.call_admin("GET", "/api/v1/services", b"").text().contains("digits"));
}

/// Frameworks write their caches into directories that are empty in the archive, and expect these to exist.
#[test]
fn an_empty_directory_of_a_model_reaches_its_guest() {
    let host = TestHost::start();
    let file = json!({"path": "v1/a.bin", "sha256": host.upload_bytes(b"a"), "size": 1});
    let spec = json!({"name": "faults", "processor_path": "x.wasm", "model_path": "m", "generate_token": false});
    let mut body = json!({"spec": spec, "processor": host.upload("faults")});
    let listed = |body: &serde_json::Value, method: &str, path: &str| {
        let answer = host.call_admin(method, path, body.to_string().as_bytes());
        assert!(answer.status < 300, "{}", answer.text());
        let open = crate::host::Deployed { path: "/api/predict/faults".into(), token: String::new() };
        host.client().post(&open, br#"{"do":"inspect"}"#).json()["model"]["files"].clone()
    };
    body["model"] = json!([file, {"path": "cache", "directory": true}]);
    assert_eq!(listed(&body, "POST", "/api/v1/services"), json!(["cache", "v1"]));
    let model = host.call_admin("GET", "/api/v1/services/faults", b"").json()["model"].clone();
    assert_eq!((&model[1]["path"], &model[1]["directory"]), (&json!("cache"), &json!(true)));
    // A model that differs only in an empty directory is a different model.
    body["model"] = json!([file]);
    assert_eq!(listed(&body, "PUT", "/api/v1/services/faults"), json!(["v1"]));
    body["model"] = json!([file, {"path": "cache"}]);
    let answer = host.call_admin("PUT", "/api/v1/services/faults", body.to_string().as_bytes());
    assert_eq!(answer.status, 400, "a file without a hash is no directory: {}", answer.text());
    assert!(answer.text().contains("sha256"), "{}", answer.text());
}
