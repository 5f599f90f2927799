//! The command line against a real host.

use std::fs;
use std::path::Path;
use std::process::{Command, Output};

use serde_json::{Value, json};

use crate::host::{TestHost, project};

fn bulkhead(host: Option<&TestHost>, args: &[&str]) -> Output {
    let mut command = Command::new(env!("CARGO_BIN_EXE_bulkhead"));
    if let Some(host) = host {
        command.env("BULKHEAD_ADMIN", format!("http://{}", host.admin)).env("BULKHEAD_ADMIN_TOKEN", &host.admin_token);
    }
    command.args(args).output().expect("it runs")
}

fn ok(host: Option<&TestHost>, args: &[&str]) -> String {
    let output = bulkhead(host, args);
    assert!(output.status.success(), "{args:?}: {}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8(output.stdout).expect("UTF-8")
}

fn text(path: &Path) -> &str {
    path.to_str().expect("UTF-8")
}

#[test]
fn a_service_from_create_to_delete() {
    let host = TestHost::start();
    let dir = tempfile::tempdir().unwrap();
    let file = project(dir.path(), "mine", "echo", json!({}));
    let created: Value = serde_json::from_str(&ok(Some(&host), &["--json", "create", text(&file)])).unwrap();
    assert_eq!(created["name"], "mine");
    assert_eq!(created["version"], 1);
    assert_eq!(created["url"], format!("http://{}/api/predict/mine", host.data));
    assert_eq!(ok(Some(&host), &["invoke", "mine", "-d", "over the wire"]), "over the wire");
    assert!(ok(Some(&host), &["list"]).contains("mine"));
    ok(Some(&host), &["modify", "mine", "-Dmetadata.rpc.worker_threads=3"]);
    let described: Value = serde_json::from_str(&ok(Some(&host), &["--json", "desc", "mine"])).unwrap();
    assert_eq!(
        (&described["version"], &described["spec"]["metadata"]["rpc"]["worker_threads"]),
        (&json!(2), &json!(3))
    );
    let stale = bulkhead(Some(&host), &["modify", "mine", "-Dmetadata.instance=2", "--if-match", "\"1\""]);
    let said = String::from_utf8_lossy(&stale.stderr).into_owned();
    assert!(stale.status.code() == Some(3) && said.contains("precondition_failed"), "{said}");
    let log = ok(Some(&host), &["audit", "mine", "--as", "nobody"]);
    let outcomes: Vec<_> = log.lines().skip(1).map(|line| line.contains(" done ")).collect();
    assert_eq!(outcomes, [false, true, true], "{log}");
    assert!(ok(Some(&host), &["w", "mine"]).contains("mine-0"));
    ok(Some(&host), &["dw", "mine", "mine-0"]);
    ok(Some(&host), &["restart", "mine"]);
    ok(Some(&host), &["stop", "mine"]);
    assert_eq!(bulkhead(Some(&host), &["invoke", "mine", "-d", "x"]).status.code(), Some(1));
    ok(Some(&host), &["start", "mine"]);
    ok(Some(&host), &["delete", "mine", "-y"]);
    assert_eq!(bulkhead(Some(&host), &["desc", "mine"]).status.code(), Some(5));
}

#[test]
fn mistakes_have_exit_codes_and_reasons() {
    let dir = tempfile::tempdir().unwrap();
    let file = project(dir.path(), "mine", "echo", json!({"metadata": {"instnce": 1}}));
    let output = bulkhead(None, &["create", text(&file), "--admin", "http://127.0.0.1:1", "--admin-token", "x"]);
    let said = String::from_utf8_lossy(&output.stderr).into_owned();
    assert_eq!(output.status.code(), Some(2), "{said}");
    assert!(said.contains("metadata.instnce") && said.contains("metadata.instance"), "{said}");
    let file = project(dir.path(), "fine", "echo", json!({}));
    let output = bulkhead(None, &["create", text(&file), "--admin", "http://127.0.0.1:1", "--admin-token", "x"]);
    assert_eq!(output.status.code(), Some(4), "{}", String::from_utf8_lossy(&output.stderr));
}

#[test]
fn a_service_file_is_tested_without_a_server() {
    let dir = tempfile::tempdir().unwrap();
    let file = project(dir.path(), "faults", "faults", json!({}));
    let flag = r#"{"do":"flag"}"#;
    let output = bulkhead(
        None,
        &["--json", "test", text(&file), "-d", flag, "-d", r#"{"do":"panic","message":"oh"}"#, "-d", flag],
    );
    assert_eq!(output.status.code(), Some(1), "one of them failed");
    let answers: Value = serde_json::from_slice(&output.stdout).unwrap();
    let statuses: Vec<u64> = answers.as_array().unwrap().iter().filter_map(|a| a["status"].as_u64()).collect();
    assert_eq!(statuses, [200, 400, 200]);
    assert!(answers[1]["body"].as_str().unwrap().contains("oh"), "{answers}");
    assert_eq!(answers[0]["body"], answers[2]["body"], "after the panic the guest is a new one");
}

/// Otherwise a processor would be found good that its host never gets to ask.
#[test]
fn a_test_without_a_server_holds_the_limits_of_a_host() {
    let dir = tempfile::tempdir().unwrap();
    let keys = json!({"sandbox": {"max_request_bytes": 1024, "methods": ["POST"]}});
    let file = project(dir.path(), "mine", "echo", keys);
    let host = TestHost::start();
    ok(Some(&host), &["create", text(&file)]);
    let large = dir.path().join("large");
    fs::write(&large, [b'x'; 1025]).unwrap();
    let large = format!("@{}", large.display());
    let long = format!("/{}", "a".repeat(8 << 10));
    for (args, status) in [
        (&["-d", "x"][..], 200),
        (&["-d", &large], 413),
        (&["-d", "x", "-X", "PUT"], 405),
        (&["-d", "x", "-X", "BREW"], 501),
        (&["-d", "x", "--path", &long], 414),
    ] {
        let output = bulkhead(None, &[&["--json", "test", text(&file)], args].concat());
        let answers: Value = serde_json::from_slice(&output.stdout).unwrap();
        let of_the_host = bulkhead(Some(&host), &[&["--json", "invoke", "mine"], args].concat());
        let of_the_host: Value = serde_json::from_slice(&of_the_host.stdout).unwrap();
        assert_eq!((&answers[0]["status"], &of_the_host["status"]), (&json!(status), &json!(status)), "{args:?}");
        if status != 200 {
            assert_eq!(output.status.code(), Some(1));
            let problem: Value = serde_json::from_str(of_the_host["body"].as_str().unwrap()).unwrap();
            assert_eq!(answers[0]["body"], problem["detail"], "the same words");
        }
    }
}

/// Larger than what lies between, so that the host's refusal comes while the body is still being sent.
#[test]
fn a_body_over_the_limit_is_told_as_that() {
    let host = TestHost::start();
    let dir = tempfile::tempdir().unwrap();
    ok(Some(&host), &["create", text(&project(dir.path(), "mine", "echo", json!({})))]);
    let large = dir.path().join("large");
    fs::write(&large, vec![b'x'; (16 << 20) + 1]).unwrap();
    let output = bulkhead(Some(&host), &["invoke", "mine", "-d", &format!("@{}", large.display())]);
    let (out, err) = (String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
    assert_eq!(output.status.code(), Some(3), "{out} {err}");
    assert!(out.contains("body_too_large"), "{out} {err}");
}

#[test]
fn the_digits_are_read_from_the_model_directory() {
    let host = TestHost::start();
    let example = bulkhead_artifacts::root().join("examples/digits");
    bulkhead_artifacts::guest("digits");
    ok(Some(&host), &["create", text(&example.join("digits.json"))]);
    let rows = fs::read_to_string(example.join("data/heldout.jsonl")).unwrap();
    let rows: Vec<Value> = rows.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    let mut right = 0;
    for chunk in rows.chunks(30) {
        let pixels: Vec<&Value> = chunk.iter().map(|row| &row["pixels"]).collect();
        let answer = ok(Some(&host), &["invoke", "digits", "-d", &json!({"rows": pixels}).to_string()]);
        let answer: Value = serde_json::from_str(&answer).unwrap();
        let answers = answer.as_array().or_else(|| answer["results"].as_array()).unwrap_or_else(|| panic!("{answer}"));
        assert_eq!(answers.len(), chunk.len());
        right += chunk.iter().zip(answers).filter(|(row, answer)| row["label"] == answer["label"]).count();
    }
    assert!(right * 100 >= rows.len() * 93, "{right} of {} are right", rows.len());
}

#[test]
fn a_new_project_builds_and_serves() {
    let host = TestHost::start();
    let dir = tempfile::tempdir().unwrap();
    let project = dir.path().join("word-count");
    ok(None, &["new", text(&project)]);
    ok(None, &["build", text(&project)]);
    ok(Some(&host), &["create", text(&project.join("word-count.json"))]);
    assert!(ok(Some(&host), &["invoke", "word-count", "-d", "one two three"]).contains('3'));
}

#[test]
fn the_schema_and_completions_are_printed() {
    let schema: Value = serde_json::from_str(&ok(None, &["schema"])).unwrap();
    assert!(schema["properties"]["sandbox"]["properties"]["fuel"].is_object());
    assert!(ok(None, &["completions", "bash"]).contains("bulkhead"));
}

/// Cargo takes compiler flags from one place alone unless one knows which, so flags of ours could put out the author's.
#[test]
fn build_sets_our_flags_and_leaves_the_authors_in_force() {
    let dir = tempfile::tempdir().unwrap();
    let write = |path: &str, content: &str| {
        let file = dir.path().join(path);
        fs::create_dir_all(file.parent().unwrap()).unwrap();
        fs::write(file, content).unwrap();
    };
    write(
        "Cargo.toml",
        "[package]\nname = \"flags\"\nversion = \"0.1.0\"\n[lib]\ncrate-type = [\"cdylib\"]\n[workspace]\n\
         [lints.rust]\nunexpected_cfgs = \"allow\"\n",
    );
    write(".cargo/config.toml", "[target.wasm32-wasip2]\nrustflags = [\"--cfg\", \"of_the_author\"]\n");
    write(
        "src/lib.rs",
        "#[cfg(not(of_the_author))] compile_error!(\"the author's flags are gone\");\n\
         #[cfg(not(target_feature = \"simd128\"))] compile_error!(\"ours are missing\");\n",
    );
    let build = || {
        let mut command = Command::new(env!("CARGO_BIN_EXE_bulkhead"));
        command.args(["build", text(dir.path())]).env_remove("CARGO_ENCODED_RUSTFLAGS").env_remove("RUSTFLAGS");
        command
    };
    let output = build().output().expect("it runs");
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    assert!(dir.path().join("flags.wasm").is_file());
    // From the environment they replace the file's, as always with cargo, and still not ours.
    let output = build().env("RUSTFLAGS", "--cfg of_the_author").output().expect("it runs");
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
}
