//! The image that a service's guests start from, and its file on disk.

use serde_json::json;

use super::{LEFT, assert_initialized, code_files, counter, deploy, look, modify, snapshot, try_deploy};
use crate::figures::must;
use crate::host::TestHost;

#[test]
fn whatever_initialize_can_see_asks_for_another_image() {
    let host = TestHost::start();
    let (one, two) = (host.upload_bytes(b"one"), host.upload_bytes(b"two"));
    let model = |sha256: &str| json!([{"path": "m.bin", "sha256": sha256, "size": 3}]);
    let one_worker = json!({"rpc": {"worker_threads": 1}});
    let answer = try_deploy(
        &host,
        &host.upload_bytes(&counter("", "")),
        json!({"model_path": "m", "metadata": one_worker}),
        model(&one),
    );
    assert_eq!(answer.status, 201, "{}", answer.text());
    let mut runs = 1;
    assert_initialized(&host, runs);
    let mut images = code_files(&host);
    assert_eq!(images.len(), 2, "the upload and its image: {images:?}");
    let envs = |value: &str| json!([{"name": "A", "value": value}]);
    for (what, change, is_seen) in [
        ("keepalive", json!({"spec": {"metadata.rpc.keepalive": 4000}}), false),
        ("workers", json!({"spec": {"metadata.rpc.worker_threads": 3}}), false),
        ("environment", json!({"spec": {"processor_envs": envs("b")}}), true),
        ("environment again", json!({"spec": {"processor_envs": envs("c")}}), true),
        ("model", json!({"spec": {}, "model": model(&two)}), true),
        ("model_entry", json!({"spec": {"model_entry": "m.bin"}}), true),
        ("model_config", json!({"spec": {"model_config": "x"}}), true),
        ("memory", json!({"spec": {"sandbox": {"memory_mb": 64}}}), true),
        ("isolation", json!({"spec": {"sandbox": {"isolation": "fresh"}}}), false),
    ] {
        modify(&host, change);
        runs += usize::from(is_seen);
        assert_initialized(&host, runs);
        assert_eq!((snapshot(&host), look(&host)), (json!({"taken": true}), LEFT), "{what}");
        let now = code_files(&host);
        assert_eq!(
            (now.len(), now == images),
            (1 + runs, !is_seen),
            "{what}: an earlier version's image stays for as long as the version: {now:?}"
        );
        images = now;
    }
    for more in 1..10 {
        modify(&host, json!({"spec": {"metadata.rpc.keepalive": 4000 + more}}));
    }
    let now = code_files(&host);
    assert_eq!(now.len(), 2, "and goes with the last version that needs it: {now:?}");
    assert_eq!(host.call_admin("DELETE", "/api/v1/services/svc", b"").status, 200);
    assert_eq!(code_files(&host), Vec::<std::path::PathBuf>::new(), "and the last with its service");
    must(
        "snapshots.images",
        "another for each of 6 changes that initialize can see, the same for 3 others",
        runs,
        true,
    );
}

#[test]
fn a_damaged_image_is_made_again() {
    let host = TestHost::start();
    deploy(&host, &counter("", ""), json!({}));
    // Both files of machine code are damaged, so that the image's is among them.
    for damaged in code_files(&host) {
        let mut bytes = std::fs::read(&damaged).unwrap();
        let middle = bytes.len() / 2;
        bytes[middle] ^= 0xff;
        // The running host has the old file mapped, so it is replaced by a new file.
        std::fs::remove_file(&damaged).unwrap();
        std::fs::write(&damaged, &bytes).unwrap();
    }
    let host = host.kill_and_restart();
    assert_eq!((snapshot(&host), look(&host)), (json!({"taken": true}), LEFT));
    assert_eq!(host.log().matches("does not match its hash").count(), 2);
    // `initialize` ran once before the restart, and once more to make the image again.
    assert_initialized(&host, 2);
    let host = host.kill_and_restart();
    assert_eq!(look(&host), LEFT);
    assert_initialized(&host, 2);
}

#[test]
fn services_with_the_same_image_share_it_also_when_it_must_be_made_for_all_of_them_at_once() {
    let host = TestHost::start();
    for n in 0..6 {
        host.deploy(&format!("same-{n}"), "echo", json!({"token": "t"}));
    }
    let files = code_files(&host);
    assert_eq!(files.len(), 2, "{files:?}");
    for file in files {
        std::fs::remove_file(file).unwrap();
    }
    let host = host.kill_and_restart();
    for (figure, what) in [("processor", "processor compiled"), ("image", "image compiled")] {
        host.wait_for(what, || host.log().matches(what).count() >= 2);
        let times = host.log().matches(what).count();
        must(
            &format!("snapshots.compiled.{figure}"),
            "once for the first of 6, and once more for all",
            times,
            times == 2,
        );
    }
}

#[test]
fn an_image_is_the_hosts_alone() {
    use std::os::unix::fs::PermissionsExt;
    let host = TestHost::start();
    deploy(&host, &counter("", ""), json!({}));
    for file in code_files(&host) {
        let mode = std::fs::metadata(&file).unwrap().permissions().mode();
        assert_eq!(mode & 0o077, 0, "{}", file.display());
    }
}

/// Guests answer the same if they start from an image or if they were initialised themselves.
#[test]
fn real_models_answer_the_same_from_an_image() {
    let host = TestHost::start();
    let root = bulkhead_artifacts::root();
    let model = std::fs::read(root.join("examples/digits/model/digits.onnx")).unwrap();
    let (sha256, size) = (host.upload_bytes(&model), model.len());
    let held_out = std::fs::read_to_string(root.join("examples/digits/data/heldout.jsonl")).unwrap();
    let rows: Vec<String> = held_out
        .lines()
        .take(30)
        .map(|line| {
            let row: serde_json::Value = serde_json::from_str(line).unwrap();
            json!({"rows": [row["pixels"]]}).to_string()
        })
        .collect();
    let scores: Vec<String> =
        (0..30).map(|n| json!({"age": 20 + n, "income": 1000 * n, "history": [0, n]}).to_string()).collect();
    let json_score = json!({"model_config": {"threshold": 0.5}});
    let digits = json!({"model_path": "m", "model_entry": "digits.onnx"});
    let model = json!([{"path": "digits.onnx", "sha256": sha256, "size": size}]);
    for (guest, keys, model, bodies) in [("json-score", json_score, json!([]), scores), ("digits", digits, model, rows)]
    {
        let (mut answers, processor) = (Vec::new(), host.upload(guest));
        let answer = try_deploy(&host, &processor, keys, model);
        assert_eq!(answer.status, 201, "{}", answer.text());
        for taken in [true, false] {
            if !taken {
                modify(&host, json!({"spec": {"sandbox": {"snapshot": false}}}));
            }
            assert_eq!(snapshot(&host)["taken"], taken, "{guest}");
            let mut client = host.client();
            let answered = bodies.iter().map(|body| {
                let answer = client.post(&super::svc(), body.as_bytes());
                (answer.status, answer.text())
            });
            answers.push(answered.collect::<Vec<_>>());
        }
        assert_eq!(host.call_admin("DELETE", "/api/v1/services/svc", b"").status, 200);
        assert_eq!(answers[0], answers[1], "{guest}");
        assert!(answers[0].iter().all(|(status, _)| *status == 200), "{guest}: {:?}", answers[0]);
        must(&format!("snapshots.same.{guest}"), "30 of 30 answers as without a snapshot", 30, answers[0].len() == 30);
    }
}
