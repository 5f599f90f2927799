//! The `openai` packages of Python and JavaScript against `canned-chat`, which streams prepared tokens.

use std::path::{Path, PathBuf};
use std::process::Command;

use serde_json::json;

use crate::clients::python;
use crate::host::{Deployed, TestHost};

/// Runs a program against the service, and checks that every one of its checks has passed.
fn run(mut command: Command, host: &TestHost, service: &Deployed, checks: usize) {
    let base = format!("http://{}{}", host.data, service.path);
    let output = command.args([&base, &service.token]).output().expect("the program runs");
    let (told, failed) = (String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
    assert!(output.status.success(), "{told}{failed}\n{}", host.log());
    assert_eq!(told.lines().count(), checks, "{told}");
    // The last check leaves a stream after its first piece.
    let left = || {
        host.log().lines().any(|line| line.contains(" status=499 ") && line.contains(" chunks=") && sent(line) < 1000)
    };
    host.wait_for("the client that left to count", left);
}

/// The bytes of an answer in the log.
fn sent(line: &str) -> u64 {
    let bytes = line.split(" bytes_out=").nth(1).and_then(|rest| rest.split(' ').next());
    bytes.and_then(|bytes| bytes.parse().ok()).unwrap_or_else(|| panic!("no bytes_out in {line}"))
}

fn chat(host: &TestHost) -> Deployed {
    host.deploy("chat", "canned-chat", json!({"model_config": {"pause_ms": 5}}))
}

fn script(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/clients").join(name)
}

#[test]
fn the_openai_package_of_python_reads_streams() {
    let Some(python) = python() else {
        return println!("skipped: BULKHEAD_PYTHON names no Python with the clients");
    };
    let host = TestHost::start();
    let service = chat(&host);
    let mut command = Command::new(python);
    command.arg(script("openai_chat.py"));
    run(command, &host, &service, 6);
}

#[test]
fn the_openai_package_of_javascript_reads_streams() {
    let packages = bulkhead_artifacts::root().join("target/toolchains/node_modules");
    if !packages.join("openai").is_dir() {
        return println!("skipped: there is no openai in {}; `cargo xtask setup` installs it", packages.display());
    }
    let host = TestHost::start();
    let service = chat(&host);
    let mut command = Command::new("node");
    command.arg(script("openai_chat.mjs")).arg(packages);
    run(command, &host, &service, 5);
}
