//! Uploads that are not components, or damaged ones: refused with a reason, without a crash.

use std::path::Path;
use std::process::Command;

use serde_json::json;

use super::{refused, try_deploy};
use crate::figures::{must, rounds};
use crate::host::{TestHost, binary};

#[test]
fn what_is_no_component_is_refused_with_what_it_is() {
    let host = TestHost::start();
    let echo = host.deploy("echo", "echo", json!({}));
    let mut files = bulkhead_hostile::not_components();
    let compiled = find(&host.dir().join("data"), "cwasm").expect("echo was compiled");
    files.push(("machine code of the host's own making", std::fs::read(compiled).unwrap(), "machine code"));
    for (what, bytes, told) in &files {
        let answer = try_deploy(&host, "file", bytes, json!({}), 300);
        let found = refused(&answer, told);
        assert!(found.is_ok(), "{what}: {found:?}");
        assert_eq!(host.client().post(&echo, b"beside").body, b"beside");
    }
    must("hostile.files.refused", "every one, with its reason", files.len(), true);
}

/// Returns the first file below `dir` with that extension.
fn find(dir: &Path, extension: &str) -> Option<std::path::PathBuf> {
    std::fs::read_dir(dir).expect("a directory").filter_map(Result::ok).map(|entry| entry.path()).find_map(|path| {
        if path.is_dir() {
            find(&path, extension)
        } else {
            path.extension().is_some_and(|e| e == extension).then_some(path)
        }
    })
}

/// Runs only the compiling child, the only process that reads components. It must accept or refuse.
#[test]
fn damaged_components_are_compiled_or_refused() {
    let dir = tempfile::tempdir().unwrap();
    let (input, output) = (dir.path().join("in.wasm"), dir.path().join("out.cwasm"));
    let component = bulkhead_hostile::good();
    let files = bulkhead_hostile::damaged(&component, rounds(29, 1), rounds(60, 2000));
    let (mut accepted, mut declined) = (0, 0);
    for (number, file) in files.iter().enumerate() {
        std::fs::write(&input, file).unwrap();
        let child = Command::new(binary())
            .args(["compile", "--engine", "fuel", "--input"])
            .arg(&input)
            .arg("--output")
            .arg(&output)
            .output()
            .expect("the child starts");
        match child.status.code() {
            Some(0) => accepted += 1,
            Some(3) => declined += 1,
            _ => panic!("file {number}: {} {}", child.status, String::from_utf8_lossy(&child.stderr)),
        }
    }
    let measured = json!({"files": files.len(), "compiled": accepted, "refused": declined});
    must("hostile.files.damaged", "every one compiled or refused", measured, accepted + declined == files.len());
}
