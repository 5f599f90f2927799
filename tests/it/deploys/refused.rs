//! Refused deploys: each gets its reason, and the old version keeps serving.

use serde_json::{Value, json};

use super::{marked, rubbish, version_on};
use crate::figures::must;
use crate::host::TestHost;

/// A modify that is refused: its name, its body, and the expected answer.
struct Bad {
    what: &'static str,
    body: Value,
    status: u16,
    code: &'static str,
}

fn bad(what: &'static str, body: Value, status: u16, code: &'static str) -> Bad {
    Bad { what, body, status, code }
}

fn kinds(host: &TestHost) -> Vec<Bad> {
    let echo = std::fs::read(bulkhead_artifacts::guest("echo")).expect("a component");
    let processor = |bytes: &[u8]| json!({"processor": host.upload_bytes(bytes)});
    let nowhere = "cd".repeat(32);
    let initialize =
        |how: &str| json!({"spec": {"model_config": {"initialize": how}, "sandbox": {"initialize_timeout_ms": 200}}});
    let model = |path: &str, sha256: &str| json!({"model": [{"path": path, "sha256": sha256, "size": 1}]});
    let refused = "processor_refused";
    vec![
        bad("no WebAssembly", processor(b"#!/bin/sh\nexit 0\n"), 400, refused),
        bad("machine code", processor(b"\x7fELF\x02\x01\x01\0"), 400, refused),
        bad("a core module", processor(b"\0asm\x01\0\0\0"), 400, refused),
        bad("an empty component", processor(b"\0asm\x0d\0\x01\0"), 400, refused),
        bad("half a component", processor(&echo[..echo.len() / 2]), 400, refused),
        bad("a component with a broken end", processor(&[echo.as_slice(), &[0xff; 9]].concat()), 400, refused),
        bad("initialize fails", initialize("fail"), 400, refused),
        bad("initialize panics", initialize("panic"), 400, refused),
        bad("initialize never returns", initialize("loop"), 400, refused),
        bad("initialize gets settings it does not know", json!({"spec": {"model_config": {"x": 1}}}), 400, refused),
        bad("less memory than it starts with", json!({"spec": {"sandbox": {"memory_mb": 1}}}), 400, refused),
        bad(
            "more memory than may be",
            json!({"spec": {"sandbox": {"memory_mb": 999_999}}}),
            400,
            "invalid_service_file",
        ),
        bad("no digest", json!({"processor": "ABC"}), 400, "bad_request"),
        bad("a processor nobody uploaded", json!({"processor": nowhere}), 409, "artifact_missing"),
        bad("a model file nobody uploaded", model("m.bin", &nowhere), 409, "artifact_missing"),
        bad("warm-up data nobody uploaded", json!({"warm_up": nowhere}), 409, "artifact_missing"),
        bad("a model file outside its directory", model("../../m.bin", &nowhere), 400, "bad_request"),
        bad("a service file with a mistake", json!({"spec": {"sandbox": {"feul": 1}}}), 400, "invalid_service_file"),
        bad("another name", json!({"spec": {"name": "other"}}), 400, "invalid_service_file"),
        bad("a key that nobody knows", json!({"procesor": nowhere}), 400, "bad_request"),
    ]
}

#[test]
fn a_bad_deploy_says_why_and_leaves_the_old_version_serving() {
    let host = TestHost::start();
    let keys = json!({"processor_envs": marked(1), "metadata": {"rpc": {"worker_threads": 1}}});
    let service = host.deploy("svc", "faults", keys);
    let mut client = host.client();
    let kinds = kinds(&host);
    for Bad { what, body, status, code } in &kinds {
        let answer = host.call_admin("PUT", "/api/v1/services/svc", body.to_string().as_bytes());
        let problem = answer.json();
        assert_eq!((answer.status, problem["code"].as_str()), (*status, Some(*code)), "{what}: {problem}");
        assert!(problem["detail"].as_str().is_some_and(|detail| !detail.is_empty()), "{what}: {problem}");
        assert_eq!(version_on(&mut client, &service), 1, "after {what}");
        let described = host.call_admin("GET", "/api/v1/services/svc", b"").json();
        assert_eq!((&described["version"], &described["state"]), (&json!(1), &json!("running")), "after {what}");
    }
    let restarts = host.call_admin("GET", "/api/v1/services/svc", b"").json()["instances"][0]["restarts"].clone();
    must("deploys.bad.kinds", "20 kinds refused, the old version serving after each", kinds.len(), kinds.len() == 20);
    assert_eq!(restarts, 0, "no deploy cost the old version a guest");
    let left = rubbish(&host);
    assert!(left.is_empty(), "{left:?}");
}

/// The host has 8,192 places for guests with a fuel limit, and a service takes at most 4,096 of them.
#[test]
fn a_deploy_without_room_says_how_much_is_free_and_what_helps() {
    let host = TestHost::start();
    let processor = host.upload("echo");
    let create = |name: &str, workers: u32| {
        let rpc = json!({"rpc": {"worker_threads": workers}, "instance": 4});
        let body = json!({"spec": {"name": name, "processor_path": "x.wasm", "metadata": rpc}, "processor": processor});
        host.call_admin("POST", "/api/v1/services", body.to_string().as_bytes())
    };
    assert_eq!(create("first", 1024).status, 201);
    assert_eq!(create("second", 1023).status, 201);
    let problem = create("third", 2).assert_problem(409, "no_room");
    let detail = problem["detail"].as_str().unwrap_or_default();
    assert!(detail.contains("needs room for 8 guests") && detail.contains("for 8192, of which 4 are free"), "{detail}");
    assert!(problem["hint"].as_str().is_some_and(|hint| hint.contains("worker_threads")), "{problem}");
    assert_eq!(create("third", 1).status, 201, "what is free can be had");
}
